// SPDX-License-Identifier: MIT
// The coordinator: finds the flow, asks the concept that knows.
#include "transport/transport.h"

#include <algorithm>
#include <cerrno>
#include <new>

#include "transport/core.h"
#include "transport/handshake.h"
#include "transport/invariants.h"
#include "transport/lifecycle.h"
#include "transport/loss_detection.h"
#include "transport/path_mtu.h"
#include "transport/receiver.h"
#include "transport/scoreboard.h"
#include "transport/sender.h"
#include "transport/trace.h"
#include "transport/transmit.h"

namespace mn::transport {

using wire::PacketType;

size_t TransmitView::payload_size() const {
  size_t size = table_size;
  for (size_t i = 0; i < piece_count; i++) size += size_t{pieces[i].length} + pieces[i].pad;
  return size;
}

Transport::Transport(const TransportConfig& config) : memory_(sizeof(Core)) {
  core_ = new (memory_.data()) Core(config);
}

Transport::~Transport() { core_->~Core(); }

// ---- Requests ----------------------------------------------------------------------------------

RequestStatus Transport::listen(Ipv4 ip, Port port, MessageStore* store) {
  switch (core_->listeners.add(ip, port, store)) {
    case ListenerTable::AddStatus::kAdded:
      return RequestStatus::kOk;
    case ListenerTable::AddStatus::kTaken:
      return RequestStatus::kInUse;
    case ListenerTable::AddStatus::kFull:
      return RequestStatus::kNoResources;
  }
  return RequestStatus::kNoResources;
}

void Transport::unlisten(Ipv4 ip, Port port) { core_->listeners.remove(ip, port); }

RequestStatus Transport::open(Instant now, const FourTuple& tuple, MessageStore* store,
                              uint64_t cookie, uint32_t path, FlowHandle* ret_flow) {
  return open_flow(*core_, now, tuple, store, cookie, path, ret_flow);
}

void Transport::let_move(FlowHandle handle) {
  if (Flow* flow = core_->find(handle)) flow->may_move = true;
}

bool Transport::move_open(Instant now, const FourTuple& tuple, std::span<const uint8_t> udp_payload,
                          uint64_t* ret_cookie, MessageStore** ret_store) {
  Core& core = *core_;
  wire::Packet packet;
  if (wire::parse_packet(udp_payload, &packet) != wire::ParseStatus::kOk) return false;
  Flow* flow = core.table.find(tuple);
  if (flow == nullptr || flow->state != FlowState::kOpening || !flow->may_move) return false;
  if (packet.header.tag != flow->tag_local) return false;
  const uint64_t cookie = flow->cookie;
  MessageStore* const store = flow->store;
  if (!give_up_open(core, now, *flow, packet)) return false;
  *ret_cookie = cookie;
  *ret_store = store;
  return true;
}

RequestStatus Transport::send(Instant, FlowHandle handle, BufferIndex buffer, uint16_t length,
                              bool last_segment) {
  Flow* flow = core_->find(handle);
  if (flow == nullptr || flow->close_requested || flow->state == FlowState::kDead ||
      flow->state == FlowState::kHalfOpen) {
    return RequestStatus::kNoSuchFlow;
  }
  MN_ASSERT(length > 0);
  enqueue(*core_, *flow, buffer, length, last_segment);
  MN_TRACE(*core_, *flow, kTraceQueued, last_segment, length);
  return RequestStatus::kOk;
}

RequestStatus Transport::close(Instant now, FlowHandle handle) {
  Flow* flow = core_->find(handle);
  if (flow == nullptr || flow->state == FlowState::kDead) return RequestStatus::kNoSuchFlow;
  begin_close(*core_, now, *flow);
  return RequestStatus::kOk;
}

RequestStatus Transport::abort(Instant now, FlowHandle handle, uint32_t reason) {
  Flow* flow = core_->find(handle);
  if (flow == nullptr || flow->state == FlowState::kDead) return RequestStatus::kNoSuchFlow;
  end_flow(*core_, now, *flow, {.reason = reason, .send_reset = true, .error = ECONNABORTED});
  return RequestStatus::kOk;
}

void Transport::abort_store(Instant now, MessageStore* store, uint32_t reason) {
  StoreState& state = state_of(store);
  core_->listeners.remove_all(&state);
  while (Link* link = state.flows.front()) {
    end_flow(*core_, now, *MN_FLOW_OF(link, store_link),
             {.reason = reason, .send_reset = true, .error = ECONNABORTED});
  }
}

void Transport::abort_all(Instant now, uint32_t reason) {
  core_->listeners.clear();
  for (uint32_t i = 0; i < core_->flows_touched; i++) {
    Flow* flow = core_->flow_at(i);
    if (flow->state == FlowState::kFree || flow->state == FlowState::kDead) continue;
    end_flow(*core_, now, *flow, {.reason = reason, .send_reset = true, .error = ECONNABORTED});
  }
}

void Transport::close_store(Instant now, MessageStore* store) {
  StoreState& state = state_of(store);
  core_->listeners.remove_all(&state);
  for (Link* link = state.flows.front(); link != nullptr;) {
    Link* next = state.flows.next(link);
    begin_close(*core_, now, *MN_FLOW_OF(link, store_link));
    link = next;
  }
}

uint32_t Transport::store_flow_count(const MessageStore* store) const {
  return state_of(const_cast<MessageStore*>(store)).flow_count;
}

void Transport::on_store_space(Instant, MessageStore* store) {
  StoreState& state = state_of(store);
  if (state.starved_count > 0) on_space(*core_, state);
}

// ---- Ahead of time -----------------------------------------------------------------------------

uint32_t Transport::prefetch_table(const FourTuple& tuple) const {
  const uint32_t hash = core_->table.hash(tuple);
  core_->table.prefetch(hash);
  return hash;
}

void Transport::prefetch_of(uint32_t table_hash) const {
  const Flow* flow = core_->table.guess(table_hash);
  if (flow != nullptr) prefetch(flow);
}

void Transport::prefetch_flow(FlowHandle flow) const {
  const uint32_t index = Core::index_of(flow);
  if (index < core_->flows_touched) prefetch(core_->flow_at(index));
}

// ---- Inputs ------------------------------------------------------------------------------------

// A packet for an established flow, tag checked.
static PacketVerdict on_established(Core& core, Instant now, Flow& flow,
                                    const wire::Packet& packet) {
  const PacketType type = packet.header.type;
  if (__builtin_expect(type == PacketType::kOpenAck, 0)) {
    // The acceptor still waits for a sign of us.
    ask_for_ack(core, flow);
    return PacketVerdict::kDuplicate;
  }
  switch (on_ack(core, now, flow, packet)) {
    case AckVerdict::kImpossible:
      return PacketVerdict::kMalformed;
    case AckVerdict::kClosed:
      return PacketVerdict::kAccepted;
    case AckVerdict::kAccepted:
      break;
  }
  on_heard(flow, now);
  flow.unconfirmed = false;
  if (__builtin_expect(flow.path_asked, 0)) note_path_heard(flow, packet.header);
  if (__builtin_expect(type == PacketType::kData || type == PacketType::kClose, 1)) {
    return on_data(core, now, flow, packet);
  }
  switch (type) {
    case PacketType::kPart:
      return on_part(core, now, flow, packet);
    case PacketType::kProbe:
      if (packet.payload.size() > flow.rx_mss) return PacketVerdict::kMalformed;
      note_echo(flow, now, packet.header);
      ask_for_ack(core, flow);
      if (!packet.payload.empty()) {
        flow.path_due |= kCamePadded;
        flow.rx_padded = packet.header.payload_length;
      }
      return PacketVerdict::kAccepted;
    case PacketType::kAck:
      if (__builtin_expect(packet.header.extra != 0, 0)) {
        on_path_answer(core, now, flow, packet.header);
      }
      return PacketVerdict::kAccepted;
    default:
      return PacketVerdict::kAccepted;
  }
}

// No flow, or not this one's tag.
static PacketVerdict on_stray(Core& core, Instant now, const FourTuple& tuple,
                              const wire::PacketHeader& header, uint32_t path) {
  if (header.type != PacketType::kReset) {
    core.strays.queue_reset(now, {.tuple = tuple,
                                  .path = path,
                                  .tag = header.tag,
                                  .sequence = header.ack,
                                  .flags = wire::kFlagReflected});
  }
  return PacketVerdict::kNoFlow;
}

PacketVerdict Transport::on_packet(Instant now, const FourTuple& tuple,
                                   std::span<const uint8_t> udp_payload, uint32_t path) {
  Core& core = *core_;
  const uint32_t hash = core.table.hash(tuple);
  core.table.prefetch(hash);
  wire::Packet packet;
  if (wire::parse_packet(udp_payload, &packet) != wire::ParseStatus::kOk) {
    return PacketVerdict::kMalformed;
  }
  const wire::PacketHeader& header = packet.header;
  Flow* flow = core.table.find(tuple, hash);
  if (__builtin_expect(header.type == PacketType::kOpen, 0)) {
    return on_open(core, now, tuple, packet, path, flow);
  }
  if (__builtin_expect(flow == nullptr, 0)) return on_stray(core, now, tuple, header, path);
  if (__builtin_expect(header.type == PacketType::kReset, 0)) {
    return on_reset(core, now, *flow, header) ? PacketVerdict::kAccepted : PacketVerdict::kNoFlow;
  }
  if (__builtin_expect(header.tag != flow->tag_local, 0)) {
    if (flow->state == FlowState::kOpening) on_challenge(core, now, *flow, header);
    return PacketVerdict::kNoFlow;
  }
  MN_TRACE_WITH(trace_packet, core, now, *flow, ipc::kTraceReceived, udp_payload.data());
  switch (flow->state) {
    case FlowState::kEstablished:
      return on_established(core, now, *flow, packet);
    case FlowState::kOpening:
      return on_packet_opening(core, now, *flow, packet);
    case FlowState::kHalfOpen:
      if (header.type == PacketType::kOpenAck) return PacketVerdict::kMalformed;
      confirm_half_open(core, now, *flow);
      sample_rtt(core, now, *flow, header);
      return on_established(core, now, *flow, packet);
    default:
      on_lingering_packet(core, now, *flow, header);
      return PacketVerdict::kAccepted;
  }
}

void Transport::on_deadline(Instant now) {
  Core& core = *core_;
  // The rest keeps next_deadline in the past: the caller comes again.
  for (uint32_t i = 0; i < kDeadlinesPerCall; i++) {
    TimerNode* node = core.wheel.pop_due(now);
    if (node == nullptr) return;
    Flow& flow = *flow_of_timer(node);
    prefetch(&flow);
    if (flow.ack_deadline <= now) {
      flow.ack_deadline = Instant::never();
      ask_for_ack(core, flow);
    }
    if (flow.loss_deadline <= now) {
      on_loss_deadline(core, now, flow);
      MN_TRACE_WITH(trace_timer, core, flow, ipc::kTraceArmed, flow.loss_timer, flow.loss_deadline);
    }
    if (__builtin_expect(flow.pace_at <= now, 0)) on_pace_deadline(core, flow);
    if (__builtin_expect(flow.path_deadline <= now, 0)) on_path_deadline(core, now, flow);
    if (!on_life_deadline(core, now, flow)) continue;
    need_timer(core, flow,
               std::min({flow.ack_deadline, flow.loss_deadline, flow.pace_at, flow.path_deadline,
                         life_deadline(core, flow)}));
  }
}

void Transport::on_link(Instant now, bool up) {
  core_->link_down = !up;
  core_->silence_from = now;
}

void Transport::on_stall(Instant now) {
  // What arrived in the meantime is read first, and that takes a moment.
  core_->samples_from = now + milliseconds(2);
}

// ---- Outputs -----------------------------------------------------------------------------------

Instant Transport::next_deadline() const { return core_->wheel.next_deadline(); }

bool Transport::poll_transmit(Instant now, TransmitView* ret_view) {
  return transmit_next(*core_, now, ret_view);
}

bool Transport::has_event() const { return !core_->events.empty(); }

bool Transport::poll_event(TransportEvent* ret_event) {
  Core& core = *core_;
  Link* link = core.events.front();
  if (link == nullptr) return false;
  Flow& flow = *MN_FLOW_OF(link, event_link);
  *ret_event = {.kind = TransportEvent::Kind::kConnected,
                .flow = flow.handle,
                .cookie = flow.cookie,
                .tuple = flow.tuple,
                .store_flow = flow.store_flow,
                .store = flow.store};
  if (flow.connected_event) {
    flow.connected_event = false;
    if (flow.ended_event) return true;  // the next one
    flow.event_link.unlink();
    return true;
  }
  flow.event_link.unlink();
  if (flow.failed_event) {
    ret_event->kind = TransportEvent::Kind::kConnectFailed;
    ret_event->error = static_cast<int>(flow.rx_message_bytes);
  } else {
    ret_event->kind = TransportEvent::Kind::kEnded;
  }
  flow.failed_event = flow.ended_event = false;
  core.release_if_done(&flow);
  return true;
}

bool Transport::snapshot(FlowHandle handle, FlowSnapshot* ret_snapshot) const {
  const Flow* flow = core_->find(handle);
  if (flow == nullptr || flow->state == FlowState::kDead) return false;
  *ret_snapshot = {.tx_messages = flow->tx_messages,
                   .tx_bytes = flow->tx_bytes,
                   .rx_messages = flow->rx_messages,
                   .rx_bytes = flow->rx_bytes,
                   .tx_packets = flow->tx_packets,
                   .rx_packets = flow->rx_packets,
                   .retransmitted_packets = flow->retransmitted_packets,
                   .timeouts = flow->timeouts,
                   .rtt_smoothed = flow->rtt.smoothed(),
                   .rtt_min = flow->rtt.min(),
                   .rto = flow->rtt.rto(),
                   .window_packets = flow->congestion.window_packets(),
                   .packets_in_flight = flow->in_flight,
                   .tx_queued_bytes = flow->tx_queued_bytes,
                   .mss = flow->mss};
  return true;
}

const TransportCounters& Transport::counters() const { return core_->counters; }

uint32_t Transport::flow_count() const { return core_->flow_pool.used_count(); }

void Transport::trace_to(Instant now, ipc::TraceRing* ring, uint32_t capacity, uint16_t engine,
                         const FourTuple& only) {
  core_->tracer = {.ring = ring, .capacity = capacity, .only = only, .now = now, .engine = engine};
  if (ring != nullptr) trace_begin(*core_);
}

void Transport::check_invariants() const { transport::check_invariants(*core_); }

}  // namespace mn::transport
