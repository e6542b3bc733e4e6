// SPDX-License-Identifier: MIT
#include "transport/receiver.h"

#include <algorithm>
#include <bit>

#include "ipc/shm_layout.h"
#include "transport/lifecycle.h"
#include "transport/path_mtu.h"
#include "transport/trace.h"
#include "wire/bundle.h"
#include "wire/bytes.h"

namespace mn::transport {

namespace {

using wire::PacketType;

constexpr int64_t kPeriodNs = 4'000'000;  // over which receiving flows are counted

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

  if (__builtin_expect(flow.rx_part != 0, 0)) return on_part(core, now, flow, packet);
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

// The window counts packets, so they may not come in any number of pieces. An honest sender cuts at
// kMssFloor at least, two parts of a bundle are together longer than that, and it begins again
// where the path changes.
static uint32_t parts_max(const Flow& flow) {
  return std::min(4u * flow.rx_mss / kMssFloor + 8, uint32_t{UINT8_MAX});
}
// Messages of a late bundle that are taken one by one when it comes; the others when it comes
// again.
constexpr uint32_t kSplitMax = 16;

// Some of the messages' bytes of the packet that is expected next.
struct Piece {
  uint32_t begin;  // among these bytes
  std::span<const uint8_t> payload;
  uint8_t flags;  // ipc::EntryFlag
  uint8_t message_count;
};

// Delivers what of it is new. kMalformed: the flow is over.
static PacketVerdict take_piece(Core& core, Instant now, Flow& flow, const Piece& piece,
                                uint32_t bytes) {
  const uint32_t end = piece.begin + bytes;
  if (piece.begin > flow.rx_part || end <= flow.rx_part) return PacketVerdict::kDuplicate;
  if (end > flow.rx_mss) return refuse_peer(core, now, flow);  // no packet was that long
  const uint32_t known = flow.rx_part - piece.begin;           // 0 of a bundle
  const auto payload = piece.payload.subspan(known);
  // Parts leave the other flows something to fill their holes with, but take of the quarter that
  // goes to and fro (on_early).
  if (flow.store->rx_free() <= flow.store->rx_capacity() / 8) return PacketVerdict::kNoBuffer;
  const BufferIndex buffer = flow.store->rx_put(payload);
  if (buffer == kNoBuffer) return PacketVerdict::kNoBuffer;
  const uint32_t not_first = known > 0 ? ~uint32_t{ipc::kFirstSegment} : ~uint32_t{0};
  if (!deliver(core, flow,
               {.buffer = buffer,
                .length = static_cast<uint16_t>(payload.size()),
                .flags = static_cast<uint8_t>(piece.flags & not_first),
                .message_count = piece.message_count})) {
    flow.store->rx_discard(buffer);
    return refuse_peer(core, now, flow);
  }
  flow.rx_part = static_cast<uint16_t>(end);
  flow.hole_since = now;
  return PacketVerdict::kAccepted;
}

// A bundle: as it is, or, where the peer had cut the packet elsewhere before, message by message.
static PacketVerdict take_bundle(Core& core, Instant now, Flow& flow, const Piece& bundle) {
  const size_t table = wire::bundle_table_size(bundle.message_count);
  uint32_t total = 0;
  for (size_t i = 0; i < bundle.message_count; i++)
    total += wire::load_be16(&bundle.payload[2 * i]);
  if (bundle.begin == flow.rx_part) return take_piece(core, now, flow, bundle, total);
  PacketVerdict verdict = PacketVerdict::kDuplicate;
  size_t at = table;
  uint32_t begin = bundle.begin;
  uint32_t taken = 0;
  for (size_t i = 0; i < bundle.message_count; i++) {
    if (taken == kSplitMax) return PacketVerdict::kNoBuffer;
    const uint32_t length = wire::load_be16(&bundle.payload[2 * i]);
    at = wire::bundle_align(at);
    const PacketVerdict one = take_piece(core, now, flow,
                                         {.begin = begin,
                                          .payload = bundle.payload.subspan(at, length),
                                          .flags = bundle.flags,
                                          .message_count = 0},
                                         length);
    if (one != PacketVerdict::kDuplicate) verdict = one;
    taken += one == PacketVerdict::kAccepted;
    if (one == PacketVerdict::kNoBuffer || one == PacketVerdict::kMalformed) break;
    at += length;
    begin += length;
  }
  return verdict;
}

PacketVerdict on_part(Core& core, Instant now, Flow& flow, const wire::Packet& packet) {
  const wire::PacketHeader& header = packet.header;
  const Seqno s{header.sequence};
  if (packet.payload.size() > flow.rx_mss) return PacketVerdict::kMalformed;
  ask_for_ack(core, flow);
  note_echo(flow, now, header);
  if (s != flow.rx_next || s - flow.rx_limit >= 0) {
    return before(s, flow.rx_next) ? PacketVerdict::kDuplicate : PacketVerdict::kOutsideWindow;
  }
  note_receiving(now, flow);
  if (header.type == PacketType::kClose) return refuse_peer(core, now, flow);
  if (flow.rx_parts == parts_max(flow)) return refuse_peer(core, now, flow);
  // What came whole, late, begins where its messages do.
  const Piece piece{.begin = header.type == PacketType::kPart ? header.extra : uint32_t{0},
                    .payload = packet.payload,
                    .flags = entry_flags_of(header),
                    .message_count = header.message_count};
  const uint32_t before_it = flow.rx_part;
  const PacketVerdict verdict =
      header.message_count > 0
          ? take_bundle(core, now, flow, piece)
          : take_piece(core, now, flow, piece, static_cast<uint32_t>(packet.payload.size()));
  if (verdict == PacketVerdict::kMalformed) return verdict;
  if (header.type == PacketType::kPart && flow.rx_part != before_it) flow.rx_parts++;
  if (verdict == PacketVerdict::kNoBuffer) flow.hole_since = now;  // not the peer's fault
  if (verdict != PacketVerdict::kAccepted || (header.flags & wire::kFlagMore) != 0) return verdict;
  flow.rx_part = 0;
  flow.rx_parts = 0;
  flow.rx_packets++;
  ++flow.rx_next;
  deliver_early(core, now, flow);
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
