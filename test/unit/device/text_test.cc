// SPDX-License-Identifier: MIT
#include "device/text.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
extern "C" {
#include <cmocka.h>
}

using namespace mn;
using namespace mn::device;

namespace {

void format__writes_what_config_reads(void**) {
  assert_string_equal(format_ipv4(0x0a000102).c_str(), "10.0.1.2");
  assert_string_equal(format_ipv4(0xffffffff).c_str(), "255.255.255.255");
  assert_string_equal(format_network(0x0a000102, 32).c_str(), "10.0.1.2/32");
  assert_string_equal(format_mac(Mac{{0, 0x0d, 0x3a, 0x12, 0xab, 0xff}}).c_str(),
                      "00:0d:3a:12:ab:ff");
}

void trim__takes_both_ends(void**) {
  assert_true(trim(" \t a b\r\n") == "a b");
  assert_true(trim(" \n").empty());
  assert_true(trim("").empty());
}

void printable__keeps_one_line(void**) {
  assert_string_equal(printable("a\nb\x1b[0m\xc3\xa4").c_str(), "a?b?[0m??");
  assert_string_equal(printable("abcdef", 3).c_str(), "abc...");
  assert_string_equal(printable("abc", 3).c_str(), "abc");
}

void netmask__has_as_many_ones(void**) {
  assert_int_equal(netmask(0), 0);
  assert_int_equal(netmask(24), 0xffffff00);
  assert_int_equal(netmask(32), 0xffffffff);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(format__writes_what_config_reads),
      cmocka_unit_test(trim__takes_both_ends),
      cmocka_unit_test(printable__keeps_one_line),
      cmocka_unit_test(netmask__has_as_many_ones),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
