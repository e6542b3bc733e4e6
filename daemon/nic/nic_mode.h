// SPDX-License-Identifier: MIT
// NicMode: the configuration's `mode = ...` taken apart: af_packet, af_xdp,
// vdev:DRIVER[,ARGUMENT...], pci or vmbus; and which driver libraries of DPDK it needs. Pure text;
// touches no device and knows no DPDK.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace mn::nic {

struct NicMode {
  enum class Kind : uint8_t { kAfPacket, kAfXdp, kVdev, kPci, kVmbus } kind = Kind::kAfPacket;
  std::string device;     // kVdev: net_memif0
  std::string arguments;  // kVdev: what follows the first comma
};

Result<NicMode> parse_mode(const std::string& text);

// The driver of a virtual device: net_memif0 -> net_memif.
std::string driver_of_vdev(const std::string& device);

// Names of driver libraries without librte_ and .so: bus_vdev, net_memif.
std::vector<std::string> libraries_for(const NicMode& mode);
// For a PCI device by its vendor; empty: no idea, load all that are installed.
std::vector<std::string> libraries_for_pci(uint16_t vendor);

// The Debian package with a driver library; `abi` is the number behind .so: net_af_packet, 23 ->
// librte-net-af-packet23.
std::string package_of(const std::string& library, const std::string& abi);

// True if `arguments` (a=b,c=d) has the key; the value goes to `value` unless that is null.
bool argument_value(const std::string& arguments, const std::string& key, std::string* value);

}  // namespace mn::nic
