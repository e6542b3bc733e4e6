// SPDX-License-Identifier: MIT
// Bytes that an IP packet of a NIC may have: the limits that configuration, NICs and channels share.
#pragma once

#include <cstdint>

namespace mn {

constexpr uint16_t kMtuMin = 576;  // every IPv4 host takes this much (RFC 791)
// A packet's payload fits one buffer of a channel, whose offsets have 16 bits. Far beyond what cables
// carry, for links that are memory: memif and veth.
constexpr uint16_t kMtuMax = 32768;

}  // namespace mn
