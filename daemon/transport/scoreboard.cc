// SPDX-License-Identifier: MIT
#include "transport/scoreboard.h"

#include <algorithm>
#include <bit>

#include "ipc/shm_layout.h"
#include "transport/lifecycle.h"
#include "transport/loss_detection.h"
#include "transport/sender.h"
#include "transport/trace.h"

namespace mn::transport {

namespace {

constexpr uint16_t kEchoDelayUnknown = UINT16_MAX;
constexpr Duration kRttSane = seconds(60);
constexpr uint8_t kReorderStepsMax = 16;

// All that has come, or as much as fits into any packet. Of a part without ranges nobody knows.
bool names_what_came(const wire::PacketHeader& header) {
  if (header.type == wire::PacketType::kPart) return header.sack_count > 0;
  return header.extra == 0 || header.type == wire::PacketType::kAck;
}

struct Progress {
  uint32_t acked = 0;
  uint32_t spurious = 0;  // packets that arrived though we had judged them lost
};

// An outstanding packet has arrived: its place among those in flight, lost or sent again is free.
void note_acked(Core& core, Instant now, Flow& flow, const wire::PacketHeader& header,
                SentPacket& packet, Seqno s, Progress* progress) {
  progress->acked++;
  if (__builtin_expect(packet.place == SentPacket::kFresh, 1)) {
    flow.in_flight--;
    note_arrival(flow, now, packet.sent_ns, s);
    return;
  }
  if (packet.place == SentPacket::kLost) {
    list_remove(core, flow, flow.lost, s);
    if (packet.transmissions == 1) progress->spurious++;
    return;
  }
  list_remove(core, flow, flow.resent, s);
  flow.in_flight--;
  // An echo from before the retransmission speaks of the original (RFC 8985 section 6.2, step 2).
  if (static_cast<int32_t>(header.echo - timestamp_of({packet.sent_ns})) < 0) {
    if (packet.transmissions == 2 && (packet.flags & SentPacket::kJudgedLost) != 0) {
      progress->spurious++;
    }
    return;
  }
  note_arrival(flow, now, packet.sent_ns, s);
  if (!names_what_came(header)) flow.rack_ahead = true;
}

void ack_up_to(Core& core, Instant now, Flow& flow, const wire::PacketHeader& header, Seqno ack,
               Progress* progress) {
  while (flow.tx_first != ack) {
    const Seqno s = flow.tx_first;
    BlockIndex& block = flow.tx_blocks[block_slot(s)];
    SentPacket& packet = core.tx_blocks[block].packets[record_slot(s)];
    if (__builtin_expect(packet.place == SentPacket::kAcked, 0)) {
      flow.sacked--;
    } else {
      note_acked(core, now, flow, header, packet, s, progress);
    }
    complete_packet(flow, packet);
    ++flow.tx_first;
    if (record_slot(flow.tx_first) == 0 || flow.tx_first == flow.tx_next) {
      core.tx_blocks.give_back(block);
      block = 0;
    }
  }
}

void ack_range(Core& core, Instant now, Flow& flow, const wire::PacketHeader& header, Seqno start,
               uint32_t count, Progress* progress) {
  Seqno s = start;
  while (count > 0) {
    const uint32_t at = record_slot(s);
    const uint32_t run = std::min(count, kBlockRecords - at);
    TxBlock& block = core.tx_blocks[flow.tx_blocks[block_slot(s)]];
    const uint64_t mask = (run == 64 ? ~uint64_t{0} : (uint64_t{1} << run) - 1) << at;
    for (uint64_t news = mask & ~block.acked; news != 0; news &= news - 1) {
      const auto i = static_cast<uint32_t>(std::countr_zero(news));
      SentPacket& packet = block.packets[i];
      note_acked(core, now, flow, header, packet, s + (i - at), progress);
      packet.place = SentPacket::kAcked;
      flow.sacked++;
    }
    block.acked |= mask;
    s = s + run;
    count -= run;
  }
}

void take_window(Core& core, Instant now, Flow& flow, const wire::PacketHeader& header,
                 bool newer) {
  if (!newer && static_cast<int32_t>(header.timestamp - flow.limit_timestamp) < 0) return;
  const bool was_shut = flow.limit_shut();
  flow.limit_timestamp = header.timestamp;
  flow.tx_limit = flow.tx_first + std::min<uint32_t>(header.window, kWindowMax);
  if (__builtin_expect(was_shut && !flow.limit_shut(), 0)) {
    flow.backoff = 0;
    MN_TRACE(core, flow, kTraceLimit, 0, header.window);
    if (!newer && flow.outstanding() > 0) mark_unanswered_lost(core, now, flow);
    if (flow.loss_timer == LossTimer::kPersist) set_loss_timer(core, now, flow, Instant::never());
  } else if (__builtin_expect(!was_shut && flow.limit_shut(), 0)) {
    MN_TRACE(core, flow, kTraceLimit, 0, header.window);
    if (flow.outstanding() > 0 || has_unsent(flow)) {
      flow.backoff = 0;
      set_loss_timer(core, now, flow, Instant::never());
    }
  }
}

// The rest of on_ack, for acks that say something new about packets in flight.
void on_progress(Core& core, Instant now, Flow& flow, const wire::PacketHeader& header,
                 const Progress& progress) {
  const Duration rtt = sample_rtt(core, now, flow, header);
  flow.backoff = 0;
  flow.tail_probed = false;
  flow.tail_probe_due = false;
  if (__builtin_expect(progress.spurious > 0, 0)) {
    if (flow.reorder_steps < kReorderStepsMax) flow.reorder_steps++;
    flow.congestion.on_spurious(progress.spurious);
  }
  // Without gaps and retransmissions everything in flight was sent after what has arrived.
  const bool holes = flow.sacked > 0 || !flow.resent.empty() || !flow.lost.empty();
  flow.congestion.on_ack({.now = now,
                          .acked_packets = progress.acked,
                          .rtt = rtt,
                          .receiver_delay = microseconds(header.echo_delay),
                          .peer_time = header.timestamp,
                          .holes = holes},
                         flow.rtt);
  if (__builtin_expect(flow.congestion.waits(), 0)) {
    flow.pace_at = now + flow.congestion.pause();
    need_timer(core, flow, flow.pace_at);
  }
  Instant in_doubt = Instant::never();
  if (__builtin_expect(holes, 0)) in_doubt = detect_losses(core, now, flow, progress.acked);
  set_loss_timer(core, now, flow, in_doubt);
  MN_TRACE_WITH(trace_progress, core, flow, progress.acked, rtt);
}

}  // namespace

Duration sample_rtt(const Core& core, Instant now, Flow& flow, const wire::PacketHeader& header) {
  if (header.echo_delay == kEchoDelayUnknown) return {};
  const int64_t elapsed_ns = int64_t{timestamp_of(now) - header.echo} << 5;
  if (__builtin_expect(now.ns - elapsed_ns < core.samples_from.ns, 0)) return {};
  int64_t rtt_ns = elapsed_ns - int64_t{header.echo_delay} * 1000;
  if (rtt_ns > kRttSane.ns) return {};
  // The hold time is rounded down and a simulation's clock may stand still: never 0 or less.
  rtt_ns = std::max<int64_t>(rtt_ns, 100);
  flow.rtt.on_sample(now, {rtt_ns});
  return {rtt_ns};
}

AckVerdict on_ack(Core& core, Instant now, Flow& flow, const wire::Packet& packet) {
  const wire::PacketHeader& header = packet.header;
  const Seqno ack{header.ack};
  const int32_t ahead = ack - flow.tx_first;
  if (__builtin_expect(ahead < 0, 0)) return AckVerdict::kAccepted;  // old: later ones said more
  if (__builtin_expect(ack - flow.tx_next > 0, 0)) return AckVerdict::kImpossible;
  if (header.sack_count > 0) {
    const wire::SackRange& last = packet.sack[header.sack_count - 1];
    if (ack + last.start + last.count - flow.tx_next > 0) return AckVerdict::kImpossible;
  }
  // What was acknowledged selectively is never asked for again.
  if (__builtin_expect(flow.sacked > 0, 0) && ack != flow.tx_next &&
      sent_packet(core, flow, ack).place == SentPacket::kAcked) {
    return AckVerdict::kImpossible;
  }
  Progress progress;
  if (ahead > 0) {
    ack_up_to(core, now, flow, header, ack, &progress);
    if (__builtin_expect(flow.close_requested, 0)) {
      flow.progress_at = now;
      if (flow.close_sent && flow.outstanding() == 0) {
        end_flow(core, now, flow, {.reason = ipc::kEndClosed});
        return AckVerdict::kClosed;
      }
    }
  }
  for (uint32_t i = 0; i < header.sack_count; i++) {
    ack_range(core, now, flow, header, ack + packet.sack[i].start, packet.sack[i].count, &progress);
  }
  take_window(core, now, flow, header, ahead > 0);
  if (__builtin_expect(flow.rack_ahead, 0) && names_what_came(header)) {
    flow.rack_ahead = false;
    if (progress.acked == 0) set_loss_timer(core, now, flow, detect_losses(core, now, flow, 0));
  }
  if (progress.acked > 0 || ahead > 0) on_progress(core, now, flow, header, progress);
  if (has_unsent(flow) || !flow.lost.empty()) mark_ready(core, flow);
  return AckVerdict::kAccepted;
}

}  // namespace mn::transport
