// SPDX-License-Identifier: MIT
// From values to words, for saved files and for the operator's eyes; the way back is in
// config/values.h. Also what makes a stranger's bytes fit to be printed. Pure, any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/address.h"

namespace mn::device {

std::string format_ipv4(Ipv4 address);                             // 10.0.0.1
std::string format_network(Ipv4 address, uint32_t prefix_length);  // 10.0.0.1/24
std::string format_mac(const Mac& mac);                            // 00:0d:3a:12:34:56

// Without spaces and newlines at both ends.
std::string_view trim(std::string_view text);

// At most `max` bytes of it, whatever cannot be printed on one line as '?', "..." where it was cut.
std::string printable(std::string_view text, size_t max = 60);

// The bits of a network: 24 gives 255.255.255.0.
constexpr Ipv4 netmask(uint32_t prefix_length) {
  return prefix_length == 0 ? 0 : ~Ipv4{0} << (32 - prefix_length);
}

}  // namespace mn::device
