// SPDX-License-Identifier: MIT
#include "transport/path_mtu.h"

#include <algorithm>

#include "transport/lifecycle.h"
#include "transport/loss_detection.h"
#include "transport/sender.h"
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
  flow.path_due |= kPaddedDue;
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

uint16_t parts_came(const Flow& flow, const SentPacket& packet) {
  return (packet.flags & SentPacket::kPartsCame) != 0 ? flow.tx_part_came : uint16_t{0};
}

// The next part of a packet, from byte flow.tx_part of its messages on: bytes of one message, or as
// many whole messages of a bundle as fit.
Cut cut_part(Flow& flow, const SentPacket& packet, uint32_t total, TransmitView* view,
             bool* ret_begins) {
  BufferIndex at = packet.first;
  uint32_t offset = uint32_t{packet.offset} + flow.tx_part;
  uint32_t messages = packet.message_count;
  for (; offset >= flow.chunks[at].length; at = flow.chunks[at].next) {
    offset -= flow.chunks[at].length;
    messages--;
  }
  if (packet.message_count == 0) {
    *ret_begins = flow.tx_part == 0 && (packet.flags & SentPacket::kFirst) != 0;
    return cut_bytes(flow, at, offset, std::min<uint32_t>(flow.mss, total - flow.tx_part), view);
  }
  *ret_begins = offset == 0;
  if (offset == 0) {
    const Cut cut = cut_messages(flow, at, messages, view);
    if (cut.length > 0) return cut;
  }
  return cut_bytes(flow, at, offset, std::min<uint32_t>(flow.mss, flow.chunks[at].length - offset),
                   view);
}

}  // namespace

void suspect_path(Core& core, Flow& flow, const SentPacket& packet) {
  const uint32_t size = std::min<uint32_t>(payload_bytes(packet), flow.mss);
  // Nothing is to be gained where the least that is tried is about as large.
  if (packet.transmissions % kSuspiciousAfter != 0 || size <= kMssFloor + kCloseEnough ||
      !flow.takes_parts || flow.path_state == PathState::kSuspected) {
    return;
  }
  flow.path_state = PathState::kSuspected;
  flow.path_probes_lost = 0;
  flow.path_deadline = Instant::never();
  begin_round(core, flow, flow.mss);
}

void on_path_deadline(Core& core, Instant now, Flow& flow) {
  flow.path_deadline = Instant::never();
  flow.path_asked = false;
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
  // Where nothing arrives at all that is not the size's fault.
  if (!flow.path_heard) {
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

static void on_probe_answer(Core& core, Instant now, Flow& flow, uint16_t size) {
  const bool asked =
      flow.path_state == PathState::kSuspected || flow.path_state == PathState::kSearching;
  if (!asked || size != flow.path_probe_size) return;
  flow.path_due &= static_cast<uint8_t>(~kPaddedDue);
  flow.path_asked = false;
  flow.path_deadline = Instant::never();
  flow.mss = std::max(flow.mss, size);
  trust(core, now, flow);
}

// Parts that came are not sent again: a queue that holds fewer packets than one has parts would
// else take the same ones each time.
static void on_parts_answer(Core& core, Instant now, Flow& flow, const wire::PacketHeader& header) {
  if (flow.outstanding() == 0 || header.ack != flow.tx_first.value) return;
  SentPacket& packet = sent_packet(core, flow, flow.tx_first);
  if (header.extra >= message_bytes(flow, packet) || header.extra <= parts_came(flow, packet)) {
    return;
  }
  packet.flags |= SentPacket::kPartsCame;
  flow.tx_part_came = header.extra;
  flow.backoff = 0;
  if (flow.loss_timer == LossTimer::kRetransmit) {
    set_loss_timer(core, now, flow, Instant::never());
  }
}

void on_path_answer(Core& core, Instant now, Flow& flow, const wire::PacketHeader& header) {
  if ((header.flags & wire::kFlagMore) != 0) {
    on_parts_answer(core, now, flow, header);
  } else {
    on_probe_answer(core, now, flow, header.extra);
  }
}

void transmit_padded_probe(Core& core, Instant now, Flow& flow, TransmitView* view) {
  static constexpr uint8_t kZeros[2048] = {};
  flow.path_due &= static_cast<uint8_t>(~kPaddedDue);
  flow.path_asked = true;
  flow.path_heard = false;
  flow.path_asked_at = timestamp_of(now);
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
  const uint16_t came = parts_came(flow, packet);
  if (flow.tx_part_of != s || flow.tx_part >= total || flow.tx_part < came) {
    flow.tx_part_of = s;
    flow.tx_part = came;
  }
  bool begins = false;
  const Cut cut = cut_part(flow, packet, total, view, &begins);
  uint32_t bytes = 0;  // without what aligns a bundle's messages
  for (size_t i = 0; i < view->piece_count; i++) bytes += view->pieces[i].length;
  const bool more = flow.tx_part + bytes < total;
  write_header(core, now, flow,
               {.type = wire::PacketType::kPart,
                .flags = static_cast<uint8_t>((begins ? wire::kFlagFirst : 0) |
                                              (cut.last ? wire::kFlagLast : 0) |
                                              (more ? wire::kFlagMore : wire::kFlagAckNow)),
                .message_count = cut.message_count,
                .sequence = s,
                .payload_length = static_cast<uint32_t>(view->table_size) + cut.length},
               view);
  wire::set_extra(flow.tx_part, view->header);
  flow.tx_packets++;
  flow.tx_part = static_cast<uint16_t>(flow.tx_part + bytes);
  on_asked(flow, now);
  if (more) return;
  flow.tx_part = UINT16_MAX;  // the next time from what has come by then
  list_remove(core, flow, flow.lost, s);
  flow.in_flight++;
  note_sent_again(core, now, flow, s, packet);
}

}  // namespace mn::transport
