// SPDX-License-Identifier: MIT
#include "wire/checksum.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
extern "C" {
#include <cmocka.h>
}

#include "base/prng.h"

using mn::wire::InternetSum;

namespace {

constexpr size_t kSize = 1 << 16;
uint8_t bytes[kSize + 64];
uint8_t copy[kSize + 64];

// RFC 1071's definition, word by word.
uint16_t naive_sum(const uint8_t* at, size_t size) {
  uint64_t sum = 0;
  for (size_t i = 0; i < size; i++) sum += i % 2 == 0 ? at[i] * 256u : at[i];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

void fill(uint64_t seed) {
  mn::Prng random(seed);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.next());
}

void check(size_t offset, size_t size) {
  const uint16_t want = naive_sum(bytes + offset, size);
  InternetSum sum;
  sum.add({bytes + offset, size});
  assert_int_equal(sum.folded(), want);
  assert_int_equal(sum.checksum(), static_cast<uint16_t>(~want));
  memset(copy, 0xa5, size + offset + 8);
  InternetSum copied;
  copied.add_copy(copy + offset + 1, {bytes + offset, size});
  assert_int_equal(copied.folded(), want);
  assert_memory_equal(copy + offset + 1, bytes + offset, size);
  assert_int_equal(copy[offset], 0xa5);
  assert_int_equal(copy[offset + 1 + size], 0xa5);
}

void sum__every_small_size_at_every_offset(void**) {
  fill(1);
  for (size_t offset = 0; offset < 33; offset++) {
    for (size_t size = 0; size < 600; size++) check(offset, size);
  }
}

void sum__large_sizes(void**) {
  fill(2);
  for (size_t size : {1440, 1472, 1500, 4096, 8972, 9001, 32767, 65535, 65536}) {
    for (size_t offset : {0, 1, 7, 31}) check(offset, size);
  }
}

// The most carries that can be.
void sum__all_ones(void**) {
  memset(bytes, 0xff, sizeof bytes);
  for (size_t size : {2, 3, 64, 65, 255, 256, 257, 1500, 65535, 65536}) check(1, size);
}

void sum__zeros_sum_to_zero_and_nothing_else(void**) {
  memset(bytes, 0, sizeof bytes);
  for (size_t size : {0, 1, 63, 300}) check(0, size);
  bytes[100] = 1;
  InternetSum sum;
  sum.add({bytes, 300});
  assert_int_not_equal(sum.folded(), 0);
}

// Any cut into pieces, odd ones too, gives the sum of the whole.
void sum__pieces_add_up(void**) {
  fill(3);
  mn::Prng random(4);
  for (int round = 0; round < 3000; round++) {
    const size_t offset = random.below(16);
    const size_t size = random.below(2000);
    InternetSum sum;
    for (size_t done = 0; done < size;) {
      const size_t piece = random.between(1, size - done < 400 ? size - done : 400);
      if (random.below(2) == 0) {
        sum.add({bytes + offset + done, piece});
      } else {
        sum.add_copy(copy + done, {bytes + offset + done, piece});
      }
      done += piece;
    }
    assert_int_equal(sum.folded(), naive_sum(bytes + offset, size));
  }
}

void sum__zeros_between_pieces(void**) {
  fill(5);
  for (size_t before : {3, 4}) {
    for (size_t zeros : {0, 1, 2, 5}) {
      memcpy(copy, bytes, before);
      memset(copy + before, 0, zeros);
      memcpy(copy + before + zeros, bytes + before, 11);
      InternetSum sum;
      sum.add({bytes, before});
      sum.add_zeros(zeros);
      sum.add({bytes + before, 11});
      assert_int_equal(sum.folded(), naive_sum(copy, before + zeros + 11));
    }
  }
}

void sum__words_of_a_pseudo_header(void**) {
  const uint8_t same[] = {0x0a, 0x00, 0x00, 0x01, 0x00, 0x11};
  InternetSum sum;
  sum.add_words(0x0a000001);
  sum.add_word(17);
  assert_int_equal(sum.folded(), naive_sum(same, sizeof same));
}

// The example of RFC 1071 section 3.
void sum__rfc_example(void**) {
  const uint8_t example[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  InternetSum sum;
  sum.add(example);
  assert_int_equal(sum.folded(), 0xddf2);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(sum__every_small_size_at_every_offset),
      cmocka_unit_test(sum__large_sizes),
      cmocka_unit_test(sum__all_ones),
      cmocka_unit_test(sum__zeros_sum_to_zero_and_nothing_else),
      cmocka_unit_test(sum__pieces_add_up),
      cmocka_unit_test(sum__zeros_between_pieces),
      cmocka_unit_test(sum__words_of_a_pseudo_header),
      cmocka_unit_test(sum__rfc_example),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
