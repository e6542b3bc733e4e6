// SPDX-License-Identifier: MIT
// Packets as test subjects: bytes to fields, and the same packet with other fields.
#pragma once

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <vector>
extern "C" {
#include <cmocka.h>
}

#include "wire/packet_header.h"

namespace mn::test {

using Bytes = std::vector<uint8_t>;

inline wire::Packet parsed(const Bytes& bytes) {
  wire::Packet packet;
  assert_true(wire::parse_packet(bytes, &packet) == wire::ParseStatus::kOk);
  return packet;
}
inline wire::PacketHeader header_of(const Bytes& bytes) { return parsed(bytes).header; }
// The packet with another header; ranges are dropped.
inline Bytes with_header(const Bytes& bytes, wire::PacketHeader header) {
  const wire::Packet packet = parsed(bytes);
  Bytes out(wire::kHeaderSize);
  header.sack_count = 0;
  wire::encode_packet_header(header, {}, out);
  out.insert(out.end(), packet.payload.begin(), packet.payload.end());
  return out;
}

}  // namespace mn::test
