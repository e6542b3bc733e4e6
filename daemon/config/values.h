// SPDX-License-Identifier: MIT
// From the words of a configuration file to values. Each parse_x takes the whole word or nothing:
// no trailing characters, no locale, no octal surprise. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"

namespace mn::config {

std::optional<uint64_t> parse_number(std::string_view word, uint64_t min, uint64_t max);
std::optional<uint32_t> parse_octal(std::string_view word, uint32_t max);
// Bytes, with a suffix K, M or G (powers of 1024).
std::optional<uint64_t> parse_size(std::string_view word);
std::string format_size(uint64_t bytes);  // the reverse; "auto" for 0
std::optional<Ipv4> parse_ipv4(std::string_view word);
std::string format_ipv4(Ipv4 address);

struct Network {
  Ipv4 address = 0;
  uint32_t prefix_length = 0;
};
std::optional<Network> parse_network(std::string_view word);  // a.b.c.d/len

std::optional<Mac> parse_mac(std::string_view word);
// "1,3-5": ascending or not, without repetition.
std::optional<std::vector<int>> parse_cpus(std::string_view word);

enum class NicName : uint8_t { kInterface, kPci, kVmbus, kMac };
// What kind of name it is; nothing: it can be none of them.
std::optional<NicName> parse_nic_name(std::string_view word);

// Whether a host can have the address, or be talked to under it.
bool is_host_address(Ipv4 address);

}  // namespace mn::config
