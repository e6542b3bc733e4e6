// SPDX-License-Identifier: MIT
// EngineClock: what an engine's thread reads once in every poll: the processor's cycle counter
// where it can be trusted, which costs half of a look at the kernel's clock, and that one
// otherwise. Monotonic, and within a millisecond of clock_now (counter_timeline.h). choose_clock
// says at start which it will be, and why. One object for each thread.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/counter_timeline.h"
#include "base/time.h"

namespace mn {

struct ClockChoice {
  bool counter = false;  // else the kernel's clock
  std::string reason;    // for the log
};

// `invariant`: the processor says that its counter's rate never changes and that it never stops.
// `current` and `available` are the kernel's clock sources, as sysfs tells them.
ClockChoice judge_clock(bool invariant, std::string_view current, std::string_view available);
// Of this machine. Reads files: at start.
ClockChoice choose_clock();

class EngineClock {
 public:
  explicit EngineClock(bool use_counter) : use_counter_(use_counter) {}

  Instant now() {
#if defined(__x86_64__)
    Instant now;
    if (__builtin_expect(use_counter_, 1)) {
      if (__builtin_expect(timeline_.read(__builtin_ia32_rdtsc(), &now), 1)) return now;
      return look();
    }
#endif
    return clock_now();
  }
  uint64_t steps() const { return timeline_.steps(); }

 private:
  Instant look();

  bool use_counter_;
  CounterTimeline timeline_;
};

}  // namespace mn
