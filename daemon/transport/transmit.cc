// SPDX-License-Identifier: MIT
// Outputs: which flow is next, and what it sends. Deficit round robin by bytes (Shreedhar and
// Varghese, 1995) between the stores and between the flows of a store; as the length of a packet is
// known when it is made, a turn may end in debt, which the next one pays. A store that has had
// nothing to send comes before those that always have (as new flows do in FQ-CoDel, RFC 8290
// section 4.2), for one turn: the messages of one application do not wait for the bulk of others.
// A flow says first what it misses, then sends lost packets, then new data, then what carries no
// data. Answers to strays get every second packet at most: a flood of what nobody asked for holds
// no flow up.
#include "transport/transmit.h"

#include <algorithm>

#include "transport/handshake.h"
#include "transport/lifecycle.h"
#include "transport/loss_detection.h"
#include "transport/path_mtu.h"
#include "transport/receiver.h"
#include "transport/sender.h"
#include "transport/trace.h"

namespace mn::transport {

namespace {

using wire::PacketType;

// A next hop whose MAC address changed without a word (a router was replaced) is found out long
// before the flow is given up.
constexpr Duration kDoubtAfter = milliseconds(500);

// Of a packet on the cable: Ethernet with preamble and gap, IPv4, UDP.
constexpr size_t kCableBytes = 14 + 4 + 20 + 20 + 8;

bool path_in_doubt(Instant now, const Flow& flow) {
  if (flow.has_waited) return now - flow.waiting_since >= kDoubtAfter;
  return flow.state == FlowState::kOpening && now - flow.born_at >= kDoubtAfter;
}

void write_empty(Core& core, Instant now, Flow& flow, PacketType type, uint8_t flags,
                 TransmitView* view) {
  view->table_size = view->piece_count = 0;
  write_header(core, now, flow, {.type = type, .flags = flags, .sequence = flow.tx_next}, view);
}

// What path_due asks for, one packet each: answers first.
void transmit_path(Core& core, Instant now, Flow& flow, TransmitView* view) {
  if (flow.path_due == kPaddedDue) {
    transmit_padded_probe(core, now, flow, view);
    return;
  }
  flow.path_due &= static_cast<uint8_t>(~kCamePadded);
  write_empty(core, now, flow, PacketType::kAck, 0, view);
  wire::set_extra(flow.rx_padded, view->header);
}

bool transmit_dead(Core& core, Instant now, Flow& flow, TransmitView* view) {
  if (flow.reset_due) {
    flow.reset_due = false;
    view->table_size = view->piece_count = 0;
    write_header(core, now, flow, {.type = PacketType::kReset, .sequence = flow.tx_next}, view);
    flow.ready_link.unlink();
    core.release_if_done(&flow);
    return true;
  }
  if (!flow.ack_now) return false;
  write_empty(core, now, flow, PacketType::kAck, 0, view);
  return true;
}

// While packets wait for those before them, or for their own other parts, whatever comes makes an
// ack due (on_early, on_part, on_data), and that ack says what has come: full packets have no room
// for ranges, and there may be many to send.
__attribute__((noinline)) bool transmit_what_came(Core& core, Instant now, Flow& flow,
                                                  TransmitView* view) {
  if (!flow.ack_now) return false;
  const bool in_parts = flow.rx_part != 0;
  write_empty(core, now, flow, PacketType::kAck, in_parts ? wire::kFlagMore : 0, view);
  if (in_parts) wire::set_extra(flow.rx_part, view->header);
  return true;
}

bool transmit_established(Core& core, Instant now, Flow& flow, TransmitView* view) {
  if (__builtin_expect(flow.rx_early > 0 || flow.rx_part != 0, 0) &&
      transmit_what_came(core, now, flow, view)) {
    return true;
  }
  if (__builtin_expect(!flow.lost.empty(), 0) && transmit_lost(core, now, flow, view)) return true;
  if (__builtin_expect(flow.tail_probe_due || flow.path_due != 0, 0)) {
    if (transmit_tail_probe(core, now, flow, view)) return true;
    if (flow.path_due != 0) {
      transmit_path(core, now, flow, view);
      return true;
    }
  }
  if (has_unsent(flow)) {
    if (transmit_new(core, now, flow, view)) return true;
    if (__builtin_expect(flow.loss_timer == LossTimer::kNone, 0)) {
      set_loss_timer(core, now, flow, Instant::never());
    }
  }
  if (__builtin_expect(flow.probe_due, 0)) {
    flow.probe_due = false;
    write_empty(core, now, flow, PacketType::kProbe, wire::kFlagAckNow, view);
    on_asked(flow, now);
    return true;
  }
  if (flow.ack_now) {
    write_empty(core, now, flow, PacketType::kAck, 0, view);
    return true;
  }
  return false;
}

// A padded probe asks what the path of this flow takes.
bool may_share(const Flow& flow, const PacketSpec& spec) {
  return flow.coalesces && flow.state == FlowState::kEstablished &&
         (spec.type != PacketType::kProbe || spec.payload_length == 0);
}

}  // namespace

void address_view(Instant now, const Flow& flow, TransmitView* view) {
  view->tuple = flow.tuple;
  view->path = flow.path;
  view->path_in_doubt = path_in_doubt(now, flow);
  view->flow = flow.handle;
  view->datagram_max = 0;
  view->payload_length = 0;
}

void write_header(Core& core, Instant now, Flow& flow, const PacketSpec& spec, TransmitView* view) {
  wire::SackRange ranges[wire::kSackRangesMax];
  size_t range_count = 0;
  uint32_t unnamed = 0;
  uint16_t window = 0;
  if (__builtin_expect(flow.state == FlowState::kEstablished, 1)) {
    window = offer_window(core, flow);
    if (__builtin_expect(flow.rx_early > 0, 0)) {
      if (window == 0) flow.hole_since = now;  // not the peer's fault
      const size_t left = flow.mss > spec.payload_length ? flow.mss - spec.payload_length : 0;
      const size_t room = std::min(left / wire::kSackRangeSize, wire::kSackRangesMax);
      // Some of the ranges would tell as little as none where all were asked for.
      range_count = sack_ranges(core, flow, std::span(ranges, room));
      if (room < wire::kSackRangesMax && range_count == room) {
        range_count = 0;
        unnamed = flow.rx_early;
      }
    }
    on_ack_left(flow);
  } else {
    flow.ack_now = false;
  }
  const wire::PacketHeader header{.type = spec.type,
                                  .flags = spec.flags,
                                  .window = window,
                                  .tag = flow.tag_remote,
                                  .sequence = spec.sequence.value,
                                  .ack = flow.rx_next.value,
                                  .timestamp = timestamp_of(now),
                                  .echo = flow.echo,
                                  .echo_delay = echo_delay_of(core, flow, now),
                                  .payload_length = static_cast<uint16_t>(spec.payload_length),
                                  .message_count = spec.message_count,
                                  .sack_count = static_cast<uint8_t>(range_count),
                                  .extra = static_cast<uint16_t>(unnamed)};
  address_view(now, flow, view);
  if (may_share(flow, spec)) {
    view->datagram_max = static_cast<uint16_t>(wire::kHeaderSize + flow.mss);
    view->peer_engine = flow.peer_engine;
  }
  view->payload_length = spec.payload_length;
  view->header_size =
      wire::encode_packet_header(header, std::span(ranges, range_count), view->header);
  MN_TRACE_WITH(trace_packet, core, now, flow, ipc::kTraceSent, view->header.data());
}

bool transmit_flow(Core& core, Instant now, Flow& flow, TransmitView* view) {
  if (__builtin_expect(flow.state == FlowState::kEstablished, 1)) {
    return transmit_established(core, now, flow, view);
  }
  if (flow.state == FlowState::kDead) return transmit_dead(core, now, flow, view);
  return transmit_handshake(core, now, flow, view);
}

bool transmit_next(Core& core, Instant now, TransmitView* view) {
  if (__builtin_expect(!core.strays.empty(), 0) && !core.stray_sent) {
    core.stray_sent = true;
    core.strays.transmit(now, core.config.mss, view);
    return true;
  }
  core.stray_sent = false;
  for (;;) {
    const bool is_new = !core.new_stores.empty();
    Link* store_link = is_new ? core.new_stores.front() : core.ready_stores.front();
    if (store_link == nullptr) break;
    StoreState& store = *MN_STORE_STATE_OF(store_link);
    if (__builtin_expect(store.credit <= 0, 0)) {
      store.credit += StoreState::kTurnBytes;
      core.ready_stores.move_to_back(store_link);
      continue;
    }
    while (Link* flow_link = store.ready_flows.front()) {
      Flow& flow = *MN_FLOW_OF(flow_link, ready_link);
      if (!transmit_flow(core, now, flow, view)) {
        flow.turn_bytes = 0;
        flow.ready_link.unlink();
        continue;
      }
      const size_t bytes = view->header_size + view->payload_length + kCableBytes;
      store.credit -= static_cast<int32_t>(bytes);
      flow.turn_bytes = static_cast<uint16_t>(flow.turn_bytes + bytes);
      if (flow.turn_bytes >= kFlowTurnBytes && flow.ready_link.linked()) {
        flow.turn_bytes = static_cast<uint16_t>(flow.turn_bytes - kFlowTurnBytes);
        store.ready_flows.move_to_back(&flow.ready_link);
      }
      return true;
    }
    // Not new again before the others had their turn: pauses are no way to the front.
    if (is_new && !core.ready_stores.empty()) {
      core.ready_stores.move_to_back(store_link);
    } else {
      store.credit = StoreState::kTurnBytes;
      store_link->unlink();
    }
  }
  if (core.strays.empty()) return false;
  core.strays.transmit(now, core.config.mss, view);
  return true;
}

}  // namespace mn::transport
