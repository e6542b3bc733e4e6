// SPDX-License-Identifier: MIT
// Inventory: every NIC of this host as it is now: network devices on the PCI and VMBus buses
// whether or not the kernel drives them, and interfaces without such a device. A snapshot out of
// sysfs and of KernelNet, taken by machnet-nic and at machnetd's start; decides nothing, changes
// nothing.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "device/kernel_net.h"
#include "device/saved_nic.h"
#include "device/sys_root.h"

namespace mn::device {

struct GroupMember {  // another device of the same IOMMU group
  std::string device;
  std::string driver;  // "": none
  bool is_bridge = false;
};

struct Candidate {
  Bus bus = Bus::kOther;
  std::string device;    // PCI address, VMBus UUID; "" if bus is kOther
  std::string sys_path;  // its folder in sysfs; "" if bus is kOther
  std::string driver;    // that has the device now, "": none
  std::string driver_override;
  std::string iommu_group;  // "": none (what the no-IOMMU mode makes does not count)
  std::vector<GroupMember> group_others;
  int numa_node = -1;               // -1: unknown or not a matter
  KernelNic net;                    // without a name: the kernel has no interface of it
  std::vector<std::string> uppers;  // interfaces on top of it, all the way up: bond, bridge, VLAN

  bool has_interface() const { return !net.ifname.empty(); }
  // eth1 (0000:03:00.0), or the one of them that there is.
  std::string label() const;
};

struct Inventory {
  std::vector<Candidate> nics;  // by bus and address; those without a device last
  std::vector<KernelNic> interfaces;

  const KernelNic* interface(const std::string& ifname) const;  // null: none
};

Result<Inventory> take_inventory(const SysRoot& root, KernelNet* net);

// The device in sysfs, on the bus that it is on; "" if it is not there.
std::string device_path(const SysRoot& root, Bus bus, const std::string& device);
// The driver that has it now; "": none.
std::string device_driver(const SysRoot& root, Bus bus, const std::string& device);
// The interface that the kernel has of the device, `wanted` if it has several; "": none (yet).
std::string device_interface(const SysRoot& root, Bus bus, const std::string& device,
                             const std::string& wanted);

// Drivers that hold a device for a program outside the kernel.
bool is_user_driver(const std::string& driver);

}  // namespace mn::device
