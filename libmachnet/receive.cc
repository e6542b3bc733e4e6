// SPDX-License-Identifier: MIT
#include <string.h>

#include "libmachnet/message_io.h"
#include "libmachnet/reassembly.h"
#include "libmachnet/wait.h"

namespace mn::client {

namespace {

uint32_t big16(const uint8_t* at) { return uint32_t{at[0]} << 8 | at[1]; }

// Brings up the bundle's next message, whose length stands at ready.table and whose bytes start at
// `data`. False: it does not lie inside the bundle. wire/bundle.h has the format.
bool bundle_next(Ready* ready, const uint8_t* data) {
  const uint32_t length = big16(ready->table);
  ready->table += 2;
  if (data > ready->end || length == 0 || length > static_cast<size_t>(ready->end - data)) {
    return false;
  }
  ready->data = data;
  ready->size = length;
  return true;
}

// An rx buffer that an entry names, with where its bytes lie.
struct Delivery {
  uint32_t buffer, offset, length;
};

void take_segment(Channel* c, Lane* lane, FlowState* flow, const Delivery& d, uint32_t flags) {
  const bool first = (flags & ipc::kFirstSegment) != 0;
  const bool last = (flags & ipc::kLastSegment) != 0;
  if (first == flow->gathering_open) {  // a beginning inside a message, or a rest without beginning
    rx_unhold(lane, d.buffer);
    flow_break(c, flow);
    return;
  }
  if (first && last) [[likely]] {
    const uint8_t* data = lane->rx_data + size_t{d.buffer} * lane->buffer_size + d.offset;
    c->ready = Ready{flow, data, d.length, 0, d.buffer, nullptr, nullptr};
    return;
  }
  if (!gather_add(lane, flow, d.buffer, d.offset, d.length)) {
    flow_break(c, flow);
    return;
  }
  if (last) {
    gather_finish(lane, flow);
    c->ready = Ready{flow, nullptr, flow->gathering.size, 0, kNone, nullptr, nullptr};
  }
}

void take_bundle(Channel* c, Lane* lane, FlowState* flow, const Delivery& d, uint32_t count) {
  const uint8_t* start = lane->rx_data + size_t{d.buffer} * lane->buffer_size + d.offset;
  const uint32_t table_size = (2 * count + 7) & ~7u;
  Ready ready = {flow, nullptr, 0, count - 1, d.buffer, start, start + d.length};
  if (count == 0 || flow->gathering_open || table_size > d.length ||
      !bundle_next(&ready, start + table_size)) {
    rx_unhold(lane, d.buffer);
    flow_break(c, flow);
    return;
  }
  c->ready = ready;
}

bool take_delivery(Channel* c, Lane* lane, const ipc::Item16& item, bool bundle) {
  const uint32_t length = ipc::entry_length(item.word);
  const uint32_t offset = bundle ? item.c & 0xffff : item.c;
  if (item.b >= lane->rx_buffers || lane->rx_holds[item.b] != 0 || length == 0 ||
      offset > lane->buffer_size || length > lane->buffer_size - offset) {
    channel_fail(c, EPROTO);
    return false;
  }
  lane->rx_holds[item.b] = 1;
  FlowState* flow = lane_flow(*lane, item.a);
  if (flow == nullptr || flow->closed || flow->broken) {
    rx_unhold(lane, item.b);
    return true;
  }
  const Delivery delivery = {item.b, offset, length};
  if (bundle) {
    take_bundle(c, lane, flow, delivery, item.c >> 16);
  } else {
    take_segment(c, lane, flow, delivery, ipc::entry_flags(item.word));
  }
  return true;
}

void push_event(Channel* c, const FlowEvent& event) {
  FlowEvent oldest;
  if (c->events.full() && c->events.pop(&oldest) && oldest.holds_slot) {
    lane_release_slot(&c->lanes[oldest.lane], oldest.ref);
  }
  c->events.push(event);
}

// The peer has started anew and another engine took its handshake: this earlier flow's own engine
// has not heard of it yet. The program hears of its end before it hears of the later one's
// beginning, and nothing after that.
void supersede(Channel* c, FlowState* flow) {
  if (c->ready.flow == flow) ready_drop(c);
  flow->superseded = true;
  flow_break(c, flow);
}

bool take_opened(Channel* c, Lane* lane, uint32_t ref, uint32_t opening) {
  const uint32_t slot = ipc::flow_ref_slot(ref);
  if (slot >= lane->flow_slots) {
    channel_fail(c, EPROTO);
    return false;
  }
  const ipc::FlowSlot& tuple = lane->flow_table[slot];
  const MachnetFlow_t local = {tuple.local_ip, tuple.remote_ip, tuple.local_port,
                               tuple.remote_port};
  FlowState* other = c->map.find(local);
  FlowState* flow = claim_flow(c, lane->index, ref, local);
  if (flow == nullptr) {
    channel_fail(c, EPROTO);
    return false;
  }
  flow->opening = opening;
  if (other != nullptr && other->lane != lane && other->active) {
    // Lanes are read one after the other: the one that is read first may have the later flow.
    if (static_cast<int32_t>(opening - other->opening) < 0) {
      supersede(c, flow);
      return true;
    }
    push_event(c, {MACHNET_EVENT_RESET, other->ref, other->lane->index, false, local});
    supersede(c, other);
  }
  enter_flow(c, flow);
  push_event(c, {MACHNET_EVENT_ACCEPTED, ref, lane->index, false, local});
  return true;
}

uint32_t end_event(const FlowState& flow, uint32_t reason) {
  switch (reason) {
    case ipc::kEndClosedByPeer:
    case ipc::kEndClosed:
      // An end inside a message is none in order.
      return flow.broken || flow.gathering_open ? MACHNET_EVENT_RESET : MACHNET_EVENT_CLOSED;
    case ipc::kEndTimeout:
      return MACHNET_EVENT_DEAD;
    default:
      return MACHNET_EVENT_RESET;
  }
}

void take_ended(Channel* c, Lane* lane, uint32_t ref, uint32_t reason) {
  FlowState* flow = lane_flow(*lane, ref);
  if (flow == nullptr) {
    // A flow that machnet_connect gave up waiting for.
    if (ipc::flow_ref_slot(ref) < lane->flow_slots) lane_release_slot(lane, ref);
    return;
  }
  const uint32_t type = end_event(*flow, reason);
  gather_drop(flow);
  flow_stop_sending(c, flow, end_errno(reason));
  flow->active = false;
  // A program that reads events gets the slot's next flow only after it heard of this one's end.
  // One that does not must not run out of slots.
  const bool is_news = !flow->closed && !flow->superseded;
  const bool hold = c->events_used && is_news;
  if (is_news) push_event(c, {type, ref, lane->index, hold, flow->local});
  if (!hold) lane_release_slot(lane, ref);
}

// One entry of the deliver ring. False: the channel is dead.
bool take(Channel* c, Lane* lane, const ipc::Item16& item) {
  switch (ipc::entry_type(item.word)) {
    case ipc::kDeliverSegment:
      return take_delivery(c, lane, item, false);
    case ipc::kDeliverBundle:
      return take_delivery(c, lane, item, true);
    case ipc::kDeliverOpened:
      return take_opened(c, lane, item.a, item.c);
    case ipc::kDeliverEnded:
      take_ended(c, lane, item.a, item.c);
      return true;
    default:
      channel_fail(c, EPROTO);
      return false;
  }
}

// Starts loading the bytes and the flow of the entry after the one at hand.
void prefetch_next(const Lane& lane) {
  ipc::Consumer16 ahead = lane.deliver;
  ipc::Item16 item;
  if (!ahead.pop(&item) || item.b >= lane.rx_buffers) return;
  __builtin_prefetch(lane.rx_data + size_t{item.b} * lane.buffer_size);
  const uint32_t slot = ipc::flow_ref_slot(item.a);
  if (slot < lane.flow_slots) __builtin_prefetch(&lane.flows[slot]);
}

}  // namespace

int end_errno(uint32_t end_reason) {
  switch (end_reason) {
    case ipc::kEndClosedByPeer:
      return EPIPE;
    case ipc::kEndClosed:
      return ENOTCONN;
    case ipc::kEndTimeout:
      return ETIMEDOUT;
    default:
      return ECONNRESET;
  }
}

bool receive_advance(Channel* c) {
  uint32_t at = c->next_lane;
  for (uint32_t i = 0; i < c->lane_count; i++) {
    Lane* lane = &c->lanes[at];
    if (++at == c->lane_count) at = 0;
    ipc::Item16 item;
    while (lane->deliver.pop(&item)) {
      lane->deliver_count++;
      if (!take(c, lane, item)) return false;
      if (c->ready.flow != nullptr) {
        c->next_lane = at;  // lanes take turns
        prefetch_next(*lane);
        return true;
      }
    }
  }
  return false;
}

void ready_drop(Channel* c) {
  Ready* ready = &c->ready;
  FlowState* flow = ready->flow;
  ready->flow = nullptr;
  if (ready->data == nullptr) {
    gather_drop(flow);
  } else {
    rx_unhold(flow->lane, ready->buffer);
  }
}

void ready_consume(Channel* c) {
  Ready* ready = &c->ready;
  if (ready->remaining == 0) {
    ready_drop(c);
    return;
  }
  ready->remaining--;
  // Messages of a bundle start at multiples of 8 from its start; buffers and offsets keep that, but
  // the distance is what counts: `data` itself is at such a multiple.
  if (!bundle_next(ready, ready->data + ((ready->size + 7) & ~7u))) [[unlikely]] {
    FlowState* flow = ready->flow;
    ready_drop(c);
    flow_break(c, flow);
  }
}

int receive_next(Channel* c) {
  if (c->dead_errno != 0) [[unlikely]]
    return channel_fail(c, c->dead_errno);
  if (c->ready.flow != nullptr || receive_advance(c)) [[likely]]
    return 1;
  if (c->dead_errno != 0) return channel_fail(c, c->dead_errno);
  if (channel_check(c) != 0) return -1;
  if (!c->fd_mode) return 0;
  fd_prepare(c);
  if (c->dead_errno != 0) return channel_fail(c, c->dead_errno);
  if (c->ready.flow != nullptr) return 1;
  fd_keep_raised(c);
  return 0;
}

int next_event(Channel* c, MachnetEvent_t* event) {
  if (c->dead_errno != 0) return channel_fail(c, c->dead_errno);
  c->events_used = true;
  for (;;) {
    if (c->events.size() == 0 && c->ready.flow == nullptr) receive_advance(c);
    if (c->dead_errno != 0) return channel_fail(c, c->dead_errno);
    FlowEvent got;
    while (c->events.pop(&got)) {
      Lane* lane = &c->lanes[got.lane];
      const FlowState& flow = lane->flows[ipc::flow_ref_slot(got.ref)];
      const bool forgotten = flow.ref == got.ref && flow.closed;
      if (got.holds_slot) lane_release_slot(lane, got.ref);
      if (forgotten) continue;  // the program closed it in the meantime
      event->type = got.type;
      event->flow = got.flow;
      return 1;
    }
    if (channel_check(c) != 0) return -1;
    if (!c->fd_mode) return 0;
    fd_prepare(c);
    if (c->dead_errno != 0) return channel_fail(c, c->dead_errno);
    if (c->events.size() != 0) continue;
    fd_keep_raised(c);
    return 0;
  }
}

}  // namespace mn::client
