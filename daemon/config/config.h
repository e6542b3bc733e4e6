// SPDX-License-Identifier: MIT
// Config: what /etc/machnet.conf says, as plain values, checked. Made once at start by load_config
// and never changed. Reading is strict: what is unknown, wrong, given twice or missing is an error
// with file and line, and all errors of a file are reported together. Touches no device.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/log.h"
#include "base/mtu.h"

namespace mn::config {

constexpr char kDefaultPath[] = "/etc/machnet.conf";
constexpr uint32_t kNicsMax = 16;  // each has an engine at least

enum class Hugepages : uint8_t { kAuto, kYes, kNo };
enum class Idle : uint8_t { kSpin, kAdaptive };
enum class Congestion : uint8_t { kSwift, kCubic, kFixed };
enum class AddressSource : uint8_t { kAuto, kMetadata, kGiven };
// kAuto: from where the address comes; with a given address that is nowhere, so none.
enum class GatewaySource : uint8_t { kAuto, kNone, kGiven };

constexpr uint32_t kEnginesMax = 16;  // of all NICs together

struct NicConfig {
  std::string name;  // kernel interface, PCI address, VMBus UUID or MAC; with vdev: a label
  int line = 0;      // of its section, for errors found later
  AddressSource address_source = AddressSource::kAuto;
  Ipv4 address = 0;            // kGiven only; otherwise 0
  uint32_t prefix_length = 0;  // likewise
  GatewaySource gateway_source = GatewaySource::kAuto;
  Ipv4 gateway = 0;  // kGiven only; otherwise 0
  // auto | vfio-pci | uio_hv_generic | bifurcated | af_xdp | af_packet | pci | vdev:...
  std::string mode = "auto";
  bool allow_unsafe_noiommu = false;
  bool force = false;  // take the NIC that carries the default route or the only SSH address
  uint16_t mtu = 0;    // 0: auto, the interface's own
  uint16_t engines = 1;
  std::vector<int> cpus;  // empty: any
  Idle idle = Idle::kAdaptive;
  Congestion congestion = Congestion::kFixed;
};

// Limits on what one user's applications hold together; root is not bound.
struct Quotas {
  uint32_t channels_per_user = 2048;
  uint64_t memory_per_user = 0;  // bytes of channels, as mapped; 0: auto, eight times the machine's
  uint32_t flows_per_user = 8192;  // that they opened
  uint32_t listeners_per_user = 512;
};

struct Config {
  std::string file;  // where it came from, for messages; empty: built-in defaults
  std::string socket = "/run/machnet/machnet.sock";
  std::string socket_group;         // empty: the service's own
  std::optional<gid_t> socket_gid;  // of socket_group; set by load_config
  mode_t socket_mode = 0660;
  uint64_t memory_bytes = 0;  // for packet buffers; 0: what the NICs need
  Hugepages hugepages = Hugepages::kAuto;
  LogLevel log_level = LogLevel::kInfo;
  Quotas quotas;
  std::vector<NicConfig> nics;
};

struct Loaded {
  Config config;                    // meaningful only without errors
  std::vector<std::string> errors;  // FILE:LINE: what is wrong, in the order of the file
};

// From text; `file` is only a name for messages. No system call.
Loaded parse_config(std::string_view text, const std::string& file);

// Reads the file, and looks the group up.
Loaded load_config(const std::string& path);

}  // namespace mn::config
