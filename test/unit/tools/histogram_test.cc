// SPDX-License-Identifier: MIT
#include "libmachnet/tools/histogram.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
extern "C" {
#include <cmocka.h>
}

using mn::tools::Histogram;
using mn::tools::HistogramSnapshot;

namespace {

Histogram histogram;

void bucket_of__within_one_percent(void**) {
  for (uint64_t value = 1; value < (uint64_t{1} << mn::tools::kHistogramValueBits);
       value += value / 7 + 1) {
    const uint64_t limit = Histogram::bucket_limit(Histogram::bucket_of(value));
    assert_true(limit >= value);
    assert_true(limit - value <= value / 100);
  }
}

void bucket_of__ascends_without_gaps(void**) {
  for (size_t bucket = 0; bucket + 1 < mn::tools::kHistogramBuckets; bucket++) {
    assert_int_equal(Histogram::bucket_of(Histogram::bucket_limit(bucket)), bucket);
    assert_int_equal(Histogram::bucket_of(Histogram::bucket_limit(bucket) + 1), bucket + 1);
  }
  assert_int_equal(Histogram::bucket_of(UINT64_MAX), mn::tools::kHistogramBuckets - 1);
}

void percentile_ns__of_nothing(void**) {
  assert_int_equal(HistogramSnapshot().percentile_ns(0.5), 0);
}

void percentile_ns__of_a_ramp(void**) {
  const HistogramSnapshot before = histogram.snapshot();
  for (uint64_t i = 1; i <= 100; i++) histogram.record(i);  // exact below 128
  HistogramSnapshot ramp = histogram.snapshot();
  ramp.subtract(before);
  assert_int_equal(ramp.count(), 100);
  assert_int_equal(ramp.percentile_ns(0.5), 50);
  assert_int_equal(ramp.percentile_ns(0.99), 99);
  assert_int_equal(ramp.percentile_ns(0.0), 1);
  assert_int_equal(ramp.max_ns(), 100);
  assert_true(ramp.mean_ns() == 50.5);
}

void subtract__leaves_what_came_between(void**) {
  histogram.record(1'000'000);
  const HistogramSnapshot before = histogram.snapshot();
  histogram.record(5);
  HistogramSnapshot delta = histogram.snapshot();
  delta.subtract(before);
  assert_int_equal(delta.count(), 1);
  assert_int_equal(delta.max_ns(), 5);
  HistogramSnapshot twice = delta;
  twice.add(delta);
  assert_int_equal(twice.count(), 2);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(bucket_of__within_one_percent),
      cmocka_unit_test(bucket_of__ascends_without_gaps),
      cmocka_unit_test(percentile_ns__of_nothing),
      cmocka_unit_test(percentile_ns__of_a_ramp),
      cmocka_unit_test(subtract__leaves_what_came_between),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
