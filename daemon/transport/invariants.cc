// SPDX-License-Identifier: MIT
#include "transport/invariants.h"

#include <bit>

#include "transport/sender.h"

namespace mn::transport {

namespace {

const SentPacket& record(const Core& core, const Flow& flow, Seqno s) {
  const BlockIndex block = flow.tx_blocks[block_slot(s)];
  MN_ASSERT(block != 0);
  return core.tx_blocks[block].packets[record_slot(s)];
}

uint32_t check_list(const Core& core, const Flow& flow, const SlotList& list,
                    SentPacket::Place place) {
  uint32_t count = 0;
  uint16_t previous = SlotList::kEnd;
  for (uint16_t slot = list.head; slot != SlotList::kEnd;) {
    const Seqno s = seqno_of_slot(flow, slot);
    MN_ASSERT(before(s, flow.tx_next));
    const SentPacket& packet = record(core, flow, s);
    MN_ASSERT(packet.place == place && packet.previous == previous);
    MN_ASSERT(++count <= kWindowMax);
    previous = slot;
    slot = packet.next;
  }
  MN_ASSERT(list.tail == previous);
  return count;
}

// The records and the queue of buffers must describe the same bytes.
void check_sender(const Core& core, const Flow& flow, uint32_t* blocks) {
  MN_ASSERT(flow.outstanding() <= core.config.window_packets_max);
  uint32_t places[4] = {};
  BufferIndex buffer = flow.queue_head;
  // The oldest buffer may be acknowledged in part.
  const bool closing =
      flow.outstanding() > 0 && (record(core, flow, flow.tx_first).flags & SentPacket::kClose) != 0;
  uint32_t offset = flow.send_offset;
  if (flow.outstanding() > 0 && !closing) offset = record(core, flow, flow.tx_first).offset;
  for (Seqno s = flow.tx_first; before(s, flow.tx_next); ++s) {
    const SentPacket& packet = record(core, flow, s);
    places[packet.place]++;
    const bool acked =
        ((core.tx_blocks[flow.tx_blocks[block_slot(s)]].acked >> record_slot(s)) & 1) != 0;
    MN_ASSERT(acked == (packet.place == SentPacket::kAcked));
    MN_ASSERT(packet.place != SentPacket::kFresh || !before(s, flow.tx_judge) ||
              !before(flow.tx_first, flow.tx_judge));
    if ((packet.flags & SentPacket::kClose) != 0) {
      MN_ASSERT(s + 1 == flow.tx_next && flow.close_sent && flow.send_next == kNoBuffer);
      continue;
    }
    MN_ASSERT(buffer == packet.first && offset == packet.offset && packet.length > 0);
    if (packet.message_count > 0) {
      for (uint32_t i = 0; i < packet.message_count; i++) buffer = flow.chunks[buffer].next;
      continue;
    }
    uint32_t end = offset + packet.length;
    while (buffer != kNoBuffer && end >= flow.chunks[buffer].length) {
      end -= flow.chunks[buffer].length;
      buffer = flow.chunks[buffer].next;
    }
    offset = end;
  }
  MN_ASSERT(buffer == flow.send_next && (buffer == kNoBuffer || offset == flow.send_offset));
  MN_ASSERT(places[SentPacket::kAcked] == flow.sacked);
  MN_ASSERT(places[SentPacket::kFresh] + places[SentPacket::kResent] == flow.in_flight);
  MN_ASSERT(check_list(core, flow, flow.lost, SentPacket::kLost) == places[SentPacket::kLost]);
  MN_ASSERT(check_list(core, flow, flow.resent, SentPacket::kResent) ==
            places[SentPacket::kResent]);
  uint64_t bytes = 0;
  for (buffer = flow.queue_head; buffer != kNoBuffer; buffer = flow.chunks[buffer].next) {
    bytes += flow.chunks[buffer].length;
    MN_ASSERT(bytes <= flow.tx_queued_bytes);
  }
  MN_ASSERT(bytes == flow.tx_queued_bytes);
  for (const BlockIndex block : flow.tx_blocks) *blocks += block != 0;
  if (flow.outstanding() == 0) MN_ASSERT(flow.in_flight == 0 && flow.sacked == 0);
}

void check_receiver(const Core& core, const Flow& flow, uint32_t* blocks) {
  uint32_t early = 0;
  for (const BlockIndex block : flow.rx_blocks) {
    if (block == 0) continue;
    MN_ASSERT(core.rx_blocks[block].present != 0);
    early += static_cast<uint32_t>(std::popcount(core.rx_blocks[block].present));
    (*blocks)++;
  }
  MN_ASSERT(early == flow.rx_early);
  if (early > 0) {
    const BlockIndex block = flow.rx_blocks[block_slot(flow.rx_next)];
    MN_ASSERT(block == 0 ||
              ((core.rx_blocks[block].present >> record_slot(flow.rx_next)) & 1) == 0);
    MN_ASSERT(before(flow.rx_next, flow.rx_end));
  }
}

// Nothing waits without a timer or a turn that will look at it.
void check_progress(const Core& core, const Flow& flow) {
  if (flow.state == FlowState::kDead) {
    MN_ASSERT(flow.lingering || flow.reset_due || flow.event_link.linked());
    MN_ASSERT(!flow.reset_due || flow.ready_link.linked());
    MN_ASSERT(!flow.lingering || flow.timer.link.linked());
    return;
  }
  MN_ASSERT(flow.timer.link.linked());
  MN_ASSERT(flow.loss_deadline.ns >= flow.timer.at_ns || flow.loss_deadline == Instant::never());
  MN_ASSERT(flow.ack_deadline.ns >= flow.timer.at_ns || flow.ack_deadline == Instant::never());
  MN_ASSERT((flow.loss_timer == LossTimer::kNone) == (flow.loss_deadline == Instant::never()));
  if (flow.state != FlowState::kEstablished) return;
  const bool ready = flow.ready_link.linked();
  MN_ASSERT(!flow.ack_now || ready);
  MN_ASSERT(!flow.probe_due || ready);
  MN_ASSERT(flow.path_due == 0 || ready);
  MN_ASSERT(flow.outstanding() == 0 || flow.loss_timer != LossTimer::kNone || ready);
  MN_ASSERT(!has_unsent(flow) || flow.outstanding() > 0 || ready ||
            flow.loss_timer != LossTimer::kNone || flow.pace_at != Instant::never());
  MN_ASSERT(flow.pace_at >= Instant{flow.timer.at_ns} || flow.pace_at == Instant::never());
  MN_ASSERT(!flow.congestion.waits() || flow.pace_at != Instant::never());
  (void)core;
}

// Packets that wait for their turn; a close takes no buffer, and a hostile peer sends many.
uint32_t early_buffers_of(const Core& core, const Flow& flow) {
  uint32_t buffers = 0;
  for (const BlockIndex index : flow.rx_blocks) {
    if (index == 0) continue;
    const RxBlock& block = core.rx_blocks[index];
    for (uint64_t bits = block.present; bits != 0; bits &= bits - 1) {
      buffers += block.packets[std::countr_zero(bits)].flags != kEarlyClose;
    }
  }
  return buffers;
}

void check_store(const Core& core, const StoreState& store) {
  uint32_t flows = 0;
  uint32_t starved = 0;
  uint32_t early = 0;
  for (const Link* l = store.flows.front(); l != nullptr; l = store.flows.next(l)) {
    flows++;
    early += early_buffers_of(core, *MN_FLOW_OF(const_cast<Link*>(l), store_link));
  }
  MN_ASSERT(store.early_buffers == early);
  for (const Link* l = store.starved.front(); l != nullptr; l = store.starved.next(l)) starved++;
  MN_ASSERT(flows == store.flow_count && starved == store.starved_count);
  MN_ASSERT(store.ready_flows.empty() || store.ready_link.linked());
}

}  // namespace

void check_invariants(const Core& core) {
  uint32_t used = 0, in_table = 0, timers = 0, half_open = 0, tx_blocks = 0, rx_blocks = 0;
  for (uint32_t i = 0; i < core.flows_touched; i++) {
    const Flow& flow = *core.flow_at(i);
    MN_ASSERT(core.flow_pool.in_use(i) == (flow.state != FlowState::kFree));
    if (flow.state == FlowState::kFree) {
      MN_ASSERT(!flow.timer.link.linked() && !flow.ready_link.linked() &&
                !flow.store_link.linked());
      MN_ASSERT(!flow.event_link.linked() && !flow.starved_link.linked() && !flow.in_table);
      continue;
    }
    used++;
    in_table += flow.in_table;
    timers += flow.timer.link.linked();
    half_open += flow.state == FlowState::kHalfOpen && !flow.proven;
    MN_ASSERT(Core::index_of(flow.handle) == i);
    MN_ASSERT(flow.starved == flow.starved_link.linked());
    if (flow.in_table) MN_ASSERT(core.table.find(flow.tuple) == &flow);
    check_sender(core, flow, &tx_blocks);
    check_receiver(core, flow, &rx_blocks);
    check_progress(core, flow);
    if (flow.state != FlowState::kDead) check_store(core, *flow.group);
  }
  MN_ASSERT(used == core.flow_pool.used_count());
  MN_ASSERT(in_table == core.table.size());
  MN_ASSERT(timers == core.wheel.size());
  MN_ASSERT(half_open == core.half_open);
  MN_ASSERT(tx_blocks == core.tx_blocks.used_count());
  MN_ASSERT(rx_blocks == core.rx_blocks.used_count());
  check_store(core, core.orphans);
}

}  // namespace mn::transport
