// SPDX-License-Identifier: MIT
// Machnet's packets: parse_packet stays inside the bytes; what it accepts encodes to the same
// bytes, has ordered SACK ranges, and its bundle's messages fill the payload. The copy in memory of
// its own size lets a sanitizer see the first byte read too far.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "base/assert.h"
#include "wire/bundle.h"
#include "wire/bytes.h"
#include "wire/packet_header.h"

using namespace mn::wire;

namespace {

void check_encoding(const Packet& packet, const uint8_t* bytes, size_t size) {
  uint8_t again[kHeaderSize + kSackRangesMax * kSackRangeSize];
  const size_t header_size =
      encode_packet_header(packet.header, {packet.sack.data(), packet.header.sack_count}, again);
  MN_ASSERT(header_size + packet.header.payload_length == size);
  MN_ASSERT(packet.payload.size() == packet.header.payload_length);
  MN_ASSERT(packet.payload.data() == bytes + header_size);
  MN_ASSERT(memcmp(again, bytes, header_size) == 0);
}

void check_sack(const Packet& packet) {
  uint32_t end = 0;  // of the range before
  for (size_t i = 0; i < packet.header.sack_count; i++) {
    const SackRange& range = packet.sack[i];
    MN_ASSERT(range.start > end && range.count > 0);
    end = uint32_t{range.start} + range.count;
  }
  MN_ASSERT(end <= UINT16_MAX);
}

void check_bundle(const Packet& packet) {
  BundleSize size;
  size_t end = bundle_table_size(packet.header.message_count);
  for (size_t i = 0; i < packet.header.message_count; i++) {
    const size_t length = load_be16(packet.payload.data() + 2 * i);
    MN_ASSERT(length > 0);
    end = bundle_align(end) + length;
    MN_ASSERT(end <= packet.payload.size());
    size.add(length);
  }
  MN_ASSERT(end == packet.payload.size() && size.total() == end);
}

void check_options(const Packet& packet) {
  Options options;
  MN_ASSERT(parse_options(packet.payload, &options));
  std::array<uint8_t, kOptionsSize> again;
  encode_options(options, again);
  MN_ASSERT(memcmp(again.data(), packet.payload.data(), 18) == 0);
  MN_ASSERT(memcmp(again.data() + 24, packet.payload.data() + 24, 8) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint8_t* bytes = static_cast<uint8_t*>(malloc(size == 0 ? 1 : size));
  if (size > 0) memcpy(bytes, data, size);
  Packet packet;
  if (parse_packet({bytes, size}, &packet) == ParseStatus::kOk) {
    check_encoding(packet, bytes, size);
    check_sack(packet);
    if (packet.header.message_count > 0) check_bundle(packet);
    if (packet.header.type == PacketType::kOpen || packet.header.type == PacketType::kOpenAck) {
      check_options(packet);
    }
  }
  if (size > 0) bundle_ok({bytes + 1, size - 1}, bytes[0]);
  free(bytes);
  return 0;
}
