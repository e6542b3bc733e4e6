// SPDX-License-Identifier: MIT
// Receiver: takes data packets, puts them in order, delivers them to the store, decides when to
// acknowledge and how much the peer may send. Packets before their turn wait in rx buffers while
// the pool can spare them.
#pragma once

#include <cstdint>
#include <span>

#include "transport/core.h"
#include "wire/packet_header.h"

namespace mn::transport {

constexpr Duration kEchoValid = seconds(1);

// kData and kClose of an established flow. The flow has ended afterwards if the peer's close came
// in order, or the peer broke the protocol.
PacketVerdict on_data(Core& core, Instant now, Flow& flow, const wire::Packet& packet);

// kPart of an established flow, and what comes whole after parts of it.
PacketVerdict on_part(Core& core, Instant now, Flow& flow, const wire::Packet& packet);

// The packet asks for an ack, and its timestamp is the one to echo, unless a newer one has come: a
// copy that was long under way says nothing about the path as it is (RFC 7323 section 4.3).
// Timestamps wrap after 137 s, so what came a while ago is no measure of new and old.
inline void note_echo(Flow& flow, Instant now, const wire::PacketHeader& header) {
  const bool is_older = static_cast<int32_t>(header.timestamp - flow.echo) < 0;
  if (__builtin_expect(is_older, 0) && now - flow.echo_at < kEchoValid) return;
  flow.echo = header.timestamp;
  flow.echo_at = now;
}
inline void ask_for_ack(Core& core, Flow& flow) {
  flow.ack_now = true;
  mark_ready(core, flow);
}

// How long the packet that is echoed was held; the greatest value: unknown.
inline uint16_t echo_delay_of(const Core& core, const Flow& flow, Instant now) {
  if (flow.echo_at <= core.samples_from) return UINT16_MAX;  // also: no packet came yet
  const int64_t us = (now - flow.echo_at).ns / 1000;
  return us > UINT16_MAX ? UINT16_MAX : static_cast<uint16_t>(us);
}

// SACK ranges of what waits, ascending; at most `ranges.size()`. Returns how many.
size_t sack_ranges(const Core& core, const Flow& flow, std::span<wire::SackRange> ranges);

// The window for the next packet of the flow; remembers it as offered.
uint16_t offer_window(Core& core, Flow& flow);

// An ack left.
inline void on_ack_left(Flow& flow) {
  flow.rx_unacked = 0;
  flow.ack_deadline = Instant::never();
  flow.ack_now = false;
}

// Buffers came back to the store's pool: tells peers that wait for that.
void on_space(Core& core, StoreState& store);

// Gives back what waits.
void discard_early(Core& core, Flow& flow);

}  // namespace mn::transport
