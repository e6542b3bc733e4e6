// SPDX-License-Identifier: MIT
// Which way a NIC is driven: what the operator asked for, or with `mode = auto` what fits its bus
// and driver; and why, in one line. Pure; never falls back: what cannot be had is an error that
// names the ways out.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "device/inventory.h"

namespace mn::device {

struct ModeChoice {
  std::string mode;    // vfio-pci, vfio-noiommu, uio_hv_generic, bifurcated, af_xdp, af_packet, pci
  std::string driver;  // that the device has to be bound to; "": it stays where it is
  std::vector<std::string> modules;  // that must be loaded
  std::string reason;
};

// `wanted` as in the configuration: auto, vfio-pci ... pci. Errors begin with the NIC's label.
Result<ModeChoice> choose_mode(const Candidate& nic, const std::string& wanted,
                               bool allow_unsafe_noiommu);

// The driver that a device in such a mode is bound to; "": the kernel's.
std::string driver_of_mode(const std::string& mode);
// Where the driver of a device is one that DPDK shares with the kernel (mlx4, mlx5, mana).
bool is_bifurcated_driver(const std::string& driver);

}  // namespace mn::device
