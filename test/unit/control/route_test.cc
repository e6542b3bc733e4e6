// SPDX-License-Identifier: MIT
#include "control/route.h"

#include <cerrno>
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
extern "C" {
#include <cmocka.h>
}

using namespace mn;
using namespace mn::control;

namespace {

constexpr Ipv4 kLan = 0x0a000001;    // 10.0.0.1/24, gateway 10.0.0.254, loopback
constexpr Ipv4 kWide = 0x0a000a01;   // 10.0.10.1/16
constexpr Ipv4 kCloud = 0xc0a80005;  // 192.168.0.5/32, gateway

struct Hosts {
  EngineFacts lan, wide, cloud, local;
  const EngineFacts* all[3] = {&lan, &wide, &cloud};
  const EngineFacts* none[1] = {&local};
};

int setup(void** state) {
  auto* hosts = new Hosts;
  hosts->lan.address = kLan;
  hosts->lan.prefix_length = 24;
  hosts->lan.gateway = 0x0a0000fe;
  hosts->wide.address = kWide;
  hosts->wide.prefix_length = 16;
  hosts->wide.serves_loopback = false;
  hosts->cloud.address = kCloud;
  hosts->cloud.prefix_length = 32;
  hosts->cloud.gateway = 0xc0a80001;
  hosts->cloud.serves_loopback = false;
  *state = hosts;
  return 0;
}

int teardown(void** state) {
  delete static_cast<Hosts*>(*state);
  return 0;
}

void assert_route(std::span<const EngineFacts* const> engines, Ipv4 local, Ipv4 remote, int error,
                  uint32_t engine, Ipv4 chosen) {
  Route route;
  assert_int_equal(route_for_connect(engines, local, remote, &route).error, error);
  if (error != 0) return;
  assert_int_equal(route.engine, engine);
  assert_int_equal(route.local_ip, chosen);
}

void route_for_connect__by_address(void** state) {
  const auto* hosts = static_cast<Hosts*>(*state);
  assert_route(hosts->all, 0, 0x0a000007, 0, 0, kLan);  // the longer prefix
  assert_route(hosts->all, 0, 0x0a00ff07, 0, 1, kWide);
  assert_route(hosts->all, 0, 0x08080808, 0, 0, kLan);  // the first gateway
  assert_route(hosts->all, 0, kCloud, 0, 2, kCloud);    // own address
  assert_route(hosts->all, 0, 0x7f000001, 0, 0, kLoopbackAddress);
  assert_route(hosts->all, 0, 0, EINVAL, 0, 0);
  assert_route(hosts->all, 0, 0xe0000001, EINVAL, 0, 0);
}

void route_for_connect__from_an_address(void** state) {
  const auto* hosts = static_cast<Hosts*>(*state);
  assert_route(hosts->all, kCloud, 0x0a000007, 0, 2, kCloud);  // through its gateway
  assert_route(hosts->all, kWide, 0x08080808, ENETUNREACH, 0, 0);
  assert_route(hosts->all, kLan, 0x7f000001, 0, 0, kLan);
  assert_route(hosts->all, kWide, 0x7f000001, ENETUNREACH, 0, 0);
  assert_route(hosts->all, 0x7f000001, kLan, 0, 0, 0x7f000001);
  assert_route(hosts->all, 0x7f000001, 0x0a000007, ENETUNREACH, 0, 0);
  assert_route(hosts->all, 0x0a000003, 0x0a000007, EADDRNOTAVAIL, 0, 0);
}

void route_for_connect__without_a_nic(void** state) {
  const auto* hosts = static_cast<Hosts*>(*state);
  assert_route(hosts->none, 0, 0x7f000001, 0, 0, kLoopbackAddress);
  assert_route(hosts->none, 0x7f000001, 0x7f000005, 0, 0, 0x7f000001);
  assert_route(hosts->none, 0, 0x0a000001, ENETUNREACH, 0, 0);
}

void engines_for_listen__by_address(void** state) {
  const auto* hosts = static_cast<Hosts*>(*state);
  static std::vector<uint32_t> engines;
  assert_int_equal(engines_for_listen(hosts->all, 0, &engines).error, 0);
  assert_int_equal(engines.size(), 3);
  assert_int_equal(engines_for_listen(hosts->all, kWide, &engines).error, 0);
  assert_int_equal(engines.size(), 1);
  assert_int_equal(engines[0], 1);
  assert_int_equal(engines_for_listen(hosts->all, 0x7f000002, &engines).error, 0);
  assert_int_equal(engines[0], 0);
  assert_int_equal(engines_for_listen(hosts->all, 0x0a000009, &engines).error, EADDRNOTAVAIL);
}

}  // namespace

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main() {
  const CMUnitTest tests[] = {
      TEST(route_for_connect__by_address),
      TEST(route_for_connect__from_an_address),
      TEST(route_for_connect__without_a_nic),
      TEST(engines_for_listen__by_address),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
