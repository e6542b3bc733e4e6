/* SPDX-License-Identifier: MIT
 * `echo` and `sink`: servers that check every message of every flow; `echo` sends it back. */
#include "it_common.h"

struct Receiver {
  const struct ItOptions* options;
  void* channel;
  unsigned char* buffer;
  size_t buffer_size;
  uint64_t next[65536]; /* by the sender's port: number of the message expected */
  uint64_t messages, bytes, wrong, unsent;
  bool stopped;
};

/* Blocks until the echo was taken: a peer that does not read its echoes stops this server. */
static void echo_message(struct Receiver* r, MachnetFlow_t from, size_t len) {
  const MachnetFlow_t flow = {.src_ip = from.dst_ip,
                              .dst_ip = from.src_ip,
                              .src_port = from.dst_port,
                              .dst_port = from.src_port};
  while (machnet_send(r->channel, flow, r->buffer, len) != 0) {
    if (errno != EAGAIN || it_stop) {
      r->unsent++; /* the flow ended meanwhile */
      return;
    }
    if (machnet_wait(r->channel, 100) < 0) return; /* the next receive says why */
  }
}

static void count_message(struct Receiver* r, MachnetFlow_t from, size_t len, bool right) {
  r->next[from.src_port]++;
  r->messages++;
  r->bytes += len;
  if (!right) {
    r->wrong++;
    printf("wrong message %" PRIu64 " of %zu bytes from port %u\n", r->next[from.src_port] - 1, len,
           from.src_port);
  }
}

/* 1: a message, 0: none, -1 */
static int receive_copy(struct Receiver* r, bool echo) {
  MachnetFlow_t from;
  const ssize_t len = machnet_recv(r->channel, r->buffer, r->buffer_size, &from);
  if (len <= 0) return (int)len;
  count_message(r, from, (size_t)len,
                it_check(from.src_port, r->next[from.src_port], 0, r->buffer, (size_t)len));
  if (echo) echo_message(r, from, (size_t)len);
  return 1;
}

static int receive_view(struct Receiver* r, bool echo) {
  MachnetView_t view;
  const int rc = machnet_recv_view(r->channel, &view);
  if (rc <= 0) return rc;
  /* Gathered first: pieces may end at any byte. */
  size_t at = 0;
  for (size_t i = 0; i < view.iovlen && at + view.iov[i].len <= r->buffer_size; i++) {
    memcpy(r->buffer + at, view.iov[i].base, view.iov[i].len);
    at += view.iov[i].len;
  }
  const MachnetFlow_t from = view.flow;
  const bool right =
      at == view.size && it_check(from.src_port, r->next[from.src_port], 0, r->buffer, at);
  if (machnet_view_release(r->channel, &view) != 0) return -1;
  count_message(r, from, at, right);
  if (echo) echo_message(r, from, at);
  return 1;
}

static int drain_events(struct Receiver* r) {
  MachnetEvent_t event;
  int rc;
  while ((rc = machnet_next_event(r->channel, &event)) == 1) {
    it_print_event(&event);
    if (event.type == MACHNET_EVENT_ACCEPTED) {
      r->next[event.flow.dst_port] = 0;
    }
  }
  return rc;
}

/* Until SIGTERM, and then until everything that has arrived was read. */
static int receive_loop(struct Receiver* r, bool echo) {
  for (;;) {
    if (!it_stop && r->messages >= r->options->stop_after && !it_resume) {
      if (!r->stopped) {
        r->stopped = true;
        printf("stopped\n");
        fflush(stdout);
      }
      usleep(2000);
      continue;
    }
    if (drain_events(r) < 0) return it_call_failed("machnet_next_event");
    const int rc = r->options->views ? receive_view(r, echo) : receive_copy(r, echo);
    if (rc < 0) return it_call_failed("machnet_recv");
    if (rc > 0) {
      if (r->options->delay_us != 0) usleep(r->options->delay_us);
    } else if (it_stop) {
      return 0;
    } else if (machnet_wait(r->channel, -1) < 0 && errno != EINTR) {
      return it_call_failed("machnet_wait");
    }
  }
}

int it_receive_main(const struct ItOptions* options, bool echo) {
  static struct Receiver receiver;
  receiver.options = options;
  receiver.buffer_size = options->size;
  receiver.buffer = malloc(options->size);
  if (receiver.buffer == NULL) return kExitUsage;
  if (machnet_init() != 0) return it_call_failed("machnet_init");
  receiver.channel = machnet_attach();
  if (receiver.channel == NULL) return it_call_failed("machnet_attach");
  const char* ip = options->local_ip != NULL ? options->local_ip : "0.0.0.0";
  if (machnet_listen(receiver.channel, ip, options->port) != 0) {
    return it_call_failed("machnet_listen");
  }
  printf("ready\n");
  fflush(stdout);
  const int rc = receive_loop(&receiver, echo);
  printf("messages %" PRIu64 " bytes %" PRIu64 " wrong %" PRIu64 " unsent %" PRIu64 "\n",
         receiver.messages, receiver.bytes, receiver.wrong, receiver.unsent);
  fflush(stdout);
  if (rc == 0 && machnet_detach(receiver.channel) != 0) return it_call_failed("machnet_detach");
  free(receiver.buffer);
  return rc != 0 ? rc : receiver.wrong != 0 ? kExitWrong : 0;
}
