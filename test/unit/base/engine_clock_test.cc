// SPDX-License-Identifier: MIT
#include "base/engine_clock.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <ctime>
extern "C" {
#include <cmocka.h>
}

namespace {

using mn::judge_clock;

void judge_clock__takes_what_kernels_trust(void**) {
  assert_true(judge_clock(true, "tsc", "tsc kvm-clock").counter);
  assert_true(judge_clock(true, "kvm-clock", "kvm-clock tsc acpi_pm").counter);
  assert_true(judge_clock(true, "hyperv_clocksource_tsc_page",
                          "hyperv_clocksource_tsc_page hyperv_clocksource_msr tsc")
                  .counter);
  assert_true(judge_clock(true, "tsc", "hpet tsc").counter);
}

void judge_clock__refuses(void**) {
  assert_false(judge_clock(false, "tsc", "tsc").counter);
  assert_false(judge_clock(true, "kvm-clock", "kvm-clock acpi_pm").counter);  // tsc: found unstable
  assert_false(judge_clock(true, "hpet", "hpet tsc acpi_pm").counter);        // somebody chose that
  assert_false(judge_clock(true, "xen", "xen tsc-early").counter);
  assert_false(judge_clock(true, "", "").counter);
  assert_false(judge_clock(true, "tsc", "").counter);
}

void judge_clock__says_why(void**) {
  assert_string_equal(judge_clock(false, "tsc", "tsc").reason.c_str(),
                      "the processor's counter is not invariant");
  assert_string_equal(judge_clock(true, "acpi_pm", "tsc acpi_pm").reason.c_str(),
                      "the kernel's clock source is acpi_pm");
  assert_string_equal(judge_clock(true, "kvm-clock", "kvm-clock").reason.c_str(),
                      "the kernel does not trust the TSC");
}

void choose_clock__has_a_reason(void**) { assert_false(mn::choose_clock().reason.empty()); }

// Whatever this machine's counter is like: it is checked.
void now__stays_with_the_kernels_clock(void**) {
  for (const bool use_counter : {false, true}) {
    mn::EngineClock clock(use_counter);
    mn::Instant last{};
    const mn::Instant end = mn::clock_now() + mn::milliseconds(60);
    for (bool is_over = false; !is_over;) {
      const mn::Instant before = mn::clock_now();
      const mn::Instant now = clock.now();
      const mn::Instant after = mn::clock_now();
      assert_true(now >= last);
      last = now;
      assert_true(now > before - mn::milliseconds(20) && now < after + mn::milliseconds(20));
      is_over = after > end;
    }
    const timespec nap{.tv_sec = 0, .tv_nsec = 20'000'000};
    nanosleep(&nap, nullptr);
    assert_true(clock.now() - last >= mn::milliseconds(19));
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(judge_clock__takes_what_kernels_trust),
      cmocka_unit_test(judge_clock__refuses),
      cmocka_unit_test(judge_clock__says_why),
      cmocka_unit_test(choose_clock__has_a_reason),
      cmocka_unit_test(now__stays_with_the_kernels_clock),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
