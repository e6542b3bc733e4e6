// SPDX-License-Identifier: MIT
// What the tests of taking and of giving back share: one NIC, eth1, with addresses and routes, and
// what has to be true before and after. Include it last: cmocka has macros called fail and skip.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <string>

#include "unit/device/fake_host.h"

extern "C" {
#include <cmocka.h>
}

namespace mn::test {

inline constexpr char kPci[] = "0000:03:00.0";
inline constexpr char kState[] = "var/lib/machnet/eth1.nic";
inline constexpr char kNet[] =
    "mtu 9000\nup yes\nlink yes\naddress 10.0.0.2/24\naddress 10.0.0.3/24\n"
    "route 10.1.0.0/16 via 10.0.0.1 metric 50\nroute 10.2.0.0/16 via 10.0.0.1\n";

inline int make_nic(void** state) {
  make_host(state);
  host->add_pci({.address = kPci, .group = "12", .ifname = "eth1", .numa_node = 1});
  host->set_net("eth1", kNet);
  host->config("[machnet]\nhugepages = no\n[nic eth1]\n");
  return 0;
}

inline device::SavedNic saved(const char* name) {
  auto loaded = device::load_saved_nic(host->root(), name);
  assert_true(loaded.ok());
  assert_true(loaded.value().has_value());
  return *loaded.value();
}

inline void expect_calls(const char* calls) { assert_string_equal(host->calls().c_str(), calls); }

inline bool net_has(const char* ifname, const char* line) {
  const std::string now = host->net(ifname);
  const bool has = ("\n" + now).find(std::string("\n") + line) != std::string::npos;
  if (!has) print_error("%s lacks \"%s\":\n%s", ifname, line, now.c_str());
  return has;
}

inline void expect_given_back(const char* ifname) {
  assert_string_equal(host->driver_of("pci", kPci).c_str(), "e1000e");
  for (const char* line :
       {"mac 02:00:00:00:00:01", "mtu 9000", "up yes", "address 10.0.0.2/24", "address 10.0.0.3/24",
        "route 10.1.0.0/16 via 10.0.0.1 metric 50", "route 10.2.0.0/16 via 10.0.0.1"}) {
    assert_true(net_has(ifname, line));
  }
}

}  // namespace mn::test

#define HOST_TEST(name) \
  cmocka_unit_test_setup_teardown(name, mn::test::make_nic, mn::test::drop_host)
