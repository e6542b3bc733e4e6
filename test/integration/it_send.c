/* SPDX-License-Identifier: MIT
 * `ping`: sends to an echo server on many flows and checks each echo. `blast`: sends one way as
 * fast as it is taken. */
#include "it_common.h"

struct Flow {
  MachnetFlow_t flow;
  uint64_t sent, received;
};

struct Sender {
  const struct ItOptions* options;
  void* channel;
  unsigned char* buffer;
  struct Flow* flows;
  uint64_t refused;        /* sends that met a full channel */
  int flow_of_port[65536]; /* local port to index + 1 */
  uint64_t progress_ns;
};

static int open_flows(struct Sender* s) {
  const struct ItOptions* o = s->options;
  s->buffer = malloc(o->size);
  s->flows = calloc(o->flows, sizeof(*s->flows));
  if (s->buffer == NULL || s->flows == NULL) return kExitUsage;
  if (machnet_init() != 0) return it_call_failed("machnet_init");
  s->channel = machnet_attach();
  if (s->channel == NULL) return it_call_failed("machnet_attach");
  const uint64_t start = it_now_ns();
  const char* local = o->local_ip != NULL ? o->local_ip : "0.0.0.0";
  for (unsigned i = 0; i < o->flows; i++) {
    if (machnet_connect(s->channel, local, o->remote_ip, o->port, &s->flows[i].flow) != 0) {
      return it_call_failed("machnet_connect");
    }
    s->flow_of_port[s->flows[i].flow.src_port] = (int)i + 1;
  }
  printf("connected %u flows in %.3f ms\n", o->flows, (double)(it_now_ns() - start) / 1e6);
  fflush(stdout);
  s->progress_ns = it_now_ns();
  return 0;
}

/* 1: sent, 0: no room, -1 */
static int send_buffers(struct Sender* s, struct Flow* f, size_t len) {
  MachnetIovec_t iov[2048];
  size_t iovlen = 2048;
  if (machnet_buffer_alloc(s->channel, len, iov, &iovlen) != 0) return errno == EAGAIN ? 0 : -1;
  size_t at = 0;
  for (size_t i = 0; i < iovlen; i++) {
    it_fill(f->flow.src_port, f->sent, at, iov[i].base, iov[i].len);
    at += iov[i].len;
  }
  if (machnet_buffer_send(s->channel, f->flow, iov, iovlen) == 0) return 1;
  const int error = errno;
  machnet_buffer_free(s->channel, iov, iovlen);
  errno = error;
  return error == EAGAIN ? 0 : -1;
}

static int send_one(struct Sender* s, struct Flow* f) {
  const size_t len = it_message_size(s->options, f->sent);
  int rc;
  if (s->options->buffers) {
    rc = send_buffers(s, f, len);
  } else {
    it_fill(f->flow.src_port, f->sent, 0, s->buffer, len);
    rc = machnet_send(s->channel, f->flow, s->buffer, len) == 0 ? 1 : errno == EAGAIN ? 0 : -1;
  }
  if (rc == 1) f->sent++;
  if (rc == 0) s->refused++;
  return rc;
}

/* 0: none of ours ended, else an exit code */
static int look_at_events(struct Sender* s) {
  MachnetEvent_t event;
  const int rc = machnet_next_event(s->channel, &event);
  if (rc < 0) return it_call_failed("machnet_next_event");
  if (rc == 0 || event.type == MACHNET_EVENT_ACCEPTED) return 0;
  it_print_event(&event);
  return kExitFlowEnded;
}

/* Takes one echo: 1 taken, 0 none, else a negative exit code. */
static int take_echo(struct Sender* s) {
  MachnetFlow_t from;
  const ssize_t len = machnet_recv(s->channel, s->buffer, s->options->size, &from);
  if (len < 0) return -it_call_failed("machnet_recv");
  if (len == 0) return 0;
  const int index = s->flow_of_port[from.dst_port];
  if (index == 0) return -kExitWrong;
  struct Flow* f = &s->flows[index - 1];
  if ((size_t)len != it_message_size(s->options, f->received) ||
      !it_check(from.dst_port, f->received, 0, s->buffer, (size_t)len)) {
    printf("wrong echo %" PRIu64 " of %zd bytes on port %u\n", f->received, len, from.dst_port);
    return -kExitWrong;
  }
  f->received++;
  return 1;
}

