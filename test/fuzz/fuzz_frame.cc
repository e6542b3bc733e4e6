// SPDX-License-Identifier: MIT
// Frames from the cable: parse_frame stays inside the bytes, and what it accepted is what our own
// encoders would send. The first byte of the input selects: 1: the NIC verified checksums; 2:
// checksums are put right before parsing, so that the fuzzer gets behind them.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/assert.h"
#include "wire/bytes.h"
#include "wire/frame.h"

using namespace mn::wire;

namespace {

uint8_t frame[1 << 16];
uint8_t again[1 << 16];

uint16_t checksum_of(const uint8_t* at, size_t size) {
  InternetSum sum;
  sum.add({at, size});
  return sum.checksum();
}

// Makes the IPv4 checksum right, and the ICMP one if that is what follows.
void fix_checksums(size_t size) {
  uint8_t* ip = frame + kEthernetSize;
  if (size < kEthernetSize + kIpv4Size) return;
  const size_t header_size = size_t{ip[0] & 0xfu} * 4;
  const size_t total = load_be16(ip + 2);
  if (header_size < kIpv4Size || total < header_size || kEthernetSize + total > size) return;
  store_be16(ip + 10, 0);
  store_be16(ip + 10, checksum_of(ip, header_size));
  if (ip[9] == 1 && total >= header_size + 4) {
    uint8_t* icmp = ip + header_size;
    store_be16(icmp + 2, 0);
    store_be16(icmp + 2, checksum_of(icmp, total - header_size));
  }
}

void check_udp(const FrameView& view) {
  MN_ASSERT(view.payload.size() <= sizeof frame - kUdpPayloadOffset);
  const UdpFrameSpec spec{view.source,         view.destination, view.source_ip,
                          view.destination_ip, view.source_port, view.destination_port,
                          view.payload.size()};
  encode_udp_headers(spec, false, again);
  InternetSum sum;
  sum.add_copy(again + kUdpPayloadOffset, view.payload);
  const std::span<uint8_t> whole{again, kUdpPayloadOffset + view.payload.size()};
  finish_udp_checksum(whole, sum);
  const FrameView second = parse_frame(whole, false);
  MN_ASSERT(second.kind == FrameKind::kUdp);
  MN_ASSERT(second.source == view.source && second.destination == view.destination);
  MN_ASSERT(second.source_ip == view.source_ip && second.destination_ip == view.destination_ip);
  MN_ASSERT(second.source_port == view.source_port);
  MN_ASSERT(second.destination_port == view.destination_port);
  MN_ASSERT(second.payload.size() == view.payload.size());
  MN_ASSERT(memcmp(second.payload.data(), view.payload.data(), view.payload.size()) == 0);
}

void check_arp(const FrameView& view) {
  const size_t size = encode_arp(view.arp, view.source, view.destination, again);
  MN_ASSERT(size == kArpFrameSize && memcmp(again, frame, size) == 0);
}

void check_echo(const FrameView& view) {
  const size_t size = encode_icmp_echo_reply(view, again);
  MN_ASSERT(size == kEthernetSize + kIpv4Size + 4 + view.payload.size());
  MN_ASSERT(checksum_of(again + kEthernetSize, kIpv4Size) == 0);
  MN_ASSERT(checksum_of(again + kEthernetSize + kIpv4Size, 4 + view.payload.size()) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 || size - 1 > sizeof frame) return 0;
  const uint8_t mode = data[0];
  size--;
  if (size > 0) memcpy(frame, data + 1, size);
  if ((mode & 2) != 0) fix_checksums(size);
  const FrameView view = parse_frame({frame, size}, (mode & 1) != 0);
  if (!view.payload.empty()) {
    MN_ASSERT(view.payload.data() > frame && view.payload.size() < size);
    MN_ASSERT(view.payload.data() + view.payload.size() <= frame + size);
  }
  if (view.kind == FrameKind::kUdp) check_udp(view);
  if (view.kind == FrameKind::kArp) check_arp(view);
  if (view.kind == FrameKind::kIcmpEcho) check_echo(view);
  return 0;
}
