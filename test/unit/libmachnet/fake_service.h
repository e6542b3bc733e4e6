// SPDX-License-Identifier: MIT
// FakeService: a control socket in a directory of its own, answered by a thread with whatever a
// test tells it, good or bad. MACHNET_SOCKET points to it while it lives.
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "ipc/control_protocol.h"

namespace mn::client {

struct FakeService {
  // ---- What it does; set before the request comes.
  uint16_t version = 1;
  bool silent = false;       // never answers
  bool hang_up = false;      // closes instead of answering anything but hello
  bool stale_first = false;  // sends a reply to an earlier request before the right one
  size_t reply_size = sizeof(ipc::ControlMessage);
  uint32_t magic = ipc::kControlMagic;
  int error = 0;       // refuse everything but hello
  int error_type = 0;  // only this type; 0: all
  bool seal = true;
  uint64_t missing_bytes = 0;  // of the memory
  uint32_t missing_descriptors = 0;
  ipc::LaneShape shape{64, 64, 1024, 8};
  uint32_t lane_count = 1;

  // ---- What it saw.
  uint32_t requests[16] = {};  // by ControlType
  ipc::ControlMessage last = {};
  int connection = -1;

  void start();
  void stop();

  char directory[64];
  char path[96];
  int listener = -1;
  pthread_t thread;
  static void* run(void* self);
  void serve();
  void reply(ipc::ControlMessage message);
  uint32_t make_channel(ipc::ChannelInfo* info, int* fds);
};

int setup_service(void** state);
int teardown_service(void** state);

}  // namespace mn::client
