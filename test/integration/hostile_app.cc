// SPDX-License-Identifier: MIT
// An application that breaks the rules of its channel on purpose: it speaks the control protocol
// itself and writes the shared memory directly. Each attack is named on the command line:
//   hostile_app ATTACK [SECONDS] [REMOTE_IP PORT]
// Ends when the service closes the session (prints "closed") or the time is over (prints "alive");
// 3 if it could not attach. Its own bytes are random from a fixed seed.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "ipc/control_protocol.h"
#include "ipc/shm_layout.h"

namespace {

using namespace mn::ipc;

uint64_t rng_state = 0x2545f4914f6cdd1dull;
uint32_t random32() {
  rng_state ^= rng_state << 13;
  rng_state ^= rng_state >> 7;
  rng_state ^= rng_state << 17;
  return static_cast<uint32_t>(rng_state >> 16);
}

uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000u + static_cast<uint64_t>(t.tv_nsec);
}

struct Hostile {
  int socket_fd = -1;
  int memory_fd = -1;
  int application_fd = -1;
  int engine_fd = -1;
  ChannelInfo info;
  LaneOffsets offsets;
  uint8_t* memory = nullptr;
  uint8_t* lane = nullptr;
  uint32_t flow = 0;  // a flow of its own, if one was asked for
  Producer16 submit;
  Producer4 release;

  const LaneShape& shape() const { return info.lanes[0]; }
};

bool ask(Hostile* h, uint16_t type, ControlMessage* message, int* fds, size_t fd_max) {
  message->header = {kControlMagic, type, 0, 1, 0};
  if (send(h->socket_fd, message, sizeof(*message), MSG_NOSIGNAL) != sizeof(*message)) return false;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kDescriptorsMax)];
  iovec iov{message, sizeof(*message)};
  msghdr header{};
  header.msg_iov = &iov;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  if (recvmsg(h->socket_fd, &header, MSG_CMSG_CLOEXEC) != sizeof(*message)) return false;
  const cmsghdr* cmsg = CMSG_FIRSTHDR(&header);
  if (cmsg != nullptr && cmsg->cmsg_type == SCM_RIGHTS) {
    const size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(cmsg), sizeof(int) * (count < fd_max ? count : fd_max));
  }
  if (message->header.error != 0) {
    fprintf(stderr, "refused: %.*s\n", static_cast<int>(kReasonMax), message->reason);
    return false;
  }
  return true;
}

bool attach(Hostile* h) {
  const char* path = getenv(kSocketEnvironment);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof(address.sun_path), "%s", path ? path : kDefaultSocketPath);
  h->socket_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (connect(h->socket_fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    return false;
  }
  ControlMessage message{};
  message.hello = {kControlVersionMin, kControlVersionMax, 0};
  if (!ask(h, kControlHello, &message, nullptr, 0)) return false;
  message = {};
  int fds[kDescriptorsMax] = {-1, -1, -1};
  if (!ask(h, kControlAttach, &message, fds, kDescriptorsMax)) return false;
  h->info = message.channel;
  h->memory_fd = fds[0];
  h->application_fd = fds[1];
  h->engine_fd = fds[2];
  h->offsets = lane_offsets(h->shape());
  h->memory = static_cast<uint8_t*>(
      mmap(nullptr, h->info.memory_size, PROT_READ | PROT_WRITE, MAP_SHARED, h->memory_fd, 0));
  if (h->memory == MAP_FAILED) return false;
  h->lane = h->memory + kFirstLaneOffset;
  h->submit = Producer16(reinterpret_cast<Entry16*>(h->lane + h->offsets.submit),
                         submit_capacity(h->shape()));
  h->release = Producer4(reinterpret_cast<Entry4*>(h->lane + h->offsets.release),
                         release_capacity(h->shape()));
  return true;
}

uint32_t parse_ip(const char* text) {
  unsigned a, b, c, d;
  if (sscanf(text, "%u.%u.%u.%u", &a, &b, &c, &d) != 4) return 0;
  return a << 24 | b << 16 | c << 8 | d;
}

bool open_flow(Hostile* h, const char* ip, uint16_t port) {
  ControlMessage message{};
  message.connect = {0, parse_ip(ip), port, 0};
  if (!ask(h, kControlConnect, &message, nullptr, 0)) return false;
  h->flow = message.flow.flow;
  return true;
}

void ring(Hostile* h) {
  const uint64_t one = 1;
  (void)!write(h->engine_fd, &one, sizeof(one));
}

void submit(Hostile* h, uint32_t type, uint32_t flags, uint32_t flow, uint32_t buffer,
            uint32_t length) {
  h->submit.push({flow, buffer, 0, entry_word(type, flags, length)});
  ring(h);
}

void scribble(uint8_t* start, uint64_t size, uint64_t bytes) {
  for (uint64_t i = 0; i < bytes; i += 4) {
    const uint32_t value = random32() % 4 == 0 ? random32() % 16 : random32();
    const uint64_t at = (uint64_t{random32()} << 8 ^ random32()) % (size - 3) & ~uint64_t{3};
    __atomic_store_n(reinterpret_cast<uint32_t*>(start + at), value, __ATOMIC_RELAXED);
  }
}

