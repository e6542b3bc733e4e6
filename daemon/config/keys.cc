// SPDX-License-Identifier: MIT
#include "config/keys.h"

#include <algorithm>
#include <string_view>

#include "config/values.h"

namespace mn::config {
namespace {

constexpr size_t kSocketPathMax = 107;  // sockaddr_un::sun_path with its zero
constexpr uint64_t kMemoryMin = uint64_t{16} << 20;
constexpr uint64_t kMemoryMax = uint64_t{256} << 30;
constexpr uint64_t kEnginesMax = 16;

template <typename T>
struct Choice {
  const char* word;
  T value;
};

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

Fault set_memory(Config* config, const std::string& value) {
  const auto size = parse_size(value);
  if (!size) return "not a size";
  if (*size < kMemoryMin || *size > kMemoryMax) return "out of range";
  config->memory_bytes = *size;
  return nullptr;
}

Fault set_hugepages(Config* config, const std::string& value) {
  static constexpr Choice<Hugepages> kChoices[] = {
      {"auto", Hugepages::kAuto}, {"yes", Hugepages::kYes}, {"no", Hugepages::kNo}};
  return choose(kChoices, value, &config->hugepages);
}

Fault set_log_level(Config* config, const std::string& value) {
  static constexpr Choice<LogLevel> kChoices[] = {{"error", LogLevel::kError},
                                                  {"warning", LogLevel::kWarning},
                                                  {"info", LogLevel::kInfo},
                                                  {"debug", LogLevel::kDebug}};
  return choose(kChoices, value, &config->log_level);
}

Fault set_address(NicConfig* nic, const std::string& value) {
  const auto network = parse_network(value);
  if (!network) return "not an IPv4 address with its prefix length";
  if (!is_host_address(network->address)) return "not an address that a host can have";
  const uint32_t host_mask =
      network->prefix_length == 32 ? 0 : UINT32_MAX >> network->prefix_length;
  const uint32_t host = network->address & host_mask;
  if (network->prefix_length < 31 && (host == 0 || host == host_mask)) {
    return "that is the network's own or its broadcast address";
  }
  nic->address = network->address;
  nic->prefix_length = network->prefix_length;
  return nullptr;
}

Fault set_gateway(NicConfig* nic, const std::string& value) {
  const auto address = parse_ipv4(value);
  if (!address) return "not an IPv4 address";
  if (!is_host_address(*address)) return "not an address that a host can have";
  nic->gateway = *address;
  return nullptr;
}

Fault set_mode(NicConfig* nic, const std::string& value) {
  constexpr std::string_view kVdev = "vdev:";
  const bool is_vdev =
      value.starts_with(kVdev) && value.size() > kVdev.size() &&
      std::all_of(value.begin(), value.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (value != "af_packet" && value != "af_xdp" && value != "pci" && !is_vdev)
    return "unknown value";
  nic->mode = value;
  return nullptr;
}

Fault set_mtu(NicConfig* nic, const std::string& value) {
  const auto mtu = parse_number(value, kMtuMin, kMtuMax);
  if (!mtu) return "not a number in the range";
  nic->mtu = static_cast<uint16_t>(*mtu);
  return nullptr;
}

Fault set_engines(NicConfig* nic, const std::string& value) {
  const auto engines = parse_number(value, 1, kEnginesMax);
  if (!engines) return "not a number in the range";
  if (*engines > 1) return "this version drives a NIC with one engine";
  nic->engines = static_cast<uint16_t>(*engines);
  return nullptr;
}

Fault set_cpus(NicConfig* nic, const std::string& value) {
  auto cpus = parse_cpus(value);
  if (!cpus) return "not a list of processors";
  nic->cpus = std::move(*cpus);
  return nullptr;
}

Fault set_idle(NicConfig* nic, const std::string& value) {
  static constexpr Choice<Idle> kChoices[] = {{"spin", Idle::kSpin}, {"adaptive", Idle::kAdaptive}};
  return choose(kChoices, value, &nic->idle);
}

constexpr MachnetKey kMachnetTable[] = {
    {"socket", "an absolute path of at most 107 bytes", set_socket},
    {"socket_group", "the name of a group",
     [](Config* config, const std::string& value) -> Fault {
       config->socket_group = value;
       return value.empty() ? "empty" : nullptr;
     }},
    {"socket_mode", "an octal mode such as 0660", set_socket_mode},
    {"memory", "a size such as 256M, from 16M to 256G", set_memory},
    {"hugepages", "auto, yes, no", set_hugepages},
    {"log_level", "error, warning, info, debug", set_log_level},
};

constexpr NicKey kNicTable[] = {
    {"address", "a.b.c.d/length such as 10.0.0.1/24", set_address},
    {"gateway", "a.b.c.d", set_gateway},
    {"mode", "af_packet, af_xdp, vdev:DRIVER[,ARGUMENTS], pci", set_mode},
    {"mtu", "576 to 9600", set_mtu},
    {"engines", "1", set_engines},
    {"cpus", "processor numbers such as 2 or 2,4-5", set_cpus},
    {"idle", "spin, adaptive", set_idle},
};

}  // namespace

std::span<const MachnetKey> machnet_keys() { return kMachnetTable; }
std::span<const NicKey> nic_keys() { return kNicTable; }

}  // namespace mn::config
