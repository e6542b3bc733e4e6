// SPDX-License-Identifier: MIT
#include "wire/frame.h"

#include <cstring>

#include "base/assert.h"
#include "wire/bytes.h"
#include "wire/checksum.h"

namespace mn::wire {
namespace {

constexpr uint16_t kEtherTypeIpv4 = 0x0800;
constexpr uint16_t kEtherTypeArp = 0x0806;
constexpr uint8_t kProtocolIcmp = 1;
constexpr uint8_t kProtocolUdp = 17;
constexpr uint8_t kVersionAndSize = 0x45;  // IPv4, five words: no options
constexpr uint8_t kTtl = 64;
constexpr uint16_t kDontFragment = 0x4000;
constexpr uint16_t kFragmentMask = 0x3fff;  // more-fragments and the offset
constexpr size_t kArpSize = 28;
constexpr uint16_t kArpEthernet = 1, kArpRequest = 1, kArpReply = 2;
constexpr size_t kIcmpSize = 8;
constexpr uint8_t kIcmpEchoRequest = 8, kIcmpEchoReply = 0;
constexpr size_t kUdpOffset = kEthernetSize + kIpv4Size;
constexpr size_t kUdpChecksumAt = kUdpOffset + 6;

void parse_arp(std::span<const uint8_t> frame, FrameView* view) {
  view->kind = FrameKind::kMalformed;
  if (frame.size() < kEthernetSize + kArpSize) return;
  const uint8_t* arp = frame.data() + kEthernetSize;
  view->kind = FrameKind::kOther;
  if (load_be16(arp) != kArpEthernet || load_be16(arp + 2) != kEtherTypeIpv4 || arp[4] != 6 ||
      arp[5] != 4) {
    return;
  }
  const uint16_t operation = load_be16(arp + 6);
  if (operation != kArpRequest && operation != kArpReply) return;
  view->kind = FrameKind::kArp;
  view->arp.is_request = operation == kArpRequest;
  view->arp.sender_mac = load_mac(arp + 8);
  view->arp.sender_ip = load_be32(arp + 14);
  view->arp.target_mac = load_mac(arp + 18);
  view->arp.target_ip = load_be32(arp + 24);
}

FrameKind parse_udp(const uint8_t* ip, std::span<const uint8_t> udp, bool verified,
                    FrameView* view) {
  if (udp.size() < kUdpSize) return FrameKind::kMalformed;
  const size_t length = load_be16(udp.data() + 4);
  if (length < kUdpSize || length > udp.size()) return FrameKind::kMalformed;
  if (load_be16(udp.data() + 6) == 0) return FrameKind::kChecksum;
  if (!verified) {
    InternetSum sum;  // pseudo-header: both addresses, protocol, length (RFC 768)
    sum.add_4(ip + 12);
    sum.add_4(ip + 16);
    sum.add_word(kProtocolUdp);
    sum.add_word(static_cast<uint16_t>(length));
    sum.add(udp.first(length));
    if (sum.checksum() != 0) return FrameKind::kChecksum;
  }
  view->source_port = load_be16(udp.data());
  view->destination_port = load_be16(udp.data() + 2);
  view->payload = udp.subspan(kUdpSize, length - kUdpSize);
  return FrameKind::kUdp;
}

FrameKind parse_icmp(std::span<const uint8_t> icmp, FrameView* view) {
  if (icmp.size() < kIcmpSize) return FrameKind::kMalformed;
  InternetSum sum;
  sum.add(icmp);
  if (sum.checksum() != 0) return FrameKind::kChecksum;
  if (icmp[0] != kIcmpEchoRequest || icmp[1] != 0) return FrameKind::kOther;
  view->payload = icmp.subspan(4);
  return FrameKind::kIcmpEcho;
}

FrameKind parse_ipv4(std::span<const uint8_t> frame, bool verified, FrameView* view) {
  if (frame.size() < kEthernetSize + kIpv4Size) return FrameKind::kMalformed;
  const uint8_t* ip = frame.data() + kEthernetSize;
  const size_t available = frame.size() - kEthernetSize;
  if (ip[0] >> 4 != 4) return FrameKind::kMalformed;
  const size_t header_size = size_t{ip[0] & 0xfu} * 4;
  const size_t total = load_be16(ip + 2);
  if (header_size < kIpv4Size || total < header_size || total > available) {
    return FrameKind::kMalformed;
  }
  if (!verified) {
    InternetSum sum;
    for (size_t at = 0; at < header_size; at += 4) sum.add_4(ip + at);
    if (sum.checksum() != 0) return FrameKind::kChecksum;
  }
  if (header_size != kIpv4Size || (load_be16(ip + 6) & kFragmentMask) != 0) {
    return FrameKind::kOther;
  }
  view->source_ip = load_be32(ip + 12);
  view->destination_ip = load_be32(ip + 16);
  const std::span<const uint8_t> body{ip + kIpv4Size, total - kIpv4Size};
  if (ip[9] == kProtocolUdp) return parse_udp(ip, body, verified, view);
  if (ip[9] == kProtocolIcmp) return parse_icmp(body, view);
  return FrameKind::kOther;
}

// Ethernet and IPv4 headers; `ip_checksum` false leaves that field 0.
void encode_ipv4(const Mac& source, const Mac& destination, Ipv4 source_ip, Ipv4 destination_ip,
                 uint8_t protocol, size_t total, bool ip_checksum, uint8_t* frame) {
  store_mac(frame, destination);
  store_mac(frame + 6, source);
  store_be16(frame + 12, kEtherTypeIpv4);
  uint8_t* ip = frame + kEthernetSize;
  ip[0] = kVersionAndSize;
  ip[1] = 0;
  store_be16(ip + 2, static_cast<uint16_t>(total));
  store_be16(ip + 4, 0);  // identification means nothing where fragmenting is forbidden (RFC 6864)
  store_be16(ip + 6, kDontFragment);
  ip[8] = kTtl;
  ip[9] = protocol;
  // From the values: reading back what was stored in smaller parts would stall.
  InternetSum sum;
  sum.add_word(kVersionAndSize << 8);
  sum.add_word(static_cast<uint16_t>(total));
  sum.add_word(kDontFragment);
  sum.add_word(static_cast<uint16_t>(kTtl << 8 | protocol));
  sum.add_words(source_ip);
  sum.add_words(destination_ip);
  store_be16(ip + 10, ip_checksum ? sum.checksum() : uint16_t{0});
  store_be32(ip + 12, source_ip);
  store_be32(ip + 16, destination_ip);
}

}  // namespace

FrameView parse_frame(std::span<const uint8_t> frame, bool checksums_verified) {
  FrameView view;
  if (frame.size() < kEthernetSize) {
    view.kind = FrameKind::kMalformed;
    return view;
  }
  view.destination = load_mac(frame.data());
  view.source = load_mac(frame.data() + 6);
  const uint16_t ether_type = load_be16(frame.data() + 12);
  if (ether_type == kEtherTypeIpv4) {
    view.kind = parse_ipv4(frame, checksums_verified, &view);
  } else if (ether_type == kEtherTypeArp) {
    parse_arp(frame, &view);
  }
  return view;
}

void encode_udp_headers(const UdpFrameSpec& spec, bool offload, std::span<uint8_t> frame) {
  const size_t udp_length = kUdpSize + spec.payload_length;
  MN_ASSERT(frame.size() >= kUdpPayloadOffset && udp_length + kIpv4Size <= UINT16_MAX);
  encode_ipv4(spec.source, spec.destination, spec.source_ip, spec.destination_ip, kProtocolUdp,
              kIpv4Size + udp_length, !offload, frame.data());
  // The pseudo-header's sum: a NIC starts from it, and so do the finish_ functions.
  InternetSum sum;
  sum.add_words(spec.source_ip);
  sum.add_words(spec.destination_ip);
  sum.add_word(kProtocolUdp);
  sum.add_word(static_cast<uint16_t>(udp_length));
  // One store: finish_udp_checksum reads it back in one piece.
  store_be64(frame.data() + kUdpOffset, uint64_t{spec.source_port} << 48 |
                                            uint64_t{spec.destination_port} << 32 |
                                            uint64_t{udp_length} << 16 | sum.folded());
}

void finish_udp_checksum(std::span<uint8_t> frame) {
  MN_ASSERT(frame.size() >= kUdpPayloadOffset);
  InternetSum payload;
  payload.add(frame.subspan(kUdpPayloadOffset));
  finish_udp_checksum(frame, payload);
}

void finish_udp_checksum(std::span<uint8_t> frame, InternetSum payload) {
  MN_ASSERT(frame.size() >= kUdpPayloadOffset);
  InternetSum sum;
  sum.add({frame.data() + kUdpOffset, kUdpSize});  // with the pseudo-header's sum in it
  sum.add_word(payload.folded());
  const uint16_t checksum = sum.checksum();
  // 0 says "no checksum"; its other representation in ones' complement says the same number (RFC
  // 768).
  store_be16(frame.data() + kUdpChecksumAt, checksum == 0 ? uint16_t{0xffff} : checksum);
}

size_t encode_arp(const ArpView& arp, Mac source, Mac destination, std::span<uint8_t> frame) {
  MN_ASSERT(frame.size() >= kArpFrameSize);
  uint8_t* out = frame.data();
  store_mac(out, destination);
  store_mac(out + 6, source);
  store_be16(out + 12, kEtherTypeArp);
  out += kEthernetSize;
  store_be16(out, kArpEthernet);
  store_be16(out + 2, kEtherTypeIpv4);
  out[4] = 6;
  out[5] = 4;
  store_be16(out + 6, arp.is_request ? kArpRequest : kArpReply);
  store_mac(out + 8, arp.sender_mac);
  store_be32(out + 14, arp.sender_ip);
  store_mac(out + 18, arp.target_mac);
  store_be32(out + 24, arp.target_ip);
  return kArpFrameSize;
}

size_t encode_icmp_echo_reply(const FrameView& request, std::span<uint8_t> frame) {
  MN_ASSERT(request.kind == FrameKind::kIcmpEcho);
  const size_t icmp_size = 4 + request.payload.size();
  const size_t size = kEthernetSize + kIpv4Size + icmp_size;
  if (frame.size() < size) return 0;
  encode_ipv4(request.destination, request.source, request.destination_ip, request.source_ip,
              kProtocolIcmp, kIpv4Size + icmp_size, true, frame.data());
  uint8_t* icmp = frame.data() + kEthernetSize + kIpv4Size;
  icmp[0] = kIcmpEchoReply;
  icmp[1] = 0;
  InternetSum sum;
  sum.add_copy(icmp + 4, request.payload);
  store_be16(icmp + 2, sum.checksum());
  return size;
}

}  // namespace mn::wire
