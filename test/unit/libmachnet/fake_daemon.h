// SPDX-License-Identifier: MIT
// FakeDaemon: the other end of a channel, by hand: a test pushes what a daemon would deliver,
// honest or not, and looks at what the library submitted and released. Owns the memory, the
// eventfds and a socket pair that stands for the session. One thread, unless a test says otherwise.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka.h wants the four above, and says nothing of C++.
extern "C" {
#include <cmocka.h>
}

#include "ipc/shm_layout.h"
#include "libmachnet/channel.h"
#include "machnet.h"

namespace mn::client {

constexpr uint32_t kTestTxBuffers = 64;
constexpr uint32_t kTestRxBuffers = 64;
constexpr uint32_t kTestBufferSize = 1024;
constexpr uint32_t kTestFlowSlots = 8;

// A flow of this host's port 1000 + n to port 7 of 10.0.0.2, as machnet_send takes it.
inline MachnetFlow_t test_flow(uint32_t n) {
  return MachnetFlow_t{0x0a000001, 0x0a000002, static_cast<uint16_t>(1000 + n), 7};
}
inline MachnetFlow_t reversed(const MachnetFlow_t& f) {
  return MachnetFlow_t{f.dst_ip, f.src_ip, f.dst_port, f.src_port};
}

struct FakeLane {
  ipc::LaneHeader* header;
  ipc::Consumer16 submit;
  ipc::Producer4 complete;
  ipc::Producer16 deliver;
  ipc::Consumer4 release;
  ipc::FlowSlot* flows;
  uint8_t* tx_data;
  uint8_t* rx_data;
  int engine_fd;
};

struct FakeDaemon {
  ipc::LaneShape shape{kTestTxBuffers, kTestRxBuffers, kTestBufferSize, kTestFlowSlots};
  uint32_t lane_count = 1;
  uint8_t* memory = nullptr;
  uint64_t memory_size = 0;
  FakeLane lanes[2];
  int application_fd = -1;    // written: wakes the application
  int bell_fd = -1;           // its end
  int session[2] = {-1, -1};  // [0] the library's, [1] ours
  Channel* channel = nullptr;

  void start();
  void stop();

  // A flow that the program opened, in this slot of lane 0 (or `lane`).
  uint32_t connect(uint32_t n, uint32_t lane = 0);
  // A flow that a peer opened.
  uint32_t open(uint32_t n, uint32_t generation = 1, uint32_t lane = 0, uint32_t opening = 0);
  void end(uint32_t ref, uint32_t reason);
  // `buffer` filled with `length` bytes, each byte of value `fill`.
  void segment(uint32_t ref, uint32_t buffer, uint32_t length, uint8_t fill, uint32_t flags,
               uint32_t lane = 0);
  void message(uint32_t ref, uint32_t buffer, uint32_t length, uint8_t fill) {
    segment(ref, buffer, length, fill, ipc::kFirstSegment | ipc::kLastSegment);
  }
  // A bundle of messages of these lengths, message i of bytes `fill` + i. Returns its size.
  uint32_t bundle(uint32_t ref, uint32_t buffer, const uint32_t* lengths, uint32_t count,
                  uint8_t fill);
  void raw(const ipc::Item16& item) { lanes[0].deliver.push(item); }

  // What the library wrote. Each call takes one entry; false: none.
  bool submitted(ipc::Item16* ret_item, uint32_t lane = 0) {
    return lanes[lane].submit.pop(ret_item);
  }
  bool released(uint32_t* ret_value) { return lanes[0].release.pop(ret_value); }
  uint32_t count_released();
  // Takes all submitted segments and completes them; returns how many.
  uint32_t complete_all();
  // Rings since the last call.
  uint64_t engine_rings(uint32_t lane = 0);
  void ring_application();
};

// What the program sees next; each fails the test if it sees something else.
void expect_flow(const MachnetFlow_t& got, const MachnetFlow_t& want);
void expect_message(FakeDaemon* d, uint32_t n, size_t length, uint8_t fill);  // from test flow n
void expect_nothing(FakeDaemon* d);
void expect_dead(FakeDaemon* d, int error);
void expect_event(FakeDaemon* d, uint32_t type, uint32_t n);
void expect_no_event(FakeDaemon* d);

// cmocka fixture: *state is a FakeDaemon with a channel.
int setup_daemon(void** state);
int setup_two_lanes(void** state);
int teardown_daemon(void** state);

}  // namespace mn::client
