// SPDX-License-Identifier: MIT
// Addresses as values, all in host byte order: the wire folder alone knows the order on the cable.
#pragma once

#include <array>
#include <compare>
#include <cstdint>

namespace mn {

using Ipv4 = uint32_t;  // 10.0.0.1 is 0x0a000001
using Port = uint16_t;  // a UDP port, never a NIC

constexpr Ipv4 kLoopbackAddress = 0x7f000001;

struct Mac {
  std::array<uint8_t, 6> bytes{};
  constexpr bool operator==(const Mac&) const = default;
};

constexpr Mac kBroadcastMac{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

// The two ends of a flow as one host sees them.
struct FourTuple {
  Ipv4 local_ip = 0;
  Ipv4 remote_ip = 0;
  Port local_port = 0;
  Port remote_port = 0;
  constexpr auto operator<=>(const FourTuple&) const = default;
};

}  // namespace mn
