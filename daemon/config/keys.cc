// SPDX-License-Identifier: MIT
#include "config/keys.h"

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "config/values.h"

namespace mn::config {
namespace {

constexpr size_t kSocketPathMax = 107;  // sockaddr_un::sun_path with its zero
constexpr uint64_t kMemoryMin = uint64_t{16} << 20;
constexpr uint64_t kMemoryMax = uint64_t{256} << 30;
constexpr uint64_t kMemoryPerUserMax = uint64_t{256} << 40;
constexpr uint64_t kCountMax = 1'000'000;

template <typename T>
struct Choice {
  const char* word;
  T value;
};

constexpr Choice<Hugepages> kHugepages[] = {
    {"auto", Hugepages::kAuto}, {"yes", Hugepages::kYes}, {"no", Hugepages::kNo}};
constexpr Choice<LogLevel> kLogLevels[] = {{"error", LogLevel::kError},
                                           {"warning", LogLevel::kWarning},
                                           {"info", LogLevel::kInfo},
                                           {"debug", LogLevel::kDebug}};
constexpr Choice<Idle> kIdles[] = {{"spin", Idle::kSpin}, {"adaptive", Idle::kAdaptive}};
constexpr Choice<Congestion> kCongestions[] = {
    {"swift", Congestion::kSwift}, {"cubic", Congestion::kCubic}, {"fixed", Congestion::kFixed}};
constexpr Choice<bool> kYesNo[] = {{"no", false}, {"yes", true}};
constexpr const char* kModes[] = {"auto",      "vfio-pci", "uio_hv_generic", "bifurcated", "af_xdp",
                                  "af_packet", "pci"};

template <typename T, size_t kCount>
Fault choose(const Choice<T> (&choices)[kCount], const std::string& value, T* ret_choice) {
  for (const auto& choice : choices) {
    if (value == choice.word) {
      *ret_choice = choice.value;
      return nullptr;
    }
  }
  return "unknown value";
}

template <typename T, size_t kCount>
std::string word_for(const Choice<T> (&choices)[kCount], T value) {
  for (const auto& choice : choices) {
    if (value == choice.value) return choice.word;
  }
  return {};
}

template <typename T>
Fault take_number(const std::string& value, uint64_t min, uint64_t max, T* ret_number) {
  const auto number = parse_number(value, min, max);
  if (!number) return "not a number in the range";
  *ret_number = static_cast<T>(*number);
  return nullptr;
}

// 0 stands for auto.
Fault take_size(const std::string& value, uint64_t max, uint64_t* ret_bytes) {
  *ret_bytes = 0;
  if (value == "auto") return nullptr;
  const auto size = parse_size(value);
  if (!size) return "not a size";
  if (*size < kMemoryMin || *size > max) return "out of range";
  *ret_bytes = *size;
  return nullptr;
}

Fault set_socket(Config* config, const std::string& value) {
  if (value.size() > kSocketPathMax) return "the path is too long";
  if (value.size() < 2 || value[0] != '/' || value.back() == '/') return "not an absolute path";
  config->socket = value;
  return nullptr;
}

Fault set_socket_mode(Config* config, const std::string& value) {
  const auto mode = parse_octal(value, 0777);
  if (!mode) return "not an octal file mode";
  if ((*mode & 0600) != 0600) return "its owner must be able to read and write";
  config->socket_mode = *mode;
  return nullptr;
}

std::string show_socket_mode(const Config& config) {
  char text[8];
  snprintf(text, sizeof text, "%04o", static_cast<unsigned>(config.socket_mode) & 07777);
  return text;
}

Fault set_address(NicConfig* nic, const std::string& value) {
  if (value == "auto" || value == "metadata") {
    nic->address_source = value == "auto" ? AddressSource::kAuto : AddressSource::kMetadata;
    return nullptr;
  }
  const auto network = parse_network(value);
  if (!network) return "not an IPv4 address with its prefix length";
  if (!is_host_address(network->address)) return "not an address that a host can have";
  const uint32_t host_mask =
      network->prefix_length == 32 ? 0 : UINT32_MAX >> network->prefix_length;
  const uint32_t host = network->address & host_mask;
  if (network->prefix_length < 31 && (host == 0 || host == host_mask)) {
    return "that is the network's own or its broadcast address";
  }
  nic->address_source = AddressSource::kGiven;
  nic->address = network->address;
  nic->prefix_length = network->prefix_length;
  return nullptr;
}

std::string show_address(const NicConfig& nic) {
  if (nic.address_source == AddressSource::kAuto) return "auto";
  if (nic.address_source == AddressSource::kMetadata) return "metadata";
  return format_ipv4(nic.address) + "/" + std::to_string(nic.prefix_length);
}

Fault set_gateway(NicConfig* nic, const std::string& value) {
  if (value == "auto" || value == "none") {
    nic->gateway_source = value == "auto" ? GatewaySource::kAuto : GatewaySource::kNone;
    return nullptr;
  }
  const auto address = parse_ipv4(value);
  if (!address) return "not an IPv4 address";
  if (!is_host_address(*address)) return "not an address that a host can have";
  nic->gateway_source = GatewaySource::kGiven;
  nic->gateway = *address;
  return nullptr;
}

std::string show_gateway(const NicConfig& nic) {
  if (nic.gateway_source == GatewaySource::kAuto) return "auto";
  return nic.gateway_source == GatewaySource::kNone ? "none" : format_ipv4(nic.gateway);
}

Fault set_mode(NicConfig* nic, const std::string& value) {
  constexpr std::string_view kVdev = "vdev:";
  const bool is_vdev =
      value.starts_with(kVdev) && value.size() > kVdev.size() &&
      std::all_of(value.begin(), value.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (!is_vdev && std::find(std::begin(kModes), std::end(kModes), value) == std::end(kModes)) {
    return "unknown value";
  }
  nic->mode = value;
  return nullptr;
}

Fault set_mtu(NicConfig* nic, const std::string& value) {
  nic->mtu = 0;
  return value == "auto" ? nullptr : take_number(value, kMtuMin, kMtuMax, &nic->mtu);
}

Fault set_engines(NicConfig* nic, const std::string& value) {
  uint64_t engines = 0;
  if (const Fault fault = take_number(value, 1, kEnginesMax, &engines)) return fault;
  nic->engines = static_cast<uint16_t>(engines);
  return nullptr;
}

Fault set_cpus(NicConfig* nic, const std::string& value) {
  nic->cpus.clear();
  if (value == "any") return nullptr;
  auto cpus = parse_cpus(value);
  if (!cpus) return "not a list of processors";
  nic->cpus = std::move(*cpus);
  return nullptr;
}

std::string show_cpus(const NicConfig& nic) {
  std::string text;
  for (const int cpu : nic.cpus) text += (text.empty() ? "" : ",") + std::to_string(cpu);
  return text.empty() ? "any" : text;
}

// Name, what is allowed, from a word, to a word, whether a reload applies it.
constexpr MachnetKey kMachnetTable[] = {
    {"socket", "an absolute path of at most 107 bytes", set_socket,
     [](const Config& c) { return c.socket; }},
    {"socket_group", "the name of a group",
     [](Config* config, const std::string& value) -> Fault {
       config->socket_group = value;
       return value.empty() ? "empty" : nullptr;
     },
     [](const Config& c) { return c.socket_group; }},
    {"socket_mode", "an octal mode such as 0660", set_socket_mode, show_socket_mode},
    {"memory", "auto, or a size such as 256M, from 16M to 256G",
     [](Config* c, const std::string& value) {
       return take_size(value, kMemoryMax, &c->memory_bytes);
     },
     [](const Config& c) { return format_size(c.memory_bytes); }},
    {"hugepages", "auto, yes, no",
     [](Config* c, const std::string& value) { return choose(kHugepages, value, &c->hugepages); },
     [](const Config& c) { return word_for(kHugepages, c.hugepages); }},
    {"log_level", "error, warning, info, debug",
     [](Config* c, const std::string& value) { return choose(kLogLevels, value, &c->log_level); },
     [](const Config& c) { return word_for(kLogLevels, c.log_level); }, true},
    {"channels_per_user", "1 to 1000000",
     [](Config* c, const std::string& value) {
       return take_number(value, 1, kCountMax, &c->quotas.channels_per_user);
     },
     [](const Config& c) { return std::to_string(c.quotas.channels_per_user); }, true},
    {"memory_per_user", "auto, or a size such as 4G, from 16M to 262144G",
     [](Config* c, const std::string& value) {
       return take_size(value, kMemoryPerUserMax, &c->quotas.memory_per_user);
     },
     [](const Config& c) { return format_size(c.quotas.memory_per_user); }, true},
    {"flows_per_user", "1 to 1000000",
     [](Config* c, const std::string& value) {
       return take_number(value, 1, kCountMax, &c->quotas.flows_per_user);
     },
     [](const Config& c) { return std::to_string(c.quotas.flows_per_user); }, true},
    {"listeners_per_user", "1 to 1000000",
     [](Config* c, const std::string& value) {
       return take_number(value, 1, kCountMax, &c->quotas.listeners_per_user);
     },
     [](const Config& c) { return std::to_string(c.quotas.listeners_per_user); }, true},
};

constexpr NicKey kNicTable[] = {
    {"address", "auto, metadata, a.b.c.d/length such as 10.0.0.1/24", set_address, show_address},
    {"gateway", "auto, none, a.b.c.d", set_gateway, show_gateway},
    {"mode",
     "auto, vfio-pci, uio_hv_generic, bifurcated, af_xdp, af_packet, pci, vdev:DRIVER[,ARGUMENTS]",
     set_mode, [](const NicConfig& nic) { return nic.mode; }},
    {"allow_unsafe_noiommu", "yes, no",
     [](NicConfig* nic, const std::string& value) {
       return choose(kYesNo, value, &nic->allow_unsafe_noiommu);
     },
     [](const NicConfig& nic) { return word_for(kYesNo, nic.allow_unsafe_noiommu); }},
    {"force", "yes, no",
     [](NicConfig* nic, const std::string& value) { return choose(kYesNo, value, &nic->force); },
     [](const NicConfig& nic) { return word_for(kYesNo, nic.force); }},
    {"mtu", "auto, 576 to 32768", set_mtu,
     [](const NicConfig& nic) { return nic.mtu == 0 ? "auto" : std::to_string(nic.mtu); }},
    {"engines", "1 to 16", set_engines, [](const NicConfig& nic) { return std::to_string(nic.engines); }},
    {"cpus", "any, or processor numbers such as 2 or 2,4-5", set_cpus, show_cpus},
    {"idle", "spin, adaptive",
     [](NicConfig* nic, const std::string& value) { return choose(kIdles, value, &nic->idle); },
     [](const NicConfig& nic) { return word_for(kIdles, nic.idle); }, true},
    {"congestion", "fixed, swift, cubic",
     [](NicConfig* nic, const std::string& value) {
       return choose(kCongestions, value, &nic->congestion);
     },
     [](const NicConfig& nic) { return word_for(kCongestions, nic.congestion); }},
};

}  // namespace

std::span<const MachnetKey> machnet_keys() { return kMachnetTable; }
std::span<const NicKey> nic_keys() { return kNicTable; }

}  // namespace mn::config
