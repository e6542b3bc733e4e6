// SPDX-License-Identifier: MIT
// Taking a NIC, and that it can be given back, from machnet-nic's command line to the calls of
// driverctl and what the kernel has in the end; every kind of device, in order and with everything
// going wrong.
#include "device/binder.h"

#include "unit/device/taken_nic.h"  // last

namespace {

using mn::test::expect_calls;
using mn::test::expect_given_back;
using mn::test::host;
using mn::test::kNet;
using mn::test::kPci;
using mn::test::kState;
using mn::test::net_has;
using mn::test::saved;

constexpr char kUuid[] = "000d3a6e-1234-5678-9abc-def012345678";

void bind__vfio_and_back(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  expect_calls(
      "modprobe --dry-run --quiet vfio-pci\nmodprobe vfio-pci\n"
      "driverctl --nosave set-override 0000:03:00.0 vfio-pci\n");
  assert_string_equal(host->driver_of("pci", kPci).c_str(), "vfio-pci");
  assert_string_equal(host->net("eth1").c_str(), "");
  assert_said("nic eth1: mode vfio-pci: a PCI device behind an IOMMU (group 12)");
  assert_said("nic eth1: address 10.0.0.2/24, gateway 10.0.0.1 (the kernel's, read from eth1)");
  assert_said("nic eth1: running: ");
  assert_said("driverctl --nosave set-override 0000:03:00.0 vfio-pci");
  assert_said("nic eth1: 0000:03:00.0 is bound to vfio-pci, was e1000e");

  const mn::device::SavedNic nic = saved("eth1");
  assert_true(nic.bound == mn::device::Bound::kYes);
  assert_string_equal(nic.driver.c_str(), "e1000e");
  assert_string_equal(nic.device.c_str(), kPci);
  assert_string_equal(nic.boot_id.c_str(), "first-boot");
  assert_int_equal(nic.address, 0x0a000002);
  assert_int_equal(nic.prefix_length, 24);
  assert_int_equal(nic.gateway, 0x0a000001);
  assert_int_equal(nic.mtu, 9000);
  assert_int_equal(nic.mac.bytes[5], 1);
  assert_int_equal(nic.numa_node, 1);
  assert_int_equal(nic.addresses.size(), 2);
  assert_int_equal(nic.routes.size(), 2);

  host->forget_calls();
  assert_int_equal(host->run({"unbind"}), 0);
  expect_calls("driverctl --nosave unset-override 0000:03:00.0\n");
  expect_given_back("eth1");
  assert_said("nic eth1: 0000:03:00.0 is bound to e1000e again");
  assert_said("nic eth1: eth1 is as it was: up, MTU 9000, 10.0.0.2/24, 10.0.0.3/24, 2 routes");
  assert_true(saved("eth1").bound == mn::device::Bound::kNo);
  assert_int_equal(saved("eth1").address, 0x0a000002);  // remembered

  host->forget_calls();
  assert_int_equal(host->run({"unbind"}), 0);
  assert_said("nic eth1: is not taken; nothing to give back");
  expect_calls("");
}

void bind__again_changes_nothing(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  const std::string before = host->read(kState);
  host->forget_calls();
  assert_int_equal(host->run({"bind", "eth1"}), 0);
  expect_calls("");
  assert_said("nic eth1: is taken already, mode vfio-pci; address 10.0.0.2/24");
  assert_true(saved("eth1").addresses.size() == 2);
  assert_int_equal(host->run({"unbind", "eth1"}), 0);
  expect_given_back("eth1");
}

void bind__again_with_another_address(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->config("[nic eth1]\naddress = 10.0.0.77/24\ngateway = 10.0.0.254\n");
  host->forget_calls();
  assert_int_equal(host->run({"bind"}), 0);
  expect_calls("");
  assert_int_equal(saved("eth1").address, 0x0a00004d);
  assert_int_equal(saved("eth1").gateway, 0x0a0000fe);
  assert_int_equal(host->run({"unbind"}), 0);
  expect_given_back("eth1");
}

void bind__after_kill_nine(void**) {
  // machnetd and machnet-nic are gone; what is bound stays bound, and the next start goes on.
  assert_int_equal(host->run({"bind"}), 0);
  assert_int_equal(host->run({"bind"}), 0);
  assert_int_equal(host->run({"unbind"}), 0);
  expect_given_back("eth1");
}

void bind__killed_between_the_note_and_the_driver(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  const std::string note = host->read(kState);
  assert_int_equal(host->run({"unbind"}), 0);
  host->write(kState, note);  // as if nothing had been done yet
  host->forget_calls();
  assert_int_equal(host->run({"unbind"}), 0);
  expect_calls("");
  expect_given_back("eth1");
  host->write(kState, note);
  assert_int_equal(host->run({"bind"}), 0);
  assert_said("nic eth1: was taken, but is not bound to vfio-pci any more");
  assert_string_equal(host->driver_of("pci", kPci).c_str(), "vfio-pci");
  assert_int_equal(saved("eth1").addresses.size(), 2);
}

void bind__killed_between_driver_and_probe(void**) {
  // The override was written, and no driver has the device.
  assert_int_equal(host->run({"bind"}), 0);
  host->remove("sys/bus/pci/devices/0000:03:00.0/driver");
  assert_int_equal(host->run({"unbind"}), 0);
  expect_given_back("eth1");
}

void bind__after_power_loss(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->reboot();
  host->set_net("eth1", "mtu 1500\nup no\n");  // nobody has set it up yet
  host->forget_calls();
  assert_int_equal(host->run({"unbind"}), 0);
  assert_said("nic eth1: was taken before the machine was booted, which gave it back");
  expect_calls("");
  assert_true(saved("eth1").bound == mn::device::Bound::kNo);
  assert_true(net_has("eth1", "up no"));  // the new boot's own business
  // And the address is still known.
  assert_int_equal(host->run({"bind"}), 0);
  assert_said("address 10.0.0.2/24, gateway 10.0.0.1 (remembered, as the kernel has none now)");
  assert_string_equal(host->driver_of("pci", kPci).c_str(), "vfio-pci");
  assert_int_equal(host->run({"unbind"}), 0);
  assert_true(net_has("eth1", "up no"));
  assert_int_equal(saved("eth1").addresses.size(), 0);
}

void bind__after_power_loss_without_unbind(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->reboot();
  host->set_net("eth1", kNet);
  assert_int_equal(host->run({"bind"}), 0);
  assert_string_equal(host->driver_of("pci", kPci).c_str(), "vfio-pci");
  assert_string_equal(saved("eth1").boot_id.c_str(), host->root().boot_id().c_str());
  assert_int_equal(host->run({"unbind"}), 0);
  expect_given_back("eth1");
}

void bind__found_bound_after_reboot(void**) {
  // An administrator made the override permanent meanwhile: it is used, and left alone at the end.
  assert_int_equal(host->run({"bind"}), 0);
  host->reboot();
  host->driverctl("set-override 0000:03:00.0 vfio-pci");
  host->forget_calls();
  assert_int_equal(host->run({"bind"}), 0);
  assert_said("it was bound already, and stays so");
  assert_said("address 10.0.0.2/24, gateway 10.0.0.1 (remembered");
  assert_true(host->calls().find("driverctl") == std::string::npos);
  const mn::device::SavedNic nic = saved("eth1");
  assert_true(nic.bound == mn::device::Bound::kFound);
  assert_string_equal(nic.driver.c_str(), "e1000e");
  assert_int_equal(nic.mtu, 9000);
  assert_int_equal(host->run({"bind"}), 0);  // also the second time
  assert_int_equal(host->run({"unbind"}), 0);
  assert_said("was bound before machnet came, and is left as it is");
  assert_string_equal(host->driver_of("pci", kPci).c_str(), "vfio-pci");
  assert_true(host->calls().find("driverctl") == std::string::npos);
}

void bind__as_the_administrator_bound_it(void**) {
  host->driverctl("set-override 0000:03:00.0 vfio-pci");
  host->config(
      "[machnet]\nhugepages = no\n[nic 0000:03:00.0]\nmode = pci\naddress = 10.0.0.2/24\n");
  assert_int_equal(host->run({"bind"}), 0);
  expect_calls("");
  assert_said("mode pci: asked for with mode = pci; taken as it is bound, to vfio-pci");
  assert_true(saved(kPci).bound == mn::device::Bound::kFound);
  assert_int_equal(host->run({"unbind"}), 0);
  expect_calls("");
  assert_string_equal(host->driver_of("pci", kPci).c_str(), "vfio-pci");
}

void bind__by_mac_and_by_address(void**) {
  host->config("[machnet]\nhugepages = no\n[nic 02:00:00:00:00:01]\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_int_equal(host->run({"bind"}), 0);  // found again though no interface has that MAC
  assert_said("is taken already");
  assert_int_equal(host->run({"unbind"}), 0);
  expect_given_back("eth1");
  host->config("[machnet]\nhugepages = no\n[nic 03:00.0]\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_int_equal(host->run({"unbind", "03:00.0"}), 0);
  expect_given_back("eth1");
}

void bind__virtio_binds_the_pci_device(void**) {
  host->add_pci({.address = "0000:00:04.0",
                 .driver = "virtio-pci",
                 .group = "4",
                 .ifname = "ens4",
                 .is_virtio = true});
  host->set_net("ens4",
                "mtu 1460\nup yes\naddress 10.128.0.7/32\nroute 10.128.0.1/32\n"
                "route default via 10.128.0.1 metric 300 table 77\n");
  host->config("[machnet]\nhugepages = no\n[nic ens4]\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_said("driverctl --nosave set-override 0000:00:04.0 vfio-pci");
  assert_said("address 10.128.0.7/32, gateway 10.128.0.1");
  assert_int_equal(host->run({"unbind"}), 0);
  assert_string_equal(host->driver_of("pci", "0000:00:04.0").c_str(), "virtio-pci");
  assert_true(net_has("ens4", "address 10.128.0.7/32"));
  assert_true(net_has("ens4", "route default via 10.128.0.1"));
}

void bind__vmbus_and_back(void**) {
  host->add_vmbus(kUuid, "eth2");
  host->set_net("eth2",
                "mac 00:0d:3a:11:22:33\nmtu 1500\nup yes\naddress 10.4.0.4/24\n"
                "route 10.9.0.0/16 via 10.4.0.1\n");
  host->add_pci({.address = "0001:00:02.0", .driver = "mlx5_core", .ifname = "enP1s1"});
  host->set_net("enP1s1", "mac 00:0d:3a:11:22:33\nup yes\nmaster eth2\n");
  // By MAC: the device in charge, not its fast path.
  host->config("[machnet]\nhugepages = no\n[nic 00:0d:3a:11:22:33]\n");
  assert_int_equal(host->run({"bind"}), 0);
  expect_calls((std::string("modprobe --dry-run --quiet uio_hv_generic\nmodprobe uio_hv_generic\n"
                            "driverctl -b vmbus --nosave set-override ") +
                kUuid + " uio_hv_generic\n")
                   .c_str());
  assert_said("mode uio_hv_generic: a network device of Hyper-V's VMBus");
  assert_said("address 10.4.0.4/24, gateway 10.4.0.1");
  assert_string_equal(host->driver_of("vmbus", kUuid).c_str(), "uio_hv_generic");
  assert_string_equal(host->driver_of("pci", "0001:00:02.0").c_str(), "mlx5_core");
  host->forget_calls();
  assert_int_equal(host->run({"bind"}), 0);
  expect_calls("");
  assert_int_equal(host->run({"unbind"}), 0);
  expect_calls((std::string("driverctl -b vmbus --nosave unset-override ") + kUuid + "\n").c_str());
  assert_string_equal(host->driver_of("vmbus", kUuid).c_str(), "hv_netvsc");
  assert_true(net_has("eth2", "address 10.4.0.4/24"));
  assert_true(net_has("eth2", "route 10.9.0.0/16 via 10.4.0.1"));
}

void bind__vmbus_by_uuid(void**) {
  host->add_vmbus(kUuid, "eth2");
  host->set_net("eth2", "up yes\naddress 10.4.0.4/24\n");
  host->config(std::string("[machnet]\nhugepages = no\n[nic ") + kUuid +
               "]\nmode = uio_hv_generic\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_string_equal(host->driver_of("vmbus", kUuid).c_str(), "uio_hv_generic");
  assert_int_equal(host->run({"unbind"}), 0);
  assert_string_equal(host->driver_of("vmbus", kUuid).c_str(), "hv_netvsc");
}

void bind__noiommu_switched_on_and_off(void**) {
  constexpr char kSwitch[] = "sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
  host->add_pci({.address = "0000:04:00.0", .driver = "ena", .ifname = "eth2"});
  host->add_pci({.address = "0000:05:00.0", .driver = "ena", .ifname = "eth3"});
  host->set_net("eth2", "up yes\naddress 10.1.0.2/24\n");
  host->set_net("eth3", "up yes\naddress 10.2.0.2/24\n");
  host->config(
      "[machnet]\nhugepages = no\n[nic eth2]\nallow_unsafe_noiommu = yes\n"
      "[nic eth3]\nallow_unsafe_noiommu = yes\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_said("mode vfio-noiommu: a PCI device without an IOMMU, and allow_unsafe_noiommu = yes");
  assert_said("warning: nic eth2: switching on vfio's unsafe no-IOMMU mode");
  assert_said("modprobe vfio\n");
  assert_string_equal(host->read(kSwitch).c_str(), "Y");
  assert_string_equal(host->driver_of("pci", "0000:04:00.0").c_str(), "vfio-pci");
  // What the no-IOMMU mode makes of it is no IOMMU group.
  host->write("sys/devices/pci0000:00/0000:04:00.0/iommu_group/name", "vfio-noiommu\n");
  host->forget_calls();
  assert_int_equal(host->run({"bind", "eth2"}), 0);
  assert_said("is taken already, mode vfio-noiommu");
  // The other one still lives by it.
  assert_int_equal(host->run({"unbind", "eth2"}), 0);
  assert_string_equal(host->read(kSwitch).c_str(), "Y");
  assert_int_equal(host->run({"unbind"}), 0);
  assert_said("switching vfio's unsafe no-IOMMU mode off again");
  assert_string_equal(host->read(kSwitch).c_str(), "N");
  assert_string_equal(host->driver_of("pci", "0000:05:00.0").c_str(), "ena");
}

void bind__noiommu_that_was_on_stays_on(void**) {
  host->add_pci({.address = "0000:04:00.0", .driver = "ena", .ifname = "eth2"});
  host->set_net("eth2", "up yes\naddress 10.1.0.2/24\n");
  host->write("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
  host->config("[nic eth2]\nmode = vfio-pci\nallow_unsafe_noiommu = yes\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_int_equal(host->run({"unbind"}), 0);
  assert_string_equal(host->read("sys/module/vfio/parameters/enable_unsafe_noiommu_mode").c_str(),
                      "Y\n");
}

void bind__bifurcated_drivers_stay(void**) {
  struct {
    const char* address;
    const char* driver;
    const char* ifname;
    const char* module;
  } const kNics[] = {{"0000:05:00.0", "mlx5_core", "eth5", "mlx5_ib"},
                     {"0000:06:00.0", "mlx4_core", "eth6", "mlx4_ib"},
                     {"7870:00:00.0", "mana", "eth7", "mana_ib"}};
  for (const auto& nic : kNics) {
    host->add_pci(
        {.address = nic.address, .driver = nic.driver, .group = "20", .ifname = nic.ifname});
    host->set_net(nic.ifname, "mtu 1500\nup no\naddress 10.5.0.2/24\n");
    host->config(std::string("[machnet]\nhugepages = no\n[nic ") + nic.ifname + "]\n");
    host->forget_calls();
    assert_int_equal(host->run({"bind"}), 0);
    assert_said((std::string("mode bifurcated: ") + nic.driver +
                 " shares the device between the kernel and DPDK")
                    .c_str());
    assert_true(host->calls().find("driverctl") == std::string::npos);
    assert_true(host->calls().find(std::string("modprobe ") + nic.module + "\n") !=
                std::string::npos);
    assert_true(net_has(nic.ifname, "up yes"));
    assert_string_equal(host->driver_of("pci", nic.address).c_str(), nic.driver);
    host->set_net(nic.ifname, "mtu 4000\nup yes\naddress 10.5.0.2/24\n");  // as DPDK leaves it
    assert_int_equal(host->run({"unbind"}), 0);
    assert_true(net_has(nic.ifname, "up no"));
    assert_true(net_has(nic.ifname, "mtu 1500"));
    host->load_module("ib_uverbs");
  }
}

void bind__kernel_driven_interface_and_back(void**) {
  for (const char* mode : {"af_xdp", "af_packet"}) {
    host->add_virtual(mode);
    host->set_net(mode, "mtu 1500\nup no\nkind veth\naddress 10.6.0.2/24\n");
    host->config(std::string("[nic ") + mode + "]\nmode = " + mode + "\n");
    host->forget_calls();
    assert_int_equal(host->run({"bind"}), 0);
    expect_calls("");
    assert_said((std::string("mode ") + mode + ": asked for with mode = " + mode +
                 "; the kernel's driver stays")
                    .c_str());
    assert_said((std::string("bringing up ") + mode).c_str());
    assert_true(net_has(mode, "up yes"));
    assert_int_equal(host->run({"bind"}), 0);
    assert_false(saved(mode).is_up);  // as it was the first time
    host->set_net(mode, "mtu 3000\nup yes\nkind veth\naddress 10.6.0.2/24\n");
    assert_int_equal(host->run({"unbind"}), 0);
    assert_true(net_has(mode, "up no"));
    assert_true(net_has(mode, "mtu 1500"));
    assert_true(net_has(mode, "address 10.6.0.2/24"));
    assert_int_equal(host->run({"unbind"}), 0);
    assert_said("is not taken");
  }
}

void bind__kernel_driven_interface_gone_meanwhile(void**) {
  host->add_virtual("dp0");
  host->set_net("dp0", "up yes\nkind veth\naddress 10.6.0.2/24\n");
  host->config("[nic dp0]\nmode = af_packet\n");
  assert_int_equal(host->run({"bind"}), 0);
  host->remove("net/dp0");
  host->remove("sys/class/net/dp0");
  assert_int_equal(host->run({"unbind"}), 0);
  assert_said("dp0 is gone; nothing to give back");
  // Made anew, with another MAC.
  host->add_virtual("dp0");
  host->set_net("dp0", "mac 02:00:00:00:00:99\nup yes\nkind veth\naddress 10.6.0.7/24\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_int_equal(saved("dp0").address, 0x0a060007);
}

void bind__other_mode_gives_back_first(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->config("[machnet]\nhugepages = no\n[nic eth1]\nmode = af_packet\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_said("nic eth1: is taken as vfio-pci and wanted as af_packet: giving it back first");
  expect_given_back("eth1");
  assert_string_equal(saved("eth1").mode.c_str(), "af_packet");
  host->config("[machnet]\nhugepages = no\n[nic eth1]\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_string_equal(host->driver_of("pci", kPci).c_str(), "vfio-pci");
}

void bind__failure_is_undone(void**) {
  host->write("set-override-fails", "driverctl: unbinding 0000:03:00.0 failed\n");
  assert_int_equal(host->run({"bind"}), 1);
  assert_said("nic eth1: `");
  assert_said("set-override 0000:03:00.0 vfio-pci` failed (exit code 1): driverctl: unbinding");
  assert_said("taking it failed; undoing what was done");
  expect_given_back("eth1");
  assert_true(saved("eth1").bound == mn::device::Bound::kNo);
  assert_int_equal(host->errors(), 1);
}

void bind__driver_that_does_not_take_it_is_undone(void**) {
  host->write("binds-nothing", "");
  assert_int_equal(host->run({"bind"}), 1);
  assert_said("driverctl reports success, but the device is bound to nothing, not vfio-pci");
  assert_said("dmesg");
  expect_given_back("eth1");
  assert_true(saved("eth1").bound == mn::device::Bound::kNo);
}

void bind__module_that_cannot_be_loaded_is_undone(void**) {
  // There when asked for, and refused when loaded (a signature, a blacklist).
  host->write("bin/modprobe",
              "#!/bin/sh\ncase \"$*\" in *--dry-run*) exit 0;; esac\n"
              "echo 'Key was rejected by service' >&2\nexit 1\n");
  assert_int_equal(host->run({"bind"}), 1);
  assert_said("modprobe vfio-pci` failed (exit code 1): Key was rejected by service");
  expect_given_back("eth1");
  expect_calls("");
}

void bind__one_of_two_fails(void**) {
  host->config("[machnet]\nhugepages = no\n[nic eth9]\n[nic eth1]\n");
  assert_int_equal(host->run({"bind"}), 1);
  assert_said("error: nic eth9: there is no such NIC");
  assert_string_equal(host->driver_of("pci", kPci).c_str(), "vfio-pci");
  assert_int_equal(host->run({"unbind"}), 0);
  expect_given_back("eth1");
}

void bind__a_vdev_is_nobodys(void**) {
  host->config("[nic m0]\nmode = vdev:net_memif0\naddress = 10.0.0.1/24\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_said("nic m0: mode vdev:net_memif0: nothing to bind");
  expect_calls("");
}

void bind__metadata_says_the_address(void**) {
  host->metadata = {.cloud = "azure",
                    .address = 0x0a040009,
                    .prefix_length = 24,
                    .gateway = 0x0a040001,
                    .mtu = 1500};
  host->config("[machnet]\nhugepages = no\n[nic eth1]\naddress = metadata\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_said("address 10.4.0.9/24, gateway 10.4.0.1 (from the metadata service of azure)");
  // Asked again by the MAC that is remembered.
  host->metadata.address = 0x0a04000a;
  assert_int_equal(host->run({"bind"}), 0);
  assert_int_equal(saved("eth1").address, 0x0a04000a);
  assert_int_equal(host->run({"unbind"}), 0);
  expect_given_back("eth1");
}

void bind__gateway_of_the_configuration(void**) {
  host->config("[machnet]\nhugepages = no\n[nic eth1]\ngateway = 10.0.0.254\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_int_equal(saved("eth1").gateway, 0x0a0000fe);
  host->config("[machnet]\nhugepages = no\n[nic eth1]\ngateway = none\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_int_equal(saved("eth1").gateway, 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      HOST_TEST(bind__vfio_and_back),
      HOST_TEST(bind__again_changes_nothing),
      HOST_TEST(bind__again_with_another_address),
      HOST_TEST(bind__after_kill_nine),
      HOST_TEST(bind__killed_between_the_note_and_the_driver),
      HOST_TEST(bind__killed_between_driver_and_probe),
      HOST_TEST(bind__after_power_loss),
      HOST_TEST(bind__after_power_loss_without_unbind),
      HOST_TEST(bind__found_bound_after_reboot),
      HOST_TEST(bind__as_the_administrator_bound_it),
      HOST_TEST(bind__by_mac_and_by_address),
      HOST_TEST(bind__virtio_binds_the_pci_device),
      HOST_TEST(bind__vmbus_and_back),
      HOST_TEST(bind__vmbus_by_uuid),
      HOST_TEST(bind__noiommu_switched_on_and_off),
      HOST_TEST(bind__noiommu_that_was_on_stays_on),
      HOST_TEST(bind__bifurcated_drivers_stay),
      HOST_TEST(bind__kernel_driven_interface_and_back),
      HOST_TEST(bind__kernel_driven_interface_gone_meanwhile),
      HOST_TEST(bind__other_mode_gives_back_first),
      HOST_TEST(bind__failure_is_undone),
      HOST_TEST(bind__driver_that_does_not_take_it_is_undone),
      HOST_TEST(bind__module_that_cannot_be_loaded_is_undone),
      HOST_TEST(bind__one_of_two_fails),
      HOST_TEST(bind__a_vdev_is_nobodys),
      HOST_TEST(bind__metadata_says_the_address),
      HOST_TEST(bind__gateway_of_the_configuration),
  };
  return cmocka_run_group_tests_name("binder", tests, nullptr, nullptr);
}
