// SPDX-License-Identifier: MIT
// Lines of addresses and routes, a network made of files, which gateway applies, and the order in
// which an interface gets things back.
#include "device/kernel_net.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>

#include "device/kernel_net_kinds.h"
#include "unit/device/scratch_folder.h"
extern "C" {
#include <cmocka.h>
}

using namespace mn;
using namespace mn::device;

namespace {

// A kernel that writes down what it is told, and refuses what it is told to refuse.
class RecordingNet final : public KernelNet {
 public:
  Result<std::vector<KernelNic>> nics() override { return std::vector<KernelNic>(); }
  Result<void> set_up(const std::string& ifname, bool up) override {
    return note(ifname + (up ? " up" : " down"));
  }
  Result<void> set_mtu(const std::string& ifname, uint32_t mtu) override {
    return note(ifname + " mtu " + std::to_string(mtu));
  }
  Result<void> add_address(const std::string& ifname, const KernelAddress& address) override {
    return note(ifname + " address " + format_kernel_address(address));
  }
  Result<void> add_route(const std::string& ifname, const KernelRoute& route) override {
    return note(ifname + " route " + format_kernel_route(route));
  }

  std::map<std::string, int> refusals;  // how often a call is refused
  std::string calls;

 private:
  Result<void> note(const std::string& call) {
    if (refusals[call]-- > 0) return Error{"refused: " + call};
    calls += call + "\n";
    return {};
  }
};

struct Fixture {
  test::ScratchFolder folder;
  std::unique_ptr<KernelNet> net = make_kernel_net(folder.root());
  RecordingNet recorder;
  KernelNic nic;
  std::vector<KernelNic> nics;
  std::vector<std::string> lost;
  std::string error;
};

int setup(void** state) {
  *state = new Fixture;
  return 0;
}

int teardown(void** state) {
  delete static_cast<Fixture*>(*state);
  return 0;
}

Fixture* of(void** state) { return static_cast<Fixture*>(*state); }

KernelAddress address_of(const char* address, uint32_t prefix_length) {
  KernelAddress one;
  one.address = address;
  one.prefix_length = prefix_length;
  return one;
}

// The NIC that the test is about, from lines of a file.
bool put(Fixture* fixture, const std::string& lines) {
  fixture->folder.write("net/eth0", lines);
  auto nics = fixture->net->nics();
  fixture->error = nics ? "" : nics.error();
  if (nics) {
    fixture->nics = nics.value();
    fixture->nic = nics.value()[0];
  }
  return nics.ok();
}

Ipv4 gateway_with(Fixture* fixture, const std::string& lines) {
  return put(fixture, lines) ? gateway_of(fixture->nic) : 0xffffffff;
}

void lines__are_read_as_they_are_written(void** state) {
  (void)state;
  for (const char* line :
       {"10.0.0.2/24", "10.0.0.2/32 peer 10.0.0.1", "fd00::1/64 flags 512",
        "10.0.0.2/24 broadcast 10.0.0.255 label eth0:1 scope 253 flags 512 metric 100 valid 3600 "
        "preferred 1800"}) {
    const auto address = parse_kernel_address(line);
    assert_true(address.ok());
    assert_string_equal(format_kernel_address(address.value()).c_str(), line);
  }
  for (const char* line :
       {"default via 10.0.0.1", "default6 via fe80::1 metric 1024 proto 4", "10.0.0.0/8 scope 253",
        "10.2.0.0/16 via fe80::1 onlink",
        "10.0.0.0/8 via 10.0.0.1 src 10.0.0.2 metric 100 table 1000 proto 16 scope 200 tos 16 "
        "onlink mtu 1400 advmss 1360 initcwnd 20 initrwnd 30 lost encap",
        "default proto 4 nexthop dev eth0 via 10.0.0.1 weight 2 nexthop dev e1 onlink"}) {
    const auto route = parse_kernel_route(line);
    assert_true(route.ok());
    assert_string_equal(format_kernel_route(route.value()).c_str(), line);
  }
}

void lines__with_errors_are_refused(void** state) {
  for (const char* line :
       {"", "10.0.0.2", "10.0.0.2/", "10.0.0.2/33", "fd00::1/129", "10.0.0/24", "10.0.0.2/24 peer",
        "10.0.0.2/24 peer x", "10.0.0.2/24 scope 1 scope 2", "10.0.0.2/24 scope 256",
        "10.0.0.2/24 sco 1", "10.0.0.2/24 label sixteen-letters-", "10.0.0.2/24 valid -1"}) {
    if (parse_kernel_address(line).ok()) fail_msg("address %s", line);
  }
  for (const char* line :
       {"", "10.0.0.0", "defaults", "default via", "default via ::g", "default onlink onlink",
        "default table 4294967296", "default nexthop", "default nexthop via 10.0.0.1",
        "default nexthop dev eth0 weight 0", "default nexthop dev eth0 weight 257",
        "default nexthop dev eth0 metric 1", "default nexthop dev eth/0", "default tos 256"}) {
    if (parse_kernel_route(line).ok()) fail_msg("route %s", line);
  }
  of(state)->error = parse_kernel_route("default metric high").error();
  assert_string_equal(of(state)->error.c_str(), "\"metric high\" is no part of a route");
  of(state)->error = parse_kernel_address("10.0.0.0/8 scope 0 scope 0").error();
  assert_string_equal(of(state)->error.c_str(), "\"scope\" twice");
}

void file_net__reads_and_writes_its_files(void** state) {
  assert_true(put(of(state),
                  "# a comment\nmac 02:00:00:00:00:01\npermanent 02:00:00:00:00:02\nmtu 1500\n"
                  "up yes\nlink no\nkind veth\nmaster br0\naddress 10.0.0.2/24\n"
                  "route default via 10.0.0.1\n"));
  const KernelNic& nic = of(state)->nic;
  assert_string_equal(nic.ifname.c_str(), "eth0");
  assert_int_equal(nic.mac.bytes[5], 1);
  assert_int_equal(nic.permanent_mac.bytes[5], 2);
  assert_int_equal(nic.mtu, 1500);
  assert_true(nic.is_up && !nic.has_link);
  assert_string_equal(nic.kind.c_str(), "veth");
  assert_string_equal(nic.master.c_str(), "br0");

  KernelNet* const net = of(state)->net.get();
  assert_true(net->set_mtu("eth0", 9000).ok());
  assert_true(net->set_up("eth0", false).ok());
  assert_true(net->add_address("eth0", address_of("10.0.0.3", 24)).ok());
  assert_true(net->add_address("eth0", address_of("10.0.0.3", 24)).ok());
  KernelRoute route;
  route.destination = "10.9.0.0/16";
  assert_true(net->add_route("eth0", route).ok());
  assert_string_equal(of(state)->folder.read("net/eth0").c_str(),
                      "mac 02:00:00:00:00:01\npermanent 02:00:00:00:00:02\nmtu 9000\nup no\n"
                      "link no\nkind veth\nmaster br0\naddress 10.0.0.2/24\naddress 10.0.0.3/24\n"
                      "route default via 10.0.0.1\nroute 10.9.0.0/16\n");
}

void file_net__says_what_is_wrong(void** state) {
  assert_false(put(of(state), "mtu 1500\nup maybe\n"));
  assert_string_equal(of(state)->error.c_str(),
                      (of(state)->folder.path("net/eth0") + ":2: \"maybe\" is no up").c_str());
  assert_false(put(of(state), "speed 10\n"));
  assert_non_null(strstr(of(state)->error.c_str(), ":1: unknown key \"speed\""));
  assert_true(put(of(state), "refuse mtu\n"));
  of(state)->error = of(state)->net->set_mtu("eth0", 1).error();
  assert_string_equal(of(state)->error.c_str(), "cannot change mtu of eth0: refused by its file");
  of(state)->error = of(state)->net->set_up("eth7", true).error();
  assert_string_equal(of(state)->error.c_str(), "there is no interface eth7");
}

void gateway_of__prefers_the_main_default_route(void** state) {
  assert_int_equal(gateway_with(of(state),
                                "address 10.0.0.2/24\nroute 10.9.0.0/16 via 10.0.0.9\n"
                                "route default via 10.0.0.7 table 100\n"
                                "route default via 10.0.0.5 metric 200\n"
                                "route default via 10.0.0.1 metric 100\n"),
                   0x0a000001);
  assert_true(carries_default_route(of(state)->nic));
}

void gateway_of__takes_another_table_s_without(void** state) {
  // As on AWS, where a second NIC has a table of its own.
  assert_int_equal(gateway_with(of(state),
                                "address 10.0.0.2/24\nroute 10.0.0.0/24 scope 253\n"
                                "route default via 10.0.0.1 table 10001\n"),
                   0x0a000001);
  assert_false(carries_default_route(of(state)->nic));
}

void gateway_of__finds_the_host_that_a_single_address_reaches(void** state) {
  // As on GCP: the address alone, a route to the gateway, everything through it.
  const char* kLines =
      "address 10.128.0.2/32\nroute 10.128.0.2/32 scope 253\n"
      "route 10.128.0.1/32 scope 253\n";
  assert_int_equal(gateway_with(of(state), kLines), 0x0a800001);
  assert_int_equal(gateway_with(of(state), std::string(kLines) + "route default via 10.128.0.9\n"),
                   0x0a800009);
}

void gateway_of__takes_the_only_one_there_is(void** state) {
  assert_int_equal(gateway_with(of(state),
                                "address 10.0.0.2/24\nroute 10.0.0.0/24 scope 253\n"
                                "route 10.7.0.0/16 via 10.0.0.1\n"
                                "route 10.8.0.0/16 via 10.0.0.1\n"),
                   0x0a000001);
  assert_int_equal(gateway_with(of(state),
                                "address 10.0.0.2/24\nroute 10.7.0.0/16 via 10.0.0.1\n"
                                "route 10.8.0.0/16 via 10.0.0.3\n"),
                   0);
  // Who leads to a metadata service is no router, whether there is one or not.
  assert_int_equal(
      gateway_with(of(state), "address 10.0.0.2/24\nroute 169.254.169.254/32 via 10.0.0.3\n"), 0);
  assert_int_equal(gateway_with(of(state),
                                "address 10.0.0.2/24\nroute 169.254.169.254/32 via 10.0.0.3\n"
                                "route 10.7.0.0/16 via 10.0.0.1\n"),
                   0x0a000001);
  assert_int_equal(gateway_with(of(state), "address 10.0.0.2/24\nroute 10.0.0.0/24 scope 253\n"),
                   0);
  assert_int_equal(gateway_with(of(state), "route default6 via fe80::1\n"), 0);
  assert_int_equal(gateway_with(of(state), "route default via fe80::1\n"), 0);
  // Of several ways, the one through this interface.
  assert_int_equal(gateway_with(of(state),
                                "route default nexthop dev eth1 via 10.1.0.1 "
                                "nexthop dev eth0 via 10.0.0.1\n"),
                   0x0a000001);
}

void primary_address__is_the_first_for_everybody(void** state) {
  assert_true(put(of(state),
                  "address fd00::2/64\naddress 169.254.0.5/16 scope 253\n"
                  "address 10.0.0.2/24\naddress 10.0.0.3/24\n"));
  const KernelAddress* const own = primary_address(of(state)->nic);
  assert_non_null(own);
  assert_string_equal(own->address.c_str(), "10.0.0.2");
  assert_true(put(of(state), "address fd00::2/64\n"));
  assert_null(primary_address(of(state)->nic));
}

void restore__gives_everything_back_in_order(void** state) {
  assert_true(put(of(state),
                  "mtu 1400\nup yes\naddress 10.0.0.2/32 label eth0\naddress 10.0.0.3/32 label "
                  "eth0:x\nroute default via 10.0.0.1\nroute 10.0.0.1/32 scope 253\n"
                  "route 10.5.0.0/16 nexthop dev eth0 via 10.0.0.1 nexthop dev eth1\n"
                  "route 10.6.0.0/16\n"));
  of(state)->lost = restore_network(&of(state)->recorder, "ens4", of(state)->nic);
  assert_true(of(state)->lost.empty());
  assert_string_equal(of(state)->recorder.calls.c_str(),
                      "ens4 mtu 1400\nens4 up\nens4 address 10.0.0.2/32 label ens4\n"
                      "ens4 address 10.0.0.3/32 label ens4:x\nens4 route 10.0.0.1/32 scope 253\n"
                      "ens4 route 10.6.0.0/16\nens4 route default via 10.0.0.1\n"
                      "ens4 route 10.5.0.0/16 nexthop dev ens4 via 10.0.0.1 nexthop dev eth1\n");
}

void restore__tries_again_what_needs_a_later_route(void** state) {
  assert_true(put(of(state),
                  "mtu 1500\nup yes\nroute default via 10.7.0.1\n"
                  "route 10.7.0.0/16 via 10.0.0.1\n"));
  of(state)->recorder.refusals["eth0 route default via 10.7.0.1"] = 1;
  of(state)->lost = restore_network(&of(state)->recorder, "eth0", of(state)->nic);
  assert_true(of(state)->lost.empty());
  assert_string_equal(of(state)->recorder.calls.c_str(),
                      "eth0 mtu 1500\neth0 up\neth0 route 10.7.0.0/16 via 10.0.0.1\n"
                      "eth0 route default via 10.7.0.1\n");
}

void restore__says_what_is_lost_and_goes_on(void** state) {
  assert_true(put(of(state),
                  "mtu 9000\nup no\naddress 10.0.0.2/24\naddress 10.0.0.3/24\n"
                  "route default via 10.0.0.1\nroute 10.7.0.0/16 via 10.0.0.1\n"));
  auto& refusals = of(state)->recorder.refusals;
  refusals["eth0 mtu 9000"] = 1;
  refusals["eth0 address 10.0.0.2/24"] = 1;
  refusals["eth0 route default via 10.0.0.1"] = 9;
  of(state)->lost = restore_network(&of(state)->recorder, "eth0", of(state)->nic);
  assert_int_equal(of(state)->lost.size(), 3);
  assert_string_equal(of(state)->lost[0].c_str(), "refused: eth0 mtu 9000");
  assert_string_equal(of(state)->lost[1].c_str(), "refused: eth0 address 10.0.0.2/24");
  assert_string_equal(of(state)->lost[2].c_str(), "refused: eth0 route default via 10.0.0.1");
  assert_string_equal(of(state)->recorder.calls.c_str(),
                      "eth0 down\neth0 address 10.0.0.3/24\neth0 route 10.7.0.0/16 via 10.0.0.1\n");
}

}  // namespace

#define with_net(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main() {
  const CMUnitTest tests[] = {
      with_net(lines__are_read_as_they_are_written),
      with_net(lines__with_errors_are_refused),
      with_net(file_net__reads_and_writes_its_files),
      with_net(file_net__says_what_is_wrong),
      with_net(gateway_of__prefers_the_main_default_route),
      with_net(gateway_of__takes_another_table_s_without),
      with_net(gateway_of__finds_the_host_that_a_single_address_reaches),
      with_net(gateway_of__takes_the_only_one_there_is),
      with_net(primary_address__is_the_first_for_everybody),
      with_net(restore__gives_everything_back_in_order),
      with_net(restore__tries_again_what_needs_a_later_route),
      with_net(restore__says_what_is_lost_and_goes_on),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
