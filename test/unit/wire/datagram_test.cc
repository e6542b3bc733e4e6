// SPDX-License-Identifier: MIT
#include "wire/datagram.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <vector>
extern "C" {
#include <cmocka.h>
}

namespace mn::wire {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes packet(PacketType type, size_t payload, size_t ranges = 0) {
  PacketHeader header{.type = type,
                      .payload_length = static_cast<uint16_t>(payload),
                      .sack_count = static_cast<uint8_t>(ranges)};
  std::vector<SackRange> sack;
  for (size_t i = 0; i < ranges; i++) sack.push_back({static_cast<uint16_t>(1 + 3 * i), 1});
  Bytes bytes(kHeaderSize + kSackRangeSize * ranges + payload, 0x5a);
  encode_packet_header(header, sack, bytes);
  return bytes;
}

// `first`, and each of `others` after ports 1, 2; 3, 4; ...
Bytes datagram(const Bytes& first, const std::vector<Bytes>& others) {
  Bytes all = first;
  Port port = 1;
  for (const Bytes& other : others) {
    uint8_t ports[kPortsSize];
    encode_ports(port, static_cast<Port>(port + 1), ports);
    port = static_cast<Port>(port + 2);
    all.insert(all.end(), ports, ports + kPortsSize);
    all.insert(all.end(), other.begin(), other.end());
  }
  return all;
}

void first_packet_length__is_what_the_header_says(void**) {
  assert_int_equal(first_packet_length(packet(PacketType::kData, 700, 3)), 32 + 12 + 700);
  Bytes longer = packet(PacketType::kData, 5);
  longer.resize(33);
  assert_int_equal(first_packet_length(longer), 37);
}

void first_packet_length__of_what_is_none_is_all(void**) {
  Bytes other = packet(PacketType::kData, 5);
  other[0] = 0x23;
  assert_int_equal(first_packet_length(other), other.size());
  assert_int_equal(first_packet_length(std::span(other).first(31)), 31);
  assert_int_equal(first_packet_length({}), 0);
}

void coalesced__takes_apart_what_was_put_together(void**) {
  const Bytes ack = packet(PacketType::kAck, 0, 16);
  const Bytes close = packet(PacketType::kClose, 0);
  const Bytes part = packet(PacketType::kPart, 9);
  const Bytes probe = packet(PacketType::kProbe, 0);
  const Bytes first = packet(PacketType::kData, 11);
  const Bytes all = datagram(first, {ack, close, part, probe});
  assert_true(coalesced_ok(all));
  std::span<const uint8_t> rest = std::span(all).subspan(first_packet_length(all));
  Port port = 1;
  for (const Bytes& wanted : {ack, close, part, probe}) {
    CoalescedPacket next;
    assert_true(next_coalesced(&rest, &next));
    assert_int_equal(next.source_port, port);
    assert_int_equal(next.destination_port, port + 1);
    assert_int_equal(next.bytes.size(), wanted.size());
    assert_memory_equal(next.bytes.data(), wanted.data(), wanted.size());
    port = static_cast<Port>(port + 2);
  }
  CoalescedPacket none;
  assert_false(next_coalesced(&rest, &none));
  assert_true(rest.empty());
}

void coalesced_ok__refuses_what_does_not_end_with_a_packet(void**) {
  const Bytes good = datagram(packet(PacketType::kData, 3), {packet(PacketType::kAck, 0)});
  const size_t first = kHeaderSize + 3;
  for (size_t size = 0; size < good.size(); size++) {
    if (size != first) assert_false(coalesced_ok(std::span(good).first(size)));
  }
  assert_true(coalesced_ok(good));
  Bytes longer = good;
  for (size_t more = 1; more < kPortsSize + kHeaderSize; more++) {
    longer.push_back(0x13);
    assert_false(coalesced_ok(longer));
  }
}

void coalesced_ok__refuses_what_travels_alone(void**) {
  const Bytes data = packet(PacketType::kData, 3);
  for (const Bytes& other :
       {packet(PacketType::kOpen, kOptionsSize), packet(PacketType::kOpenAck, kOptionsSize),
        packet(PacketType::kReset, 0), packet(PacketType::kProbe, 1)}) {
    assert_false(coalesced_ok(datagram(data, {other})));
    assert_false(coalesced_ok(datagram(other, {data})));
  }
}

void coalesced_ok__refuses_another_version(void**) {
  Bytes all = datagram(packet(PacketType::kData, 3), {packet(PacketType::kAck, 0)});
  all[kHeaderSize + 3 + kPortsSize] = 0x24;
  assert_false(coalesced_ok(all));
}

}  // namespace
}  // namespace mn::wire

int main() {
  using namespace mn::wire;
  const CMUnitTest tests[] = {
      cmocka_unit_test(first_packet_length__is_what_the_header_says),
      cmocka_unit_test(first_packet_length__of_what_is_none_is_all),
      cmocka_unit_test(coalesced__takes_apart_what_was_put_together),
      cmocka_unit_test(coalesced_ok__refuses_what_does_not_end_with_a_packet),
      cmocka_unit_test(coalesced_ok__refuses_what_travels_alone),
      cmocka_unit_test(coalesced_ok__refuses_another_version),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
