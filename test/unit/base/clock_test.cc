// SPDX-License-Identifier: MIT
#include "base/clock.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <ctime>
extern "C" {
#include <cmocka.h>
}

#include "base/random.h"
#include "base/time.h"

namespace {

void clock_now__never_goes_back(void**) {
  mn::Instant last = mn::clock_now();
  for (int i = 0; i < 100000; i++) {
    const mn::Instant now = mn::clock_now();
    assert_true(now >= last);
    last = now;
  }
}

void clock_now__advances_with_real_time(void**) {
  const mn::Instant start = mn::clock_now();
  const timespec nap{.tv_sec = 0, .tv_nsec = 2'000'000};
  nanosleep(&nap, nullptr);
  assert_true(mn::clock_now() - start >= mn::milliseconds(2));
}

void random_seed__differs(void**) {
  const uint64_t seed = mn::random_seed();
  assert_true(seed != mn::random_seed() || seed != mn::random_seed());
}

void duration__arithmetic(void**) {
  constexpr mn::Instant start{1000};
  static_assert((start + mn::microseconds(2)).ns == 3000);
  static_assert((start + mn::microseconds(2)) - start == mn::nanoseconds(2000));
  static_assert(mn::seconds(1) / 4 == mn::milliseconds(250));
  static_assert(mn::Instant::never() > start + mn::seconds(1'000'000));
  assert_true(true);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(clock_now__never_goes_back),
      cmocka_unit_test(clock_now__advances_with_real_time),
      cmocka_unit_test(random_seed__differs),
      cmocka_unit_test(duration__arithmetic),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
