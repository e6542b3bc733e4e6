// SPDX-License-Identifier: MIT
// What machnetd gets to know of a NIC, from the configuration, from what machnet-nic remembered,
// and from the kernel; and that what is missing is said with the way to get it.
#include "device/resolve.h"

#include "unit/device/taken_nic.h"  // last

namespace {

using mn::device::ResolvedNic;
using mn::test::host;
using mn::test::kNet;
using mn::test::kPci;

mn::Result<ResolvedNic> resolve_first() {
  const auto loaded = mn::config::load_config(host->folder() + "/etc/machnet.conf");
  assert_int_equal(loaded.errors.size(), 0);
  const auto root = host->root();
  const auto net = mn::device::make_kernel_net(root);
  return mn::device::resolve(root, net.get(), loaded.config.nics[0]);
}

void expect_error(std::initializer_list<const char*> words) {
  const auto resolved = resolve_first();
  assert_false(resolved.ok());
  for (const char* word : words) {
    if (resolved.error().find(word) == std::string::npos) {
      print_error("not in the error: %s\n%s\n", word, resolved.error().c_str());
      fail();
    }
  }
}

void resolve__needs_bind_first(void**) {
  expect_error({"nic eth1: is not bound yet", "run `machnet-nic bind eth1` as root",
                "systemctl start machnet"});
}

void resolve__bound_device(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  const auto resolved = resolve_first();
  assert_true(resolved.ok());
  const ResolvedNic& nic = resolved.value();
  assert_string_equal(nic.name.c_str(), "eth1");
  assert_string_equal(nic.mode.c_str(), "vfio-pci");
  assert_string_equal(nic.driver_mode.c_str(), "pci");
  assert_string_equal(nic.device.c_str(), kPci);
  assert_string_equal(nic.reason.c_str(), "a PCI device behind an IOMMU (group 12)");
  assert_int_equal(nic.address, 0x0a000002);
  assert_int_equal(nic.prefix_length, 24);
  assert_int_equal(nic.gateway, 0x0a000001);
  assert_int_equal(nic.mtu, 9000);
  assert_int_equal(nic.mac.bytes[5], 1);
  assert_int_equal(nic.numa_node, 1);
}

void resolve__in_a_container(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  // The service's own /proc shows the boot of the machine below.
  host->write("proc/sys/kernel/random/boot_id", "the-machine-s\n");
  const auto resolved = resolve_first();
  assert_true(resolved.ok());
  assert_int_equal(resolved.value().address, 0x0a000002);
  // But what a boot left is not believed in the next one.
  host->remove("run/machnet/boot_id");
  expect_error({"nic eth1: is not bound in this boot"});
}

void resolve__the_configuration_goes_first(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->config("[nic eth1]\naddress = 10.7.0.9/16\nmtu = 3000\n");
  auto resolved = resolve_first();
  assert_true(resolved.ok());
  assert_int_equal(resolved.value().address, 0x0a070009);
  assert_int_equal(resolved.value().prefix_length, 16);
  assert_int_equal(resolved.value().gateway, 0);
  assert_int_equal(resolved.value().mtu, 3000);
  host->config("[nic eth1]\ngateway = none\n");
  resolved = resolve_first();
  assert_int_equal(resolved.value().gateway, 0);
  assert_int_equal(resolved.value().address, 0x0a000002);
  host->config("[nic eth1]\ngateway = 10.0.0.254\n");
  resolved = resolve_first();
  assert_int_equal(resolved.value().gateway, 0x0a0000fe);
}

void resolve__not_what_was_done(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->config("[nic eth1]\nmode = bifurcated\n");
  expect_error({"nic eth1: was taken as vfio-pci, but the configuration wants mode = bifurcated",
                "machnet-nic bind eth1"});
}

void resolve__given_back_or_of_an_earlier_boot(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->driverctl("unset-override 0000:03:00.0");
  expect_error({"nic eth1: was bound to vfio-pci, but the driver of 0000:03:00.0 is e1000e now"});
  assert_int_equal(host->run({"unbind"}), 0);
  expect_error({"nic eth1: is not bound in this boot"});
  assert_int_equal(host->run({"bind"}), 0);
  host->reboot();
  expect_error({"nic eth1: is not bound in this boot", "machnet-nic bind eth1"});
}

void resolve__gone(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->remove_device("pci", kPci);
  expect_error({"nic eth1: the device 0000:03:00.0 is gone"});
}

void resolve__damaged_state(void**) {
  host->write("var/lib/machnet/eth1.nic", "name eth1\n");
  expect_error({"var/lib/machnet/eth1.nic:1"});
}

void resolve__kernel_driven_needs_nobody(void**) {
  host->config("[nic eth1]\nmode = af_packet\n");
  auto resolved = resolve_first();
  assert_true(resolved.ok());
  assert_string_equal(resolved.value().driver_mode.c_str(), "af_packet");
  assert_string_equal(resolved.value().device.c_str(), "eth1");
  assert_int_equal(resolved.value().address, 0x0a000002);
  assert_int_equal(resolved.value().mtu, 9000);
  // By MAC: the driver wants the interface.
  host->config("[nic 02:00:00:00:00:01]\nmode = af_xdp\naddress = 10.0.0.9/24\n");
  resolved = resolve_first();
  assert_true(resolved.ok());
  assert_string_equal(resolved.value().device.c_str(), "eth1");
  assert_int_equal(resolved.value().address, 0x0a000009);
  host->set_net("eth1", "mtu 65535\nup yes\n");
  host->config("[nic eth1]\nmode = af_packet\n");
  expect_error({"eth1 has no IPv4 address"});
  host->config("[nic eth1]\nmode = af_packet\naddress = 10.0.0.9/24\n");
  assert_int_equal(resolve_first().value().mtu, 32768);
}

void resolve__kernel_driven_by_metadata(void**) {
  host->config("[nic eth1]\nmode = af_packet\naddress = metadata\n");
  expect_error({"the metadata service was not asked yet", "machnet-nic bind eth1"});
  host->metadata = {.cloud = "gcp",
                    .address = 0x0a80000a,
                    .prefix_length = 32,
                    .gateway = 0x0a800001,
                    .mtu = 1460};
  assert_int_equal(host->run({"bind"}), 0);
  const auto resolved = resolve_first();
  assert_int_equal(resolved.value().address, 0x0a80000a);
  assert_int_equal(resolved.value().gateway, 0x0a800001);
  assert_string_equal(resolved.value().address_reason.c_str(), "from the metadata service of gcp");
}

void resolve__vmbus(void**) {
  constexpr char kUuid[] = "000d3a6e-1234-5678-9abc-def012345678";
  host->add_vmbus(kUuid, "eth2");
  host->set_net("eth2", "mtu 1500\nup yes\naddress 10.4.0.4/24\n");
  host->config("[machnet]\nhugepages = no\n[nic eth2]\n");
  assert_int_equal(host->run({"bind"}), 0);
  const auto resolved = resolve_first();
  assert_true(resolved.ok());
  assert_string_equal(resolved.value().mode.c_str(), "uio_hv_generic");
  assert_string_equal(resolved.value().driver_mode.c_str(), "vmbus");
  assert_string_equal(resolved.value().device.c_str(), kUuid);
}

void resolve__bifurcated(void**) {
  host->add_pci({.address = "0000:05:00.0", .driver = "mlx5_core", .ifname = "eth5"});
  host->set_net("eth5", "mtu 1500\nup yes\naddress 10.5.0.4/24\n");
  host->config("[machnet]\nhugepages = no\n[nic eth5]\n");
  expect_error({"nic eth5: is not bound yet"});
  assert_int_equal(host->run({"bind"}), 0);
  const auto resolved = resolve_first();
  assert_true(resolved.ok());
  assert_string_equal(resolved.value().mode.c_str(), "bifurcated");
  assert_string_equal(resolved.value().driver_mode.c_str(), "pci");
  assert_string_equal(resolved.value().device.c_str(), "0000:05:00.0");
}

void resolve__noiommu_is_what_vfio_pci_asked_for(void**) {
  host->add_pci({.address = "0000:04:00.0", .driver = "ena", .ifname = "eth4"});
  host->set_net("eth4", "up yes\naddress 10.5.0.4/24\n");
  host->config(
      "[machnet]\nhugepages = no\n[nic eth4]\nmode = vfio-pci\nallow_unsafe_noiommu = yes\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_string_equal(resolve_first().value().mode.c_str(), "vfio-noiommu");
}

void resolve__as_the_administrator_bound_it(void**) {
  host->config("[nic 03:00.0]\nmode = pci\naddress = 10.0.0.2/24\n");
  expect_error({"has the driver e1000e"});
  host->driverctl("set-override 0000:03:00.0 vfio-pci");
  const auto resolved = resolve_first();
  assert_true(resolved.ok());
  assert_string_equal(resolved.value().driver_mode.c_str(), "pci");
  assert_string_equal(resolved.value().device.c_str(), kPci);
}

void resolve__virtual_device(void**) {
  host->config("[nic m0]\nmode = vdev:net_memif0,role=client\naddress = 10.0.0.1/24\n");
  const auto resolved = resolve_first();
  assert_true(resolved.ok());
  assert_string_equal(resolved.value().driver_mode.c_str(), "vdev:net_memif0,role=client");
  assert_string_equal(resolved.value().device.c_str(), "m0");
  assert_int_equal(resolved.value().address, 0x0a000001);
}

void resolve__another_device_has_the_name_now(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->reboot();
  host->remove_device("pci", kPci);
  host->remove("sys/class/net/eth1");
  host->add_pci({.address = "0000:09:00.0", .group = "19", .ifname = "eth1"});
  host->set_net("eth1", kNet);
  expect_error({"nic eth1: is not bound yet"});
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      HOST_TEST(resolve__needs_bind_first),
      HOST_TEST(resolve__bound_device),
      HOST_TEST(resolve__in_a_container),
      HOST_TEST(resolve__the_configuration_goes_first),
      HOST_TEST(resolve__not_what_was_done),
      HOST_TEST(resolve__given_back_or_of_an_earlier_boot),
      HOST_TEST(resolve__gone),
      HOST_TEST(resolve__damaged_state),
      HOST_TEST(resolve__kernel_driven_needs_nobody),
      HOST_TEST(resolve__kernel_driven_by_metadata),
      HOST_TEST(resolve__vmbus),
      HOST_TEST(resolve__bifurcated),
      HOST_TEST(resolve__noiommu_is_what_vfio_pci_asked_for),
      HOST_TEST(resolve__as_the_administrator_bound_it),
      HOST_TEST(resolve__virtual_device),
      HOST_TEST(resolve__another_device_has_the_name_now),
  };
  return cmocka_run_group_tests_name("resolve", tests, nullptr, nullptr);
}
