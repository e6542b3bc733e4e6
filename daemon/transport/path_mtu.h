// SPDX-License-Identifier: MIT
// Path MTU: a path that takes only smaller packets than the handshake agreed on, from the start or
// from some moment on (packetization layer path MTU discovery, RFC 8899, as far as it is of use
// here). Nothing is probed as long as packets arrive. When one was lost time and again, padded
// probes without data tell whether its size is to blame; then the flow falls back to what every
// network takes, sends in parts what was cut larger, and searches for the largest that passes. For
// each flow: those of one pair of hosts may take different paths.
#pragma once

#include "transport/core.h"
#include "wire/bundle.h"
#include "wire/packet_header.h"

namespace mn::transport {

constexpr uint16_t mss_of_mtu(uint32_t mtu) {
  return static_cast<uint16_t>(mtu - 20 - 8 - wire::kHeaderSize);
}
// What IPv6 asks of every link (RFC 8200 section 5), and IPv4 of every host (RFC 1122 section
// 3.3.2).
constexpr uint16_t kMssFallback = mss_of_mtu(1280);
constexpr uint16_t kMssFloor = mss_of_mtu(576);

// A packet that was sent so often is about to be sent again: perhaps it is too large.
constexpr uint8_t kSuspiciousAfter = 3;

// Of a packet as it was cut.
inline uint32_t payload_bytes(const SentPacket& packet) {
  return packet.length + (packet.message_count > 0
                              ? static_cast<uint32_t>(wire::bundle_table_size(packet.message_count))
                              : 0);
}

// Larger than the path takes now, as far as is known.
inline bool needs_parts(const Flow& flow, const SentPacket& packet) {
  return payload_bytes(packet) > flow.mss;
}

void suspect_path(Core& core, Flow& flow, const SentPacket& packet);
void on_path_deadline(Core& core, Instant now, Flow& flow);
// An ack that says how large a padded probe came, or how far the parts of a packet.
void on_path_answer(Core& core, Instant now, Flow& flow, const wire::PacketHeader& header);
// While a padded probe is under way: does the peer hear anything of what leaves since? That it is
// heard shows nothing: it may be asking itself.
inline void note_path_heard(Flow& flow, const wire::PacketHeader& header) {
  if (static_cast<int32_t>(header.echo - flow.path_asked_at) >= 0) flow.path_heard = true;
}

void transmit_padded_probe(Core& core, Instant now, Flow& flow, TransmitView* view);
// The next part of `s`, a lost packet.
void transmit_part(Core& core, Instant now, Flow& flow, Seqno s, TransmitView* view);

}  // namespace mn::transport
