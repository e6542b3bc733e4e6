// SPDX-License-Identifier: MIT
// EngineGroup: the engines of one NIC, and how a frame gets from the engine at whose queue it
// arrived to the one that has its flow. Which queue a NIC chooses is never known beforehand: its
// key may be hidden, its table may change at any moment. A ring for each ordered pair of engines,
// so that each has one pusher and one popper; besides them only the words that tell who sleeps are
// shared. Made before the engines, outlives them; never blocks or allocates after construction.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/spsc_queue.h"
#include "ipc/shm_layout.h"
#include "nic/nic_port.h"

namespace mn {

// Either a port's frame, which whoever takes it gives back to its own port of that NIC, or a copy
// of a short one.
struct HandedFrame {
  RxFrame frame;            // its checksum was right
  uint32_t arrived_at = 0;  // the engine
  uint32_t copied = 0;      // bytes; 0: `frame`
  std::array<uint8_t, 96> bytes;
};
static_assert(sizeof(HandedFrame) == 128);

class EngineGroup {
 public:
  static constexpr uint32_t kEnginesMax = ipc::kLanesMax;
  static constexpr size_t kRing = 512;
  // Frames of one engine's port that others may hold: who floods with packets for engines that do
  // not run at the moment must not take all buffers from the one that runs.
  static constexpr size_t kHeldMax = 1024;

  explicit EngineGroup(uint32_t engines);
  EngineGroup(const EngineGroup&) = delete;
  EngineGroup& operator=(const EngineGroup&) = delete;

  uint32_t size() const { return engines_; }
  // Before any engine runs: an eventfd that wakes the engine.
  void set_wake_fd(uint32_t engine, int fd) { members_[engine].wake_fd = fd; }

  // ---- Thread of engine `from`
  // False: the ring is full, or others hold too many frames of this engine; it stays with the
  // caller. As a NIC whose queue is full.
  bool hand_over(uint32_t from, uint32_t to, const RxFrame& frame);
  // To all others; returns how many had no room.
  uint32_t copy_to_others(uint32_t from, std::span<const uint8_t> frame);
  // Wakes those that sleep and got something since the last call.
  void ring(uint32_t from);

  // ---- Thread of engine `to`
  bool take(uint32_t to, HandedFrame* ret_frame);
  // False: a frame waits: nobody sleeps.
  bool announce_sleep(uint32_t to);
  void end_sleep(uint32_t to);

 private:
  using Ring = SpscQueue<HandedFrame, kRing>;
  struct alignas(64) Member {
    std::atomic<bool> asleep{false};  // written by the engine itself
    int wake_fd = -1;
    alignas(64) uint32_t news =
        0;                // bit i: something was pushed for engine i; this engine's thread
    uint32_t next = 0;    // whose ring is read first; this engine's thread
    uint32_t served = 0;  // frames of it in this turn
    size_t may_hand = 0;  // frames, until it is counted again what others hold
  };

  Ring& ring_between(uint32_t from, uint32_t to) { return *rings_[from * engines_ + to]; }
  bool push(uint32_t from, uint32_t to, const HandedFrame& handed);
  size_t not_held(uint32_t from);

  const uint32_t engines_;
  std::vector<std::unique_ptr<Ring>> rings_;  // by from and to; none from an engine to itself
  std::unique_ptr<Member[]> members_;
};

}  // namespace mn
