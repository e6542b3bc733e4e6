// SPDX-License-Identifier: MIT
#include "transport/path_mtu.h"

#include <algorithm>

#include "transport/lifecycle.h"
#include "transport/loss_detection.h"
#include "transport/sender.h"
#include "transport/trace.h"
#include "transport/transmit.h"

namespace mn::transport {

namespace {

constexpr uint8_t kProbesMax = 3;               // MAX_PROBES, RFC 8899 section 5.1.2
constexpr Duration kRaiseAfter = seconds(600);  // PMTU_RAISE_TIMER, section 5.1.1
constexpr Duration kAskAgain = seconds(1);      // after a round in which nothing was heard
constexpr uint16_t kCloseEnough = 32;           // bytes that are not worth a search
constexpr uint16_t kMssEthernet = mss_of_mtu(1500);

void set_deadline(Core& core, Flow& flow, Instant at) {
  flow.path_deadline = at;
  if (at != Instant::never()) need_timer(core, flow, at);
}

// A padded probe, and one without padding: whose answer shows that the path is there.
void begin_round(Core& core, Flow& flow, uint16_t size) {
  flow.path_probe_size = size;
  flow.padded_due = true;
  flow.probe_due = true;
  mark_ready(core, flow);
}

void search(Core& core, Instant now, Flow& flow) {
  flow.path_probes_lost = 0;
  if (flow.path_refused - flow.mss <= kCloseEnough) {
    flow.path_state = PathState::kReduced;
    set_deadline(core, flow, now + kRaiseAfter);
    return;
  }
  flow.path_state = PathState::kSearching;
  // What most networks take, before the middle of what is left.
  const bool ethernet = flow.mss < kMssEthernet && flow.path_refused > kMssEthernet;
  begin_round(
      core, flow,
      ethernet ? kMssEthernet : static_cast<uint16_t>((flow.mss + flow.path_refused + 1) / 2));
}

// What was cut too large is lost, and its repetition does not wait for timers that many failures
// have made long.
void cut_again(Core& core, Instant now, Flow& flow) {
  if (flow.outstanding() == 0) return;
  for (Seqno s = flow.tx_first; before(s, flow.tx_next); ++s) {
    const SentPacket& packet = sent_packet(core, flow, s);
    const bool flies = packet.place == SentPacket::kFresh || packet.place == SentPacket::kResent;
    if (flies && needs_parts(flow, packet)) mark_lost(core, flow, s);
  }
  flow.backoff = 0;
  set_loss_timer(core, now, flow, Instant::never());
  mark_ready(core, flow);
}

void reduce(Core& core, Instant now, Flow& flow) {
  core.counters.path_mtu_reduced++;
  flow.path_refused = flow.mss;
  flow.mss = flow.mss > kMssFallback ? kMssFallback : kMssFloor;
  cut_again(core, now, flow);
  search(core, now, flow);
}

// What the flow sends now passes.
void trust(Core& core, Instant now, Flow& flow) {
  if (flow.mss == flow.mss_agreed) {
    flow.path_state = PathState::kTrusted;
  } else {
    search(core, now, flow);
  }
}

// The bytes of a packet's messages: of a bundle without what aligns them.
uint32_t message_bytes(const Flow& flow, const SentPacket& packet) {
  if (packet.message_count == 0) return packet.length;
  uint32_t bytes = 0;
  BufferIndex at = packet.first;
  for (uint32_t i = packet.message_count; i > 0; i--, at = flow.chunks[at].next) {
    bytes += flow.chunks[at].length;
  }
  return bytes;
}

}  // namespace

void suspect_path(Core& core, Flow& flow, const SentPacket& packet) {
  const uint32_t size = std::min<uint32_t>(payload_bytes(packet), flow.mss);
  if (packet.transmissions % kSuspiciousAfter != 0 || size <= kMssFloor ||
      flow.path_state == PathState::kSuspected) {
    return;
  }
  flow.path_state = PathState::kSuspected;
  flow.path_probes_lost = 0;
  flow.path_deadline = Instant::never();
  begin_round(core, flow, flow.mss);
}

void on_path_deadline(Core& core, Instant now, Flow& flow) {
  flow.path_deadline = Instant::never();
  if (flow.state != FlowState::kEstablished) return;
  switch (flow.path_state) {
    case PathState::kTrusted:
      return;
    case PathState::kReduced:  // perhaps it takes more by now
      flow.path_state = PathState::kSearching;
      flow.path_refused = static_cast<uint16_t>(flow.mss_agreed + 1);
      flow.path_probes_lost = 0;
      begin_round(core, flow, flow.mss_agreed);
      return;
    default:
      break;
  }
  // Where nothing arrives at all that is not the size's fault. (What was under way already when the
  // question left deceives once, and no round trip is known to be too short for an answer.)
  if (static_cast<int32_t>(timestamp_of(flow.heard_at) - flow.path_asked) <= 0) {
    if (flow.path_state == PathState::kSuspected) {
      trust(core, now, flow);
    } else {
      flow.path_state = PathState::kReduced;
      set_deadline(core, flow, now + kAskAgain);
    }
    return;
  }
  core.counters.path_mtu_probes_lost++;
  if (++flow.path_probes_lost < kProbesMax) {
    begin_round(core, flow, flow.path_probe_size);
  } else if (flow.path_state == PathState::kSuspected) {
    reduce(core, now, flow);
  } else {
    flow.path_refused = flow.path_probe_size;
    search(core, now, flow);
  }
}

void on_probe_answer(Core& core, Instant now, Flow& flow, uint16_t size) {
  const bool asked =
      flow.path_state == PathState::kSuspected || flow.path_state == PathState::kSearching;
  if (!asked || size != flow.path_probe_size) return;
  flow.padded_due = false;
  flow.path_deadline = Instant::never();
  flow.mss = std::max(flow.mss, size);
  trust(core, now, flow);
}

void transmit_padded_probe(Core& core, Instant now, Flow& flow, TransmitView* view) {
  static constexpr uint8_t kZeros[2048] = {};
  flow.padded_due = false;
  flow.path_asked = timestamp_of(now);
  view->table_size = view->piece_count = 0;
  for (size_t left = flow.path_probe_size; left > 0;) {
    const size_t length = std::min(left, sizeof kZeros);
    view->pieces[view->piece_count++] = {kZeros, static_cast<uint16_t>(length), 0};
    left -= length;
  }
  write_header(core, now, flow,
               {.type = wire::PacketType::kProbe,
                .flags = wire::kFlagAckNow,
                .sequence = flow.tx_next,
                .payload_length = flow.path_probe_size},
               view);
  on_asked(flow, now);
  set_deadline(core, flow, now + flow.rtt.rto() * 2);
}

void transmit_part(Core& core, Instant now, Flow& flow, Seqno s, TransmitView* view) {
  SentPacket& packet = sent_packet(core, flow, s);
  const uint32_t total = message_bytes(flow, packet);
  if ((packet.flags & SentPacket::kInParts) == 0 || flow.tx_part_of != s || flow.tx_part >= total) {
    flow.tx_part_of = s;
    flow.tx_part = 0;
  }
  packet.flags |= SentPacket::kInParts;
  BufferIndex at = packet.first;
  uint32_t offset = uint32_t{packet.offset} + flow.tx_part;
  while (offset >= flow.chunks[at].length) {
    offset -= flow.chunks[at].length;
    at = flow.chunks[at].next;
  }
  // Never beyond a buffer: so each is of one message, and where they begin may change from one
  // time to the next.
  const uint32_t length =
      std::min({uint32_t{flow.mss}, total - flow.tx_part, flow.chunks[at].length - offset});
  const bool begins = packet.message_count > 0
                          ? offset == 0
                          : flow.tx_part == 0 && (packet.flags & SentPacket::kFirst) != 0;
  const bool ends = flow.chunks[at].last_segment && offset + length == flow.chunks[at].length;
  const bool more = flow.tx_part + length < total;
  view->table_size = 0;
  view->piece_count = 1;
  view->pieces[0] = {flow.store->tx_bytes(at).data() + offset, static_cast<uint16_t>(length), 0};
  write_header(core, now, flow,
               {.type = wire::PacketType::kPart,
                .flags = static_cast<uint8_t>((begins ? wire::kFlagFirst : 0) |
                                              (ends ? wire::kFlagLast : 0) |
                                              (more ? wire::kFlagMore : wire::kFlagAckNow)),
                .sequence = s,
                .payload_length = length},
               view);
  wire::set_extra(flow.tx_part, view->header);
  flow.tx_packets++;
  flow.tx_part = static_cast<uint16_t>(flow.tx_part + length);
  on_asked(flow, now);
  if (more) return;
  flow.tx_part = 0;
  list_remove(core, flow, flow.lost, s);
  flow.in_flight++;
  note_sent_again(core, now, flow, s, packet);
}

}  // namespace mn::transport
