// SPDX-License-Identifier: MIT
// What machnetd has to know of a NIC before it drives it: what the configuration says, completed by
// what `machnet-nic bind` remembered, and for a NIC that stays with the kernel by the kernel. Runs
// without privileges and changes nothing; what is missing is an error that tells how to get it.
#pragma once

#include <cstdint>
#include <string>

#include "base/address.h"
#include "base/result.h"
#include "config/config.h"
#include "device/kernel_net.h"
#include "device/saved_nic.h"
#include "device/sys_root.h"

namespace mn::device {

struct ResolvedNic {
  std::string name;  // as configured
  std::string mode;  // vfio-pci, vfio-noiommu, uio_hv_generic, bifurcated, af_xdp, af_packet, pci,
                     // vdev:...
  std::string reason;  // of the mode, one line
  // For the driver: af_xdp and af_packet on the interface `device`; pci: the PCI address `device`;
  // vmbus: the VMBus UUID `device`; vdev:...: `device` is only the name.
  std::string driver_mode;
  std::string device;
  Ipv4 address = 0;
  uint32_t prefix_length = 0;
  Ipv4 gateway = 0;  // 0: none
  std::string address_reason;
  uint16_t mtu = 0;    // 0: the driver knows
  Mac mac{};           // zeros: the driver knows
  int numa_node = -1;  // -1: unknown
};

Result<ResolvedNic> resolve(const SysRoot& root, KernelNet* net, const config::NicConfig& wanted);

}  // namespace mn::device