// One step of an attack. False: no such attack.
bool step(Hostile* h, const char* attack) {
  const LaneShape& s = h->shape();
  const bool flow_wanted = h->flow != 0;
  const uint32_t flow = flow_wanted ? h->flow : flow_ref(random32() % s.flow_slots, 1);
  if (strcmp(attack, "random") == 0) {  // everything, everywhere
    scribble(h->memory, h->info.memory_size, 65536);
  } else if (strcmp(attack, "random_rings") == 0) {  // rings, headers and flow table only
    scribble(h->memory, kFirstLaneOffset + h->offsets.tx_data, 4096);
  } else if (strcmp(attack, "random_entries") == 0) {  // entries of right form and wrong content
    submit(h, random32() % 4, random32() % 8, random32(), random32() % (2 * s.tx_buffers),
           random32());
    h->release.push(random32());
  } else if (strcmp(attack, "wrong_buffer") == 0) {
    submit(h, kSubmitSegment, kLastSegment, flow, s.tx_buffers + random32() % 1000, 64);
  } else if (strcmp(attack, "huge_buffer") == 0) {
    submit(h, kSubmitSegment, kLastSegment, flow, 0xffffffff - random32() % 4, 64);
  } else if (strcmp(attack, "same_buffer") == 0) {  // again before it was given back
    for (int i = 0; i < 64; i++) submit(h, kSubmitSegment, 0, flow, 0, s.buffer_size);
  } else if (strcmp(attack, "wrong_length") == 0) {
    submit(h, kSubmitSegment, kLastSegment, flow, 0, 0xffff);
  } else if (strcmp(attack, "zero_length") == 0) {
    submit(h, kSubmitSegment, kLastSegment, flow, 0, 0);
  } else if (strcmp(attack, "short_segment") == 0) {  // not the last and not full
    submit(h, kSubmitSegment, 0, flow, 0, 10);
  } else if (strcmp(attack, "wrong_type") == 0) {
    submit(h, 99, 0, flow, 0, 64);
  } else if (strcmp(attack, "other_flow") == 0) {  // slots and generations of nobody or of others
    static uint32_t buffer = 0;
    const uint32_t reference = flow_ref(random32() % kFlowSlotsMax, random32() % 4);
    submit(h, random32() % 8 == 0 ? kSubmitClose : kSubmitSegment, kLastSegment, reference,
           buffer++ % s.tx_buffers, 64);
  } else if (strcmp(attack, "release_unowned") == 0) {
    h->release.push(random32() % s.rx_buffers);
    ring(h);
  } else if (strcmp(attack, "release_wrong") == 0) {
    h->release.push(s.rx_buffers + random32() % 1000);
    ring(h);
  } else if (strcmp(attack, "release_slot") == 0) {  // of a flow that has not ended, or of none
    h->release.push(kReleaseSlot | (flow_wanted ? flow_ref_slot(h->flow) : random32() % 100000));
    ring(h);
  } else if (strcmp(attack, "close_often") == 0) {
    submit(h, kSubmitClose, 0, flow, 0, 0);
  } else if (strcmp(attack, "endless_message") == 0) {  // never a last segment
    static uint32_t buffer = 0;
    if (buffer < s.tx_buffers) {
      submit(h, kSubmitSegment, 0, flow, buffer++, s.buffer_size);
    }
  } else if (strcmp(attack, "doorbells") == 0) {
    const uint64_t most = 0xfffffffffffffffeull;
    (void)!write(h->engine_fd, &most, sizeof(most));
    // A socket that rings one way.
    (void)!send(h->application_fd, &most, sizeof(most), MSG_NOSIGNAL);
    ring(h);
  } else if (strcmp(attack, "truncate") == 0) {  // the memory is sealed
    if (ftruncate(h->memory_fd, 4096) == 0 || ftruncate(h->memory_fd, 1l << 40) == 0) {
      printf("the memory could be resized\n");
      exit(1);
    }
  } else {
    return false;
  }
  return true;
}

bool closed(Hostile* h) {
  pollfd p{h->socket_fd, POLLIN, 0};
  char byte;
  return poll(&p, 1, 0) == 1 && recv(h->socket_fd, &byte, 1, MSG_DONTWAIT) <= 0;
}

}  // namespace

int main(int argc, char** argv) {
  Hostile hostile;
  if (argc < 2 || !attach(&hostile)) {
    fprintf(stderr, "hostile_app: no channel: %s\n", strerror(errno));
    return 3;
  }
  const double seconds = argc > 2 ? atof(argv[2]) : 1.0;
  if (argc > 4 && !open_flow(&hostile, argv[3], static_cast<uint16_t>(atoi(argv[4])))) {
    fprintf(stderr, "hostile_app: no flow\n");
    return 3;
  }
  const uint64_t end_ns = now_ns() + static_cast<uint64_t>(seconds * 1e9);
  uint64_t steps = 0;
  while (now_ns() < end_ns) {
    if (!step(&hostile, argv[1])) {
      fprintf(stderr, "hostile_app: no attack %s\n", argv[1]);
      return 64;
    }
    steps++;
    if (steps % 8 == 0 && closed(&hostile)) {
      printf("closed after %lu steps\n", static_cast<unsigned long>(steps));
      return 0;
    }
    if (steps % 64 == 0) usleep(500);
  }
  printf("alive after %lu steps\n", static_cast<unsigned long>(steps));
  return 0;
}
