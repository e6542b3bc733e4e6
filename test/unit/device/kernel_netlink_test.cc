// SPDX-License-Identifier: MIT
// The real kernel's network, in a network namespace of its own: what iproute2 put on an interface
// is read, the interface is taken away and made anew, everything is given back, and must be as
// before. Needs root; counts as skipped without.
#include <sched.h>
#include <unistd.h>

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "device/kernel_net.h"
#include "device/kernel_net_kinds.h"
#include "device/text.h"
extern "C" {
#include <cmocka.h>
}

using namespace mn;
using namespace mn::device;

namespace {

constexpr int kSkipped = 77;

struct Fixture {
  std::unique_ptr<KernelNet> net = make_netlink_net();
  KernelNic had;
  KernelNic nic;
  std::vector<std::string> lost;
  std::string error;
  bool has_ipv6 = access("/proc/sys/net/ipv6", F_OK) == 0;
};

bool run(const char* command) {
  const int status = system(command);
  if (status != 0) print_error("failed (%d): %s\n", status, command);
  return status == 0;
}

int setup(void** state) {
  *state = new Fixture;
  return run("ip link add mnk0 type veth peer name mnk1 && ip link set mnk1 up") ? 0 : -1;
}

int teardown(void** state) {
  delete static_cast<Fixture*>(*state);
  // One end is as good as both; a test may have renamed it.
  return run("ip link del mnk1 2>/dev/null || true") ? 0 : -1;
}

Fixture* of(void** state) { return static_cast<Fixture*>(*state); }

KernelAddress address_of(const char* address, uint32_t prefix_length) {
  KernelAddress one;
  one.address = address;
  one.prefix_length = prefix_length;
  return one;
}

// Reads `ifname` into `nic`.
bool look(Fixture* fixture, const char* ifname) {
  auto nics = fixture->net->nics();
  if (!nics) {
    print_error("%s\n", nics.error().c_str());
    return false;
  }
  for (const KernelNic& one : nics.value()) {
    if (one.ifname == ifname) {
      fixture->nic = one;
      return true;
    }
  }
  return false;
}

// Everything on the interface as lines, for comparing and showing. Leases run.
std::string lines_of(KernelNic nic) {
  std::string lines = "mtu " + std::to_string(nic.mtu) + (nic.is_up ? " up\n" : " down\n");
  for (KernelAddress& address : nic.addresses) {
    if (address.valid_s != kForever) address.valid_s = address.valid_s / 100 * 100;
    if (address.preferred_s != kForever) address.preferred_s = address.preferred_s / 100 * 100;
    lines += "address " + format_kernel_address(address) + "\n";
  }
  for (const KernelRoute& route : nic.routes) lines += "route " + format_kernel_route(route) + "\n";
  return lines;
}

bool has_line(const Fixture* fixture, const char* line) {
  const std::string lines = lines_of(fixture->nic);
  if (("\n" + lines).find("\n" + std::string(line) + "\n") != std::string::npos) return true;
  print_error("no line: %s\nin:\n%s", line, lines.c_str());
  return false;
}

// Takes the interface away, makes it anew under `ifname`, gives everything back, reads it.
bool lose_and_restore(Fixture* fixture, const char* ifname) {
  fixture->had = fixture->nic;
  const std::string again = "ip link del mnk0 && ip link add " + std::string(ifname) +
                            " type veth peer name mnk1 && ip link set mnk1 up";
  if (!run(again.c_str())) return false;
  fixture->lost = restore_network(fixture->net.get(), ifname, fixture->had);
  for (const std::string& line : fixture->lost) print_message("lost: %s\n", line.c_str());
  return look(fixture, ifname);
}

void nics__have_what_the_kernel_says(void** state) {
  assert_true(
      run("ip link set mnk0 address 02:00:00:00:00:aa mtu 1400 && "
          "ip link add mnbr type bridge && ip link set mnk1 master mnbr"));
  assert_true(look(of(state), "mnk0"));
  const KernelNic& nic = of(state)->nic;
  assert_string_equal(format_mac(nic.mac).c_str(), "02:00:00:00:00:aa");
  assert_int_equal(nic.mtu, 1400);
  assert_string_equal(nic.kind.c_str(), "veth");
  assert_true(nic.index > 0);
  assert_false(nic.is_up);
  assert_false(nic.has_link);
  assert_true(nic.addresses.empty() && nic.routes.empty());
  assert_true(run("ip link set mnk0 up"));
  assert_true(look(of(state), "mnk0"));
  assert_true(nic.is_up);
  assert_true(nic.has_link);
  assert_true(look(of(state), "mnk1"));
  assert_string_equal(nic.master.c_str(), "mnbr");
  assert_false(look(of(state), "lo"));
  assert_true(run("ip link del mnbr"));
}

void nics__have_addresses_and_routes(void** state) {
  assert_true(
      run("ip link set mnk0 up && ip addr add 10.1.0.2/24 brd + dev mnk0 label mnk0:a && "
          "ip addr add 10.1.0.3/24 dev mnk0 noprefixroute && "
          "ip addr add 10.3.0.1 peer 10.3.0.2/32 dev mnk0 && "
          "ip addr add 10.4.0.1/24 dev mnk0 metric 77 scope link "
          "valid_lft 2050 preferred_lft 1050 && "
          "ip route add default via 10.1.0.1 dev mnk0 metric 100 src 10.1.0.3 proto dhcp"));
  assert_true(look(of(state), "mnk0"));
  const Fixture* const fixture = of(state);
  assert_true(has_line(fixture, "address 10.1.0.2/24 broadcast 10.1.0.255 label mnk0:a"));
  assert_true(has_line(fixture, "address 10.1.0.3/24 label mnk0 flags 512"));
  assert_true(has_line(fixture, "address 10.3.0.1/32 peer 10.3.0.2 label mnk0"));
  assert_true(has_line(fixture,
                       "address 10.4.0.1/24 label mnk0 scope 253 metric 77 valid 2000 "
                       "preferred 1000"));
  assert_true(has_line(fixture, "route 10.1.0.0/24 src 10.1.0.2 proto 2 scope 253"));
  assert_true(has_line(fixture, "route default via 10.1.0.1 src 10.1.0.3 metric 100 proto 16"));
  assert_true(carries_default_route(fixture->nic));
  assert_int_equal(gateway_of(fixture->nic), 0x0a010001);
  assert_string_equal(primary_address(fixture->nic)->address.c_str(), "10.1.0.2");
}

void restore__gives_back_addresses_and_routes_of_all_tables(void** state) {
  assert_true(
      run("ip link set mnk0 mtu 1400 up && ip addr add 10.1.0.2/24 brd + dev mnk0 label mnk0:a && "
          "ip addr add 10.1.0.3/24 dev mnk0 && "
          "ip addr add 10.4.0.1/24 dev mnk0 metric 77 valid_lft 2050 preferred_lft 1050 && "
          "ip route add 10.9.0.0/16 via 10.1.0.1 dev mnk0 metric 50 mtu 1300 proto static && "
          "ip route add 10.8.0.0/16 via 10.1.0.1 dev mnk0 table 100 src 10.1.0.3 && "
          "ip route add default via 192.168.7.1 dev mnk0 onlink table 70000 advmss 1000 && "
          "ip route add 10.6.0.0/16 via 10.1.0.1 dev mnk0 tos 0x10 initcwnd 20 initrwnd 30 && "
          "ip route add default via 10.1.0.1 dev mnk0"));
  assert_true(look(of(state), "mnk0"));
  assert_true(has_line(of(state), "route default via 192.168.7.1 table 70000 onlink advmss 1000"));
  assert_true(lose_and_restore(of(state), "mnk0"));
  assert_true(of(state)->lost.empty());
  assert_string_equal(lines_of(of(state)->nic).c_str(), lines_of(of(state)->had).c_str());
  // A second time changes nothing and is no error.
  of(state)->lost = restore_network(of(state)->net.get(), "mnk0", of(state)->had);
  assert_true(of(state)->lost.empty());
  assert_true(look(of(state), "mnk0"));
  assert_string_equal(lines_of(of(state)->nic).c_str(), lines_of(of(state)->had).c_str());
}

void restore__gives_back_a_single_address_with_its_gateway(void** state) {
  // As on GCP. The order of the dump is not one in which the kernel takes them.
  assert_true(
      run("ip link set mnk0 up && ip addr add 10.128.0.2/32 dev mnk0 && "
          "ip route add 10.128.0.1/32 dev mnk0 && "
          "ip route add default via 10.128.0.1 dev mnk0 && "
          "ip route add 10.128.0.0/20 via 10.128.0.1 dev mnk0"));
  assert_true(look(of(state), "mnk0"));
  assert_int_equal(gateway_of(of(state)->nic), 0x0a800001);
  assert_true(lose_and_restore(of(state), "mnk0"));
  assert_true(of(state)->lost.empty());
  assert_string_equal(lines_of(of(state)->nic).c_str(), lines_of(of(state)->had).c_str());
}

void restore__finds_the_interface_under_a_new_name(void** state) {
  assert_true(
      run("ip link set mnk0 up && ip addr add 10.1.0.2/24 dev mnk0 label mnk0:a && "
          "ip addr add 10.2.0.2/24 dev mnk0 && "
          "ip route add 10.9.0.0/16 nexthop via 10.1.0.1 dev mnk0 weight 3 "
          "nexthop via 10.2.0.1 dev mnk0"));
  assert_true(look(of(state), "mnk0"));
  assert_true(has_line(of(state),
                       "route 10.9.0.0/16 nexthop dev mnk0 via 10.1.0.1 weight 3 "
                       "nexthop dev mnk0 via 10.2.0.1"));
  assert_int_equal(of(state)->nic.routes.size(), 3);
  assert_true(lose_and_restore(of(state), "mnk9"));
  assert_true(of(state)->lost.empty());
  assert_true(has_line(of(state), "address 10.1.0.2/24 label mnk9:a"));
  assert_true(has_line(of(state),
                       "route 10.9.0.0/16 nexthop dev mnk9 via 10.1.0.1 weight 3 "
                       "nexthop dev mnk9 via 10.2.0.1"));
}

void restore__of_an_interface_that_was_down(void** state) {
  assert_true(run("ip addr add 10.1.0.2/24 dev mnk0 && ip link set mnk0 mtu 1300"));
  assert_true(look(of(state), "mnk0"));
  assert_true(lose_and_restore(of(state), "mnk0"));
  assert_true(of(state)->lost.empty());
  assert_string_equal(lines_of(of(state)->nic).c_str(),
                      "mtu 1300 down\naddress 10.1.0.2/24 label mnk0\n");
}

void restore__gives_back_ipv6_that_no_router_brings(void** state) {
  if (!of(state)->has_ipv6) {
    print_message("skipped: this kernel has no IPv6\n");
    skip();
  }
  assert_true(
      run("ip link set mnk0 up && ip addr add fd00:1::2/64 dev mnk0 nodad && "
          "ip -6 route add fd00:9::/48 via fd00:1::1 dev mnk0 metric 300 && "
          "ip -6 route add default via fd00:1::1 dev mnk0 && "
          "ip addr add 10.1.0.2/24 dev mnk0 && "
          "ip route add 10.9.0.0/16 via inet6 fd00:1::1 dev mnk0"));
  assert_true(look(of(state), "mnk0"));
  assert_true(has_line(of(state), "route 10.9.0.0/16 via fd00:1::1"));
  assert_false(carries_default_route(of(state)->nic));
  assert_true(lose_and_restore(of(state), "mnk0"));
  assert_true(of(state)->lost.empty());
  assert_int_equal(of(state)->had.addresses.size(), 2);  // without what the kernel makes itself
  assert_true(has_line(of(state), "address fd00:1::2/64 flags 2"));
  assert_true(has_line(of(state), "route fd00:9::/48 via fd00:1::1 metric 300"));
  assert_true(has_line(of(state), "route default6 via fd00:1::1 metric 1024"));
  assert_true(has_line(of(state), "route 10.9.0.0/16 via fd00:1::1"));
}

void restore__says_what_the_kernel_refused(void** state) {
  KernelNic& had = of(state)->had;
  had.ifname = "mnk0";
  had.mtu = 10;
  had.is_up = true;
  had.addresses.push_back(address_of("10.1.0.2", 24));
  KernelRoute far;
  far.destination = "10.9.0.0/16";
  far.gateway = "172.16.0.1";
  had.routes.push_back(far);
  KernelRoute strange;
  strange.destination = "10.7.0.0/16";
  strange.lost = "encap";
  had.routes.push_back(strange);
  KernelRoute gone;
  gone.destination = "10.6.0.0/16";
  gone.hops.push_back({.ifname = "mnk0", .gateway = "10.1.0.1"});
  gone.hops.push_back({.ifname = "mngone", .gateway = "10.1.0.1"});
  had.routes.push_back(gone);
  of(state)->lost = restore_network(of(state)->net.get(), "mnk0", had);
  const std::vector<std::string>& lost = of(state)->lost;
  for (const std::string& line : lost) print_message("%s\n", line.c_str());
  assert_int_equal(lost.size(), 4);
  assert_string_equal(lost[0].c_str(),
                      "cannot set the MTU of mnk0 to 10: Invalid argument (mtu "
                      "less than device minimum)");
  assert_string_equal(
      lost[1].c_str(),
      "cannot add the route 10.7.0.0/16 lost encap to mnk0: \"encap\" of it is not remembered");
  assert_string_equal(lost[2].c_str(),
                      "cannot add the route 10.9.0.0/16 via 172.16.0.1 to mnk0: Network is "
                      "unreachable (Nexthop has invalid gateway)");
  assert_string_equal(lost[3].c_str(),
                      "cannot add the route 10.6.0.0/16 nexthop dev mnk0 via 10.1.0.1 nexthop dev "
                      "mngone via 10.1.0.1 to mnk0: there is no interface mngone");
  assert_true(look(of(state), "mnk0"));
  assert_true(has_line(of(state), "address 10.1.0.2/24 label mnk0"));
}

void changes__name_an_interface_that_is_gone(void** state) {
  KernelNet* const net = of(state)->net.get();
  of(state)->error = net->set_up("mngone", true).error();
  assert_string_equal(of(state)->error.c_str(), "cannot set mngone up: there is no such interface");
  of(state)->error = net->set_mtu("mngone", 1500).error();
  assert_string_equal(of(state)->error.c_str(),
                      "cannot set the MTU of mngone to 1500: there is no such interface");
  of(state)->error = net->add_address("mngone", address_of("10.0.0.1", 8)).error();
  assert_string_equal(of(state)->error.c_str(),
                      "cannot add the address 10.0.0.1/8 to mngone: there is no such interface");
}

void nics__are_read_while_they_change(void** state) {
  // More than one message's worth, changing all the time.
  assert_true(
      run("for i in $(seq 1 250); do echo addr add 10.$((i / 200)).$((i % 200)).1/32 dev "
          "mnk0; done | ip -batch - && ip link set mnk0 up"));
  assert_true(
      run("(for i in $(seq 1 200); do echo link add mnx type dummy; echo link del mnx; "
          "done | ip -batch - >/dev/null 2>&1) & "));
  for (int i = 0; i < 20; i++) {
    assert_true(look(of(state), "mnk0"));
    assert_int_equal(of(state)->nic.addresses.size(), 250);
  }
}

}  // namespace

#define with_veth(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main() {
  if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) {
    puts("skipped: only root can make a network namespace");
    return kSkipped;
  }
  const CMUnitTest tests[] = {
      with_veth(nics__have_what_the_kernel_says),
      with_veth(nics__have_addresses_and_routes),
      with_veth(restore__gives_back_addresses_and_routes_of_all_tables),
      with_veth(restore__gives_back_a_single_address_with_its_gateway),
      with_veth(restore__finds_the_interface_under_a_new_name),
      with_veth(restore__of_an_interface_that_was_down),
      with_veth(restore__gives_back_ipv6_that_no_router_brings),
      with_veth(restore__says_what_the_kernel_refused),
      with_veth(changes__name_an_interface_that_is_gone),
      with_veth(nics__are_read_while_they_change),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
