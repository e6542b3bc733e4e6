// SPDX-License-Identifier: MIT
#include "wire/bundle.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
extern "C" {
#include <cmocka.h>
}

#include "base/prng.h"
#include "wire/bytes.h"

using mn::wire::bundle_ok;
using mn::wire::BundleSize;

namespace {

uint8_t payload[70000];

// A bundle of these lengths; returns its size.
size_t build(const uint16_t* lengths, size_t count) {
  BundleSize size;
  memset(payload, 0, sizeof payload);
  for (size_t i = 0; i < count; i++) {
    mn::wire::store_be16(payload + 2 * i, lengths[i]);
    const size_t with = size.with(lengths[i]);
    size.add(lengths[i]);
    assert_int_equal(size.total(), with);
  }
  return size.total();
}

void bundle_ok__sizes_as_documented(void**) {
  const uint16_t lengths[] = {5, 8, 1};
  // Table 6 -> 8; 5 -> 8; 8; 1.
  const size_t size = build(lengths, 3);
  assert_int_equal(size, 8 + 8 + 8 + 1);
  assert_true(bundle_ok({payload, size}, 3));
}

void bundle_ok__any_lengths(void**) {
  mn::Prng random(1);
  uint16_t lengths[255];
  for (int round = 0; round < 2000; round++) {
    const size_t count = random.between(1, 255);
    for (size_t i = 0; i < count; i++) lengths[i] = static_cast<uint16_t>(random.between(1, 200));
    const size_t size = build(lengths, count);
    assert_true(bundle_ok({payload, size}, count));
    assert_false(bundle_ok({payload, size - 1}, count));
    assert_false(bundle_ok({payload, size + 1}, count));
  }
}

void bundle_ok__refuses_empty_messages(void**) {
  for (size_t empty = 0; empty < 3; empty++) {
    uint16_t lengths[] = {4, 4, 4};
    lengths[empty] = 0;
    const size_t size = build(lengths, 3);
    assert_false(bundle_ok({payload, size}, 3));
  }
}

void bundle_ok__refuses_counts_that_cannot_be(void**) {
  const uint16_t lengths[] = {4};
  const size_t size = build(lengths, 1);
  assert_false(bundle_ok({payload, size}, 0));
  assert_false(bundle_ok({payload, size}, 2));
  assert_false(bundle_ok({payload, size}, 256));
  assert_false(bundle_ok({}, 1));
  assert_false(bundle_ok({}, 0));
}

void bundle_ok__refuses_a_table_beyond_the_end(void**) {
  memset(payload, 1, sizeof payload);
  for (size_t size = 0; size < 16; size++) assert_false(bundle_ok({payload, size}, 8));
}

void bundle_ok__refuses_lengths_beyond_the_end(void**) {
  memset(payload, 0xff, sizeof payload);
  assert_false(bundle_ok({payload, 65535}, 255));
  assert_false(bundle_ok({payload, 1440}, 1));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(bundle_ok__sizes_as_documented),
      cmocka_unit_test(bundle_ok__any_lengths),
      cmocka_unit_test(bundle_ok__refuses_empty_messages),
      cmocka_unit_test(bundle_ok__refuses_counts_that_cannot_be),
      cmocka_unit_test(bundle_ok__refuses_a_table_beyond_the_end),
      cmocka_unit_test(bundle_ok__refuses_lengths_beyond_the_end),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
