// SPDX-License-Identifier: MIT
#include "libmachnet/tools/message_pattern.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
extern "C" {
#include <cmocka.h>
}

using mn::tools::check_pattern;
using mn::tools::fill_pattern;

namespace {

uint8_t message[4096];

// `size` bytes of `message` in pieces of `step` bytes.
size_t cut(size_t size, size_t step, MachnetIovec_t* pieces) {
  size_t count = 0;
  for (size_t at = 0; at < size; at += step) {
    pieces[count++] = {message + at, size - at < step ? size - at : step};
  }
  return count;
}

void check_pattern__whatever_the_pieces(void**) {
  MachnetIovec_t pieces[4096];
  for (const size_t size : {1u, 7u, 15u, 16u, 17u, 100u, 4096u}) {
    fill_pattern(77, size, {pieces, cut(size, 13, pieces)});
    for (const size_t step : {1u, 3u, 8u, 64u, 4096u}) {
      assert_true(check_pattern(77, size, {pieces, cut(size, step, pieces)}));
    }
  }
}

void check_pattern__sees_every_changed_byte(void**) {
  MachnetIovec_t piece = {message, 100};
  fill_pattern(1, 100, {&piece, 1});
  for (size_t i = 0; i < 100; i++) {
    message[i] ^= 1;
    assert_int_equal(check_pattern(1, 100, {&piece, 1}), i < mn::tools::kStampSize);
    message[i] ^= 1;
  }
}

void check_pattern__sees_another_message(void**) {
  MachnetIovec_t piece = {message, 64};
  fill_pattern(1, 64, {&piece, 1});
  assert_false(check_pattern(2, 64, {&piece, 1}));
}

void read_stamp__across_pieces(void**) {
  MachnetIovec_t pieces[4096];
  mn::tools::write_stamp({42, 4711}, message);
  const mn::tools::MessageStamp stamp = mn::tools::read_stamp({pieces, cut(64, 5, pieces)});
  assert_int_equal(stamp.sequence, 42);
  assert_int_equal(stamp.sent_ns, 4711);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(check_pattern__whatever_the_pieces),
      cmocka_unit_test(check_pattern__sees_every_changed_byte),
      cmocka_unit_test(check_pattern__sees_another_message),
      cmocka_unit_test(read_stamp__across_pieces),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