static int no_progress(struct Sender* s) {
  if ((double)(it_now_ns() - s->progress_ns) / 1e9 > s->options->stall_seconds) {
    for (unsigned i = 0; i < s->options->flows; i++) {
      printf("stalled: flow %u sent %" PRIu64 " received %" PRIu64 "\n", i, s->flows[i].sent,
             s->flows[i].received);
      if (i == 4) break;
    }
    return kExitStalled;
  }
  if (machnet_wait(s->channel, 100) < 0 && errno != EINTR) return it_call_failed("machnet_wait");
  return 0;
}

static int ping_loop(struct Sender* s) {
  const struct ItOptions* o = s->options;
  const uint64_t end_ns = o->seconds > 0 ? it_now_ns() + (uint64_t)(o->seconds * 1e9) : UINT64_MAX;
  uint64_t outstanding = 0, to_send = o->seconds > 0 ? UINT64_MAX : o->count * o->flows;
  while (to_send > 0 || outstanding > 0) {
    bool progress = false;
    if (it_stop || it_now_ns() >= end_ns) to_send = 0;
    int rc = look_at_events(s);
    if (rc != 0) return rc;
    for (unsigned i = 0; i < o->flows && to_send > 0; i++) {
      struct Flow* f = &s->flows[i];
      while (to_send > 0 && f->sent - f->received < o->window &&
             (o->seconds > 0 || f->sent < o->count)) {
        rc = send_one(s, f);
        if (rc < 0) {
          rc = it_call_failed("machnet_send");
          const int ended = look_at_events(s);
          return ended != 0 ? ended : rc;
        }
        if (rc == 0) break;
        progress = true;
        outstanding++;
        to_send--;
      }
    }
    while ((rc = take_echo(s)) == 1) {
      outstanding--;
      progress = true;
    }
    if (rc < 0) return -rc;
    if (progress) {
      s->progress_ns = it_now_ns();
    } else if ((rc = no_progress(s)) != 0) {
      return rc;
    }
  }
  return 0;
}

static uint64_t sum_sent(const struct Sender* s) {
  uint64_t sent = 0;
  for (unsigned i = 0; i < s->options->flows; i++) sent += s->flows[i].sent;
  return sent;
}

static int leave(struct Sender* s, int rc, uint64_t start_ns) {
  const double seconds = (double)(it_now_ns() - start_ns) / 1e9;
  const uint64_t sent = s->flows != NULL ? sum_sent(s) : 0;
  printf("messages %" PRIu64 " seconds %.3f rate %.0f refused %" PRIu64 "\n", sent, seconds,
         (double)sent / seconds, s->refused);
  fflush(stdout);
  const uint64_t leave_ns = it_now_ns();
  if (rc == 0 && machnet_detach(s->channel) != 0) return it_call_failed("machnet_detach");
  printf("detached in %.1f ms\n", (double)(it_now_ns() - leave_ns) / 1e6);
  free(s->buffer);
  free(s->flows);
  return rc;
}

int it_ping_main(const struct ItOptions* options) {
  static struct Sender sender;
  sender.options = options;
  int rc = open_flows(&sender);
  if (rc != 0) return rc;
  const uint64_t start_ns = it_now_ns();
  rc = ping_loop(&sender);
  return leave(&sender, rc, start_ns);
}

/* Sends `count` messages per flow (or for `seconds`), waiting when the channel is full; then closes
 * in order, so that all of them arrive. */
int it_blast_main(const struct ItOptions* options) {
  static struct Sender sender;
  struct Sender* s = &sender;
  s->options = options;
  int rc = open_flows(s);
  if (rc != 0) return rc;
  const uint64_t start_ns = it_now_ns();
  const uint64_t end_ns =
      options->seconds > 0 ? start_ns + (uint64_t)(options->seconds * 1e9) : UINT64_MAX;
  bool unfinished = true;
  uint64_t told_ns = start_ns;
  while (rc == 0 && unfinished && !it_stop && it_now_ns() < end_ns) {
    bool progress = false;
    unfinished = false;
    for (unsigned i = 0; i < options->flows && rc == 0; i++) {
      struct Flow* f = &s->flows[i];
      if (options->seconds == 0 && f->sent >= options->count) continue;
      unfinished = true;
      const int sent = send_one(s, f);
      if (sent < 0) rc = it_call_failed("machnet_send");
      if (sent > 0) progress = true;
    }
    const int ended = look_at_events(s);
    if (ended != 0) rc = ended;
    if (it_now_ns() - told_ns > 200000000u) {
      told_ns = it_now_ns();
      printf("sent %" PRIu64 " refused %" PRIu64 "\n", sum_sent(s), s->refused);
      fflush(stdout);
    }
    if (progress) {
      s->progress_ns = it_now_ns();
    } else if (unfinished && rc == 0) {
      rc = no_progress(s);
    }
  }
  return leave(s, rc, start_ns);
}
