// SPDX-License-Identifier: MIT
#include "transport/seqno.h"

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

void before__across_the_wrap(void**) {
  const Seqno last{UINT32_MAX};
  const Seqno first = last + 1;
  assert_int_equal(first.value, 0);
  assert_true(before(last, first) && !before(first, last) && !before(first, first));
  assert_int_equal(first - last, 1);
  assert_int_equal(last - first, -1);
  assert_int_equal((last + 1024) - last, 1024);
  assert_true(later_of(last, first) == first && later_of(first, last) == first);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {cmocka_unit_test(before__across_the_wrap)};
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
