// SPDX-License-Identifier: MIT
#include "wire/datagram.h"

namespace mn::wire {
namespace {

bool may_share(std::span<const uint8_t> packet) {
  switch (static_cast<PacketType>(packet[0] & 0xf)) {
    case PacketType::kData:
    case PacketType::kAck:
    case PacketType::kClose:
    case PacketType::kPart:
      return true;
    case PacketType::kProbe:
      return load_be16(packet.data() + 26) == 0;
    default:
      return false;
  }
}

}  // namespace

bool coalesced_ok(std::span<const uint8_t> datagram) {
  for (;;) {
    // Nothing that is no header of ours: its length would be taken for all that is left.
    if (datagram.size() < kHeaderSize || datagram[0] >> 4 != kVersion) return false;
    const size_t length = first_packet_length(datagram);
    if (length > datagram.size() || !may_share(datagram)) return false;
    if (length == datagram.size()) return true;
    if (datagram.size() - length < kPortsSize) return false;
    datagram = datagram.subspan(length + kPortsSize);
  }
}

bool next_coalesced(std::span<const uint8_t>* rest, CoalescedPacket* ret_packet) {
  if (rest->size() < kPortsSize) return false;
  const std::span<const uint8_t> packet = rest->subspan(kPortsSize);
  const size_t length = first_packet_length(packet);
  *ret_packet = {.source_port = load_be16(rest->data()),
                 .destination_port = load_be16(rest->data() + 2),
                 .bytes = packet.first(length)};
  *rest = packet.subspan(length);
  return true;
}

}  // namespace mn::wire
