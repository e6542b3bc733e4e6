// SPDX-License-Identifier: MIT
#include "wire/packet_header.h"

#include "base/assert.h"
#include "wire/bundle.h"
#include "wire/bytes.h"

namespace mn::wire {
namespace {

constexpr uint8_t kFlagsKnown = kFlagFirst | kFlagLast | kFlagAckNow | kFlagReflected | kFlagMore;
constexpr uint8_t kFlagsWhole = kFlagFirst | kFlagLast;

bool is_handshake(PacketType type) {
  return type == PacketType::kOpen || type == PacketType::kOpenAck;
}

// Flags and counts that mean nothing in a packet of this type.
bool fields_fit_type(const PacketHeader& header) {
  if (__builtin_expect(header.type == PacketType::kData, 1)) {
    return (header.flags & ~(kFlagsWhole | kFlagAckNow)) == 0;
  }
  if ((header.flags & ~kFlagsKnown) != 0) return false;
  if (header.type != PacketType::kPart) {
    if ((header.flags & kFlagsWhole) != 0 || header.message_count != 0) return false;
    if (header.type != PacketType::kAck && (header.flags & kFlagMore) != 0) return false;
  }
  if (header.type != PacketType::kReset && (header.flags & kFlagReflected) != 0) return false;
  if (header.sack_count != 0 && (is_handshake(header.type) || header.type == PacketType::kReset)) {
    return false;
  }
  return header.type != PacketType::kOpen || header.tag == 0;
}

bool payload_fits_type(const PacketHeader& header, std::span<const uint8_t> payload) {
  if (header.type == PacketType::kData || header.type == PacketType::kPart) {
    if (header.message_count == 0) return !payload.empty();
    return (header.flags & kFlagsWhole) == kFlagsWhole && bundle_ok(payload, header.message_count);
  }
  if (is_handshake(header.type)) {
    Options options;
    return parse_options(payload, &options);
  }
  return payload.empty() || header.type == PacketType::kProbe;
}

inline void load_header(const uint8_t* at, PacketHeader* header) {
  header->type = static_cast<PacketType>(at[0] & 0xf);
  header->flags = at[1];
  header->window = load_be16(at + 2);
  header->tag = load_be32(at + 4);
  header->sequence = load_be32(at + 8);
  header->ack = load_be32(at + 12);
  header->timestamp = load_be32(at + 16);
  header->echo = load_be32(at + 20);
  header->echo_delay = load_be16(at + 24);
  header->payload_length = load_be16(at + 26);
  header->message_count = at[28];
  header->sack_count = at[29];
  header->extra = load_be16(at + 30);
}

// Ascending, and a gap between two ranges: what touches would be one range.
bool parse_sack(const uint8_t* at, size_t count, std::array<SackRange, kSackRangesMax>* ret_sack) {
  uint32_t first_allowed = 1;
  for (size_t i = 0; i < count; i++, at += kSackRangeSize) {
    const SackRange range{load_be16(at), load_be16(at + 2)};
    if (range.start < first_allowed || range.count == 0) return false;
    first_allowed = uint32_t{range.start} + range.count + 1;
    (*ret_sack)[i] = range;
  }
  return first_allowed <= uint32_t{UINT16_MAX} + 1;  // the last range ends within 16 bits too
}

}  // namespace

ParseStatus parse_packet(std::span<const uint8_t> bytes, Packet* ret_packet) {
  if (bytes.empty()) return ParseStatus::kMalformed;
  const uint8_t* at = bytes.data();
  // Before any length: another version's header may be shorter or longer.
  if (at[0] >> 4 != kVersion) return ParseStatus::kOtherVersion;
  if (bytes.size() < kHeaderSize) return ParseStatus::kMalformed;
  const uint8_t type = at[0] & 0xf;
  if (type < static_cast<uint8_t>(PacketType::kOpen) ||
      type > static_cast<uint8_t>(PacketType::kPart)) {
    return ParseStatus::kMalformed;
  }
  PacketHeader& header = ret_packet->header;
  load_header(at, &header);

  const size_t payload_at = kHeaderSize + kSackRangeSize * header.sack_count;
  if (header.sack_count > kSackRangesMax || payload_at + header.payload_length != bytes.size() ||
      !fields_fit_type(header) ||
      !parse_sack(at + kHeaderSize, header.sack_count, &ret_packet->sack)) {
    return ParseStatus::kMalformed;
  }
  ret_packet->payload = bytes.subspan(payload_at);
  return payload_fits_type(header, ret_packet->payload) ? ParseStatus::kOk
                                                        : ParseStatus::kMalformed;
}

PacketHeader header_of(std::span<const uint8_t, kHeaderSize> packet) {
  PacketHeader header;
  load_header(packet.data(), &header);
  return header;
}

bool peek_tag(std::span<const uint8_t> bytes, uint32_t* ret_tag) {
  if (bytes.size() < kHeaderSize || bytes[0] >> 4 != kVersion) return false;
  const uint8_t type = bytes[0] & 0xf;
  if (type == static_cast<uint8_t>(PacketType::kOpen)) return false;
  if (type == static_cast<uint8_t>(PacketType::kReset) && (bytes[1] & kFlagReflected) != 0) {
    return false;
  }
  *ret_tag = load_be32(bytes.data() + 4);
  return true;
}

size_t encode_packet_header(const PacketHeader& header, std::span<const SackRange> sack,
                            std::span<uint8_t> out) {
  const size_t size = kHeaderSize + kSackRangeSize * sack.size();
  MN_ASSERT(sack.size() == header.sack_count && sack.size() <= kSackRangesMax);
  MN_ASSERT(out.size() >= size);
  uint8_t* at = out.data();
  at[0] = static_cast<uint8_t>(kVersion << 4 | static_cast<uint8_t>(header.type));
  at[1] = header.flags;
  store_be16(at + 2, header.window);
  store_be32(at + 4, header.tag);
  store_be32(at + 8, header.sequence);
  store_be32(at + 12, header.ack);
  store_be32(at + 16, header.timestamp);
  store_be32(at + 20, header.echo);
  store_be16(at + 24, header.echo_delay);
  store_be16(at + 26, header.payload_length);
  at[28] = header.message_count;
  at[29] = header.sack_count;
  store_be16(at + 30, header.extra);
  at += kHeaderSize;
  for (const SackRange& range : sack) {
    store_be16(at, range.start);
    store_be16(at + 2, range.count);
    at += kSackRangeSize;
  }
  return size;
}

void set_extra(uint16_t extra, std::span<uint8_t> header) {
  MN_ASSERT(header.size() >= kHeaderSize);
  store_be16(header.data() + 30, extra);
}

bool parse_options(std::span<const uint8_t> payload, Options* ret_options) {
  if (payload.size() < kOptionsSize) return false;
  const uint8_t* at = payload.data();
  Options options;
  options.version_min = at[0];
  options.version_max = at[1];
  options.mss = load_be16(at + 2);
  options.tag = load_be32(at + 4);
  options.first_sequence = load_be32(at + 8);
  options.features = load_be32(at + 12);
  options.window = load_be16(at + 16);
  options.engine = load_be16(at + 18);
  options.cookie = load_be64(at + 24);
  if (options.version_min == 0 || options.version_min > options.version_max) return false;
  if (options.mss < kMssMin || options.tag == 0) return false;
  *ret_options = options;
  return true;
}

void encode_options(const Options& options, std::span<uint8_t, kOptionsSize> out) {
  uint8_t* at = out.data();
  at[0] = options.version_min;
  at[1] = options.version_max;
  store_be16(at + 2, options.mss);
  store_be32(at + 4, options.tag);
  store_be32(at + 8, options.first_sequence);
  store_be32(at + 12, options.features);
  store_be16(at + 16, options.window);
  store_be16(at + 18, options.engine);
  store_be32(at + 20, 0);
  store_be64(at + 24, options.cookie);
}

}  // namespace mn::wire
