// SPDX-License-Identifier: MIT
// The table of modes: device and wish on one side, mode, driver and reason on the other.
#include "device/mode_choice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <string>

// Last: cmocka has macros called fail and skip.
extern "C" {
#include <cmocka.h>
}

namespace {

using mn::device::Bus;
using mn::device::Candidate;

Candidate pci(const char* driver, const char* group) {
  Candidate nic;
  nic.bus = Bus::kPci;
  nic.device = "0000:03:00.0";
  nic.driver = driver;
  nic.iommu_group = group;
  nic.net.ifname = "eth1";
  return nic;
}

Candidate other(Bus bus, const char* kind) {
  Candidate nic;
  nic.bus = bus;
  nic.device = bus == Bus::kVmbus ? "uuid" : "";
  nic.driver = bus == Bus::kVmbus ? "hv_netvsc" : "";
  nic.net.ifname = "eth2";
  nic.net.kind = kind;
  return nic;
}

// "mode/driver/modules/reason", or the error.
std::string chosen(const Candidate& nic, const char* wanted, bool allow_unsafe_noiommu = false) {
  const auto choice = mn::device::choose_mode(nic, wanted, allow_unsafe_noiommu);
  if (!choice) return choice.error();
  std::string modules;
  for (const std::string& module : choice.value().modules) modules += " " + module;
  return choice.value().mode + "/" + choice.value().driver + "/" + modules + "/" +
         choice.value().reason;
}

void expect(const std::string& text, const char* begins) {
  if (!text.starts_with(begins)) print_error("%s\nis not\n%s\n", text.c_str(), begins);
  assert_true(text.starts_with(begins));
}

void choose_mode__auto(void**) {
  expect(chosen(pci("e1000e", "7"), "auto"),
         "vfio-pci/vfio-pci/ vfio-pci/a PCI device behind an IOMMU (group 7)");
  expect(chosen(pci("", "7"), "auto"), "vfio-pci/vfio-pci/");
  expect(chosen(pci("ena", ""), "auto", true),
         "vfio-noiommu/vfio-pci/ vfio vfio-pci/a PCI device without an IOMMU, and "
         "allow_unsafe_noiommu = yes");
  // Permission is not a wish: with an IOMMU it is used.
  expect(chosen(pci("ena", "7"), "auto", true), "vfio-pci/vfio-pci/ vfio-pci/");
  expect(chosen(pci("mlx5_core", "7"), "auto"), "bifurcated// mlx5_ib ib_uverbs/mlx5_core shares");
  expect(chosen(pci("mlx4_core", ""), "auto"), "bifurcated// mlx4_ib ib_uverbs/mlx4_core shares");
  expect(chosen(pci("mana", ""), "auto", true), "bifurcated// mana_ib ib_uverbs/mana shares");
  expect(chosen(other(Bus::kVmbus, ""), "auto"),
         "uio_hv_generic/uio_hv_generic/ uio_hv_generic/a network device of Hyper-V's VMBus");
}

void choose_mode__asked_for(void**) {
  expect(chosen(pci("e1000e", "7"), "vfio-pci"),
         "vfio-pci/vfio-pci/ vfio-pci/asked for with mode = vfio-pci; a PCI device behind");
  expect(chosen(pci("ena", ""), "vfio-pci", true), "vfio-noiommu/vfio-pci/");
  expect(chosen(other(Bus::kVmbus, ""), "uio_hv_generic"), "uio_hv_generic/uio_hv_generic/");
  expect(chosen(pci("mlx5_core", "7"), "bifurcated"), "bifurcated//");
  for (const char* mode : {"af_xdp", "af_packet"}) {
    const std::string begins = std::string(mode) + "///asked for with mode = " + mode;
    expect(chosen(pci("e1000e", "7"), mode), begins.c_str());
    expect(chosen(other(Bus::kOther, "veth"), mode), begins.c_str());
    expect(chosen(other(Bus::kVmbus, ""), mode), begins.c_str());
  }
  expect(chosen(pci("vfio-pci", "7"), "pci"), "pci///asked for with mode = pci; taken as it is");
  expect(chosen(pci("mlx5_core", "7"), "pci"), "pci///");
}

void choose_mode__refused_and_never_something_else(void**) {
  expect(chosen(pci("ena", ""), "auto"),
         "nic eth1 (0000:03:00.0): this machine shows no IOMMU for it; turn it on");
  expect(chosen(pci("ena", ""), "vfio-pci"),
         "nic eth1 (0000:03:00.0): this machine shows no IOMMU");
  expect(chosen(other(Bus::kOther, "bridge"), "auto"),
         "nic eth2: the interface is virtual (bridge): there is no device to bind; ask for the "
         "kernel's driver with mode = af_xdp or mode = af_packet");
  expect(chosen(other(Bus::kOther, ""), "auto"), "nic eth2: the interface is on no PCI or VMBus");
  expect(chosen(other(Bus::kOther, "veth"), "vfio-pci"), "nic eth2: mode = vfio-pci is for PCI");
  expect(chosen(other(Bus::kVmbus, ""), "vfio-pci"), "nic eth2 (uuid): mode = vfio-pci is for PCI");
  expect(chosen(pci("mlx5_core", "7"), "vfio-pci"),
         "nic eth1 (0000:03:00.0): DPDK drives this device through the kernel's driver mlx5_core");
  expect(chosen(pci("e1000e", "7"), "uio_hv_generic"),
         "nic eth1 (0000:03:00.0): mode = uio_hv_generic is for VMBus devices");
  expect(chosen(pci("e1000e", "7"), "bifurcated"), "nic eth1 (0000:03:00.0): mode = bifurcated is");
  expect(chosen(pci("e1000e", "7"), "pci"), "nic eth1 (0000:03:00.0): mode = pci takes the device");
  expect(chosen(other(Bus::kOther, "veth"), "pci"), "nic eth2: mode = pci is for devices");
  Candidate bound = pci("vfio-pci", "7");
  bound.net.ifname.clear();
  expect(chosen(bound, "af_xdp"),
         "nic 0000:03:00.0: mode = af_xdp needs the kernel's interface, and there is none (the "
         "device is bound to vfio-pci)");
  expect(chosen(pci("e1000e", "7"), "dpdk"), "nic eth1 (0000:03:00.0): mode = dpdk is unknown");
}

void driver_of_mode__what_is_bound(void**) {
  assert_string_equal(mn::device::driver_of_mode("vfio-noiommu").c_str(), "vfio-pci");
  assert_string_equal(mn::device::driver_of_mode("uio_hv_generic").c_str(), "uio_hv_generic");
  for (const char* mode : {"af_xdp", "af_packet", "bifurcated", "pci", ""}) {
    assert_string_equal(mn::device::driver_of_mode(mode).c_str(), "");
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(choose_mode__auto),
      cmocka_unit_test(choose_mode__asked_for),
      cmocka_unit_test(choose_mode__refused_and_never_something_else),
      cmocka_unit_test(driver_of_mode__what_is_bound),
  };
  return cmocka_run_group_tests_name("mode_choice", tests, nullptr, nullptr);
}
