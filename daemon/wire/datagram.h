// SPDX-License-Identifier: MIT
// What a UDP datagram holds: one packet, or several of flows between the same two hosts, one after
// the other (as coalesced packets in QUIC, RFC 9000 section 12.2). The first packet's ports are
// UDP's. Each further one follows its own:
//
//   0  2  source port, network byte order
//   2  2  destination port
//   4     packet (packet_header.h)
//
// The lengths in the headers tell where each ends, and the last one ends with the datagram.
// Handshakes, resets and padded probes travel alone. Only for a peer with kFeatureCoalescing, and
// only flows that one engine of it has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/address.h"
#include "wire/bytes.h"
#include "wire/packet_header.h"

namespace mn::wire {

constexpr size_t kPortsSize = 4;

// The length of the packet that `bytes` begin with, as its header says it, which may be more than
// there is; the size of `bytes` if they hold no header of ours: then parse_packet says what is
// wrong.
inline size_t first_packet_length(std::span<const uint8_t> bytes) {
  if (bytes.size() < kHeaderSize || bytes[0] >> 4 != kVersion) return bytes.size();
  return kHeaderSize + kSackRangeSize * bytes[29] + load_be16(bytes.data() + 26);
}

// Whether a datagram with more than one packet is cut into packets that may share one, to its end.
// What each says is parse_packet's to check.
bool coalesced_ok(std::span<const uint8_t> datagram);

struct CoalescedPacket {
  Port source_port = 0;
  Port destination_port = 0;
  std::span<const uint8_t> bytes;
};

// The next further packet; `rest` begins after a packet of a datagram that is coalesced_ok, and
// moves on. False: there is none.
bool next_coalesced(std::span<const uint8_t>* rest, CoalescedPacket* ret_packet);

// Writes what comes before a further packet.
inline void encode_ports(Port source, Port destination, std::span<uint8_t, kPortsSize> out) {
  store_be16(out.data(), source);
  store_be16(out.data() + 2, destination);
}

}  // namespace mn::wire
