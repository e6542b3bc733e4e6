// SPDX-License-Identifier: MIT
#include "config/values.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
extern "C" {
#include <cmocka.h>
}

using namespace mn;
using namespace mn::config;

namespace {

void parse_size__knows_units(void**) {
  assert_int_equal(parse_size("17").value(), 17);
  assert_int_equal(parse_size("2K").value(), 2048);
  assert_int_equal(parse_size("3m").value(), 3 << 20);
  assert_true(parse_size("4G").value() == uint64_t{4} << 30);
  assert_false(parse_size("").has_value());
  assert_false(parse_size("M").has_value());
  assert_false(parse_size("1T").has_value());
  assert_false(parse_size("1 M").has_value());
  assert_false(parse_size("18446744073709551615G").has_value());
}

void format__writes_what_parse_reads(void**) {
  for (const char* word : {"17", "3K", "1025M", "4G", "1000M"}) {
    assert_string_equal(format_size(parse_size(word).value()).c_str(), word);
  }
  assert_string_equal(format_size(0).c_str(), "auto");
  for (const char* word : {"0.0.0.0", "10.0.200.1", "255.255.255.255"}) {
    assert_string_equal(format_ipv4(parse_ipv4(word).value()).c_str(), word);
  }
}

void parse_ipv4__takes_the_whole_word(void**) {
  assert_int_equal(parse_ipv4("1.2.3.4").value(), 0x01020304);
  assert_int_equal(parse_ipv4("255.255.255.255").value(), 0xffffffff);
  for (const char* bad :
       {"", "1.2.3", "1.2.3.4.5", "1.2.3.4 ", "1.2.3.04", "1..3.4", "a.2.3.4", "1.2.3.-4"}) {
    assert_false(parse_ipv4(bad).has_value());
  }
}

void parse_nic_name__tells_the_kinds_apart(void**) {
  assert_true(parse_nic_name("eth0") == NicName::kInterface);
  assert_true(parse_nic_name("0000:3b:00.1") == NicName::kPci);
  assert_true(parse_nic_name("3b:00.1") == NicName::kPci);
  assert_true(parse_nic_name("000d3a12-3456-000d-3a12-3456000d3a12") == NicName::kVmbus);
  assert_true(parse_nic_name("00:0d:3a:12:34:56") == NicName::kMac);
  for (const char* bad : {"", ".", "..", "a b", "a/b", "a:b", "sixteen-letters-", "ifac\x80"}) {
    assert_false(parse_nic_name(bad).has_value());
  }
}

void parse_mac__reads_six_bytes(void**) {
  const Mac mac = parse_mac("00:0D:3a:12:34:ff").value();
  assert_int_equal(mac.bytes[1], 0x0d);
  assert_int_equal(mac.bytes[5], 0xff);
  assert_false(parse_mac("00:0d:3a:12:34").has_value());
  assert_false(parse_mac("00-0d-3a-12-34-56").has_value());
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(parse_size__knows_units),
      cmocka_unit_test(format__writes_what_parse_reads),
      cmocka_unit_test(parse_ipv4__takes_the_whole_word),
      cmocka_unit_test(parse_nic_name__tells_the_kinds_apart),
      cmocka_unit_test(parse_mac__reads_six_bytes),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
