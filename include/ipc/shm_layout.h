// SPDX-License-Identifier: MIT
// Map of a channel: one sealed memfd, made by the daemon, mapped by both. It holds one *lane* for
// each engine that can reach the channel; a lane is four rings, two buffer pools and a flow table,
// shared with exactly one engine thread, so every ring has one producer and one consumer.
//
// Both sides compute every offset from the LaneShape that the daemon sends over the control socket
// and check the result against the size of the mapping; neither reads a size out of shared memory.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc/shm_ring.h"

namespace mn::ipc {

constexpr uint32_t kChannelMagic = 0x4d4e4348;  // "MNCH"
constexpr uint32_t kChannelVersion = 1;

constexpr uint32_t kMessageBytesMax = 8u << 20;  // MACHNET_MSG_MAX_LEN
constexpr uint32_t kLanesMax = 16;
constexpr uint32_t kFlowSlotsMax = 16384;   // per lane
constexpr uint32_t kBuffersMax = 1u << 20;  // per pool
constexpr uint32_t kBufferSizeMax = 32768;  // bytes; lengths are 16 bits in an entry

// Numbers that define a lane; the daemon chooses them, the library validates them (lane_shape_ok).
struct LaneShape {
  uint32_t tx_buffers;   // owned by the application when the channel starts
  uint32_t rx_buffers;   // owned by the daemon when the channel starts
  uint32_t buffer_size;  // bytes, multiple of 64: the most that one entry carries, both ways
  uint32_t flow_slots;   // flows that the application can have on this lane at a time
};
static_assert(sizeof(LaneShape) == 16);

constexpr uint32_t next_power_of_two(uint32_t n) {
  uint32_t p = 1;
  while (p < n) p <<= 1;
  return p;
}

// Capacity of each ring = the tokens its entries can stand for, rounded up to a power of two.
constexpr uint32_t submit_capacity(const LaneShape& s) {  // a tx buffer each, one close per flow
  return next_power_of_two(s.tx_buffers + s.flow_slots);
}
constexpr uint32_t complete_capacity(const LaneShape& s) {  // a tx buffer each
  return next_power_of_two(s.tx_buffers);
}
constexpr uint32_t deliver_capacity(
    const LaneShape& s) {  // an rx buffer each, opened + ended per flow
  return next_power_of_two(s.rx_buffers + 2 * s.flow_slots);
}
constexpr uint32_t release_capacity(const LaneShape& s) {  // an rx buffer each, one slot per flow
  return next_power_of_two(s.rx_buffers + s.flow_slots);
}

constexpr bool lane_shape_ok(const LaneShape& s) {
  return s.tx_buffers >= 1 && s.tx_buffers <= kBuffersMax && s.rx_buffers >= 1 &&
         s.rx_buffers <= kBuffersMax && s.buffer_size >= 64 && s.buffer_size <= kBufferSizeMax &&
         s.buffer_size % 64 == 0 && s.flow_slots >= 1 && s.flow_slots <= kFlowSlotsMax;
}

// At offset 0, written once by the daemon before the hand-over.
struct alignas(64) ChannelHeader {
  uint32_t magic;
  uint32_t version;
  uint32_t lane_count;
  uint32_t reserved[13];
};
static_assert(sizeof(ChannelHeader) == 64);

// Starts every lane.
struct LaneHeader {
  SleepWord application;  // written by the application when it sleeps; the engine wakes it
  SleepWord engine;       // written by the engine when it sleeps; the application wakes it
};
static_assert(sizeof(LaneHeader) == 128);

// Written by the daemon before it delivers kOpened (or answers a connect) for the slot. Host order.
struct FlowSlot {
  uint32_t local_ip;
  uint32_t remote_ip;
  uint16_t local_port;
  uint16_t remote_port;
  uint32_t reserved;
};
static_assert(sizeof(FlowSlot) == 16);

constexpr uint64_t align_up(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

// Byte offsets of a lane's regions from the start of the lane.
struct LaneOffsets {
  uint64_t submit, complete, deliver, release;  // rings
  uint64_t flows;                               // FlowSlot[flow_slots]
  uint64_t tx_data, rx_data;                    // buffers, buffer_size bytes each
  uint64_t size;                                // of the whole lane
};

constexpr LaneOffsets lane_offsets(const LaneShape& s) {
  LaneOffsets o{};
  uint64_t at = sizeof(LaneHeader);
  auto take = [&at](uint64_t bytes) {
    const uint64_t start = at;
    at = align_up(at + bytes, 128);
    return start;
  };
  o.submit = take(uint64_t{submit_capacity(s)} * sizeof(Entry16));
  o.complete = take(uint64_t{complete_capacity(s)} * sizeof(Entry4));
  o.deliver = take(uint64_t{deliver_capacity(s)} * sizeof(Entry16));
  o.release = take(uint64_t{release_capacity(s)} * sizeof(Entry4));
  o.flows = take(uint64_t{s.flow_slots} * sizeof(FlowSlot));
  at = align_up(at, 4096);
  o.tx_data = take(uint64_t{s.tx_buffers} * s.buffer_size);
  at = align_up(at, 4096);
  o.rx_data = take(uint64_t{s.rx_buffers} * s.buffer_size);
  o.size = align_up(at, 4096);
  return o;
}

constexpr uint64_t kFirstLaneOffset = 4096;

constexpr uint64_t channel_size(const LaneShape* shapes, uint32_t lane_count) {
  uint64_t at = kFirstLaneOffset;
  for (uint32_t i = 0; i < lane_count; i++) at += lane_offsets(shapes[i]).size;
  return at;
}

// ---- Entries ---------------------------------------------------------------------------------
//
// FlowRef names a flow of a lane: slot (14 bits) and the slot's generation, so that an entry
// written for an ended flow is recognised. The daemon starts at generation 1: 0 is no flow.
constexpr uint32_t kFlowSlotBits = 14;
static_assert((1u << kFlowSlotBits) == kFlowSlotsMax);
constexpr uint32_t flow_ref(uint32_t slot, uint32_t generation) {
  return slot | (generation << kFlowSlotBits);
}
constexpr uint32_t flow_ref_slot(uint32_t ref) { return ref & (kFlowSlotsMax - 1); }
constexpr uint32_t flow_ref_generation(uint32_t ref) { return ref >> kFlowSlotBits; }
constexpr uint32_t kFlowGenerationMax = (1u << (32 - kFlowSlotBits)) - 1;

// Item16::word of submit and deliver entries: bits 0-15 length, 16-23 flags, 24-30 type.
constexpr uint32_t entry_word(uint32_t type, uint32_t flags, uint32_t length) {
  return (type << 24) | (flags << 16) | length;
}
constexpr uint32_t entry_type(uint32_t word) { return (word >> 24) & 0x7f; }
constexpr uint32_t entry_flags(uint32_t word) { return (word >> 16) & 0xff; }
constexpr uint32_t entry_length(uint32_t word) { return word & 0xffff; }

// Submit ring, application to daemon.
//   kSubmitSegment  a = FlowRef, b = tx buffer, length = bytes from the buffer's start,
//                   flag kLastSegment on the last segment of a message. The segments of one message
//                   are pushed one after another, all full (buffer_size bytes) but the last; no
//                   other segment of the same flow between them.
//   kSubmitClose    a = FlowRef: orderly close after everything submitted before; with flag kAbort
//                   the flow ends at once and its peer hears that it was reset. Once per flow; the
//                   application then sends nothing more on it.
enum SubmitType : uint32_t { kSubmitSegment = 1, kSubmitClose = 2 };

// Deliver ring, daemon to application. Entries of a flow are in order.
//   kDeliverOpened   a = FlowRef: a peer connected to a listener; the tuple is in the flow table.
//                    c = number of this opening among those of all lanes of the channel, which
//                    wraps: of two flows of one tuple on two lanes it tells the later one.
//   kDeliverSegment  a = FlowRef, b = rx buffer, c = offset in it, length = bytes there; flags
//                    kFirstSegment and kLastSegment tell where a message begins and ends.
//   kDeliverBundle   a = FlowRef, b = rx buffer, c = offset | count << 16, length = bytes there:
//   `count`
//                    whole messages in the format of wire/bundle.h (a table of 16-bit lengths, then
//                    the messages, each at a multiple of 8 from the offset).
//   kDeliverEnded    a = FlowRef, c = EndReason: the last entry of the flow. The application gives
//                    the slot back on the release ring (kReleaseSlot) when it has forgotten the
//                    flow.
enum DeliverType : uint32_t {
  kDeliverOpened = 1,
  kDeliverSegment = 2,
  kDeliverBundle = 3,
  kDeliverEnded = 4,
};

enum EntryFlag : uint32_t { kFirstSegment = 1, kLastSegment = 2, kAbort = 4 };

enum EndReason : uint32_t {
  kEndClosedByPeer = 1,  // the peer closed; everything it sent was delivered before
  kEndClosed = 2,        // our own close finished: the peer acknowledged everything
  kEndReset = 3,         // the peer (or its host) reset the flow
  kEndTimeout = 4,       // the peer no longer answers
  kEndDaemonStop = 5,    // the service stops
};

// Release ring, application to daemon: a plain value is an rx buffer whose bytes are no longer
// needed (for a bundle: once, after its last message); kReleaseSlot | slot gives an ended flow's
// slot back.
constexpr uint32_t kReleaseSlot = 1u << 30;

// Complete ring, daemon to application: a tx buffer, acknowledged by the peer or of a dead flow.

}  // namespace mn::ipc
