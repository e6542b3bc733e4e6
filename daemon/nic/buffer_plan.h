// SPDX-License-Identifier: MIT
// How large and how many the packet buffers of a NIC are, by mode and MTU, and why. Plain
// arithmetic.
#pragma once

#include <cstdint>

#include "nic/nic_mode.h"

namespace mn::nic {

// The largest MTU of mode af_xdp: a frame, the headrooms before it and the mbuf share a page.
extern const uint32_t kXdpMtuMax;
constexpr uint32_t kXdpRing = 2048;  // descriptors of af_xdp's rings; it fills one at once

// Bytes of a buffer behind DPDK's headroom.
uint32_t data_room(NicMode::Kind kind, uint32_t mtu);
// Buffers of one queue pair, both directions together.
uint32_t pool_size(NicMode::Kind kind);
// Memory for the buffers of a NIC and its driver's own, on hugepages or on ordinary ones.
uint64_t buffer_memory(NicMode::Kind kind, uint32_t mtu, uint32_t queues, bool on_hugepages);

// The rings that af_packet shares with the kernel.
uint32_t ring_frame_bytes(uint32_t mtu);
uint32_t ring_frames(uint32_t mtu);

}  // namespace mn::nic
