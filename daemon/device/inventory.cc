// SPDX-License-Identifier: MIT
#include "device/inventory.h"

#include <limits.h>
#include <stdlib.h>

#include <algorithm>
#include <set>

namespace mn::device {

namespace {

constexpr long kPciClassNetwork = 0x02;
constexpr long kPciClassBridge = 0x06;
// Of hv_netvsc, the network device of Hyper-V (VMBus offers are known by such a class).
constexpr char kVmbusNetwork[] = "{f8615163-df3e-46c5-913f-f2d2f965ed0e}";

std::string real_path(const std::string& path) {
  char resolved[PATH_MAX];
  return realpath(path.c_str(), resolved) == nullptr ? "" : resolved;
}

std::string last_part(const std::string& path) { return path.substr(path.rfind('/') + 1); }
std::string parent(const std::string& path) { return path.substr(0, path.rfind('/')); }

long pci_class(const std::string& device) {
  return read_number(device + "/class").value_or(0) >> 16;
}

// Of an IOMMU group that the no-IOMMU mode of vfio made up.
bool is_fake_group(const std::string& device) {
  return read_text(device + "/iommu_group/name").value_or("") == "vfio-noiommu";
}

void read_group(const SysRoot& root, Candidate* nic) {
  if (is_fake_group(nic->sys_path)) return;
  nic->iommu_group = link_name(nic->sys_path + "/iommu_group");
  for (const std::string& other : list_folder(nic->sys_path + "/iommu_group/devices")) {
    if (nic->iommu_group.empty() || other == nic->device) continue;
    const std::string path = device_path(root, Bus::kPci, other);
    nic->group_others.push_back({.device = other,
                                 .driver = link_name(path + "/driver"),
                                 .is_bridge = pci_class(path) == kPciClassBridge});
  }
}

Candidate read_device(const SysRoot& root, Bus bus, const std::string& device) {
  Candidate nic;
  nic.bus = bus;
  nic.device = device;
  nic.sys_path = device_path(root, bus, device);
  nic.driver = link_name(nic.sys_path + "/driver");
  nic.driver_override = read_text(nic.sys_path + "/driver_override").value_or("");
  if (nic.driver_override == "(null)") nic.driver_override.clear();
  nic.numa_node = static_cast<int>(read_number(nic.sys_path + "/numa_node").value_or(-1));
  if (bus == Bus::kPci) read_group(root, &nic);
  return nic;
}

struct DeviceName {
  Bus bus = Bus::kOther;
  std::string device;
};

// What an interface sits on. A virtio device is only a part of the PCI device that is bound.
DeviceName device_of(const SysRoot& root, const std::string& ifname) {
  std::string path = real_path(root.sys + "/class/net/" + ifname + "/device");
  if (path.empty()) return {};
  std::string bus = link_name(path + "/subsystem");
  if (bus == "virtio") {
    path = parent(path);
    bus = link_name(path + "/subsystem");
  }
  if (bus == "pci") return {Bus::kPci, last_part(path)};
  if (bus == "vmbus") return {Bus::kVmbus, last_part(path)};
  return {};
}

void collect_uppers(const SysRoot& root, const std::string& ifname, std::set<std::string>* uppers) {
  constexpr std::string_view kUpper = "upper_";
  for (const std::string& entry : list_folder(root.sys + "/class/net/" + ifname)) {
    if (!entry.starts_with(kUpper)) continue;
    const std::string upper = entry.substr(kUpper.size());
    if (uppers->insert(upper).second) collect_uppers(root, upper, uppers);
  }
}

}  // namespace

std::string Candidate::label() const {
  if (!has_interface()) return device;
  return device.empty() ? net.ifname : net.ifname + " (" + device + ")";
}

const KernelNic* Inventory::interface(const std::string& ifname) const {
  for (const KernelNic& one : interfaces) {
    if (one.ifname == ifname) return &one;
  }
  return nullptr;
}

std::string device_path(const SysRoot& root, Bus bus, const std::string& device) {
  if (bus == Bus::kOther || device.empty()) return "";
  const std::string path =
      root.sys + "/bus/" + (bus == Bus::kPci ? "pci" : "vmbus") + "/devices/" + device;
  return exists(path) ? path : "";
}

std::string device_driver(const SysRoot& root, Bus bus, const std::string& device) {
  const std::string path = device_path(root, bus, device);
  return path.empty() ? "" : link_name(path + "/driver");
}

std::string device_interface(const SysRoot& root, Bus bus, const std::string& device,
                             const std::string& wanted) {
  const std::string path = device_path(root, bus, device);
  if (path.empty()) return "";
  std::vector<std::string> names = list_folder(path + "/net");
  for (const std::string& entry : list_folder(path)) {
    if (!entry.starts_with("virtio")) continue;
    for (std::string& name : list_folder(path + "/" + entry + "/net")) {
      names.push_back(std::move(name));
    }
  }
  if (names.empty()) return "";
  return std::find(names.begin(), names.end(), wanted) != names.end() ? wanted : names[0];
}

bool is_user_driver(const std::string& driver) {
  return driver == "vfio-pci" || driver == "uio_hv_generic" || driver == "uio_pci_generic" ||
         driver == "igb_uio";
}

Result<Inventory> take_inventory(const SysRoot& root, KernelNet* net) {
  auto interfaces = net->nics();
  if (!interfaces) return Error{interfaces.error()};
  Inventory inventory;
  inventory.interfaces = std::move(interfaces.value());
  for (const std::string& device : list_folder(root.sys + "/bus/pci/devices")) {
    if (pci_class(root.sys + "/bus/pci/devices/" + device) != kPciClassNetwork) continue;
    inventory.nics.push_back(read_device(root, Bus::kPci, device));
  }
  for (const std::string& device : list_folder(root.sys + "/bus/vmbus/devices")) {
    const std::string path = root.sys + "/bus/vmbus/devices/" + device + "/class_id";
    if (read_text(path).value_or("") != kVmbusNetwork) continue;
    inventory.nics.push_back(read_device(root, Bus::kVmbus, device));
  }
  for (const KernelNic& one : inventory.interfaces) {
    const DeviceName name = device_of(root, one.ifname);
    const auto it = std::find_if(
        inventory.nics.begin(), inventory.nics.end(), [&name](const Candidate& candidate) {
          return candidate.bus == name.bus && candidate.device == name.device;
        });
    const bool is_new = name.bus == Bus::kOther || it == inventory.nics.end();
    Candidate& nic = is_new ? inventory.nics.emplace_back() : *it;
    // A device of several ports (old mlx4) has several interfaces, and each is a NIC.
    if (!is_new && nic.has_interface()) {
      Candidate port = nic;
      port.net = one;
      inventory.nics.push_back(std::move(port));
      continue;
    }
    nic.net = one;
  }
  for (Candidate& nic : inventory.nics) {
    std::set<std::string> uppers;
    if (nic.has_interface()) collect_uppers(root, nic.net.ifname, &uppers);
    nic.uppers.assign(uppers.begin(), uppers.end());
  }
  return inventory;
}

}  // namespace mn::device
