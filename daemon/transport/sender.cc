// SPDX-License-Identifier: MIT
#include "transport/sender.h"

#include <algorithm>

#include "transport/lifecycle.h"
#include "transport/loss_detection.h"
#include "transport/path_mtu.h"
#include "transport/trace.h"
#include "transport/transmit.h"
#include "wire/bundle.h"

namespace mn::transport {

namespace {

using wire::PacketType;

constexpr uint32_t kSelfClocked = 32;  // packets: a window that hears an ack every quarter of it

SentPacket& new_record(Core& core, Flow& flow) {
  BlockIndex& block = flow.tx_blocks[block_slot(flow.tx_next)];
  if (block == 0) {
    block = core.tx_blocks.take();
    core.tx_blocks[block].acked = 0;
  }
  return core.tx_blocks[block].packets[record_slot(flow.tx_next)];
}

uint8_t wire_flags(const SentPacket& packet) {
  return static_cast<uint8_t>(((packet.flags & SentPacket::kFirst) != 0 ? wire::kFlagFirst : 0) |
                              ((packet.flags & SentPacket::kLast) != 0 ? wire::kFlagLast : 0));
}

void write_record(Core& core, Instant now, Flow& flow, Seqno s, const SentPacket& packet,
                  bool ack_now, TransmitView* view) {
  const auto payload = static_cast<uint32_t>(view->table_size) + packet.length;
  const bool is_close = (packet.flags & SentPacket::kClose) != 0;
  write_header(
      core, now, flow,
      {.type = is_close ? PacketType::kClose : PacketType::kData,
       .flags = static_cast<uint8_t>(wire_flags(packet) | (ack_now ? wire::kFlagAckNow : 0)),
       .message_count = packet.message_count,
       .sequence = s,
       .payload_length = payload},
      view);
  flow.tx_packets++;
  on_asked(flow, now);
}

// The same packet again, from its record.
void transmit_again(Core& core, Instant now, Flow& flow, Seqno s, bool ack_now,
                    TransmitView* view) {
  SentPacket& packet = sent_packet(core, flow, s);
  if (packet.message_count > 0) {
    cut_messages(flow, packet.first, packet.message_count, view);
  } else if ((packet.flags & SentPacket::kClose) == 0) {
    cut_bytes(flow, packet.first, packet.offset, packet.length, view);
  } else {
    view->table_size = view->piece_count = 0;
  }
  note_sent_again(core, now, flow, s, packet);
  write_record(core, now, flow, s, packet, ack_now, view);
  view->datagram_max = 0;  // alone: perhaps what failed was the path of the flow that it went with
}

// For which the peer has room.
bool oldest_lost(Core& core, Flow& flow, Seqno* ret_s) {
  for (Seqno s = flow.tx_first; before(s, flow.tx_limit) && before(s, flow.tx_next); ++s) {
    if (sent_packet(core, flow, s).place != SentPacket::kLost) continue;
    *ret_s = s;
    return true;
  }
  return false;
}

// The lost packet to send again: the first that was judged, or, when the peer's window shrank and
// has no room for that one now, the oldest for which it has. The list is in the order of judgement,
// so the first says nothing about the others. False: the peer has room for none.
bool choose_lost(Core& core, Flow& flow, Seqno* ret_s) {
  const Seqno first = seqno_of_slot(flow, flow.lost.head);
  const bool is_close = (sent_packet(core, flow, first).flags & SentPacket::kClose) != 0;
  *ret_s = first;
  if (flow.tx_limit - first > 0 || is_close) return true;
  return oldest_lost(core, flow, ret_s);
}

// The peer acknowledges every so many packets, or after a while. A window that is shorter than a
// few of those would go out in one burst, wait for the ack of its last packet, and take its own
// length for a queue: so each quarter of a small window asks for an ack.
bool asks_early(Flow& flow, uint32_t window) {
  if (__builtin_expect(window >= kSelfClocked || flow.in_flight * 2 < window, 1)) return false;
  if (++flow.unasked * 4 < window) return false;
  flow.unasked = 0;
  return true;
}

}  // namespace

Cut cut_bytes(Flow& flow, BufferIndex first, uint32_t offset, uint32_t length_max,
              TransmitView* view) {
  Cut cut{.next = first, .offset = offset};
  size_t pieces = 0;
  while (cut.next != kNoBuffer && cut.length < length_max && pieces < view->pieces.size()) {
    const TxChunk& chunk = flow.chunks[cut.next];
    const uint32_t take = std::min(length_max - cut.length, chunk.length - cut.offset);
    const uint8_t* data = flow.store->tx_bytes(cut.next).data() + cut.offset;
    __builtin_prefetch(data);
    view->pieces[pieces++] = {data, static_cast<uint16_t>(take), 0};
    cut.length += take;
    cut.offset += take;
    if (cut.offset < chunk.length) break;
    cut.last = chunk.last_segment;
    cut.next = chunk.next;
    cut.offset = 0;
    if (cut.last) break;
  }
  view->table_size = 0;
  view->piece_count = pieces;
  return cut;
}

Cut cut_messages(Flow& flow, BufferIndex first, uint32_t count_max, TransmitView* view) {
  wire::BundleSize size;
  Cut cut{.next = first};
  uint8_t* table = view->table.data();
  while (cut.next != kNoBuffer && size.count < count_max) {
    const TxChunk& chunk = flow.chunks[cut.next];
    if (!chunk.last_segment || size.with(chunk.length) > flow.mss) break;
    const uint8_t* data = flow.store->tx_bytes(cut.next).data();
    __builtin_prefetch(data);
    if (size.count > 0) {
      auto& before = view->pieces[size.count - 1];
      before.pad = static_cast<uint16_t>(wire::bundle_align(before.length) - before.length);
    }
    view->pieces[size.count] = {data, chunk.length, 0};
    table[2 * size.count] = static_cast<uint8_t>(chunk.length >> 8);
    table[2 * size.count + 1] = static_cast<uint8_t>(chunk.length);
    size.add(chunk.length);
    cut.next = chunk.next;
  }
  cut.last = true;
  view->piece_count = size.count;
  if (size.count <= 1) {
    view->table_size = 0;
    cut.length = static_cast<uint32_t>(size.data);
    return cut;
  }
  view->table_size = wire::bundle_table_size(size.count);
  for (size_t i = 2 * size.count; i < view->table_size; i++) table[i] = 0;
  cut.length = static_cast<uint32_t>(size.data);
  cut.message_count = static_cast<uint8_t>(size.count);
  return cut;
}

void on_pace_deadline(Core& core, Flow& flow) {
  flow.pace_at = Instant::never();
  flow.congestion.release();
  mark_ready(core, flow);
}

void note_sent_again(Core& core, Instant now, Flow& flow, Seqno s, SentPacket& packet) {
  packet.sent_ns = now.ns;
  packet.place = SentPacket::kResent;
  if (packet.transmissions < UINT8_MAX) packet.transmissions++;
  list_push_back(core, flow, flow.resent, s);
  MN_TRACE_WITH(trace_record, core, now, flow, ipc::kTraceResent, s, packet);
  flow.retransmitted_packets++;
  core.counters.retransmitted_packets++;
}

void enqueue(Core& core, Flow& flow, BufferIndex buffer, uint16_t length, bool last_segment) {
  __builtin_prefetch(&flow.tx_blocks[block_slot(flow.tx_next)]);
  flow.chunks[buffer] = {.next = kNoBuffer, .length = length, .last_segment = last_segment};
  if (flow.queue_head == kNoBuffer) {
    flow.queue_head = buffer;
  } else {
    flow.chunks[flow.queue_tail].next = buffer;
  }
  flow.queue_tail = buffer;
  if (flow.send_next == kNoBuffer) {
    flow.send_next = buffer;
    flow.send_offset = 0;
  }
  flow.tx_cut = !last_segment;
  flow.tx_queued_bytes += length;
  flow.tx_bytes += length;
  flow.tx_messages += last_segment;
  core.counters.tx_messages += last_segment;
  mark_ready(core, flow);
}

bool transmit_new(Core& core, Instant now, Flow& flow, TransmitView* view) {
  const uint32_t outstanding = flow.outstanding();
  const bool closing = flow.send_next == kNoBuffer;
  if (closing && (!flow.close_requested || flow.close_sent)) return false;
  const uint32_t window = flow.congestion.window_packets();
  if (flow.in_flight >= window) flow.congestion.on_filled(now);
  if (flow.in_flight >= window || outstanding >= core.config.window_packets_max) return false;
  // A close takes none of the peer's buffers.
  if (flow.tx_limit - flow.tx_next <= 0 && !closing) return false;

  SentPacket& packet = new_record(core, flow);
  const bool first = !flow.tx_in_message;
  Cut cut;
  if (closing) {
    view->table_size = view->piece_count = 0;
    flow.close_sent = true;
  } else {
    packet.first = flow.send_next;
    packet.offset = static_cast<uint16_t>(flow.send_offset);
    const TxChunk& chunk = flow.chunks[flow.send_next];
    if (first && chunk.last_segment && chunk.next != kNoBuffer) {
      cut = cut_messages(flow, flow.send_next, wire::kBundleMessagesMax, view);
    }
    if (cut.length == 0) cut = cut_bytes(flow, flow.send_next, flow.send_offset, flow.mss, view);
    flow.send_next = cut.next;
    flow.send_offset = cut.offset;
    flow.tx_in_message = !cut.last;
  }
  packet.sent_ns = now.ns;
  packet.length = static_cast<uint16_t>(cut.length);
  packet.message_count = cut.message_count;
  packet.flags = static_cast<uint8_t>((closing ? SentPacket::kClose : 0) |
                                      (first && !closing ? SentPacket::kFirst : 0) |
                                      (cut.last ? SentPacket::kLast : 0));
  packet.place = SentPacket::kFresh;
  packet.transmissions = 1;
  const Seqno s = flow.tx_next;
  ++flow.tx_next;
  flow.in_flight++;
  // Where nothing waits for the window to move, the ack may come with what the peer sends anyway.
  const bool window_ends =
      (flow.tx_limit - flow.tx_next <= 0 || flow.in_flight >= window ||
       outstanding + 1 >= core.config.window_packets_max || asks_early(flow, window)) &&
      has_unsent(flow);
  write_record(core, now, flow, s, packet, window_ends || closing, view);
  on_data_left(core, now, flow);
  return true;
}

bool transmit_lost(Core& core, Instant now, Flow& flow, TransmitView* view) {
  if (flow.lost.empty()) return false;
  const uint32_t window = flow.congestion.window_packets();
  if (flow.in_flight >= window && !flow.resend_due) {
    flow.congestion.on_filled(now);
    return false;
  }
  Seqno s;
  if (!choose_lost(core, flow, &s)) return false;
  if (__builtin_expect(needs_parts(flow, sent_packet(core, flow, s)), 0)) {
    // The peer takes parts only of the packet that it expects next.
    if (!oldest_lost(core, flow, &s)) return false;
  }
  const SentPacket& packet = sent_packet(core, flow, s);
  if (__builtin_expect(packet.transmissions >= kSuspiciousAfter, 0)) {
    suspect_path(core, flow, packet);
  }
  if (__builtin_expect(needs_parts(flow, packet), 0)) {
    transmit_part(core, now, flow, s, view);
    if (packet.place != SentPacket::kLost) flow.resend_due = false;  // that was its last part
    set_loss_timer(core, now, flow, Instant::never());
    return true;
  }
  flow.resend_due = false;
  list_remove(core, flow, flow.lost, s);
  flow.in_flight++;
  const bool asks = flow.lost.empty() || flow.in_flight >= window || asks_early(flow, window);
  transmit_again(core, now, flow, s, asks, view);
  set_loss_timer(core, now, flow, Instant::never());
  return true;
}

bool transmit_tail_probe(Core& core, Instant now, Flow& flow, TransmitView* view) {
  if (!flow.tail_probe_due) return false;
  flow.tail_probe_due = false;
  if (flow.outstanding() == 0) return false;
  const Seqno s = flow.tx_first + (flow.outstanding() - 1);
  const SentPacket& packet = sent_packet(core, flow, s);
  if (packet.place == SentPacket::kAcked || packet.place == SentPacket::kLost) return false;
  if (needs_parts(flow, packet)) return false;
  if (packet.place == SentPacket::kResent) list_remove(core, flow, flow.resent, s);
  core.counters.tail_probes++;
  transmit_again(core, now, flow, s, true, view);
  set_loss_timer(core, now, flow, Instant::never());
  return true;
}

void complete_packet(Flow& flow, const SentPacket& packet) {
  const auto pop = [&flow] {
    const BufferIndex buffer = flow.queue_head;
    const TxChunk& chunk = flow.chunks[buffer];
    flow.queue_head = chunk.next;
    flow.tx_queued_bytes -= chunk.length;
    flow.store->tx_done(buffer);  // the last use: the chunk may be written at once
  };
  if (packet.message_count > 0) {
    for (uint32_t i = packet.message_count; i > 0; i--) pop();
    return;
  }
  if (packet.length == 0) return;
  uint32_t end = uint32_t{packet.offset} + packet.length;
  while (flow.queue_head != kNoBuffer && end >= flow.chunks[flow.queue_head].length) {
    end -= flow.chunks[flow.queue_head].length;
    pop();
  }
}

void return_buffers(Core& core, Flow& flow) {
  while (flow.queue_head != kNoBuffer) {
    const BufferIndex buffer = flow.queue_head;
    flow.queue_head = flow.chunks[buffer].next;
    flow.store->tx_done(buffer);
  }
  flow.queue_tail = flow.send_next = kNoBuffer;
  flow.tx_queued_bytes = 0;
  for (BlockIndex& block : flow.tx_blocks) {
    if (block != 0) core.tx_blocks.give_back(block);
    block = 0;
  }
  flow.lost = flow.resent = SlotList{};
  flow.tx_first = flow.tx_judge = flow.tx_next;
  flow.in_flight = flow.sacked = 0;
}

void list_insert_after(Core& core, Flow& flow, SlotList& list, uint16_t previous, Seqno s) {
  const uint16_t slot = window_slot(s);
  uint16_t& link = previous == SlotList::kEnd
                       ? list.head
                       : sent_packet(core, flow, seqno_of_slot(flow, previous)).next;
  const uint16_t next = link;
  link = slot;
  if (next == SlotList::kEnd) {
    list.tail = slot;
  } else {
    sent_packet(core, flow, seqno_of_slot(flow, next)).previous = slot;
  }
  SentPacket& packet = sent_packet(core, flow, s);
  packet.previous = previous;
  packet.next = next;
}

void list_push_back(Core& core, Flow& flow, SlotList& list, Seqno s) {
  list_insert_after(core, flow, list, list.tail, s);
}

void list_remove(Core& core, Flow& flow, SlotList& list, Seqno s) {
  const SentPacket& packet = sent_packet(core, flow, s);
  if (packet.previous == SlotList::kEnd) {
    list.head = packet.next;
  } else {
    sent_packet(core, flow, seqno_of_slot(flow, packet.previous)).next = packet.next;
  }
  if (packet.next == SlotList::kEnd) {
    list.tail = packet.previous;
  } else {
    sent_packet(core, flow, seqno_of_slot(flow, packet.next)).previous = packet.previous;
  }
}

}  // namespace mn::transport
