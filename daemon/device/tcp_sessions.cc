// SPDX-License-Identifier: MIT
#include "device/tcp_sessions.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace mn::device {

namespace {

constexpr unsigned kEstablished = 1;  // TCP_ESTABLISHED
constexpr unsigned kSshPort = 22;
constexpr size_t kIpv4Digits = 8;
constexpr size_t kIpv6Digits = 32;

// The kernel prints the words of an address as numbers of this machine; "" if it is none, or is of
// loopback.
std::string address_of(const std::string& digits) {
  if (digits.size() != kIpv4Digits && digits.size() != kIpv6Digits) return "";
  uint32_t words[4] = {};
  for (size_t i = 0; i < digits.size() / 8; i++) {
    if (sscanf(digits.c_str() + 8 * i, "%8x", &words[i]) != 1) return "";
  }
  char text[INET6_ADDRSTRLEN];
  if (digits.size() == kIpv6Digits) {
    in6_addr address;
    memcpy(&address, words, sizeof address);
    if (IN6_IS_ADDR_LOOPBACK(&address)) return "";
    if (!IN6_IS_ADDR_V4MAPPED(&address)) {
      return inet_ntop(AF_INET6, &address, text, sizeof text) == nullptr ? "" : text;
    }
    words[0] = words[3];  // an IPv4 session of a socket for both
  }
  in_addr address{words[0]};
  if (ntohl(address.s_addr) >> 24 == 127) return "";
  return inet_ntop(AF_INET, &address, text, sizeof text) == nullptr ? "" : text;
}

}  // namespace

std::set<std::string> ssh_addresses_in(std::string_view table) {
  std::set<std::string> addresses;
  while (!table.empty()) {
    const size_t end = std::min(table.find('\n'), table.size());
    const std::string line(table.substr(0, end));
    table.remove_prefix(std::min(end + 1, table.size()));
    char local[kIpv6Digits + 1];
    unsigned port = 0, state = 0;
    // sl local_address rem_address st ...
    if (sscanf(line.c_str(), " %*u: %32[0-9A-Fa-f]:%4x %*[0-9A-Fa-f]:%*4x %2x", local, &port,
               &state) != 3) {
      continue;
    }
    if (port != kSshPort || state != kEstablished) continue;
    const std::string address = address_of(local);
    if (!address.empty()) addresses.insert(address);
  }
  return addresses;
}

std::set<std::string> ssh_addresses(const SysRoot& root) {
  std::set<std::string> addresses;
  for (const char* name : {"/net/tcp", "/net/tcp6"}) {
    addresses.merge(ssh_addresses_in(read_text(root.proc + name).value_or("")));
  }
  return addresses;
}

}  // namespace mn::device
