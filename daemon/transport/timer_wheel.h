// SPDX-License-Identifier: MIT
// TimerWheel: deadlines of many flows, one each. Hierarchical (Varghese and Lauck, 1987): three
// levels of 256 slots, a tick of 8.2 us, bit sets of the slots in use, so that setting and clearing
// are constant and finding the next deadline looks at a few words. A deadline is due at the first
// tick at or after it: never early, at most a tick late. One thread; owns no node.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/time.h"
#include "transport/intrusive_list.h"

namespace mn::transport {

struct TimerNode {
  Link link;
  int64_t at_ns;  // INT64_MAX: not set
  uint32_t slot;
};

class TimerWheel {
 public:
  // Sets a node or moves it. A deadline further away than the wheel reaches (about two minutes)
  // fires at that reach.
  void set(TimerNode* node, Instant at);
  void clear(TimerNode* node);

  // Takes the next node that is due at `now`; nullptr: none is. Call until nullptr.
  TimerNode* pop_due(Instant now) {
    const int64_t now_tick = now.ns >> kTickBits;
    if (due_.empty() && now_tick < next_tick_) {
      if (now_tick > current_) current_ = now_tick;
      return nullptr;
    }
    return pop_slow(now_tick);
  }

  // When pop_due may find something again; never early by more than moving nodes between levels
  // needs.
  Instant next_deadline() const {
    if (!due_.empty()) return {current_ << kTickBits};
    return next_tick_ == kNever ? Instant::never() : Instant{next_tick_ << kTickBits};
  }
  size_t size() const { return size_; }

 private:
  static constexpr int kTickBits = 13;
  static constexpr int kLevelBits = 8;
  static constexpr uint32_t kSlots = 1u << kLevelBits;
  static constexpr int kLevels = 3;
  static constexpr uint32_t kSlotDue = UINT32_MAX;
  static constexpr int64_t kNever = INT64_MAX;

  TimerNode* pop_slow(int64_t now_tick);
  void insert(TimerNode* node, int64_t due_tick);
  void remove(TimerNode* node);
  void cascade(int level);
  int64_t find_next_tick() const;
  // Distance (1..256) from slot `from` to the next one in use of a level; 0: none.
  uint32_t distance(int level, uint32_t from) const;

  int64_t current_ = 0;         // every slot up to this tick is empty
  int64_t next_tick_ = kNever;  // at or before the next tick with work
  size_t size_ = 0;
  List due_;
  std::array<std::array<uint64_t, kSlots / 64>, kLevels> used_{};
  std::array<std::array<List, kSlots>, kLevels> slots_;
};

}  // namespace mn::transport
