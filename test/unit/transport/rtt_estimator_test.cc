// SPDX-License-Identifier: MIT
#include "transport/rtt_estimator.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
extern "C" {
#include <cmocka.h>
}

using namespace mn;
using namespace mn::transport;

namespace {

void on_sample__converges(void**) {
  RttEstimator rtt;
  assert_false(rtt.has_sample());
  assert_true(rtt.rto() == kRtoInitial);
  Instant now{1};
  for (int i = 0; i < 200; i++) {
    now = now + milliseconds(1);
    rtt.on_sample(now, microseconds(i < 100 ? 50 : 20));
  }
  assert_true(rtt.smoothed() > microseconds(19) && rtt.smoothed() < microseconds(22));
  assert_true(rtt.min() == microseconds(20));
  assert_true(rtt.rto() == kRtoMin);
  assert_true(rtt.tail_probe() == kTailProbeMin);
}

void rto__grows_with_the_round_trip_and_its_variation(void**) {
  RttEstimator rtt;
  Instant now{1};
  for (int i = 0; i < 100; i++) rtt.on_sample(now, milliseconds(i % 2 == 0 ? 2 : 6));
  assert_true(rtt.rto() > milliseconds(8) && rtt.rto() < milliseconds(20));
  assert_true(rtt.tail_probe() >= milliseconds(8) && rtt.tail_probe() <= rtt.rto());
  for (int i = 0; i < 100; i++) rtt.on_sample(now, seconds(30));
  assert_true(rtt.rto() == kRtoMax);
  assert_true(rtt.tail_probe() <= rtt.rto());
}

void min__forgets_a_shorter_route(void**) {
  RttEstimator rtt;
  rtt.on_sample(Instant{1}, microseconds(10));
  rtt.on_sample(Instant{2}, microseconds(90));
  assert_true(rtt.min() == microseconds(10));
  rtt.on_sample(Instant{1} + seconds(11), microseconds(90));
  assert_true(rtt.min() == microseconds(90));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(on_sample__converges),
      cmocka_unit_test(rto__grows_with_the_round_trip_and_its_variation),
      cmocka_unit_test(min__forgets_a_shorter_route),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
