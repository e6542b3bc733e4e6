// SPDX-License-Identifier: MIT
// Every reason not to take a NIC, as the operator reads it: which NIC, why, and what to do; and
// that nothing was touched. Through machnet-nic itself, on a host of files.
#include "device/refusal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "device/tcp_sessions.h"
#include "unit/device/fake_host.h"

// Last: cmocka has macros called fail and skip.
extern "C" {
#include <cmocka.h>
}

namespace {

using mn::test::host;

constexpr char kEth1[] = "nic eth1 (0000:03:00.0): ";

// eth0 carries the host, eth1 is free to be taken.
int make(void** state) {
  mn::test::make_host(state);
  host->add_pci({.address = "0000:02:00.0", .group = "11", .ifname = "eth0"});
  host->set_net("eth0",
                "mtu 1500\nup yes\nlink yes\naddress 192.0.2.5/24\nroute default via 192.0.2.1\n");
  host->add_pci({.address = "0000:03:00.0", .group = "12", .ifname = "eth1"});
  host->set_net("eth1", "mtu 9000\nup yes\nlink yes\naddress 10.0.0.2/24\n");
  host->config("[nic eth1]\n");
  return 0;
}

// `bind` fails with one error line that has these words, and has not touched anything.
void expect_refusal(std::initializer_list<const char*> words) {
  assert_int_equal(host->run({"bind"}), 1);
  assert_int_equal(host->errors(), 1);
  for (const char* word : words) assert_said(word);
  assert_false(host->has("var/lib/machnet/eth1.nic"));
  const std::string calls = host->calls();
  if (calls.find("driverctl") != std::string::npos) print_error("%s", calls.c_str());
  assert_true(calls.find("driverctl") == std::string::npos);
}

void refusal__nothing_stands_against_it(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  assert_int_equal(host->errors(), 0);
}

void refusal__default_route(void**) {
  host->config("[nic eth0]\n");
  expect_refusal({"nic eth0 (0000:02:00.0): it carries this host's default route",
                  "the host would lose its network", "name another NIC",
                  "set force = yes in [nic eth0]"});
  assert_string_equal(host->driver_of("pci", "0000:02:00.0").c_str(), "e1000e");
  host->config("[nic eth0]\nforce = yes\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_string_equal(host->driver_of("pci", "0000:02:00.0").c_str(), "vfio-pci");
}

void refusal__default_route_of_ipv6(void**) {
  host->set_net("eth1", "up yes\naddress 10.0.0.2/24\nroute default6 via fe80::1 metric 1024\n");
  expect_refusal({kEth1, "it carries this host's default route of IPv6", "force = yes"});
  // Announced on every NIC: another one has it as well.
  host->set_net("eth0",
                "up yes\nroute default via 192.0.2.1\n"
                "route default6 via fe80::2 metric 1024\n");
  assert_int_equal(host->run({"bind"}), 0);
}

void refusal__a_default_route_that_another_goes_before_is_none(void**) {
  host->set_net("eth1", "up yes\naddress 10.0.0.2/24\nroute default via 10.0.0.1 metric 200\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_said("gateway 10.0.0.1");
}

void refusal__default_routes_of_one_metric_count(void**) {
  host->set_net("eth1", "up yes\naddress 10.0.0.2/24\nroute default via 10.0.0.1\n");
  expect_refusal({kEth1, "default route"});
}

void refusal__default_route_of_another_table_is_none(void**) {
  host->set_net("eth0", "up yes\naddress 192.0.2.5/24\n");
  host->set_net("eth1", "up yes\naddress 10.0.0.2/24\nroute default via 10.0.0.1 table 1001\n");
  assert_int_equal(host->run({"bind"}), 0);
}

void refusal__default_route_through_a_bridge_on_top(void**) {
  host->add_virtual("bond0");
  host->add_virtual("br0");
  host->put_upper("eth1", "bond0");
  host->put_upper("bond0", "br0");
  host->set_net("eth0", "up yes\naddress 192.0.2.5/24\n");
  host->set_net("br0", "up yes\nkind bridge\nroute default via 192.0.2.1\n");
  expect_refusal({kEth1, "default route (through br0)", "force = yes"});
}

void refusal__only_ssh_address(void**) {
  //  10.0.0.2:22, established
  host->add_tcp("  sl  local_address rem_address   st tx_queue rx_queue");
  host->add_tcp("   0: 0200000A:0016 0900000A:D431 01 00000000:00000000 02:0009 00 0 0 21 4");
  expect_refusal({kEth1, "it has the only address that SSH sessions are on, 10.0.0.2",
                  "you would be cut off", "name another NIC", "set force = yes in [nic eth1]"});
  host->config("[nic eth1]\nforce = yes\n");
  assert_int_equal(host->run({"bind"}), 0);
}

void refusal__only_ssh_address_of_ipv6(void**) {
  host->set_net("eth1", "up yes\naddress 10.0.0.2/24\naddress 2001:db8::7/64\n");
  host->add_tcp(
      "   0: B80D0120000000000000000007000000:0016 B80D0120000000000000000009000000:D431 01 0:0",
      true);
  expect_refusal({kEth1, "SSH", "2001:db8::7"});
}

void refusal__ssh_address_of_a_vlan_on_top(void**) {
  host->add_virtual("eth1.5");
  host->put_upper("eth1", "eth1.5");
  host->set_net("eth1.5", "kind vlan\nup yes\naddress 10.5.0.2/24\n");
  host->add_tcp("   0: 0200050A:0016 0900000A:D431 01 00000000:00000000");
  expect_refusal({kEth1, "SSH", "10.5.0.2"});
}

void refusal__ssh_on_another_nic_too(void**) {
  host->add_tcp("   0: 0200000A:0016 0900000A:D431 01 00000000:00000000");
  host->add_tcp("   1: 050200C0:0016 0900000A:D432 01 00000000:00000000");
  assert_int_equal(host->run({"bind"}), 0);
}

void refusal__shared_iommu_group(void**) {
  host->add_pci({.address = "0000:03:00.1",
                 .driver = "snd_hda_intel",
                 .group = "12",
                 .device_class = "0x040300"});
  host->add_pci(
      {.address = "0000:03:00.2", .driver = "nvme", .group = "12", .device_class = "0x010802"});
  expect_refusal({kEth1,
                  "its IOMMU group 12 is shared with 0000:03:00.1 (snd_hda_intel), 0000:03:00.2 "
                  "(nvme)",
                  "unbind those, put the card into another slot, or set mode = af_xdp"});
}

void refusal__group_members_that_are_no_matter(void**) {
  host->add_pci(
      {.address = "0000:00:1c.0", .driver = "pcieport", .group = "12", .device_class = "0x060400"});
  host->add_pci(
      {.address = "0000:03:00.1", .driver = "", .group = "12", .device_class = "0x040300"});
  assert_int_equal(host->run({"bind"}), 0);
}

void refusal__group_shared_by_two_of_ours(void**) {
  host->add_pci({.address = "0000:03:00.1", .group = "12", .ifname = "eth2"});
  host->set_net("eth2", "up yes\naddress 10.0.1.2/24\n");
  expect_refusal({kEth1, "shared with 0000:03:00.1 (e1000e)"});
  host->config("[nic eth1]\n[nic 0000:03:00.1]\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_string_equal(host->driver_of("pci", "0000:03:00.1").c_str(), "vfio-pci");
}

void refusal__module_missing(void**) {
  host->write("no-modules/vfio-pci", "");
  expect_refusal({kEth1, "the kernel module vfio-pci is missing", "linux-modules-extra"});
  assert_string_equal(host->calls().c_str(), "modprobe --dry-run --quiet vfio-pci\n");
}

void refusal__module_loaded_needs_no_modprobe(void**) {
  host->write("no-modules/vfio-pci", "");
  host->load_module("vfio_pci");
  assert_int_equal(host->run({"bind"}), 0);
  assert_true(host->calls().find("modprobe") == std::string::npos);
}

void refusal__modprobe_missing(void**) {
  host->remove("bin/modprobe");
  expect_refusal(
      {kEth1, "the module vfio-pci is not loaded and modprobe is missing", "apt install kmod"});
}

void refusal__driverctl_missing(void**) {
  host->remove("bin/driverctl");
  expect_refusal({kEth1, "driverctl is missing", "apt install driverctl"});
}

void refusal__device_gone(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->remove_device("pci", "0000:03:00.0");
  host->forget_calls();
  assert_int_equal(host->run({"bind"}), 1);
  assert_said("nic eth1: the device 0000:03:00.0 is gone from this host (PCI)");
  assert_said("attach it again, or name another one: `machnet-nic list`");
  assert_string_equal(host->calls().c_str(), "");
  // And what was to be given back is let go.
  assert_int_equal(host->run({"unbind"}), 0);
  assert_said("the device 0000:03:00.0 is gone; nothing to give back");
}

void refusal__never_there(void**) {
  host->config("[nic 0000:0a:00.0]\n");
  expect_refusal({"nic 0000:0a:00.0: there is no such NIC on this host", "machnet-nic list"});
}

void refusal__renamed(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->write("rename", "enp3s0");
  assert_int_equal(host->run({"unbind"}), 0);
  assert_int_equal(host->run({"bind"}), 1);
  assert_said("nic eth1: the device that had this name, 0000:03:00.0, is now called enp3s0");
  assert_said("write [nic enp3s0], or [nic 0000:03:00.0]");
}

void refusal__bound_by_someone_else(void**) {
  host->driverctl("set-override 0000:03:00.0 vfio-pci");
  host->forget_calls();
  host->config("[nic 0000:03:00.0]\naddress = 10.0.0.2/24\n");
  expect_refusal(
      {"nic 0000:03:00.0: someone else has bound it to vfio-pci (driver override vfio-pci)",
       "stop what uses it and `driverctl unset-override 0000:03:00.0`", "or set mode = pci"});
}

void refusal__override_of_someone_else(void**) {
  host->write("sys/bus/pci/devices/0000:03:00.0/driver_override", "uio_pci_generic\n");
  expect_refusal({kEth1, "someone else has set the driver override uio_pci_generic on it",
                  "`driverctl unset-override 0000:03:00.0`"});
}

void refusal__bound_by_someone_else_on_vmbus(void**) {
  constexpr char kUuid[] = "000d3a6e-1234-5678-9abc-def012345678";
  host->add_vmbus(kUuid, "eth2");
  host->driverctl(std::string("-b vmbus set-override ") + kUuid + " uio_hv_generic");
  host->forget_calls();
  host->config(std::string("[nic ") + kUuid + "]\naddress = 10.0.0.2/24\n");
  expect_refusal({kUuid, "someone else has bound it to uio_hv_generic",
                  "`driverctl -b vmbus unset-override 000d3a6e-1234"});
}

void refusal__someone_has_it_open(void**) {
  host->config("[nic 0000:03:00.0]\nmode = pci\naddress = 10.0.0.2/24\n");
  host->driverctl("set-override 0000:03:00.0 vfio-pci");
  host->forget_calls();
  host->open_file(4711, "testpmd", "/dev/vfio/12");
  expect_refusal({"nic 0000:03:00.0: process 4711 (testpmd) has it open", "stop that first"});
}

void refusal__no_iommu(void**) {
  host->add_pci({.address = "0000:04:00.0", .driver = "ena", .group = "", .ifname = "eth2"});
  host->set_net("eth2", "up yes\naddress 10.0.1.2/24\n");
  host->config("[nic eth2]\n");
  expect_refusal({"nic eth2 (0000:04:00.0): this machine shows no IOMMU for it", "intel_iommu=on",
                  "allow_unsafe_noiommu = yes", "mode = af_xdp"});
  host->config("[nic eth2]\nmode = vfio-pci\n");
  expect_refusal({"nic eth2 (0000:04:00.0): this machine shows no IOMMU for it"});
}

void refusal__kernel_without_noiommu(void**) {
  host->add_pci({.address = "0000:04:00.0", .driver = "ena", .group = "", .ifname = "eth2"});
  host->set_net("eth2", "up yes\naddress 10.0.1.2/24\n");
  host->config("[nic eth2]\nallow_unsafe_noiommu = yes\n");
  host->write("no-noiommu", "");
  assert_int_equal(host->run({"bind"}), 1);
  assert_said("nic eth2 (0000:04:00.0): this kernel was built without vfio's no-IOMMU mode");
  assert_said("CONFIG_VFIO_NOIOMMU");
  assert_said("mode = af_xdp");
  assert_string_equal(host->driver_of("pci", "0000:04:00.0").c_str(), "ena");
}

void refusal__virtual_interface(void**) {
  host->add_virtual("dp0");
  host->config("[nic dp0]\naddress = 10.0.0.9/24\n");
  expect_refusal({"nic dp0: the interface is virtual (veth): there is no device to bind",
                  "mode = af_xdp or mode = af_packet"});
}

void refusal__modes_for_other_devices(void**) {
  host->add_virtual("dp0");
  host->config("[nic dp0]\nmode = vfio-pci\naddress = 10.0.0.9/24\n");
  expect_refusal({"nic dp0: mode = vfio-pci is for PCI devices", "mode = auto"});
  host->config("[nic eth1]\nmode = uio_hv_generic\n");
  expect_refusal({kEth1, "mode = uio_hv_generic is for VMBus devices", "mode = auto"});
  host->config("[nic eth1]\nmode = bifurcated\n");
  expect_refusal({kEth1, "mlx4_core, mlx5_core and mana", "this device has e1000e", "mode = auto"});
  host->config("[nic eth1]\nmode = pci\naddress = 10.0.0.2/24\n");
  expect_refusal(
      {kEth1, "as the administrator bound it, but it has the driver e1000e", "mode = auto"});
  host->config("[nic dp0]\nmode = pci\naddress = 10.0.0.9/24\n");
  expect_refusal({"nic dp0: mode = pci is for devices", "mode = af_xdp"});
  host->add_pci(
      {.address = "0000:05:00.0", .driver = "mlx5_core", .group = "15", .ifname = "eth5"});
  host->config("[nic eth5]\nmode = vfio-pci\naddress = 10.0.0.9/24\n");
  expect_refusal(
      {"nic eth5 (0000:05:00.0): DPDK drives this device through the kernel's driver "
       "mlx5_core",
       "mode = auto"});
}

void refusal__part_of_a_bridge(void**) {
  host->set_net("eth1", "up yes\nmaster br0\n");
  host->config("[nic eth1]\naddress = 10.0.0.2/24\n");
  expect_refusal({kEth1, "it belongs to br0", "ip link set eth1 nomaster"});
}

void refusal__fast_path_of_azure(void**) {
  host->add_vmbus("000d3a6e-1234-5678-9abc-def012345678", "eth2");
  host->set_net("eth2", "mac 00:0d:3a:11:22:33\nup yes\naddress 10.0.0.4/24\n");
  host->add_pci(
      {.address = "0001:00:02.0", .driver = "mlx5_core", .group = "", .ifname = "enP1s1"});
  host->set_net("enP1s1", "mac 00:0d:3a:11:22:33\nup yes\nmaster eth2\n");
  host->config("[nic enP1s1]\naddress = 10.0.0.4/24\n");
  expect_refusal(
      {"nic enP1s1 (0001:00:02.0): it is the fast path of eth2 "
       "(000d3a6e-1234-5678-9abc-def012345678)",
       "write [nic eth2] instead"});
}

void refusal__no_address_to_read(void**) {
  host->set_net("eth1", "up yes\n");
  expect_refusal({"nic eth1: address = auto, but eth1 has no IPv4 address",
                  "ip address add A.B.C.D/LEN dev eth1", "address = metadata"});
}

void refusal__no_interface_to_read(void**) {
  host->add_pci({.address = "0000:06:00.0", .driver = "", .group = "16"});
  host->config("[nic 0000:06:00.0]\n");
  expect_refusal(
      {"nic 0000:06:00.0: address = auto, but the kernel has no interface of "
       "0000:06:00.0 (it has no driver)",
       "none is remembered", "address = A.B.C.D/LEN"});
}

void refusal__metadata_silent(void**) {
  host->config("[nic eth1]\naddress = metadata\n");
  expect_refusal({"nic eth1: no metadata service knows 02:00:00:00:00:02"});
}

void refusal__gateway_elsewhere(void**) {
  host->config("[nic eth1]\ngateway = 10.9.9.9\n");
  expect_refusal({"nic eth1: gateway 10.9.9.9 is not in the NIC's network 10.0.0.2/24"});
}

void refusal__two_with_one_mac(void**) {
  host->set_net("eth0", "mac 02:aa:00:00:00:01\nup yes\n");
  host->set_net("eth1", "mac 02:aa:00:00:00:01\nup yes\n");
  host->config("[nic 02:aa:00:00:00:01]\naddress = 10.0.0.2/24\n");
  expect_refusal(
      {"nic 02:aa:00:00:00:01: fits more than one: eth0 (0000:02:00.0), eth1 "
       "(0000:03:00.0)",
       "name it by its interface or its bus address"});
}

void refusal__all_reasons_in_one_line(void**) {
  host->remove("bin/driverctl");
  host->config("[nic eth0]\n");
  expect_refusal({"default route", "; also nic eth0 (0000:02:00.0): driverctl is missing"});
}

void refusal__kernel_driven_modes_leave_the_host_alone(void**) {
  host->config("[nic eth0]\nmode = af_packet\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_int_equal(host->run({"unbind"}), 0);
  // XDP takes what is for Machnet's address; here that is the kernel's.
  host->config("[nic eth0]\nmode = af_xdp\n");
  assert_int_equal(host->run({"bind"}), 1);
  assert_said("nic eth0 (0000:02:00.0): it carries this host's default route");
  host->config("[nic eth0]\nmode = af_xdp\naddress = 192.0.2.77/24\n");
  assert_int_equal(host->run({"bind"}), 0);
}

void ssh_addresses_in__only_established_to_port_22(void**) {
  const auto none = mn::device::ssh_addresses_in(
      "  sl  local_address rem_address   st\n"
      "   0: 00000000:0016 00000000:0000 0A 0:0\n"  // listening
      "   1: 0100007F:0016 0100007F:D431 01 0:0\n"  // loopback
      "   2: 0200000A:01BB 0900000A:D431 01 0:0\n"  // another port
      "   3: 0200000A:D431 0900000A:0016 01 0:0\n"  // a session to elsewhere
      "   4: 0200000A:0016 0900000A:D431 06 0:0\n"  // ended
      "   5: 0200000A\n   6: :0016 x 01\nnoise\n\n   7: 02:0016 0900000A:D431 01\n");
  assert_int_equal(none.size(), 0);
  const auto mapped = mn::device::ssh_addresses_in(
      "   0: 0000000000000000FFFF00000200000A:0016 0000000000000000FFFF00000900000A:D431 01 0:0\n"
      "   1: 00000000000000000000000001000000:0016 00000000000000000000000001000000:D431 01 0:0");
  assert_int_equal(mapped.size(), 1);
  assert_string_equal(mapped.begin()->c_str(), "10.0.0.2");
}

}  // namespace

#define HOST_TEST(name) cmocka_unit_test_setup_teardown(name, make, mn::test::drop_host)

int main() {
  const CMUnitTest tests[] = {
      HOST_TEST(refusal__nothing_stands_against_it),
      HOST_TEST(refusal__default_route),
      HOST_TEST(refusal__default_route_of_ipv6),
      HOST_TEST(refusal__a_default_route_that_another_goes_before_is_none),
      HOST_TEST(refusal__default_routes_of_one_metric_count),
      HOST_TEST(refusal__default_route_of_another_table_is_none),
      HOST_TEST(refusal__default_route_through_a_bridge_on_top),
      HOST_TEST(refusal__only_ssh_address),
      HOST_TEST(refusal__only_ssh_address_of_ipv6),
      HOST_TEST(refusal__ssh_address_of_a_vlan_on_top),
      HOST_TEST(refusal__ssh_on_another_nic_too),
      HOST_TEST(refusal__shared_iommu_group),
      HOST_TEST(refusal__group_members_that_are_no_matter),
      HOST_TEST(refusal__group_shared_by_two_of_ours),
      HOST_TEST(refusal__module_missing),
      HOST_TEST(refusal__module_loaded_needs_no_modprobe),
      HOST_TEST(refusal__modprobe_missing),
      HOST_TEST(refusal__driverctl_missing),
      HOST_TEST(refusal__device_gone),
      HOST_TEST(refusal__never_there),
      HOST_TEST(refusal__renamed),
      HOST_TEST(refusal__bound_by_someone_else),
      HOST_TEST(refusal__override_of_someone_else),
      HOST_TEST(refusal__bound_by_someone_else_on_vmbus),
      HOST_TEST(refusal__someone_has_it_open),
      HOST_TEST(refusal__no_iommu),
      HOST_TEST(refusal__kernel_without_noiommu),
      HOST_TEST(refusal__virtual_interface),
      HOST_TEST(refusal__modes_for_other_devices),
      HOST_TEST(refusal__part_of_a_bridge),
      HOST_TEST(refusal__fast_path_of_azure),
      HOST_TEST(refusal__no_address_to_read),
      HOST_TEST(refusal__no_interface_to_read),
      HOST_TEST(refusal__metadata_silent),
      HOST_TEST(refusal__gateway_elsewhere),
      HOST_TEST(refusal__two_with_one_mac),
      HOST_TEST(refusal__all_reasons_in_one_line),
      HOST_TEST(refusal__kernel_driven_modes_leave_the_host_alone),
      cmocka_unit_test(ssh_addresses_in__only_established_to_port_22),
  };
  return cmocka_run_group_tests_name("refusal", tests, nullptr, nullptr);
}
