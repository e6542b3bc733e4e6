// SPDX-License-Identifier: MIT
#include "transport/receiver.h"

#include <algorithm>
#include <bit>

#include "ipc/shm_layout.h"
#include "transport/lifecycle.h"
#include "transport/trace.h"

namespace mn::transport {

namespace {

using wire::PacketType;

constexpr int64_t kPeriodNs = 4'000'000;  // over which receiving flows are counted

// Less than this is not worth opening a window for (the silly window of RFC 1122 section 4.2.3.3).
uint32_t window_worth(uint32_t rx_capacity) { return std::clamp<uint32_t>(rx_capacity / 8, 1, 16); }

// Counts the flow among those that share the store's buffers now.
void note_receiving(Instant now, Flow& flow) {
  StoreState& s = *flow.group;
  if (__builtin_expect(now.ns - s.period_start_ns >= kPeriodNs, 0)) {
    s.receivers_before = now.ns - s.period_start_ns < 2 * kPeriodNs ? s.receivers_now : 0;
    s.receivers_now = 0;
    s.period_start_ns = now.ns;
    s.period++;
  }
  if (flow.rx_period != s.period) {
    flow.rx_period = s.period;
    s.receivers_now++;
  }
}

uint8_t entry_flags_of(const wire::PacketHeader& header) {
  uint32_t flags = 0;
  if ((header.flags & wire::kFlagFirst) != 0) flags |= ipc::kFirstSegment;
  if ((header.flags & wire::kFlagLast) != 0) flags |= ipc::kLastSegment;
  return static_cast<uint8_t>(flags);
}

// Hands one packet to the application. False: it does not continue the stream of messages as it
// must.
bool deliver(Core& core, Flow& flow, const EarlyPacket& packet) {
  const bool first = (packet.flags & ipc::kFirstSegment) != 0;
  const bool last = (packet.flags & ipc::kLastSegment) != 0;
  if (__builtin_expect(first == flow.rx_in_message, 0)) return false;
  if (packet.message_count > 0) {
    flow.rx_messages += packet.message_count;
    core.counters.rx_messages += packet.message_count;
  } else {
    flow.rx_message_bytes = (first ? 0 : flow.rx_message_bytes) + packet.length;
    if (__builtin_expect(flow.rx_message_bytes > ipc::kMessageBytesMax, 0)) return false;
    flow.rx_messages += last;
    core.counters.rx_messages += last;
  }
  flow.rx_in_message = !last;
  flow.rx_bytes += packet.length;
  flow.store->rx_deliver(flow.store_flow, {.buffer = packet.buffer,
                                           .length = packet.length,
                                           .flags = packet.flags,
                                           .message_count = packet.message_count});
  MN_TRACE(core, flow, kTraceDelivered, packet.message_count, packet.length);
  return true;
}

bool is_present(const Core& core, const Flow& flow, Seqno s) {
  const BlockIndex block = flow.rx_blocks[block_slot(s)];
  return block != 0 && ((core.rx_blocks[block].present >> record_slot(s)) & 1) != 0;
}

EarlyPacket take_early(Core& core, Flow& flow, Seqno s) {
  const BlockIndex index = flow.rx_blocks[block_slot(s)];
  RxBlock& block = core.rx_blocks[index];
  const EarlyPacket packet = block.packets[record_slot(s)];
  block.present &= ~(uint64_t{1} << record_slot(s));
  flow.rx_early--;
  if (packet.flags != kEarlyClose) flow.group->early_buffers--;
  if (block.present == 0) {
    core.rx_blocks.give_back(index);
    flow.rx_blocks[block_slot(s)] = 0;
  }
  return packet;
}

void keep_early(Core& core, Flow& flow, Seqno s, const EarlyPacket& packet) {
  BlockIndex& index = flow.rx_blocks[block_slot(s)];
  if (index == 0) {
    index = core.rx_blocks.take();
    core.rx_blocks[index].present = 0;
  }
  RxBlock& block = core.rx_blocks[index];
  block.present |= uint64_t{1} << record_slot(s);
  block.packets[record_slot(s)] = packet;
  flow.rx_early++;
  if (packet.flags != kEarlyClose) flow.group->early_buffers++;
  if (before(flow.rx_end, s + 1)) flow.rx_end = s + 1;
}

// The peer broke the protocol: nothing it says can be trusted any more.
PacketVerdict refuse_peer(Core& core, Instant now, Flow& flow) {
  end_flow(core, now, flow, {.reason = ipc::kEndReset, .send_reset = true});
  return PacketVerdict::kMalformed;
}

// Delivers what waited for its turn. False: the flow is over.
bool deliver_early(Core& core, Instant now, Flow& flow) {
  while (flow.rx_early > 0 && is_present(core, flow, flow.rx_next)) {
    const EarlyPacket packet = take_early(core, flow, flow.rx_next);
    ++flow.rx_next;
    if (packet.flags == kEarlyClose) {
      on_peer_closed(core, now, flow);
      return false;
    }
    if (!deliver(core, flow, packet)) {
      flow.store->rx_discard(packet.buffer);
      refuse_peer(core, now, flow);
      return false;
    }
  }
  return true;
}

PacketVerdict on_early(Core& core, Instant now, Flow& flow, const wire::Packet& packet) {
  const Seqno s{packet.header.sequence};
  // Whatever becomes of it, the peer must learn at once what is missing.
  note_echo(flow, now, packet.header);
  flow.ack_with_ranges = true;
  ask_for_ack(core, flow);
  if (flow.rx_early == 0) flow.hole_since = now;
  const int32_t ahead = s - flow.rx_next;
  if (ahead >= static_cast<int32_t>(core.config.window_packets_max)) {
    return PacketVerdict::kOutsideWindow;
  }
  if (is_present(core, flow, s)) return PacketVerdict::kDuplicate;
  if (packet.header.type == PacketType::kClose) {
    keep_early(core, flow, s,
               {.buffer = kNoBuffer, .length = 0, .flags = kEarlyClose, .message_count = 0});
    return PacketVerdict::kAccepted;
  }
  // Holes can always be filled: packets that wait here have a quarter of the pool, an application
  // that gathers parts of messages keeps at most half of it (libmachnet/reassembly.cc), so a
  // quarter goes on to and fro in order.
  const uint32_t quarter = flow.store->rx_capacity() / 4;
  if (flow.group->early_buffers >= quarter ||
      flow.store->rx_free() <= std::max<uint32_t>(1, quarter)) {
    return PacketVerdict::kNoBuffer;
  }
  const BufferIndex buffer = flow.store->rx_put(packet.payload);
  if (buffer == kNoBuffer) return PacketVerdict::kNoBuffer;
  keep_early(core, flow, s,
             {.buffer = buffer,
              .length = static_cast<uint16_t>(packet.payload.size()),
              .flags = entry_flags_of(packet.header),
              .message_count = packet.header.message_count});
  flow.rx_packets++;
  return PacketVerdict::kAccepted;
}

void schedule_ack(Core& core, Instant now, Flow& flow, uint8_t packet_flags) {
  if (++flow.rx_unacked >= flow.ack_every || (packet_flags & wire::kFlagAckNow) != 0) {
    ask_for_ack(core, flow);
  } else if (flow.ack_deadline == Instant::never()) {
    flow.ack_deadline = now + kAckDelayMax;
    need_timer(core, flow, flow.ack_deadline);
  }
}

}  // namespace

PacketVerdict on_data(Core& core, Instant now, Flow& flow, const wire::Packet& packet) {
  const Seqno s{packet.header.sequence};
  const bool is_close = packet.header.type == PacketType::kClose;
  if (__builtin_expect(packet.payload.size() > flow.rx_mss, 0)) return PacketVerdict::kMalformed;
  const int32_t ahead = s - flow.rx_next;
  if (__builtin_expect(ahead < 0, 0)) {
    // The peer missed an ack, or sent a probe.
    note_echo(flow, now, packet.header);
    ask_for_ack(core, flow);
    return PacketVerdict::kDuplicate;
  }
  // A close takes no buffer, so it may come when the window is shut.
  if (__builtin_expect(!is_close && s - flow.rx_limit >= 0, 0)) {
    ask_for_ack(core, flow);
    return PacketVerdict::kOutsideWindow;
  }
  note_receiving(now, flow);
  if (__builtin_expect(ahead > 0, 0)) return on_early(core, now, flow, packet);

  note_echo(flow, now, packet.header);
  if (is_close) {
    ++flow.rx_next;
    on_peer_closed(core, now, flow);
    return PacketVerdict::kAccepted;
  }
  const BufferIndex buffer = flow.store->rx_put(packet.payload);
  if (__builtin_expect(buffer == kNoBuffer, 0)) {
    ask_for_ack(core, flow);  // with a window of 0
    return PacketVerdict::kNoBuffer;
  }
  ++flow.rx_next;
  flow.rx_packets++;
  if (!deliver(core, flow,
               {.buffer = buffer,
                .length = static_cast<uint16_t>(packet.payload.size()),
                .flags = entry_flags_of(packet.header),
                .message_count = packet.header.message_count})) {
    flow.store->rx_discard(buffer);
    return refuse_peer(core, now, flow);
  }
  if (__builtin_expect(flow.rx_early > 0, 0)) {
    if (!deliver_early(core, now, flow)) return PacketVerdict::kAccepted;
    flow.hole_since = now;
    ask_for_ack(core, flow);  // a hole was filled (RFC 5681 section 4.2)
  }
  schedule_ack(core, now, flow, packet.header.flags);
  return PacketVerdict::kAccepted;
}

size_t sack_ranges(const Core& core, const Flow& flow, std::span<wire::SackRange> ranges) {
  size_t count = 0;
  uint32_t left = flow.rx_early;
  Seqno s = flow.rx_next;
  while (left > 0 && count < ranges.size()) {
    const BlockIndex index = flow.rx_blocks[block_slot(s)];
    const uint64_t present = index == 0 ? 0 : core.rx_blocks[index].present >> record_slot(s);
    if (present == 0) {
      s = s + (kBlockRecords - record_slot(s));
      continue;
    }
    s = s + static_cast<uint32_t>(std::countr_zero(present));
    const Seqno start = s;
    // A run may go on in the following blocks.
    for (;;) {
      const BlockIndex at = flow.rx_blocks[block_slot(s)];
      const uint64_t bits = at == 0 ? 0 : core.rx_blocks[at].present >> record_slot(s);
      const auto run = static_cast<uint32_t>(std::countr_one(bits));
      s = s + run;
      if (run == 0 || record_slot(s) != 0) break;
    }
    const auto length = static_cast<uint32_t>(s - start);
    ranges[count++] = {.start = static_cast<uint16_t>(start - flow.rx_next),
                       .count = static_cast<uint16_t>(length)};
    left -= length;
  }
  return count;
}

uint16_t offer_window(Core& core, Flow& flow) {
  StoreState& s = *flow.group;
  const uint32_t free = flow.store->rx_free();
  const uint32_t capacity = flow.store->rx_capacity();
  const uint32_t reserve = capacity / 4;
  uint32_t window = 0;
  if (free > reserve && free - reserve >= window_worth(capacity)) {
    window = free - reserve;
    const uint32_t sharing = std::max({s.receivers_now, s.receivers_before, s.starved_count});
    // Twice the share: not all of them use what they are offered, and the reserve absorbs it if
    // they do.
    if (sharing > 2) window = std::max<uint32_t>(1, 2 * window / sharing);
  }
  // Holes below what has arrived are filled from the reserve.
  if (flow.rx_early > 0 && free > 0) {
    window = std::max(window, static_cast<uint32_t>(flow.rx_end - flow.rx_next));
  }
  window = std::min(window, core.config.window_packets_max);
  flow.rx_offered = static_cast<uint16_t>(window);
  flow.rx_limit = later_of(flow.rx_limit, flow.rx_next + window);
  // At least every second one (RFC 1122 section 4.2.3.2), however small the window: a sender that
  // it holds up says so in the packet.
  flow.ack_every = static_cast<uint8_t>(std::clamp<uint32_t>(window / 4, 2, 16));
  const bool starved = window == 0;
  if (__builtin_expect(starved != flow.starved, 0)) {
    flow.starved = starved;
    MN_TRACE(core, flow, kTraceStarved, starved, 0);
    if (starved) {
      s.starved.push_back(&flow.starved_link);
      s.starved_count++;
    } else {
      flow.starved_link.unlink();
      s.starved_count--;
    }
  }
  return flow.rx_offered;
}

void on_space(Core& core, StoreState& store) {
  uint32_t granted = 0;
  // At most once round the list. A flow leaves it when the ack with its window leaves.
  for (uint32_t i = store.starved_count; i > 0; i--) {
    Flow& flow = *MN_FLOW_OF(store.starved.front(), starved_link);
    const uint32_t free = flow.store->rx_free();
    const uint32_t capacity = flow.store->rx_capacity();
    const uint32_t reserve = capacity / 4;
    if (free <= reserve || free - reserve < window_worth(capacity)) return;
    granted += std::max<uint32_t>(1, (free - reserve) / store.starved_count);
    if (granted > free - reserve) return;
    store.starved.move_to_back(&flow.starved_link);
    ask_for_ack(core, flow);
  }
}

void discard_early(Core& core, Flow& flow) {
  for (BlockIndex& index : flow.rx_blocks) {
    if (index == 0) continue;
    RxBlock& block = core.rx_blocks[index];
    for (uint64_t bits = block.present; bits != 0; bits &= bits - 1) {
      const EarlyPacket& packet = block.packets[std::countr_zero(bits)];
      if (packet.flags == kEarlyClose) continue;
      flow.store->rx_discard(packet.buffer);
      flow.group->early_buffers--;
    }
    core.rx_blocks.give_back(index);
    index = 0;
  }
  flow.rx_early = 0;
}

}  // namespace mn::transport
