// SPDX-License-Identifier: MIT
// What sysfs shows of the NICs of a host, and which one a name means.
#include "device/find.h"

#include <string.h>
#include <unistd.h>

#include "unit/device/taken_nic.h"  // last

namespace {

using mn::device::Bus;
using mn::device::Candidate;
using mn::device::Inventory;
using mn::test::host;

Inventory take() {
  const auto root = host->root();
  const auto net = mn::device::make_kernel_net(root);
  auto inventory = mn::device::take_inventory(root, net.get());
  assert_true(inventory.ok());
  return std::move(inventory.value());
}

const Candidate* with_name(const Inventory& inventory, const char* ifname) {
  for (const Candidate& nic : inventory.nics) {
    if (nic.net.ifname == ifname) return &nic;
  }
  fail();
  return nullptr;
}

std::string found(const char* name) {
  const auto nic = mn::device::find_nic(take(), name, nullptr, "");
  return nic ? nic.value().label() : nic.error();
}

void take_inventory__what_sysfs_says(void**) {
  host->add_pci(
      {.address = "0000:03:00.1", .driver = "igb", .group = "12", .device_class = "0x088000"});
  host->write("sys/devices/pci0000:00/0000:03:00.0/driver_override", "e1000e\n");
  host->add_virtual("br0");
  host->put_upper("eth1", "br0");
  const Inventory inventory = take();
  assert_int_equal(inventory.nics.size(), 2);  // the other device of the group is no NIC
  const Candidate& nic = *with_name(inventory, "eth1");
  assert_true(nic.bus == Bus::kPci);
  assert_string_equal(nic.label().c_str(), "eth1 (0000:03:00.0)");
  assert_string_equal(nic.driver.c_str(), "e1000e");
  assert_string_equal(nic.driver_override.c_str(), "e1000e");
  assert_string_equal(nic.iommu_group.c_str(), "12");
  assert_int_equal(nic.group_others.size(), 1);
  assert_string_equal(nic.group_others[0].device.c_str(), "0000:03:00.1");
  assert_string_equal(nic.group_others[0].driver.c_str(), "igb");
  assert_false(nic.group_others[0].is_bridge);
  assert_int_equal(nic.numa_node, 1);
  assert_int_equal(nic.uppers.size(), 1);
  assert_string_equal(nic.uppers[0].c_str(), "br0");
  const Candidate& bridge = *with_name(inventory, "br0");
  assert_true(bridge.bus == Bus::kOther);
  assert_string_equal(bridge.label().c_str(), "br0");
}

void take_inventory__virtio_is_its_pci_device(void**) {
  host->add_pci(
      {.address = "0000:00:04.0", .driver = "virtio-pci", .ifname = "ens4", .is_virtio = true});
  const Candidate nic = *with_name(take(), "ens4");
  assert_true(nic.bus == Bus::kPci);
  assert_string_equal(nic.device.c_str(), "0000:00:04.0");
  assert_string_equal(nic.driver.c_str(), "virtio-pci");
  assert_string_equal(nic.iommu_group.c_str(), "");
}

void take_inventory__noiommu_groups_do_not_count(void**) {
  host->write("sys/kernel/iommu_groups/12/name", "vfio-noiommu\n");
  assert_string_equal(with_name(take(), "eth1")->iommu_group.c_str(), "");
}

void take_inventory__vmbus_knows_networks_by_class(void**) {
  constexpr char kUuid[] = "000d3a6e-1234-5678-9abc-def012345678";
  host->add_vmbus(kUuid, "eth2");
  host->write("sys/devices/vmbus/disk/class_id", "{ba6163d9-04a1-4d29-b605-72e2ffb1dc7f}\n");
  symlink((host->folder() + "/sys/devices/vmbus/disk").c_str(),
          (host->folder() + "/sys/bus/vmbus/devices/disk").c_str());
  const Inventory inventory = take();
  assert_int_equal(inventory.nics.size(), 2);
  const Candidate& nic = *with_name(inventory, "eth2");
  assert_true(nic.bus == Bus::kVmbus);
  assert_string_equal(nic.device.c_str(), kUuid);
  assert_string_equal(nic.driver.c_str(), "hv_netvsc");
}

void take_inventory__two_ports_of_one_device(void**) {
  const std::string net = "sys/devices/pci0000:00/0000:03:00.0/net/eth1p2";
  host->write(net + "/dev_port", "1\n");
  symlink((host->folder() + "/sys/devices/pci0000:00/0000:03:00.0").c_str(),
          (host->folder() + "/" + net + "/device").c_str());
  symlink((host->folder() + "/" + net).c_str(), (host->folder() + "/sys/class/net/eth1p2").c_str());
  host->set_net("eth1p2", "up yes\n");
  assert_string_equal(found("eth1p2").c_str(), "eth1p2 (0000:03:00.0)");
  assert_string_equal(found("eth1").c_str(), "eth1 (0000:03:00.0)");
  assert_non_null(strstr(found("0000:03:00.0").c_str(), "fits more than one"));
}

void find_nic__by_every_name(void**) {
  constexpr char kUuid[] = "000d3a6e-1234-5678-9abc-def012345678";
  host->add_vmbus(kUuid, "eth2");
  for (const char* name : {"eth1", "0000:03:00.0", "03:00.0", "02:00:00:00:00:01"}) {
    assert_string_equal(found(name).c_str(), "eth1 (0000:03:00.0)");
  }
  for (const char* name : {kUuid, "000D3A6E-1234-5678-9ABC-DEF012345678", "eth2"}) {
    assert_string_equal(found(name).c_str(), "eth2 (000d3a6e-1234-5678-9abc-def012345678)");
  }
  for (const char* name :
       {"eth3", "0000:03:00.1", "02:00:00:00:00:77", "", "000d3a6e-1234-5678-9abc-def012345679"}) {
    assert_non_null(strstr(found(name).c_str(), "there is no such NIC on this host"));
  }
}

void find_nic__a_mac_means_the_device_and_not_what_is_on_it(void**) {
  host->add_virtual("eth1.7");
  host->set_net("eth1.7", "mac 02:00:00:00:00:01\nkind vlan\nup yes\n");
  assert_string_equal(found("02:00:00:00:00:01").c_str(), "eth1 (0000:03:00.0)");
}

void find_nic__what_we_took_by_what_was_remembered(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  const auto saved = mn::test::saved("eth1");
  host->add_virtual("eth1");  // its name has gone to another one
  const auto nic = mn::device::find_nic(take(), "eth1", &saved, host->root().boot_id());
  assert_true(nic.ok());
  assert_string_equal(nic.value().device.c_str(), mn::test::kPci);
  // In another boot the name means what has it.
  const auto other = mn::device::find_nic(take(), "eth1", &saved, "another boot");
  assert_true(other.ok());
  assert_string_equal(other.value().device.c_str(), "");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      HOST_TEST(take_inventory__what_sysfs_says),
      HOST_TEST(take_inventory__virtio_is_its_pci_device),
      HOST_TEST(take_inventory__noiommu_groups_do_not_count),
      HOST_TEST(take_inventory__vmbus_knows_networks_by_class),
      HOST_TEST(take_inventory__two_ports_of_one_device),
      HOST_TEST(find_nic__by_every_name),
      HOST_TEST(find_nic__a_mac_means_the_device_and_not_what_is_on_it),
      HOST_TEST(find_nic__what_we_took_by_what_was_remembered),
  };
  return cmocka_run_group_tests_name("find", tests, nullptr, nullptr);
}
