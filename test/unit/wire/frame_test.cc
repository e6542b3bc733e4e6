// SPDX-License-Identifier: MIT
#include "wire/frame.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
extern "C" {
#include <cmocka.h>
}

#include "base/prng.h"
#include "wire/bytes.h"

using namespace mn::wire;
using mn::Mac;

namespace {

constexpr Mac kHere{{0x02, 0, 0, 0, 0, 1}};
constexpr Mac kThere{{0x02, 0, 0, 0, 0, 2}};
constexpr mn::Ipv4 kHereIp = 0x0a000001, kThereIp = 0x0a000002;
constexpr size_t kIp = kEthernetSize;
constexpr size_t kUdp = kIp + kIpv4Size;

uint8_t frame[9100];

std::span<const uint8_t> view(size_t size) { return {frame, size}; }
FrameKind kind(size_t size) { return parse_frame(view(size), false).kind; }

// A good datagram from there to here; returns the frame's length.
size_t build_udp(size_t payload, bool offload = false) {
  const UdpFrameSpec spec{kThere, kHere, kThereIp, kHereIp, 1234, 5678, payload};
  memset(frame, 0, sizeof frame);
  for (size_t i = 0; i < payload; i++) frame[kUdpPayloadOffset + i] = static_cast<uint8_t>(i * 7);
  encode_udp_headers(spec, offload, frame);
  if (!offload) finish_udp_checksum({frame, kUdpPayloadOffset + payload});
  return kUdpPayloadOffset + payload;
}

void fix_ip_checksum() {
  store_be16(frame + kIp + 10, 0);
  InternetSum sum;
  sum.add({frame + kIp, size_t{frame[kIp] & 0xfu} * 4});
  store_be16(frame + kIp + 10, sum.checksum());
}

size_t build_echo(size_t payload) {
  build_udp(payload);
  frame[kIp + 9] = 1;
  fix_ip_checksum();
  uint8_t* icmp = frame + kUdp;
  icmp[0] = 8;
  icmp[1] = 0;
  store_be16(icmp + 2, 0);
  InternetSum sum;
  sum.add({icmp, 8 + payload});
  store_be16(icmp + 2, sum.checksum());
  return kUdp + 8 + payload;
}

void udp__round_trip(void**) {
  for (size_t payload : {0, 1, 18, 32, 33, 1440, 8940}) {
    const size_t size = build_udp(payload);
    const FrameView got = parse_frame(view(size), false);
    assert_int_equal(got.kind, FrameKind::kUdp);
    assert_true(got.source == kThere && got.destination == kHere);
    assert_int_equal(got.source_ip, kThereIp);
    assert_int_equal(got.destination_ip, kHereIp);
    assert_int_equal(got.source_port, 1234);
    assert_int_equal(got.destination_port, 5678);
    assert_int_equal(got.payload.size(), payload);
    assert_ptr_equal(got.payload.data(), frame + kUdpPayloadOffset);
  }
}

void udp__header_bytes(void**) {
  const size_t size = build_udp(2);
  const uint8_t want[] = {2, 0, 0,    0, 0, 1,  2, 0, 0,    0, 0,  2,
                          8, 0, 0x45, 0, 0, 30, 0, 0, 0x40, 0, 64, 17};
  assert_memory_equal(frame, want, sizeof want);
  assert_int_equal(size, 44);
}

// Frames shorter than Ethernet's least arrive with padding, whatever is in it.
void udp__padding_is_ignored(void**) {
  const size_t size = build_udp(4);
  memset(frame + size, 0xee, 60 - size);
  const FrameView got = parse_frame(view(60), false);
  assert_int_equal(got.kind, FrameKind::kUdp);
  assert_int_equal(got.payload.size(), 4);
}

void udp__every_truncation_is_refused(void**) {
  const size_t size = build_udp(40);
  for (size_t cut = 0; cut < size; cut++) {
    assert_int_equal(parse_frame(view(cut), true).kind, FrameKind::kMalformed);
  }
}

// One's complement misses only the swap of words: every single bit is covered.
void udp__every_flipped_bit_is_noticed(void**) {
  const size_t size = build_udp(50);
  for (size_t bit = 8 * kIp; bit < 8 * size; bit++) {
    frame[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    assert_int_not_equal(kind(size), FrameKind::kUdp);
    frame[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
  assert_int_equal(kind(size), FrameKind::kUdp);
}

void udp__verified_by_the_nic_is_not_summed_again(void**) {
  const size_t size = build_udp(50);
  frame[size - 1] ^= 1;
  assert_int_equal(kind(size), FrameKind::kChecksum);
  assert_int_equal(parse_frame(view(size), true).kind, FrameKind::kUdp);
}

void udp__no_checksum_is_refused(void**) {
  const size_t size = build_udp(50);
  store_be16(frame + kUdp + 6, 0);
  assert_int_equal(kind(size), FrameKind::kChecksum);
  assert_int_equal(parse_frame(view(size), true).kind, FrameKind::kChecksum);
}

// A sum that comes out as 0 is sent as 0xffff: the two last payload bytes are chosen to make it so.
void udp__zero_checksum_is_sent_as_all_ones(void**) {
  const size_t size = build_udp(4);
  const uint32_t sum = load_be16(frame + size - 2) + uint32_t{load_be16(frame + kUdp + 6)};
  build_udp(4);
  store_be16(frame + size - 2, static_cast<uint16_t>((sum & 0xffff) + (sum >> 16)));
  encode_udp_headers({kThere, kHere, kThereIp, kHereIp, 1234, 5678, 4}, false, frame);
  finish_udp_checksum({frame, size});
  assert_int_equal(load_be16(frame + kUdp + 6), 0xffff);
  assert_int_equal(kind(size), FrameKind::kUdp);
}

void udp__bad_lengths(void**) {
  const size_t size = build_udp(20);
  for (uint16_t length : {0, 7, 29, 0xffff}) {
    store_be16(frame + kUdp + 4, length);
    assert_int_equal(parse_frame(view(size), true).kind, FrameKind::kMalformed);
  }
  // A datagram that ends before the IP packet does: legal, the rest is not part of it.
  store_be16(frame + kUdp + 4, 8 + 5);
  const FrameView got = parse_frame(view(size), true);
  assert_int_equal(got.kind, FrameKind::kUdp);
  assert_int_equal(got.payload.size(), 5);
}

void udp__offload_leaves_the_pseudo_header_sum(void**) {
  build_udp(20, true);
  assert_int_equal(load_be16(frame + kIp + 10), 0);
  const uint32_t sum = 0x0a00 + 0x0002 + 0x0a00 + 0x0001 + 17 + 28;
  assert_int_equal(load_be16(frame + kUdp + 6), sum);
}

void udp__checksum_from_pieces_is_the_same(void**) {
  const size_t size = build_udp(77);
  const uint16_t want = load_be16(frame + kUdp + 6);
  encode_udp_headers({kThere, kHere, kThereIp, kHereIp, 1234, 5678, 77}, false, frame);
  InternetSum payload;
  payload.add({frame + kUdpPayloadOffset, 33});
  payload.add({frame + kUdpPayloadOffset + 33, 44});
  finish_udp_checksum({frame, size}, payload);
  assert_int_equal(load_be16(frame + kUdp + 6), want);
}

void ipv4__bad_version_and_lengths(void**) {
  const size_t size = build_udp(20);
  frame[kIp] = 0x65;
  assert_int_equal(parse_frame(view(size), true).kind, FrameKind::kMalformed);
  frame[kIp] = 0x44;
  assert_int_equal(parse_frame(view(size), true).kind, FrameKind::kMalformed);
  frame[kIp] = 0x45;
  for (uint16_t total : {0, 19, 49, 0xffff}) {
    store_be16(frame + kIp + 2, total);
    assert_int_equal(parse_frame(view(size), true).kind, FrameKind::kMalformed);
  }
  store_be16(frame + kIp + 2, 27);  // cuts the UDP header
  assert_int_equal(parse_frame(view(size), true).kind, FrameKind::kMalformed);
}

void ipv4__options_and_fragments_are_not_ours(void**) {
  const size_t size = build_udp(20);
  frame[kIp] = 0x46;
  fix_ip_checksum();
  assert_int_equal(kind(size), FrameKind::kOther);
  for (uint16_t fragment : {0x2000, 0x0001, 0x1fff, 0x6000}) {
    build_udp(20);
    store_be16(frame + kIp + 6, fragment);
    fix_ip_checksum();
    assert_int_equal(kind(size), FrameKind::kOther);
  }
  build_udp(20);
  store_be16(frame + kIp + 6, 0);  // may be fragmented, is not
  fix_ip_checksum();
  assert_int_equal(kind(size), FrameKind::kUdp);
}

void ipv4__wrong_header_checksum(void**) {
  const size_t size = build_udp(20);
  frame[kIp + 8]--;
  assert_int_equal(kind(size), FrameKind::kChecksum);
}

void frame__what_a_host_may_ignore(void**) {
  const size_t size = build_udp(20);
  for (uint16_t type : {0x86dd, 0x8100, 0x88cc, 0x0026}) {
    store_be16(frame + 12, type);
    assert_int_equal(kind(size), FrameKind::kOther);
  }
  build_udp(20);
  frame[kIp + 9] = 6;  // TCP
  fix_ip_checksum();
  assert_int_equal(kind(size), FrameKind::kOther);
}

void icmp__echo_round_trip(void**) {
  for (size_t payload : {0, 1, 56, 57, 1464}) {
    const size_t size = build_echo(payload);
    const FrameView request = parse_frame(view(size), false);
    assert_int_equal(request.kind, FrameKind::kIcmpEcho);
    assert_int_equal(request.payload.size(), 4 + payload);
    uint8_t reply[2000];
    const size_t length = encode_icmp_echo_reply(request, reply);
    assert_int_equal(length, size);
    assert_memory_equal(reply, frame + 6, 6);
    assert_memory_equal(reply + 6, frame, 6);
    assert_int_equal(load_be32(reply + kIp + 12), kHereIp);
    assert_int_equal(load_be32(reply + kIp + 16), kThereIp);
    assert_int_equal(reply[kUdp], 0);
    assert_memory_equal(reply + kUdp + 4, frame + kUdp + 4, 4 + payload);
    InternetSum ip, icmp;
    ip.add({reply + kIp, kIpv4Size});
    icmp.add({reply + kUdp, length - kUdp});
    assert_int_equal(ip.checksum(), 0);
    assert_int_equal(icmp.checksum(), 0);
    assert_int_equal(encode_icmp_echo_reply(request, {reply, length - 1}), 0);
    // Our reply is nothing to answer.
    assert_int_equal(parse_frame({reply, length}, false).kind, FrameKind::kOther);
  }
}

void icmp__checksum_is_always_checked(void**) {
  const size_t size = build_echo(56);
  frame[size - 1] ^= 1;
  assert_int_equal(parse_frame(view(size), true).kind, FrameKind::kChecksum);
}

void icmp__too_short(void**) {
  const size_t size = build_echo(0);
  store_be16(frame + kIp + 2, 27);
  fix_ip_checksum();
  assert_int_equal(kind(size), FrameKind::kMalformed);
}

void arp__round_trip(void**) {
  for (bool request : {false, true}) {
    const ArpView arp{request, kHere, kHereIp, kThere, kThereIp};
    memset(frame, 0, sizeof frame);
    assert_int_equal(encode_arp(arp, kHere, mn::kBroadcastMac, frame), kArpFrameSize);
    for (size_t size : {size_t{42}, size_t{60}}) {
      const FrameView got = parse_frame(view(size), false);
      assert_int_equal(got.kind, FrameKind::kArp);
      assert_true(got.destination == mn::kBroadcastMac && got.source == kHere);
      assert_int_equal(got.arp.is_request, request);
      assert_true(got.arp.sender_mac == kHere && got.arp.target_mac == kThere);
      assert_int_equal(got.arp.sender_ip, kHereIp);
      assert_int_equal(got.arp.target_ip, kThereIp);
    }
    for (size_t size = 14; size < 42; size++) assert_int_equal(kind(size), FrameKind::kMalformed);
  }
}

void arp__other_kinds(void**) {
  const struct {
    size_t at;
    uint8_t value;
  } changes[] = {{15, 6}, {16, 0x86}, {18, 8}, {19, 16}, {21, 3}, {20, 1}, {21, 0}};
  for (const auto& change : changes) {
    encode_arp({true, kHere, kHereIp, kThere, kThereIp}, kHere, kThere, frame);
    frame[change.at] = change.value;
    assert_int_equal(kind(60), FrameKind::kOther);
  }
}

void frame__random_bytes_stay_inside(void**) {
  mn::Prng random(1);
  for (int i = 0; i < 200000; i++) {
    const size_t size = build_udp(random.below(30));
    for (uint64_t n = random.below(6); n > 0; n--) {
      frame[12 + random.below(40)] = static_cast<uint8_t>(random.next());
    }
    const FrameView got = parse_frame(view(size), random.below(2) == 0);
    if (got.payload.empty()) continue;
    assert_true(got.payload.data() >= frame);
    assert_true(got.payload.data() + got.payload.size() <= frame + size);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(udp__round_trip),
      cmocka_unit_test(udp__header_bytes),
      cmocka_unit_test(udp__padding_is_ignored),
      cmocka_unit_test(udp__every_truncation_is_refused),
      cmocka_unit_test(udp__every_flipped_bit_is_noticed),
      cmocka_unit_test(udp__verified_by_the_nic_is_not_summed_again),
      cmocka_unit_test(udp__no_checksum_is_refused),
      cmocka_unit_test(udp__zero_checksum_is_sent_as_all_ones),
      cmocka_unit_test(udp__bad_lengths),
      cmocka_unit_test(udp__offload_leaves_the_pseudo_header_sum),
      cmocka_unit_test(udp__checksum_from_pieces_is_the_same),
      cmocka_unit_test(ipv4__bad_version_and_lengths),
      cmocka_unit_test(ipv4__options_and_fragments_are_not_ours),
      cmocka_unit_test(ipv4__wrong_header_checksum),
      cmocka_unit_test(frame__what_a_host_may_ignore),
      cmocka_unit_test(icmp__echo_round_trip),
      cmocka_unit_test(icmp__checksum_is_always_checked),
      cmocka_unit_test(icmp__too_short),
      cmocka_unit_test(arp__round_trip),
      cmocka_unit_test(arp__other_kinds),
      cmocka_unit_test(frame__random_bytes_stay_inside),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
