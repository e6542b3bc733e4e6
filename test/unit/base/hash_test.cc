// SPDX-License-Identifier: MIT
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
extern "C" {
#include <cmocka.h>
}

#include "base/keyed_hash.h"
#include "base/prng.h"

namespace {

void prng__same_seed_same_numbers(void**) {
  mn::Prng a(42), b(42), c(43);
  bool differs = false;
  for (int i = 0; i < 1000; i++) {
    const uint64_t value = a.next();
    assert_int_equal(value, b.next());
    differs |= value != c.next();
  }
  assert_true(differs);
}

// The first outputs for seed 0 of the published reference.
void prng__splitmix64_reference(void**) {
  mn::Prng random(0);
  assert_int_equal(random.next(), 0xe220a8397b1dcdaf);
  assert_int_equal(random.next(), 0x6e789e6aa1b965f4);
}

void prng__below_stays_below_and_reaches_all(void**) {
  mn::Prng random(1);
  unsigned seen = 0;
  for (int i = 0; i < 1000; i++) {
    const uint64_t value = random.below(7);
    assert_true(value < 7);
    seen |= 1u << value;
    assert_in_range(random.between(5, 6), 5, 6);
    assert_int_equal(random.below(1), 0);
  }
  assert_int_equal(seen, 0x7f);
}

void prng__chance_follows_its_parts(void**) {
  mn::Prng random(2);
  int hits = 0;
  for (int i = 0; i < 100000; i++) hits += random.chance_ppm(100'000);
  assert_in_range(hits, 9500, 10500);
  for (int i = 0; i < 1000; i++) assert_false(random.chance_ppm(0));
  for (int i = 0; i < 1000; i++) assert_true(random.chance_ppm(1'000'000));
}

// Vector 16 of the reference implementation: key and message are the bytes 0, 1, 2...
void keyed_hash__siphash_reference(void**) {
  const mn::KeyedHash hash(0x0706050403020100, 0x0f0e0d0c0b0a0908);
  assert_int_equal(hash(0x0706050403020100, 0x0f0e0d0c0b0a0908), 0x3f2acc7f57c29bdb);
}

void keyed_hash__depends_on_key_and_both_words(void**) {
  const mn::KeyedHash a(1, 2), b(1, 3);
  assert_int_not_equal(a(5, 6), b(5, 6));
  assert_int_not_equal(a(5, 6), a(6, 5));
  assert_int_equal(a(5), a(5, 0));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(prng__same_seed_same_numbers),
      cmocka_unit_test(prng__splitmix64_reference),
      cmocka_unit_test(prng__below_stays_below_and_reaches_all),
      cmocka_unit_test(prng__chance_follows_its_parts),
      cmocka_unit_test(keyed_hash__siphash_reference),
      cmocka_unit_test(keyed_hash__depends_on_key_and_both_words),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
