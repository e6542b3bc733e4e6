/* SPDX-License-Identifier: MIT */
#include "it_common.h"

#include <getopt.h>
#include <time.h>

volatile sig_atomic_t it_stop, it_resume;

static void on_signal(int number) {
  if (number == SIGUSR1) {
    it_resume = 1;
  } else {
    it_stop = 1;
  }
}

void it_catch_signals(void) {
  struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: waits must end */
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGUSR1, &action, NULL);
}

bool it_parse(int argc, char** argv, struct ItOptions* ret_options) {
  static const struct option kOptions[] = {{"remote", required_argument, NULL, 'r'},
                                           {"local", required_argument, NULL, 'l'},
                                           {"port", required_argument, NULL, 'p'},
                                           {"size", required_argument, NULL, 's'},
                                           {"count", required_argument, NULL, 'c'},
                                           {"flows", required_argument, NULL, 'f'},
                                           {"window", required_argument, NULL, 'w'},
                                           {"delay-us", required_argument, NULL, 'd'},
                                           {"stop-after", required_argument, NULL, 'S'},
                                           {"seconds", required_argument, NULL, 't'},
                                           {"stall", required_argument, NULL, 'T'},
                                           {"mixed", no_argument, NULL, 'm'},
                                           {"views", no_argument, NULL, 'v'},
                                           {"buffers", no_argument, NULL, 'b'},
                                           {NULL, 0, NULL, 0}};
  struct ItOptions o = {.remote_ip = "127.0.0.1",
                        .local_ip = NULL,
                        .port = 888,
                        .size = 64,
                        .count = 1000,
                        .flows = 1,
                        .window = 8,
                        .stop_after = UINT64_MAX,
                        .seconds = 0,
                        .stall_seconds = 20};
  int c;
  while ((c = getopt_long(argc, argv, "", kOptions, NULL)) != -1) {
    switch (c) {
      case 'r':
        o.remote_ip = optarg;
        break;
      case 'l':
        o.local_ip = optarg;
        break;
      case 'p':
        o.port = (uint16_t)atoi(optarg);
        break;
      case 's':
        o.size = (size_t)atoll(optarg);
        break;
      case 'c':
        o.count = (uint64_t)atoll(optarg);
        break;
      case 'f':
        o.flows = (unsigned)atoi(optarg);
        break;
      case 'w':
        o.window = (unsigned)atoi(optarg);
        break;
      case 'd':
        o.delay_us = (unsigned)atoi(optarg);
        break;
      case 'S':
        o.stop_after = (uint64_t)atoll(optarg);
        break;
      case 't':
        o.seconds = atof(optarg);
        break;
      case 'T':
        o.stall_seconds = atof(optarg);
        break;
      case 'm':
        o.mixed = true;
        break;
      case 'v':
        o.views = true;
        break;
      case 'b':
        o.buffers = true;
        break;
      default:
        return false;
    }
  }
  *ret_options = o;
  return o.size >= 1 && o.flows >= 1 && o.window >= 1;
}

uint64_t it_now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t mix(uint64_t x) {
  x ^= x >> 31;
  x *= 0x7fb5d329728ea185u;
  x ^= x >> 27;
  x *= 0x81dadef4bc2dd44du;
  return x ^ (x >> 33);
}

size_t it_message_size(const struct ItOptions* options, uint64_t number) {
  return options->mixed ? 1 + (size_t)(mix(number + 17) % options->size) : options->size;
}

/* Word `index` of a message. */
static uint64_t word_at(uint64_t seed, uint64_t index) {
  return (seed + index) * 0x9e3779b97f4a7c15u ^ seed >> 13;
}

void it_fill(uint16_t port, uint64_t number, size_t offset, void* bytes, size_t len) {
  const uint64_t seed = mix((uint64_t)port << 40 ^ number);
  unsigned char* out = bytes;
  uint64_t index = offset / 8;
  for (; len >= 8; len -= 8, out += 8) {
    const uint64_t word = word_at(seed, index++);
    memcpy(out, &word, 8);
  }
  const uint64_t last = word_at(seed, index);
  memcpy(out, &last, len);
}

bool it_check(uint16_t port, uint64_t number, size_t offset, const void* bytes, size_t len) {
  const uint64_t seed = mix((uint64_t)port << 40 ^ number);
  const unsigned char* in = bytes;
  uint64_t index = offset / 8;
  for (; len >= 8; len -= 8, in += 8) {
    const uint64_t word = word_at(seed, index++);
    if (memcmp(in, &word, 8) != 0) return false;
  }
  const uint64_t last = word_at(seed, index);
  return memcmp(in, &last, len) == 0;
}

int it_call_failed(const char* call) {
  printf("error %s %s\n", call, strerrorname_np(errno));
  fflush(stdout);
  return kExitCallFailed;
}

void it_print_event(const MachnetEvent_t* event) {
  static const char* const kNames[] = {"none", "accepted", "closed", "reset", "dead"};
  printf("event %s local %u remote %u\n", kNames[event->type <= 4 ? event->type : 0],
         event->flow.src_port, event->flow.dst_port);
  fflush(stdout);
}
