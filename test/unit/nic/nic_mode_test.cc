// SPDX-License-Identifier: MIT
#include "nic/nic_mode.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>

#include "device/interface.h"
#include "nic/nic_system.h"
#include "nic/null_port.h"
#include "nic/wake_trust.h"

// Last: cmocka has macros called fail and skip.
extern "C" {
#include <cmocka.h>
}

namespace {

using mn::nic::NicMode;

void parse_mode__plain_names(void**) {
  assert_true(mn::nic::parse_mode("af_packet").value().kind == NicMode::Kind::kAfPacket);
  assert_true(mn::nic::parse_mode("af_xdp").value().kind == NicMode::Kind::kAfXdp);
  assert_true(mn::nic::parse_mode("pci").value().kind == NicMode::Kind::kPci);
}

void parse_mode__vdev_with_arguments(void**) {
  const NicMode mode = mn::nic::parse_mode("vdev:net_memif12,role=client,socket=/a,b").value();
  assert_true(mode.kind == NicMode::Kind::kVdev);
  assert_string_equal(mode.device.c_str(), "net_memif12");
  assert_string_equal(mode.arguments.c_str(), "role=client,socket=/a,b");
  assert_string_equal(mn::nic::driver_of_vdev(mode.device).c_str(), "net_memif");
  assert_true(mn::nic::parse_mode("vdev:net_null0").value().arguments.empty());
}

void parse_mode__refuses_the_rest(void**) {
  for (const char* text : {"", "dpdk", "vdev", "vdev:", "vdev:memif0", "vdev:net_", "vdev:net_0",
                           "vdev:net_a/../b0", "AF_XDP", "af_xdp "}) {
    const auto mode = mn::nic::parse_mode(text);
    assert_false(mode.ok());
    assert_non_null(strstr(mode.error().c_str(), text));
    assert_false(mn::nic::check_mode(text).ok());
  }
}

void libraries_for__the_driver_and_its_bus(void**) {
  const auto libraries = mn::nic::libraries_for(mn::nic::parse_mode("vdev:net_tap3").value());
  assert_int_equal(libraries.size(), 3);
  assert_string_equal(libraries[0].c_str(), "bus_vdev");
  assert_string_equal(libraries[2].c_str(), "net_tap");
  assert_string_equal(
      mn::nic::libraries_for(mn::nic::parse_mode("vdev:net_virtio_user0").value())[2].c_str(),
      "net_virtio");
  assert_true(mn::nic::libraries_for_pci(0x1234).empty());
}

void vmbus__needs_the_uuid_of_a_device_that_is_there(void**) {
  const auto mode = mn::nic::parse_mode("vmbus");
  assert_true(mode.ok());
  assert_true(mode.value().kind == mn::nic::NicMode::Kind::kVmbus);
  const auto libraries = mn::nic::libraries_for(mode.value());
  assert_true(std::find(libraries.begin(), libraries.end(), "net_netvsc") != libraries.end());
  const auto start = [](const char* name) {
    mn::nic::NicSystemSettings settings;
    settings.nics.push_back({.name = name, .mode = "vmbus"});
    const auto system = mn::nic::NicSystem::start(settings);
    return system.ok() ? std::string() : system.error();
  };
  assert_non_null(strstr(start("eth1").c_str(), "nic eth1: mode vmbus needs the UUID"));
  assert_non_null(strstr(start("3f4f7bd1-ffff-4f5a-8d59-000d3a1b2c3d").c_str(), "no VMBus device"));
}

void wake_trust__an_interrupt_has_to_prove_itself(void**) {
  mn::nic::WakeTrust trust;
  assert_false(trust.trusted());
  trust.on_received(3);  // while polling: says nothing
  assert_false(trust.trusted());
  trust.on_slept(true);
  trust.on_received(0);  // it came for something else
  assert_false(trust.trusted());
  trust.on_slept(true);
  trust.on_received(1);
  assert_true(trust.trusted());
  trust.on_slept(false);
  trust.on_received(0);  // nothing came, nothing was there
  trust.on_received(1);
  assert_true(trust.trusted());
  trust.on_slept(false);
  trust.on_received(1);  // it should have come
  assert_false(trust.trusted());
}

void package_of__as_debian_names_them(void**) {
  assert_string_equal(mn::nic::package_of("net_af_packet", "23").c_str(), "librte-net-af-packet23");
  assert_string_equal(mn::nic::package_of("net_mlx5", "23").c_str(), "librte-net-mlx5-23");
}

void argument_value__finds_whole_keys(void**) {
  const std::string arguments = "role=server,socket=/run/x,bsize=2048";
  std::string value;
  assert_true(mn::nic::argument_value(arguments, "bsize", &value));
  assert_string_equal(value.c_str(), "2048");
  assert_true(mn::nic::argument_value(arguments, "role", nullptr));
  assert_false(mn::nic::argument_value(arguments, "size", &value));
  assert_false(mn::nic::argument_value("", "role", &value));
}

void find_interface__loopback_is_always_there(void**) {
  const auto loopback = mn::device::find_interface("lo");
  assert_true(loopback.ok());
  assert_int_not_equal(loopback.value().index, 0);
  assert_true(loopback.value().mtu > 0);
  assert_true(mn::device::kernel_has_address(loopback.value(), mn::kLoopbackAddress) ||
              !loopback.value().is_up);
  const auto none = mn::device::find_interface("no-such-if");
  assert_false(none.ok());
  assert_non_null(strstr(none.error().c_str(), "no-such-if"));
  assert_false(mn::device::find_interface("").ok());
  assert_false(mn::device::find_interface("a-name-longer-than-the-kernel-allows").ok());
  assert_false(mn::device::find_interface("fe:ed:00:00:00:99").ok());
}

void is_pci_address__with_and_without_domain(void**) {
  assert_true(mn::device::is_pci_address("0000:3b:00.0"));
  assert_true(mn::device::is_pci_address("3b:00.1"));
  assert_false(mn::device::is_pci_address("eth0"));
  assert_false(mn::device::is_pci_address("3b:00.0x"));
  assert_false(mn::device::is_pci_address("aa:bb:cc:dd:ee:ff"));
  assert_string_equal(mn::device::full_pci_address("3b:00.1").c_str(), "0000:3b:00.1");
  assert_string_equal(mn::device::full_pci_address("0001:3b:00.1").c_str(), "0001:3b:00.1");
}

mn::nic::NullPort* null_port;  // destroyed by the fixture: a failing test jumps out

int make_null_port(void**) {
  null_port = new mn::nic::NullPort();
  return 0;
}
int destroy_null_port(void**) {
  delete null_port;
  return 0;
}

void null_port__drops_counts_and_gives_frames_back(void**) {
  assert_int_equal(null_port->facts().mtu, 9000);
  pollfd never{null_port->facts().wake_fd, POLLIN, 0};  // an engine may sleep on it
  assert_true(never.fd >= 0);
  assert_int_equal(poll(&never, 1, 0), 0);
  assert_true(null_port->arm_wake());
  mn::RxFrame received[4];
  assert_int_equal(null_port->rx_burst(received), 0);
  mn::TxFrame frames[mn::kBurstMax];
  for (int round = 0; round < 100; ++round) {
    assert_int_equal(null_port->tx_alloc(frames), mn::kBurstMax);
    for (mn::TxFrame& frame : frames) {
      memset(frame.data, 0xee, 9014);
      frame.length = 9014;
    }
    assert_int_equal(null_port->tx_burst(std::span<mn::TxFrame>(frames, 20)), 20);
    null_port->tx_free(std::span<const mn::TxFrame>(frames + 20, mn::kBurstMax - 20));
  }
  mn::NicCounters counters;
  null_port->service(&counters);
  assert_int_equal(counters.tx_errors, 2000);
}

void null_port__gives_no_more_than_it_has(void**) {
  mn::TxFrame frames[4 * mn::kBurstMax];
  const size_t given = null_port->tx_alloc(frames);
  assert_true(given >= mn::kBurstMax && given < 4 * mn::kBurstMax);
  assert_int_equal(null_port->tx_alloc(std::span<mn::TxFrame>(frames + given, 1)), 0);
  null_port->tx_free(std::span<const mn::TxFrame>(frames, given));
  assert_int_equal(null_port->tx_alloc(frames), given);
}

void nic_system__nothing_configured_needs_no_dpdk(void**) {
  auto system = mn::nic::NicSystem::start({});
  assert_true(system.ok());
  assert_true(system.value()->nics().empty());
  assert_true(mn::nic::nic_thread_enter());
  mn::nic::nic_thread_leave();
}

void nic_system__names_what_is_wrong(void**) {
  mn::nic::NicSystemSettings settings;
  settings.nics.push_back({.name = "no-such-if", .mode = "af_packet"});
  const auto missing = mn::nic::NicSystem::start(settings);
  assert_false(missing.ok());
  assert_non_null(strstr(missing.error().c_str(), "no-such-if"));
  settings.nics[0] = {.name = "lo", .mode = "af_packet", .mtu = 100};
  assert_non_null(strstr(mn::nic::NicSystem::start(settings).error().c_str(), "mtu 100"));
  settings.nics[0] = {.name = "eth0", .mode = "pci"};
  assert_non_null(strstr(mn::nic::NicSystem::start(settings).error().c_str(), "PCI address"));
  settings.nics[0] = {.name = "lo", .mode = "af_packet", .mtu = 1500};
  settings.memory_bytes = 1 << 20;
  assert_non_null(strstr(mn::nic::NicSystem::start(settings).error().c_str(), "memory"));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(parse_mode__plain_names),
      cmocka_unit_test(parse_mode__vdev_with_arguments),
      cmocka_unit_test(parse_mode__refuses_the_rest),
      cmocka_unit_test(libraries_for__the_driver_and_its_bus),
      cmocka_unit_test(package_of__as_debian_names_them),
      cmocka_unit_test(argument_value__finds_whole_keys),
      cmocka_unit_test(find_interface__loopback_is_always_there),
      cmocka_unit_test(wake_trust__an_interrupt_has_to_prove_itself),
      cmocka_unit_test(vmbus__needs_the_uuid_of_a_device_that_is_there),
      cmocka_unit_test(is_pci_address__with_and_without_domain),
      cmocka_unit_test_setup_teardown(null_port__drops_counts_and_gives_frames_back, make_null_port,
                                      destroy_null_port),
      cmocka_unit_test_setup_teardown(null_port__gives_no_more_than_it_has, make_null_port,
                                      destroy_null_port),
      cmocka_unit_test(nic_system__nothing_configured_needs_no_dpdk),
      cmocka_unit_test(nic_system__names_what_is_wrong),
  };
  return cmocka_run_group_tests_name("nic", tests, nullptr, nullptr);
}
