// SPDX-License-Identifier: MIT
#include "device/text.h"

#include <cstdio>

namespace mn::device {

std::string format_ipv4(Ipv4 address) {
  char text[16];
  snprintf(text, sizeof(text), "%u.%u.%u.%u", address >> 24, address >> 16 & 255,
           address >> 8 & 255, address & 255);
  return text;
}

std::string format_network(Ipv4 address, uint32_t prefix_length) {
  return format_ipv4(address) + "/" + std::to_string(prefix_length);
}

std::string format_mac(const Mac& mac) {
  char text[18];
  const auto& b = mac.bytes;
  snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
  return text;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::string printable(std::string_view text, size_t max) {
  const bool cut = text.size() > max;
  std::string shown(text.substr(0, max));
  for (char& c : shown) {
    if (c < ' ' || c > '~') c = '?';
  }
  return cut ? shown + "..." : shown;
}

}  // namespace mn::device
