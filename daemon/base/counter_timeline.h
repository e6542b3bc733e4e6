// SPDX-License-Identifier: MIT
// CounterTimeline: monotonic time from a processor's cycle counter, measured against the kernel's
// clock and checked against it all the time, so that nothing the counter does (stops in a suspend,
// jumps or changes its rate when the machine moves to another host) shows for longer than a check
// takes. Small differences are slewed, large ones make it use the kernel's clock until the
// counter's rate is known again; the time never goes back. Arithmetic only: readings are arguments.
// One thread.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace mn {

class CounterTimeline {
 public:
  // Two looks at the time this far apart are not believed without a look at the kernel's clock.
  static constexpr Duration kUnseenMax = milliseconds(10);
  // The kernel's clock is looked at this often at least: what a counter can run away by.
  static constexpr Duration kCheckPeriod = milliseconds(100);
  // As long as this at least is measured for a rate. A reading is good to about 50 ns: 5 ppm.
  static constexpr Duration kMeasureMin = milliseconds(10);
  // A larger difference is no drift: the counter or the kernel's clock has jumped.
  static constexpr Duration kSlewMax = milliseconds(1);
  // So many jumps without a good check between them: this counter is of no use.
  static constexpr uint32_t kStepsInRowMax = 8;

  // The time of a reading. False: it cannot be told; call correct() with a reading of both clocks.
  bool read(uint64_t ticks, Instant* ret_now) {
    const uint64_t elapsed = ticks - base_ticks_;
    if (__builtin_expect(elapsed >= valid_ticks_, 0)) return false;  // or the counter went back
    const int64_t ns = base_ns_ + ticks_to_ns(elapsed, rate_);
    if (__builtin_expect(static_cast<uint64_t>(ns - last_ns_) > kUnseenMax.ns, 0)) return false;
    last_ns_ = ns;
    *ret_now = {ns};
    return true;
  }
  // Both clocks were read at the same moment. Returns the time.
  Instant correct(uint64_t ticks, Instant kernel);

  bool uses_counter() const { return valid_ticks_ != 0; }
  bool has_given_up() const { return steps_in_row_ >= kStepsInRowMax; }  // for good
  uint64_t steps() const { return steps_; }  // times the two clocks disagreed beyond slewing

 private:
  __extension__ using Wide = unsigned __int128;
  static int64_t ticks_to_ns(uint64_t ticks, uint64_t rate) {
    return static_cast<int64_t>((static_cast<Wide>(ticks) * rate) >> kRateBits);
  }
  Instant measure(uint64_t ticks, Instant kernel);
  bool take_rate(uint64_t ticks, Instant kernel);
  Instant run_on(uint64_t ticks, int64_t ns, Duration error);
  Instant step(uint64_t ticks, Instant kernel);
  Instant restart(uint64_t ticks, Instant kernel);
  Instant kernel_time(Instant kernel);

  static constexpr int kRateBits = 32;

  uint64_t base_ticks_ = 0;   // at base_ns_
  uint64_t valid_ticks_ = 0;  // after base_ticks_; 0: the rate is not known
  uint64_t rate_ = 0;         // ns for a tick, in 2^-32, with what is being worked off
  int64_t base_ns_ = 0;
  int64_t last_ns_ = 0;  // given out last

  bool anchored_ = false;
  uint64_t anchor_ticks_ = 0;  // both clocks, where the measurement of the rate began
  int64_t anchor_ns_ = 0;
  uint64_t measured_ = 0;  // the rate
  uint64_t steps_ = 0;
  uint32_t steps_in_row_ = 0;
};

}  // namespace mn
