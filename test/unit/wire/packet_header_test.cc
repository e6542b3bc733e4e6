// SPDX-License-Identifier: MIT
#include "wire/packet_header.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
extern "C" {
#include <cmocka.h>
}

#include "wire/bytes.h"

using namespace mn::wire;

namespace {

uint8_t bytes[2048];
Packet packet;

ParseStatus parse(size_t size) { return parse_packet({bytes, size}, &packet); }

// A packet of these parts; returns its size.
size_t build(PacketHeader header, std::span<const SackRange> sack,
             std::span<const uint8_t> payload) {
  memset(bytes, 0, sizeof bytes);
  header.sack_count = static_cast<uint8_t>(sack.size());
  header.payload_length = static_cast<uint16_t>(payload.size());
  const size_t size = encode_packet_header(header, sack, bytes);
  if (!payload.empty()) memcpy(bytes + size, payload.data(), payload.size());
  return size + payload.size();
}

PacketHeader header_of(PacketType type) {
  PacketHeader header;
  header.type = type;
  header.tag = type == PacketType::kOpen ? 0 : 0x11223344;
  return header;
}

constexpr uint8_t kText[] = {1, 2, 3, 4, 5};

size_t build_data(uint8_t flags = kFlagFirst | kFlagLast) {
  PacketHeader header = header_of(PacketType::kData);
  header.flags = flags;
  return build(header, {}, kText);
}

size_t build_open(const Options& options, PacketType type = PacketType::kOpen) {
  std::array<uint8_t, kOptionsSize> payload;
  payload.fill(0xff);  // all of it is written
  encode_options(options, payload);
  return build(header_of(type), {}, payload);
}

Options good_options() {
  Options options;
  options.mss = 1440;
  options.tag = 7;
  return options;
}

void packet__round_trip_of_every_field(void**) {
  PacketHeader header;
  header.type = PacketType::kData;
  header.flags = kFlagFirst | kFlagAckNow;
  header.window = 0x0102;
  header.tag = 0x03040506;
  header.sequence = 0x0708090a;
  header.ack = 0x0b0c0d0e;
  header.timestamp = 0x0f101112;
  header.echo = 0x13141516;
  header.echo_delay = 0x1718;
  const SackRange sack[] = {{1, 2}, {4, 1}, {100, 65435}};
  const size_t size = build(header, sack, kText);
  assert_int_equal(size, 32 + 12 + 5);
  assert_int_equal(bytes[0], 0x13);
  assert_int_equal(load_be32(bytes + 4), 0x03040506);
  assert_int_equal(parse(size), ParseStatus::kOk);
  assert_int_equal(packet.header.type, PacketType::kData);
  assert_int_equal(packet.header.flags, header.flags);
  assert_int_equal(packet.header.window, header.window);
  assert_int_equal(packet.header.tag, header.tag);
  assert_int_equal(packet.header.sequence, header.sequence);
  assert_int_equal(packet.header.ack, header.ack);
  assert_int_equal(packet.header.timestamp, header.timestamp);
  assert_int_equal(packet.header.echo, header.echo);
  assert_int_equal(packet.header.echo_delay, header.echo_delay);
  assert_int_equal(packet.header.payload_length, 5);
  assert_int_equal(packet.header.sack_count, 3);
  assert_int_equal(packet.sack[2].start, 100);
  assert_int_equal(packet.sack[2].count, 65435);
  assert_int_equal(packet.payload.size(), 5);
  assert_memory_equal(packet.payload.data(), kText, 5);
}

void packet__every_other_size_is_refused(void**) {
  const size_t size = build_data();
  for (size_t other = 0; other < 200; other++) {
    assert_int_equal(parse(other), other == size ? ParseStatus::kOk : ParseStatus::kMalformed);
  }
}

void packet__other_versions(void**) {
  const size_t size = build_data();
  for (unsigned version = 0; version < 16; version++) {
    bytes[0] = static_cast<uint8_t>(version << 4 | 3);
    assert_int_equal(parse(size),
                     version == kVersion ? ParseStatus::kOk : ParseStatus::kOtherVersion);
    // Told apart even if that version's header is shorter than ours.
    if (version != kVersion) assert_int_equal(parse(1), ParseStatus::kOtherVersion);
  }
}

void packet__unknown_types(void**) {
  for (unsigned type : {0u, 9u, 15u}) {
    const size_t size = build_data();
    bytes[0] = static_cast<uint8_t>(kVersion << 4 | type);
    assert_int_equal(parse(size), ParseStatus::kMalformed);
  }
}

void packet__flags(void**) {
  for (unsigned flag = 16; flag < 256; flag *= 2) {
    assert_int_equal(parse(build_data(static_cast<uint8_t>(flag))), ParseStatus::kMalformed);
  }
  for (uint8_t flags : {0, 1, 2, 3, 4, 7}) {
    assert_int_equal(parse(build_data(flags)), ParseStatus::kOk);
  }
  assert_int_equal(parse(build_data(kFlagReflected)), ParseStatus::kMalformed);
  PacketHeader reset = header_of(PacketType::kReset);
  reset.flags = kFlagReflected;
  assert_int_equal(parse(build(reset, {}, {})), ParseStatus::kOk);
  for (PacketType type :
       {PacketType::kAck, PacketType::kClose, PacketType::kProbe, PacketType::kReset}) {
    PacketHeader header = header_of(type);
    for (uint8_t flag : {kFlagFirst, kFlagLast, kFlagMore}) {
      header.flags = flag;
      const bool tells_of_parts = type == PacketType::kAck && flag == kFlagMore;
      assert_int_equal(parse(build(header, {}, {})),
                       tells_of_parts ? ParseStatus::kOk : ParseStatus::kMalformed);
    }
    header.flags = kFlagAckNow;
    assert_int_equal(parse(build(header, {}, {})), ParseStatus::kOk);
  }
}

void packet__payload_only_where_it_belongs(void**) {
  for (PacketType type :
       {PacketType::kAck, PacketType::kClose, PacketType::kProbe, PacketType::kReset}) {
    assert_int_equal(parse(build(header_of(type), {}, {})), ParseStatus::kOk);
    assert_int_equal(parse(build(header_of(type), {}, kText)),
                     type == PacketType::kProbe ? ParseStatus::kOk : ParseStatus::kMalformed);
  }
  for (PacketType type : {PacketType::kData, PacketType::kPart}) {
    assert_int_equal(parse(build(header_of(type), {}, {})), ParseStatus::kMalformed);
  }
}

void packet__parts(void**) {
  PacketHeader header = header_of(PacketType::kPart);
  for (uint8_t flags : {0, 1, 2, 3, 4, 16, 17, 19, 20}) {
    header.flags = flags;
    assert_int_equal(parse(build(header, {}, kText)), ParseStatus::kOk);
  }
  header.flags = kFlagFirst | kFlagLast;
  header.message_count = 1;
  assert_int_equal(parse(build(header, {}, kText)), ParseStatus::kMalformed);
  constexpr uint8_t kBundle[] = {0, 8, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  header.message_count = 2;
  header.flags |= kFlagMore;
  assert_int_equal(parse(build(header, {}, kBundle)), ParseStatus::kOk);
  header.flags = kFlagFirst;
  assert_int_equal(parse(build(header, {}, kBundle)), ParseStatus::kMalformed);
}

// What it says depends on the type; where it says nothing, any value is right.
void packet__extra(void**) {
  for (unsigned type = 1; type <= 8; type++) {
    PacketHeader header = header_of(static_cast<PacketType>(type));
    header.extra = 0x1234;
    std::array<uint8_t, kOptionsSize> options;
    encode_options(good_options(), options);
    std::span<const uint8_t> payload;
    if (type <= 2) payload = options;
    if (header.type == PacketType::kData || header.type == PacketType::kPart) payload = kText;
    const size_t size = build(header, {}, payload);
    assert_int_equal(parse(size), ParseStatus::kOk);
    assert_int_equal(packet.header.extra, 0x1234);
    set_extra(0x5678, bytes);
    assert_int_equal(parse(size), ParseStatus::kOk);
    assert_int_equal(packet.header.extra, 0x5678);
  }
}

void sack__only_where_it_belongs(void**) {
  const SackRange sack[] = {{2, 1}};
  for (PacketType type : {PacketType::kAck, PacketType::kClose, PacketType::kProbe}) {
    assert_int_equal(parse(build(header_of(type), sack, {})), ParseStatus::kOk);
  }
  assert_int_equal(parse(build(header_of(PacketType::kReset), sack, {})), ParseStatus::kMalformed);
  std::array<uint8_t, kOptionsSize> options;
  encode_options(good_options(), options);
  assert_int_equal(parse(build(header_of(PacketType::kOpen), sack, options)),
                   ParseStatus::kMalformed);
  assert_int_equal(parse(build(header_of(PacketType::kOpenAck), sack, options)),
                   ParseStatus::kMalformed);
}

void sack__order(void**) {
  const struct {
    SackRange ranges[2];
    bool good;
  } cases[] = {
      {{{1, 1}, {3, 1}}, true},      {{{1, 1}, {2, 1}}, false},     // touches
      {{{5, 3}, {7, 1}}, false},     {{{5, 3}, {1, 1}}, false},     // overlaps, descends
      {{{0, 1}, {3, 1}}, false},     {{{1, 0}, {3, 1}}, false},     // empty
      {{{1, 1}, {3, 65533}}, false}, {{{1, 1}, {3, 65532}}, true},  // beyond 16 bits
      {{{1, 65535}, {3, 1}}, false}, {{{1, 1}, {65535, 1}}, false},
  };
  for (const auto& c : cases) {
    const size_t size = build(header_of(PacketType::kAck), c.ranges, {});
    assert_int_equal(parse(size), c.good ? ParseStatus::kOk : ParseStatus::kMalformed);
  }
}

void sack__count(void**) {
  SackRange sack[16];
  for (uint16_t i = 0; i < 16; i++) sack[i] = {static_cast<uint16_t>(1 + 2 * i), 1};
  const size_t size = build(header_of(PacketType::kAck), sack, {});
  assert_int_equal(size, 96);
  assert_int_equal(parse(size), ParseStatus::kOk);
  bytes[29] = 17;
  store_be16(bytes + 96, 40);
  store_be16(bytes + 98, 1);
  assert_int_equal(parse(100), ParseStatus::kMalformed);
  bytes[29] = 255;
  assert_int_equal(parse(32 + 4 * 255), ParseStatus::kMalformed);
}

void bundle__is_checked(void**) {
  uint8_t payload[] = {0, 3, 0, 1, 0, 0, 0, 0, 'a', 'b', 'c', 0, 0, 0, 0, 0, 'd'};
  PacketHeader header = header_of(PacketType::kData);
  header.flags = kFlagFirst | kFlagLast;
  header.message_count = 2;
  assert_int_equal(parse(build(header, {}, payload)), ParseStatus::kOk);
  header.message_count = 3;
  assert_int_equal(parse(build(header, {}, payload)), ParseStatus::kMalformed);
  header.message_count = 2;
  for (uint8_t flags : {uint8_t{0}, uint8_t{kFlagFirst}, uint8_t{kFlagLast}}) {
    header.flags = flags;
    assert_int_equal(parse(build(header, {}, payload)), ParseStatus::kMalformed);
  }
  header = header_of(PacketType::kAck);
  header.message_count = 1;
  assert_int_equal(parse(build(header, {}, {})), ParseStatus::kMalformed);
}

void options__round_trip(void**) {
  Options options;
  options.version_min = 1;
  options.version_max = 9;
  options.mss = 0x0102;
  options.tag = 0x03040506;
  options.first_sequence = 0x0708090a;
  options.features = 0x0b0c0d0e;
  options.window = 0x0f10;
  options.cookie = 0x1112131415161718;
  for (PacketType type : {PacketType::kOpen, PacketType::kOpenAck}) {
    assert_int_equal(parse(build_open(options, type)), ParseStatus::kOk);
    Options got;
    assert_true(parse_options(packet.payload, &got));
    assert_int_equal(got.version_min, 1);
    assert_int_equal(got.version_max, 9);
    assert_int_equal(got.mss, options.mss);
    assert_int_equal(got.tag, options.tag);
    assert_int_equal(got.first_sequence, options.first_sequence);
    assert_int_equal(got.features, options.features);
    assert_int_equal(got.window, options.window);
    assert_int_equal(got.cookie, options.cookie);
  }
}

void options__longer_ones_of_later_versions(void**) {
  std::array<uint8_t, kOptionsSize + 9> payload{};
  encode_options(good_options(), std::span(payload).first<kOptionsSize>());
  assert_int_equal(parse(build(header_of(PacketType::kOpen), {}, payload)), ParseStatus::kOk);
}

void options__reserved_bytes(void**) {
  assert_int_equal(parse(build_open(good_options())), ParseStatus::kOk);
  for (size_t i = kHeaderSize + 18; i < kHeaderSize + 24; i++) {
    assert_int_equal(bytes[i], 0);
    bytes[i] = 0xff;
  }
  assert_int_equal(parse(kHeaderSize + kOptionsSize), ParseStatus::kOk);
}

void options__bad_values(void**) {
  Options options = good_options();
  assert_int_equal(parse(build_open(options)), ParseStatus::kOk);
  options.tag = 0;
  assert_int_equal(parse(build_open(options)), ParseStatus::kMalformed);
  options = good_options();
  options.mss = kMssMin - 1;
  assert_int_equal(parse(build_open(options)), ParseStatus::kMalformed);
  options = good_options();
  options.version_min = 0;
  assert_int_equal(parse(build_open(options)), ParseStatus::kMalformed);
  options.version_min = 2;
  options.version_max = 1;
  assert_int_equal(parse(build_open(options)), ParseStatus::kMalformed);
}

void options__too_short_leaves_the_result(void**) {
  std::array<uint8_t, kOptionsSize> payload;
  encode_options(good_options(), payload);
  for (size_t size = 0; size < kOptionsSize; size++) {
    Options got;
    got.mss = 99;
    assert_false(parse_options({payload.data(), size}, &got));
    assert_int_equal(got.mss, 99);
    assert_int_equal(parse(build(header_of(PacketType::kOpen), {}, {payload.data(), size})),
                     ParseStatus::kMalformed);
  }
}

void open__carries_no_tag(void**) {
  const size_t size = build_open(good_options());
  store_be32(bytes + 4, 1);
  assert_int_equal(parse(size), ParseStatus::kMalformed);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(packet__round_trip_of_every_field),
      cmocka_unit_test(packet__every_other_size_is_refused),
      cmocka_unit_test(packet__other_versions),
      cmocka_unit_test(packet__unknown_types),
      cmocka_unit_test(packet__flags),
      cmocka_unit_test(packet__payload_only_where_it_belongs),
      cmocka_unit_test(packet__parts),
      cmocka_unit_test(packet__extra),
      cmocka_unit_test(sack__only_where_it_belongs),
      cmocka_unit_test(sack__order),
      cmocka_unit_test(sack__count),
      cmocka_unit_test(bundle__is_checked),
      cmocka_unit_test(options__round_trip),
      cmocka_unit_test(options__longer_ones_of_later_versions),
      cmocka_unit_test(options__reserved_bytes),
      cmocka_unit_test(options__bad_values),
      cmocka_unit_test(options__too_short_leaves_the_result),
      cmocka_unit_test(open__carries_no_tag),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
