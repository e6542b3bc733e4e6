// SPDX-License-Identifier: MIT
// Ethernet, ARP, IPv4, ICMP echo and UDP: bytes to values and back. Checks lengths, versions and
// checksums; what the fields mean to a host is host/'s business, what a datagram says is
// packet_header.h's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/address.h"
#include "wire/checksum.h"

namespace mn::wire {

constexpr size_t kEthernetSize = 14;
constexpr size_t kIpv4Size = 20;
constexpr size_t kUdpSize = 8;
constexpr size_t kUdpPayloadOffset = kEthernetSize + kIpv4Size + kUdpSize;  // 42
constexpr size_t kFrameSizeMin = 60;                                        // without FCS
constexpr size_t kArpFrameSize = 42;

enum class FrameKind : uint8_t {
  kUdp,        // a whole UDP datagram over IPv4
  kArp,        // ARP for IPv4 over Ethernet
  kIcmpEcho,   // an ICMP echo request
  kOther,      // something a host may ignore (IPv6, TCP, multicast control, VLAN, fragments)
  kMalformed,  // a length or version that can't be
  kChecksum,   // wrong IPv4, UDP or ICMP checksum
};

struct ArpView {
  bool is_request = false;
  Mac sender_mac{};
  Ipv4 sender_ip = 0;
  Mac target_mac{};
  Ipv4 target_ip = 0;
};

struct FrameView {
  FrameKind kind = FrameKind::kOther;
  Mac destination{};
  Mac source{};
  Ipv4 source_ip = 0;
  Ipv4 destination_ip = 0;
  Port source_port = 0;
  Port destination_port = 0;
  // Of UDP; of ICMP: everything after type, code and checksum.
  std::span<const uint8_t> payload;
  ArpView arp;
};

// `checksums_verified`: the NIC has checked IPv4 and UDP. A UDP checksum of 0 (none) is refused:
// ours always carry one. Padding after the IPv4 total length is ignored. IPv4 options and fragments
// are kOther. Who the addresses belong to, or whether they can exist, is not looked at.
FrameView parse_frame(std::span<const uint8_t> frame, bool checksums_verified);

struct UdpFrameSpec {
  Mac source{}, destination{};
  Ipv4 source_ip = 0, destination_ip = 0;
  Port source_port = 0, destination_port = 0;
  size_t payload_length = 0;
};

// Writes the 42 bytes before the UDP payload. The UDP checksum field gets the pseudo-header's sum,
// as a NIC's offload expects it (DPDK's rte_ipv4_phdr_cksum convention). With `offload` the IPv4
// checksum is 0 and the rest is the NIC's; else the IPv4 checksum is complete, and
// finish_udp_checksum must follow.
void encode_udp_headers(const UdpFrameSpec& spec, bool offload, std::span<uint8_t> frame);
// Once, after encode_udp_headers: over a payload that stands in `frame` already (its whole length,
// without padding), or whose sum was taken while it was copied (InternetSum::add_copy): faster.
void finish_udp_checksum(std::span<uint8_t> frame);
void finish_udp_checksum(std::span<uint8_t> frame, InternetSum payload);

// Returns the frame's length (without padding to 60).
size_t encode_arp(const ArpView& arp, Mac source, Mac destination, std::span<uint8_t> frame);
// Answer to an echo request: swaps addresses, keeps `payload`. 0 if it does not fit.
size_t encode_icmp_echo_reply(const FrameView& request, std::span<uint8_t> frame);

}  // namespace mn::wire
