// SPDX-License-Identifier: MIT
#include "nic/buffer_plan.h"

#include <rte_mbuf.h>

#include <algorithm>

namespace mn::nic {

namespace {

constexpr uint32_t kEthernetOverhead = 14 + 4;  // header and a VLAN tag
constexpr uint32_t kXdpHeadroom = 256;          // the kernel's, in each buffer
constexpr uint32_t kRingHeader = 80;  // TPACKET_V2: header, address and alignment before a frame
constexpr uint32_t kPage = 4096;

constexpr uint32_t round_up(uint32_t value, uint32_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace

// One cache line less than a page: DPDK adds one to buffers of an even number, to spread them over
// memory channels. Then the pool's header, the mbuf and both headrooms.
const uint32_t kXdpMtuMax = kPage - RTE_CACHE_LINE_SIZE - RTE_CACHE_LINE_SIZE - sizeof(rte_mbuf) -
                            RTE_PKTMBUF_HEADROOM - kXdpHeadroom - kEthernetOverhead;

// A multiple of 1024, so that four make whole pages. On a busy machine of two cores a flood over
// veth lost half of its packets with 512 frames (the driver's default), 5 % with 1024 and at most 3
// % with 2048.
uint32_t ring_frame_bytes(uint32_t mtu) {
  return std::max<uint32_t>(2048, round_up(mtu + kEthernetOverhead + kRingHeader, 1024));
}
uint32_t ring_frames(uint32_t mtu) { return mtu > 4000 ? 1024 : 2048; }

uint32_t data_room(NicMode::Kind kind, uint32_t mtu) {
  const uint32_t frame = mtu + kEthernetOverhead;
  switch (kind) {
    case NicMode::Kind::kAfPacket:
      return ring_frame_bytes(mtu);  // the driver insists on room for a whole ring frame
    case NicMode::Kind::kAfXdp:
      return round_up(frame + kXdpHeadroom, RTE_CACHE_LINE_SIZE);
    case NicMode::Kind::kVdev:
    case NicMode::Kind::kPci:
    case NicMode::Kind::kVmbus:
      break;
  }
  // 2048 is the one size that every driver can work with (gve takes no other).
  return frame <= 2048 ? 2048 : round_up(frame, 1024);
}

uint32_t pool_size(NicMode::Kind kind) {
  switch (kind) {
    case NicMode::Kind::kAfXdp:
      return 2 * kXdpRing + 2048;  // both rings full, and what the engine holds
    case NicMode::Kind::kAfPacket:
    case NicMode::Kind::kVdev:
    case NicMode::Kind::kPci:
    case NicMode::Kind::kVmbus:
      break;
  }
  return 4096;  // rings of at most 1024, what the engine holds, caches
}

// On ordinary pages a pool may have no buffer across the end of one: most fill a page, and what is
// left of it is lost.
uint64_t buffer_memory(NicMode::Kind kind, uint32_t mtu, uint32_t queues, bool on_hugepages) {
  constexpr uint32_t kPerBuffer = 512;     // mbuf, headroom, the pool's header, alignment
  constexpr uint64_t kPerQueue = 2 << 20;  // the pool's caches for threads, the driver's tables
  constexpr uint64_t kPerNic = 8 << 20;
  const uint32_t buffer = data_room(kind, mtu) + kPerBuffer;
  const uint32_t taken = on_hugepages      ? buffer
                         : buffer <= kPage ? kPage / (kPage / buffer)
                                           : round_up(buffer, kPage);
  return kPerNic + queues * (kPerQueue + uint64_t{pool_size(kind)} * taken);
}

}  // namespace mn::nic
