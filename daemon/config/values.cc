// SPDX-License-Identifier: MIT
#include "config/values.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace mn::config {
namespace {

constexpr int kCpuMax = 1023;
constexpr size_t kInterfaceNameMax = 15;  // IFNAMSIZ - 1

template <typename T>
std::optional<T> parse_integer(std::string_view word, int base) {
  T value{};
  const char* end = word.data() + word.size();
  const auto [stop, error] = std::from_chars(word.data(), end, value, base);
  if (word.empty() || error != std::errc() || stop != end || word[0] == '-') return std::nullopt;
  return value;
}

bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// 'x' in the pattern stands for a hexadecimal digit.
bool matches(std::string_view word, std::string_view pattern) {
  return std::equal(word.begin(), word.end(), pattern.begin(), pattern.end(),
                    [](char c, char p) { return p == 'x' ? is_hex(c) : c == p; });
}

}  // namespace

std::optional<uint64_t> parse_number(std::string_view word, uint64_t min, uint64_t max) {
  const auto value = parse_integer<uint64_t>(word, 10);
  if (!value || *value < min || *value > max) return std::nullopt;
  return value;
}

std::optional<uint32_t> parse_octal(std::string_view word, uint32_t max) {
  const auto value = parse_integer<uint32_t>(word, 8);
  if (!value || *value > max) return std::nullopt;
  return value;
}

std::optional<uint64_t> parse_size(std::string_view word) {
  uint64_t unit = 1;
  if (!word.empty()) {
    switch (word.back()) {
      case 'K':
      case 'k':
        unit = uint64_t{1} << 10;
        break;
      case 'M':
      case 'm':
        unit = uint64_t{1} << 20;
        break;
      case 'G':
      case 'g':
        unit = uint64_t{1} << 30;
        break;
      default:
        break;
    }
    if (unit != 1) word.remove_suffix(1);
  }
  const auto value = parse_integer<uint64_t>(word, 10);
  if (!value || *value > UINT64_MAX / unit) return std::nullopt;
  return *value * unit;
}

std::string format_size(uint64_t bytes) {
  if (bytes == 0) return "auto";
  for (const auto& [letter, shift] : {std::pair{'G', 30}, {'M', 20}, {'K', 10}}) {
    if (bytes % (uint64_t{1} << shift) == 0) return std::to_string(bytes >> shift) + letter;
  }
  return std::to_string(bytes);
}

std::optional<Ipv4> parse_ipv4(std::string_view word) {
  Ipv4 address = 0;
  for (int i = 0; i < 4; i++) {
    const size_t dot = word.find('.');
    if ((i < 3) != (dot != std::string_view::npos)) return std::nullopt;
    const std::string_view part = word.substr(0, dot);
    const auto byte = parse_integer<uint32_t>(part, 10);
    // "010" is 8 to some programs and 10 to others: refused.
    if (!byte || *byte > 255 || (part.size() > 1 && part[0] == '0')) return std::nullopt;
    address = address << 8 | *byte;
    word.remove_prefix(i < 3 ? dot + 1 : 0);
  }
  return address;
}

std::string format_ipv4(Ipv4 address) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) {
    text += std::to_string(address >> shift & 0xff) + (shift > 0 ? "." : "");
  }
  return text;
}

std::optional<Network> parse_network(std::string_view word) {
  const size_t slash = word.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto address = parse_ipv4(word.substr(0, slash));
  const auto length = parse_number(word.substr(slash + 1), 1, 32);
  if (!address || !length) return std::nullopt;
  return Network{*address, static_cast<uint32_t>(*length)};
}

std::optional<Mac> parse_mac(std::string_view word) {
  if (!matches(word, "xx:xx:xx:xx:xx:xx")) return std::nullopt;
  Mac mac;
  for (size_t i = 0; i < mac.bytes.size(); i++) {
    mac.bytes[i] = static_cast<uint8_t>(*parse_integer<uint32_t>(word.substr(3 * i, 2), 16));
  }
  return mac;
}

std::optional<std::vector<int>> parse_cpus(std::string_view word) {
  std::vector<int> cpus;
  for (;;) {
    const size_t comma = std::min(word.find(','), word.size());
    const std::string_view part = word.substr(0, comma);
    const size_t dash = part.find('-');
    const auto first = parse_number(part.substr(0, dash), 0, kCpuMax);
    const auto last = dash == std::string_view::npos
                          ? first
                          : parse_number(part.substr(dash + 1), first.value_or(0), kCpuMax);
    if (!first || !last) return std::nullopt;
    for (int cpu = static_cast<int>(*first); cpu <= static_cast<int>(*last); cpu++) {
      if (std::find(cpus.begin(), cpus.end(), cpu) != cpus.end()) return std::nullopt;
      cpus.push_back(cpu);
    }
    if (comma == word.size()) return cpus;
    word.remove_prefix(comma + 1);
  }
}

std::optional<NicName> parse_nic_name(std::string_view word) {
  if (parse_mac(word)) return NicName::kMac;
  if (matches(word, "xxxx:xx:xx.x") || matches(word, "xx:xx.x")) return NicName::kPci;
  if (matches(word, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")) return NicName::kVmbus;
  // The kernel's own rule (dev_valid_name), ASCII only.
  if (word.empty() || word.size() > kInterfaceNameMax || word == "." || word == "..") {
    return std::nullopt;
  }
  for (const char c : word) {
    if (c <= ' ' || c > '~' || c == '/' || c == ':') return std::nullopt;
  }
  return NicName::kInterface;
}

bool is_host_address(Ipv4 address) {
  const uint32_t first = address >> 24;
  return first != 0 && first != 127 && first < 224;  // this network, loopback, multicast and above
}

}  // namespace mn::config
