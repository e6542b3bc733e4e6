// SPDX-License-Identifier: MIT
#include "transport/loss_detection.h"

#include <algorithm>

#include "transport/sender.h"
#include "transport/trace.h"

namespace mn::transport {

namespace {

constexpr Duration kReorderMin = microseconds(20);
constexpr Duration kPersistMax = milliseconds(200);
constexpr Duration kHandshakeFirst = milliseconds(20);
constexpr Duration kLinkLook = milliseconds(50);
constexpr Duration kHandshakeMax = milliseconds(200);

// How late a packet may be before it counts as lost (RFC 8985 section 6.2, step 4).
int64_t reorder_window_ns(const Flow& flow) {
  const int64_t steps = flow.rtt.min().ns * flow.reorder_steps / 4;
  return std::max(kReorderMin.ns, std::min(steps, flow.rtt.smoothed().ns));
}

Duration backed_off(Duration base, uint8_t backoff, Duration most) {
  return std::min(base * (int64_t{1} << std::min<uint8_t>(backoff, 16)), most);
}

// Whether it is late: what was sent after it is known to have arrived, and all that has is named.
// An ack moves the RACK clock past packets which it has no room to name only by a packet sent
// again: new ones arrive behind all that was sent before them and is not missing. Until an ack has
// named what came, nothing is judged by that clock.
bool sent_before_arrived(const Flow& flow, const SentPacket& packet, Seqno s) {
  if (__builtin_expect(flow.rack_ahead, 0)) return false;
  return packet.sent_ns < flow.rack_sent_ns ||
         (packet.sent_ns == flow.rack_sent_ns && before(s, flow.rack_end));
}

// Packets of a flow within this host never see the NIC.
bool leaves_host(const FourTuple& t) {
  return t.local_ip != t.remote_ip && (t.local_ip >> 24) != 127 && (t.remote_ip >> 24) != 127;
}

void set_timer(Core& core, Flow& flow, LossTimer kind, Instant at) {
  flow.loss_timer = kind;
  flow.loss_deadline = at;
  if (kind != LossTimer::kNone) need_timer(core, flow, at);
}

// No longer in flight. The caller puts it into the list of those to send again.
void note_lost(Core& core, Flow& flow, Seqno s) {
  SentPacket& packet = sent_packet(core, flow, s);
  if (packet.place == SentPacket::kResent) list_remove(core, flow, flow.resent, s);
  packet.place = SentPacket::kLost;
  MN_TRACE_WITH(trace_record, core, {}, flow, ipc::kTraceLost, s, packet);
  packet.flags |= SentPacket::kJudgedLost;
  flow.in_flight--;
}

// A packet sent again was among the oldest that were lost, and is again: it goes before those that
// wait for their first repetition, behind `*after` if that went there before it. The peer can name
// only so many ranges that it has, from the oldest on: what is sent out of this order may arrive
// and never be heard of. A tail probe was the newest, and stays behind the others: arriving first,
// it would make all of them look late.
void mark_lost_again(Core& core, Flow& flow, Seqno s, uint16_t* after) {
  note_lost(core, flow, s);
  const uint16_t next = *after == SlotList::kEnd
                            ? flow.lost.head
                            : sent_packet(core, flow, seqno_of_slot(flow, *after)).next;
  if (next != SlotList::kEnd && before(seqno_of_slot(flow, next), s)) {
    list_push_back(core, flow, flow.lost, s);
    return;
  }
  list_insert_after(core, flow, flow.lost, *after, s);
  *after = window_slot(s);
}

}  // namespace

void mark_lost(Core& core, Flow& flow, Seqno s) {
  note_lost(core, flow, s);
  list_push_back(core, flow, flow.lost, s);
}

Instant detect_losses(Core& core, Instant now, Flow& flow, uint32_t acked) {
  const int64_t patience = flow.rack_rtt_ns + reorder_window_ns(flow);
  Instant look_again = Instant::never();
  uint32_t lost = 0;
  uint32_t news = 0;  // sent since the congestion window shrank last
  const int64_t reduced_ns = flow.congestion.reduced_at().ns;
  // Packets sent once are in order of sending: the first that is not lost ends the search.
  Seqno s = later_of(flow.tx_judge, flow.tx_first);
  for (; before(s, flow.tx_next); ++s) {
    const SentPacket& packet = sent_packet(core, flow, s);
    if (packet.place != SentPacket::kFresh) continue;
    if (!sent_before_arrived(flow, packet, s)) break;
    if (packet.sent_ns + patience > now.ns) {
      look_again = {packet.sent_ns + patience};
      break;
    }
    news += packet.sent_ns > reduced_ns;
    mark_lost(core, flow, s);
    lost++;
  }
  flow.tx_judge = s;
  uint16_t after = SlotList::kEnd;
  while (!flow.resent.empty()) {
    const Seqno r = seqno_of_slot(flow, flow.resent.head);
    const SentPacket& packet = sent_packet(core, flow, r);
    if (!sent_before_arrived(flow, packet, r)) break;
    if (packet.sent_ns + patience > now.ns) {
      look_again = std::min(look_again, Instant{packet.sent_ns + patience});
      break;
    }
    news += packet.sent_ns > reduced_ns;
    mark_lost_again(core, flow, r, &after);
    lost++;
  }
  if (lost > 0) {
    if (news > 0) flow.congestion.on_loss(now, news);
    mark_ready(core, flow);
  }
  if (__builtin_expect(flow.congestion.recovers(), 0)) {
    flow.congestion.recover({.in_flight = flow.in_flight,
                             .acked = acked,
                             .lost = lost,
                             .sent = static_cast<uint32_t>(flow.tx_packets),
                             .first = flow.tx_first.value,
                             .answered = flow.rack_sent_ns >= flow.congestion.reduced_at().ns});
  }
  return look_again;
}

void mark_unanswered_lost(Core& core, Instant now, Flow& flow) {
  for (Seqno s = flow.tx_first; before(s, flow.tx_next); ++s) {
    const SentPacket& packet = sent_packet(core, flow, s);
    if (packet.place != SentPacket::kFresh && packet.place != SentPacket::kResent) continue;
    if (packet.sent_ns + std::max(flow.rtt.min(), kReorderMin).ns <= now.ns) {
      mark_lost(core, flow, s);
    }
  }
  mark_ready(core, flow);
}

void set_loss_timer(Core& core, Instant now, Flow& flow, Instant in_doubt) {
  if (flow.outstanding() == 0) {
    if (has_unsent(flow) && flow.limit_shut()) {
      set_timer(core, flow, LossTimer::kPersist,
                now + backed_off(flow.rtt.rto(), flow.backoff, kPersistMax));
    } else if (flow.state == FlowState::kOpening || flow.unconfirmed) {
      set_timer(core, flow, LossTimer::kHandshake,
                now + backed_off(kHandshakeFirst, flow.backoff, kHandshakeMax));
    } else {
      set_timer(core, flow, LossTimer::kNone, Instant::never());
    }
    return;
  }
  if (flow.limit_shut()) {
    set_timer(core, flow, LossTimer::kPersist,
              now + backed_off(flow.rtt.rto(), flow.backoff, kPersistMax));
    return;
  }
  if (in_doubt != Instant::never()) {
    set_timer(core, flow, LossTimer::kReorder, in_doubt);
    return;
  }
  const bool quiet = flow.lost.empty() && flow.sacked == 0 && flow.backoff == 0;
  if (quiet && !flow.tail_probed && flow.rtt.has_sample()) {
    set_timer(core, flow, LossTimer::kTailProbe, now + flow.rtt.tail_probe());
    return;
  }
  set_timer(core, flow, LossTimer::kRetransmit,
            now + backed_off(flow.rtt.rto(), flow.backoff, kRtoMax));
}

void on_data_left(Core& core, Instant now, Flow& flow) {
  if (__builtin_expect(flow.loss_timer == LossTimer::kTailProbe, 1)) {
    flow.loss_deadline = now + flow.rtt.tail_probe();
    need_timer(core, flow, flow.loss_deadline);
  } else if (flow.loss_timer != LossTimer::kRetransmit && flow.loss_timer != LossTimer::kReorder) {
    set_loss_timer(core, now, flow, Instant::never());
  }
}

void on_loss_deadline(Core& core, Instant now, Flow& flow) {
  if (__builtin_expect(core.link_down, 0) && flow.loss_timer == LossTimer::kRetransmit &&
      leaves_host(flow.tuple)) {
    set_timer(core, flow, LossTimer::kRetransmit, now + kLinkLook);
    return;
  }
  const LossTimer kind = flow.loss_timer;
  MN_TRACE_WITH(trace_timer, core, flow, ipc::kTraceFired, kind, now);
  set_timer(core, flow, LossTimer::kNone, Instant::never());
  switch (kind) {
    case LossTimer::kNone:
      return;
    case LossTimer::kReorder:
      set_loss_timer(core, now, flow, detect_losses(core, now, flow, 0));
      return;
    case LossTimer::kTailProbe:
      flow.tail_probed = true;
      flow.tail_probe_due = true;
      mark_ready(core, flow);
      set_loss_timer(core, now, flow, Instant::never());
      return;
    case LossTimer::kRetransmit: {
      if (flow.in_flight == 0 && flow.congestion.waits()) {  // for its turn, not for an answer
        set_loss_timer(core, now, flow, Instant::never());
        return;
      }
      flow.timeouts++;
      core.counters.timeouts++;
      if (flow.backoff < 16) flow.backoff++;
      flow.congestion.on_timeout(now, flow.backoff);
      // One packet is enough: when it arrives, loss detection knows about all sent before it.
      const Seqno s = flow.tx_first;
      if (sent_packet(core, flow, s).place != SentPacket::kLost) mark_lost(core, flow, s);
      list_remove(core, flow, flow.lost, s);
      list_insert_after(core, flow, flow.lost, SlotList::kEnd, s);
      flow.resend_due = true;
      mark_ready(core, flow);
      set_loss_timer(core, now, flow, Instant::never());
      return;
    }
    case LossTimer::kPersist:
      if (flow.backoff < 16) flow.backoff++;
      flow.probe_due = true;
      mark_ready(core, flow);
      set_loss_timer(core, now, flow, Instant::never());
      return;
    case LossTimer::kHandshake:
      if (flow.backoff < 16) flow.backoff++;
      if (flow.state == FlowState::kOpening) {
        flow.open_due = true;
      } else {
        flow.probe_due = true;
      }
      mark_ready(core, flow);
      set_loss_timer(core, now, flow, Instant::never());
      return;
  }
}

}  // namespace mn::transport
