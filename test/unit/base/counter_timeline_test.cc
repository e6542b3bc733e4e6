// SPDX-License-Identifier: MIT
#include "base/counter_timeline.h"

#include <algorithm>
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
extern "C" {
#include <cmocka.h>
}

#include "base/prng.h"

namespace {

using mn::CounterTimeline;
using mn::Duration;
using mn::Instant;
using mn::microseconds;
using mn::milliseconds;
using mn::seconds;

// A machine whose counter and clock do what the test says.
struct Machine {
  CounterTimeline timeline;
  double ticks = 123'456'789'000.0;
  double ghz = 2.8;
  int64_t kernel_ns = 5'000'000'000;
  Instant last{};
  uint64_t looks = 0;

  void pass(Duration time) {
    kernel_ns += time.ns;
    ticks += static_cast<double>(time.ns) * ghz;
  }
  Instant now() {
    Instant now;
    if (!timeline.read(static_cast<uint64_t>(ticks), &now)) {
      looks++;
      now = timeline.correct(static_cast<uint64_t>(ticks), {kernel_ns});
    }
    assert_true(now >= last);
    last = now;
    return now;
  }
  int64_t error_ns() { return now().ns - kernel_ns; }
  // Looks every `step` for `time`; returns the largest error seen.
  int64_t run(Duration time, Duration step) {
    int64_t worst = 0;
    for (Duration passed; passed < time; passed = passed + step) {
      pass(step);
      const int64_t error = error_ns();
      worst = std::max(worst, error < 0 ? -error : error);
    }
    return worst;
  }
};

void read__knows_nothing_at_first(void**) {
  CounterTimeline timeline;
  Instant now;
  assert_false(timeline.read(0, &now));
  assert_false(timeline.read(1'000'000, &now));
  assert_false(timeline.uses_counter());
}

void correct__measures_the_rate(void**) {
  for (const double ghz : {0.9, 1.0, 2.0, 2.8, 5.1}) {
    Machine m;
    m.ghz = ghz;
    assert_true(m.run(milliseconds(9), microseconds(10)) == 0);  // the kernel's clock until then
    assert_false(m.timeline.uses_counter());
    m.run(milliseconds(3), microseconds(10));
    assert_true(m.timeline.uses_counter());
    assert_true(m.run(seconds(5), microseconds(10)) < 1000);
    assert_int_equal(m.timeline.steps(), 0);
  }
}

void read__seldom_needs_the_kernel(void**) {
  Machine m;
  m.run(milliseconds(20), microseconds(10));
  const uint64_t before = m.looks;
  m.run(seconds(10), microseconds(10));
  assert_in_range(m.looks - before, 90, 110);
}

void correct__follows_drift(void**) {
  // The kernel's clock is steered by 500 ppm, this way and that.
  Machine m;
  m.run(milliseconds(20), microseconds(10));
  for (const double ghz : {2.8 * 1.0005, 2.8 * 0.9995, 2.8}) {
    m.ghz = ghz;
    assert_true(m.run(seconds(2), microseconds(50)) < 120'000);
    assert_true(m.run(seconds(1), microseconds(50)) < 1000);  // found out and worked off
  }
  assert_int_equal(m.timeline.steps(), 0);
}

void correct__readings_are_not_exact(void**) {
  Machine m;
  mn::Prng random(1);
  for (int i = 0; i < 200'000; i++) {
    m.pass(microseconds(20));
    const int64_t exact = m.kernel_ns;
    m.kernel_ns += static_cast<int64_t>(random.below(200)) - 100;
    m.now();
    m.kernel_ns = exact;
    const int64_t error = m.last.ns - exact;
    assert_true(error > -2000 && error < 2000);
  }
  assert_int_equal(m.timeline.steps(), 0);
}

void correct__sleeps_are_no_jumps(void**) {
  Machine m;
  m.run(milliseconds(20), microseconds(10));
  assert_true(m.run(seconds(20), seconds(1)) < 10'000);
  m.pass(seconds(600));  // stopped by a debugger
  assert_true(m.error_ns() > -3'000'000 && m.error_ns() < 3'000'000);
  assert_true(m.run(seconds(2), microseconds(100)) < 1'000'000);
  assert_int_equal(m.timeline.steps(), 0);
}

void correct__counter_goes_back(void**) {
  // Another host's counter; or it started anew in a suspend.
  for (const double back : {1e3, 1e6, 28e6, 1e10, 123'000'000'000.0}) {
    Machine m;
    m.run(milliseconds(500), microseconds(10));
    m.ticks -= back;
    assert_true(m.run(seconds(1), microseconds(10)) < 11'000'000);  // read never goes back
    assert_true(m.run(milliseconds(200), microseconds(10)) < 20'000);
    assert_true(m.timeline.uses_counter());
    assert_true(m.timeline.steps() <= 1);
  }
}

void correct__counter_jumps_forward(void**) {
  for (const double forward : {1e6, 14e6, 1e9, 1e13, 1e18}) {
    Machine m;
    m.run(milliseconds(500), microseconds(10));
    m.ticks += forward;
    // Only what is too small to be noticed at once shows, until the next check.
    assert_true(m.run(seconds(1), microseconds(10)) < 11'000'000);
    assert_true(m.run(milliseconds(200), microseconds(10)) < 20'000);
    assert_true(m.timeline.uses_counter());
    assert_true(m.timeline.steps() <= 1);
  }
}

void correct__kernel_jumps_forward(void**) {
  // The virtual machine was paused, and its counter with it.
  Machine m;
  m.run(milliseconds(500), microseconds(10));
  m.kernel_ns += 3'600'000'000'000;
  m.run(milliseconds(100), microseconds(10));
  assert_true(m.run(seconds(1), microseconds(10)) < 20'000);
  assert_int_equal(m.timeline.steps(), 1);
}

void correct__frequency_changes(void**) {
  for (const double ghz : {2.0, 2.79, 2.81, 3.6, 5.6}) {
    Machine m;
    m.run(milliseconds(500), microseconds(10));
    m.ghz = ghz;
    assert_true(m.run(milliseconds(300), microseconds(10)) < 101'000'000);
    assert_true(m.run(seconds(1), microseconds(10)) < 20'000);
    assert_true(m.timeline.uses_counter());
    assert_true(m.timeline.steps() <= 2);
  }
}

void correct__gives_up(void**) {
  // A counter that does what it likes.
  Machine m;
  mn::Prng random(2);
  for (int i = 0; i < 1000; i++) {
    m.run(milliseconds(12), microseconds(50));
    m.ticks += static_cast<double>(random.below(1'000'000'000'000));
  }
  assert_true(m.timeline.has_given_up());
  assert_true(m.run(seconds(1), microseconds(50)) == 0);
  assert_false(m.timeline.uses_counter());
}

void correct__counter_stands_still(void**) {
  Machine m;
  m.ghz = 0;
  assert_true(m.run(seconds(1), microseconds(100)) == 0);
  assert_true(m.timeline.has_given_up());
}

void correct__one_jump_a_minute_is_lived_with(void**) {
  Machine m;
  for (int i = 0; i < 50; i++) {
    m.run(milliseconds(500), microseconds(50));
    m.ticks += 1e12;
  }
  assert_false(m.timeline.has_given_up());
  assert_true(m.run(seconds(1), microseconds(50)) < 20'000);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(read__knows_nothing_at_first),
      cmocka_unit_test(correct__measures_the_rate),
      cmocka_unit_test(read__seldom_needs_the_kernel),
      cmocka_unit_test(correct__follows_drift),
      cmocka_unit_test(correct__readings_are_not_exact),
      cmocka_unit_test(correct__sleeps_are_no_jumps),
      cmocka_unit_test(correct__counter_goes_back),
      cmocka_unit_test(correct__counter_jumps_forward),
      cmocka_unit_test(correct__kernel_jumps_forward),
      cmocka_unit_test(correct__frequency_changes),
      cmocka_unit_test(correct__gives_up),
      cmocka_unit_test(correct__counter_stands_still),
      cmocka_unit_test(correct__one_jump_a_minute_is_lived_with),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
