// SPDX-License-Identifier: MIT
#include "nic/nic_mode.h"

#include <algorithm>
#include <cctype>

namespace mn::nic {

namespace {
constexpr char kVdevPrefix[] = "vdev:";
constexpr char kAllowed[] =
    "use af_packet, af_xdp, vdev:DRIVER[,ARGUMENT...] (vdev:net_memif0,role=client), pci or vmbus";

bool starts_with(const std::string& text, const std::string& prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

bool ends_with_digit(const std::string& text) {
  return !text.empty() && isdigit(static_cast<unsigned char>(text.back())) != 0;
}
}  // namespace

Result<NicMode> parse_mode(const std::string& text) {
  NicMode mode;
  if (text == "af_packet") {
    mode.kind = NicMode::Kind::kAfPacket;
  } else if (text == "af_xdp") {
    mode.kind = NicMode::Kind::kAfXdp;
  } else if (text == "pci") {
    mode.kind = NicMode::Kind::kPci;
  } else if (text == "vmbus") {
    mode.kind = NicMode::Kind::kVmbus;
  } else if (starts_with(text, kVdevPrefix)) {
    mode.kind = NicMode::Kind::kVdev;
    const std::string rest = text.substr(sizeof(kVdevPrefix) - 1);
    const size_t comma = rest.find(',');
    mode.device = rest.substr(0, comma);
    if (comma != std::string::npos) mode.arguments = rest.substr(comma + 1);
    if (!starts_with(mode.device, "net_") || driver_of_vdev(mode.device).size() <= 4) {
      return Error{"mode \"" + text +
                   "\": a virtual device is called net_DRIVER and a number, as in "
                   "vdev:net_memif0,role=client"};
    }
    for (const char c : mode.device) {
      if (isalnum(static_cast<unsigned char>(c)) == 0 && c != '_') {
        return Error{"mode \"" + text +
                     "\": the name of a virtual device has letters, digits and _ only"};
      }
    }
  } else {
    return Error{"mode \"" + text + "\" is unknown; " + kAllowed};
  }
  return mode;
}

std::string driver_of_vdev(const std::string& device) {
  std::string driver = device;
  while (ends_with_digit(driver)) driver.pop_back();
  return driver;
}

std::vector<std::string> libraries_for(const NicMode& mode) {
  switch (mode.kind) {
    case NicMode::Kind::kAfPacket:
      return {"bus_vdev", "mempool_ring", "net_af_packet"};
    case NicMode::Kind::kAfXdp:
      return {"bus_vdev", "mempool_ring", "net_af_xdp"};
    case NicMode::Kind::kVdev: {
      const std::string driver = driver_of_vdev(mode.device);
      return {"bus_vdev", "mempool_ring", driver == "net_virtio_user" ? "net_virtio" : driver};
    }
    case NicMode::Kind::kPci:
      return {"bus_pci", "mempool_ring"};
    case NicMode::Kind::kVmbus:
      // The data path moves to a virtual function on PCI when the host offers one.
      return {"bus_pci", "bus_vmbus", "mempool_ring", "net_mlx4", "net_mlx5", "net_netvsc"};
  }
  return {};
}

std::vector<std::string> libraries_for_pci(uint16_t vendor) {
  switch (vendor) {
    case 0x1d0f:
      return {"net_ena"};
    case 0x15b3:
      return {"net_mlx5"};
    case 0x1af4:
      return {"net_virtio"};
    case 0x15ad:
      return {"net_vmxnet3"};
    case 0x1ae0:
      return {"net_gve"};
    case 0x8086:
      return {"net_ice", "net_iavf", "net_i40e", "net_ixgbe", "net_e1000", "net_igc"};
    case 0x14e4:
      return {"net_bnxt"};
    default:
      return {};
  }
}

std::string package_of(const std::string& library, const std::string& abi) {
  std::string package = "librte-" + library;
  for (char& c : package) {
    if (c == '_') c = '-';
  }
  // Debian sets the number off when the name itself ends in one: librte-net-mlx5-23.
  return package + (ends_with_digit(package) ? "-" : "") + abi;
}

bool argument_value(const std::string& arguments, const std::string& key, std::string* value) {
  size_t begin = 0;
  while (begin <= arguments.size()) {
    const size_t end = std::min(arguments.find(',', begin), arguments.size());
    const std::string pair = arguments.substr(begin, end - begin);
    if (starts_with(pair, key + "=")) {
      if (value != nullptr) *value = pair.substr(key.size() + 1);
      return true;
    }
    begin = end + 1;
  }
  return false;
}

}  // namespace mn::nic
