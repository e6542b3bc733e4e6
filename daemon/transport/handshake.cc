// SPDX-License-Identifier: MIT
#include "transport/handshake.h"

#include <algorithm>
#include <cerrno>

#include "transport/lifecycle.h"
#include "transport/loss_detection.h"
#include "transport/receiver.h"
#include "transport/scoreboard.h"
#include "transport/trace.h"
#include "transport/transmit.h"

namespace mn::transport {

namespace {

using wire::PacketType;

// A flow with its own half of the agreement: tags, sequence numbers, limits. nullptr: no slot.
Flow* new_flow(Core& core, Instant now, const FourTuple& tuple, MessageStore* store,
               FlowState state, uint32_t path) {
  Flow* flow = core.take_flow();
  if (flow == nullptr) return nullptr;
  flow->tuple = tuple;
  flow->state = state;
  flow->path = path;
  flow->tag_local = core.random_tag();
  flow->tx_first = flow->tx_next = flow->tx_judge = flow->rack_end = {core.random()};
  flow->tx_limit = flow->tx_first;
  flow->rx_mss = static_cast<uint16_t>(std::min<uint32_t>(core.config.mss, store->buffer_size()));
  flow->congestion.start(core.config.congestion, now, core.config.window_packets_max);
  flow->born_at = flow->heard_at = flow->probed_at = flow->progress_at = now;
  core.attach(flow, store);
  flow->store_flow = store->flow_reserve(flow->handle, tuple);
  if (flow->store_flow == kNoFlow) {
    flow->group->flow_count--;
    flow->store_link.unlink();
    flow->state = FlowState::kDead;
    core.release_if_done(flow);
    return nullptr;
  }
  core.table.insert(flow);
  flow->in_table = true;
  need_timer(core, *flow, life_deadline(core, *flow));
  return flow;
}

// parse_options has checked the rest.
bool acceptable(const wire::Options& options) {
  return options.version_min <= wire::kVersion && options.version_max >= wire::kVersion;
}

// The peer's half of the agreement.
void adopt_options(Core& core, Instant now, Flow& flow, const wire::Packet& packet,
                   const wire::Options& options) {
  flow.tag_remote = options.tag;
  flow.mss = flow.mss_agreed = std::min(core.config.mss, options.mss);
  flow.takes_parts = (options.features & wire::kFeatureParts) != 0;
  flow.coalesces = (options.features & wire::kFeatureCoalescing) != 0 && options.engine < 16;
  flow.peer_engine = options.engine & 15;
  flow.rx_next = flow.rx_end = {options.first_sequence};
  flow.rx_limit = flow.rx_next + core.config.window_packets_max;
  flow.tx_limit = flow.tx_first + std::min<uint32_t>(options.window, kWindowMax);
  flow.limit_timestamp = flow.echo = packet.header.timestamp;
  flow.echo_at = now;
}

void become_established(Core& core, Instant now, Flow& flow) {
  flow.state = FlowState::kEstablished;
  MN_TRACE(core, flow, kTraceState, static_cast<uint8_t>(flow.state), 0);
  flow.open_due = false;
  flow.backoff = 0;
  core.counters.flows_opened++;
  on_heard(flow, now);
  need_timer(core, flow, life_deadline(core, flow));
}

// What only the owner of the tuple's remote address hears of. Changes every 8.6 s, valid twice as
// long.
uint64_t cookie_for(const Core& core, const FourTuple& t, uint32_t tag, int64_t period) {
  const uint64_t ips = (uint64_t{t.local_ip} << 32) | t.remote_ip;
  const uint64_t ports = (uint64_t{t.local_port} << 16) | t.remote_port;
  // The top bit keeps these apart from Core::random.
  const uint64_t top = uint64_t{1} << 63;
  const uint64_t where = core.secret(ips, top | ports);
  const uint64_t cookie = core.secret(where ^ tag, top | static_cast<uint64_t>(period));
  return cookie != 0 ? cookie : 1;
}

int64_t cookie_period(Instant now) { return now.ns >> 33; }

bool returns_cookie(const Core& core, Instant now, const FourTuple& t,
                    const wire::Options& options) {
  const int64_t period = cookie_period(now);
  return options.cookie == cookie_for(core, t, options.tag, period) ||
         options.cookie == cookie_for(core, t, options.tag, period - 1);
}

// A handshake that might be forged may take a slot only while few others do and slots are plenty:
// else whoever opens must first show that it hears us (RFC 4987 section 3.6). Without pressure a
// connect stays one round trip.
bool must_show_address(const Core& core, const MessageStore& store) {
  return core.half_open >= core.config.half_open_max ||
         (core.flow_pool.free_count() <= core.config.flows_max / 8 && core.lingering.empty()) ||
         store.flow_room() <= store.flow_capacity() / 8;
}

// To a host that asks for what nobody offers: the tag is its own, so it can tell the answer from a
// guess.
void refuse_open(Core& core, Instant now, const FourTuple& tuple, const wire::Options& options,
                 uint32_t path) {
  core.strays.queue_reset(
      now, {.tuple = tuple, .path = path, .tag = options.tag, .sequence = 0, .flags = 0});
}

}  // namespace

RequestStatus open_flow(Core& core, Instant now, const FourTuple& tuple, MessageStore* store,
                        uint64_t cookie, uint32_t path, FlowHandle* ret_flow) {
  if (Flow* old = core.table.find(tuple)) {
    if (old->state != FlowState::kDead) return RequestStatus::kInUse;
    old->lingering = old->ack_now = false;
    core.release_if_done(old);
  }
  Flow* flow = new_flow(core, now, tuple, store, FlowState::kOpening, path);
  if (flow == nullptr) return RequestStatus::kNoResources;
  flow->cookie = cookie;
  flow->open_due = true;
  set_loss_timer(core, now, *flow, Instant::never());
  mark_ready(core, *flow);
  *ret_flow = flow->handle;
  return RequestStatus::kOk;
}

PacketVerdict on_open(Core& core, Instant now, const FourTuple& tuple, const wire::Packet& packet,
                      uint32_t path, Flow* flow) {
  wire::Options options;
  if (!wire::parse_options(packet.payload, &options)) return PacketVerdict::kMalformed;
  MessageStore* store = core.listeners.find(tuple.local_ip, tuple.local_port);
  if (flow != nullptr && flow->state == FlowState::kDead && store != nullptr &&
      options.tag != flow->tag_remote) {
    flow->lingering = flow->ack_now = false;
    core.release_if_done(flow);
    flow = nullptr;
  }
  if (flow != nullptr) {
    switch (flow->state) {
      case FlowState::kHalfOpen:
        if (options.tag != flow->tag_remote) return PacketVerdict::kDuplicate;
        note_echo(*flow, now, packet.header);
        flow->open_due = true;
        mark_ready(core, *flow);
        return PacketVerdict::kDuplicate;
      case FlowState::kEstablished:
        // Perhaps the peer has started anew: our ack will make it say so (as RFC 5961 section 4).
        ask_for_ack(core, *flow);
        return PacketVerdict::kDuplicate;
      case FlowState::kDead:
        if (store == nullptr) refuse_open(core, now, tuple, options, path);
        return PacketVerdict::kDuplicate;
      default:
        return PacketVerdict::kDuplicate;
    }
  }
  if (store == nullptr || !acceptable(options)) {
    refuse_open(core, now, tuple, options, path);
    return PacketVerdict::kNoFlow;
  }
  const bool proven = options.cookie != 0 && returns_cookie(core, now, tuple, options);
  if (!proven && must_show_address(core, *store)) {
    core.strays.queue_cookie({.tuple = tuple,
                              .path = path,
                              .tag = options.tag,
                              .ack = options.first_sequence,
                              .cookie = cookie_for(core, tuple, options.tag, cookie_period(now))});
    return PacketVerdict::kHandshakeLimit;
  }
  flow = new_flow(core, now, tuple, store, FlowState::kHalfOpen, path);
  if (flow == nullptr) {
    // Half-open flows, perhaps forged, make room within a second: then the peer's next try may
    // succeed.
    if (core.half_open == 0) refuse_open(core, now, tuple, options, path);
    return PacketVerdict::kHandshakeLimit;
  }
  flow->proven = proven;
  core.half_open += !proven;
  adopt_options(core, now, *flow, packet, options);
  flow->open_due = true;
  mark_ready(core, *flow);
  return PacketVerdict::kAccepted;
}

static bool answers_open(const Flow& flow, const wire::Packet& packet, wire::Options* ret_options) {
  return packet.header.type == PacketType::kOpenAck &&
         wire::parse_options(packet.payload, ret_options) && acceptable(*ret_options) &&
         packet.header.ack == flow.tx_first.value;
}

bool give_up_open(Core& core, Instant now, Flow& flow, const wire::Packet& packet) {
  wire::Options options;
  if (!answers_open(flow, packet, &options) || options.cookie != 0) return false;
  flow.tag_remote = options.tag;
  end_flow(core, now, flow, {.send_reset = true, .silent = true});
  return true;
}

PacketVerdict on_packet_opening(Core& core, Instant now, Flow& flow, const wire::Packet& packet) {
  wire::Options options;
  if (!answers_open(flow, packet, &options)) return PacketVerdict::kMalformed;
  if (options.cookie != 0) {
    // Too many handshakes there: once more, with the cookie; at once only the first time.
    const bool first = flow.open_cookie == 0;
    flow.open_cookie = options.cookie;
    if (first) {
      flow.open_due = true;
      mark_ready(core, flow);
    }
    return PacketVerdict::kAccepted;
  }
  adopt_options(core, now, flow, packet, options);
  become_established(core, now, flow);
  sample_rtt(core, now, flow, packet.header);
  flow.connected_event = true;
  core.post_event(&flow);
  // Asks for an answer, and repeats that until there is one: then the acceptor's application knows,
  // too.
  flow.unconfirmed = true;
  flow.probe_due = true;
  set_loss_timer(core, now, flow, Instant::never());
  mark_ready(core, flow);
  return PacketVerdict::kAccepted;
}

void on_challenge(Core& core, Instant now, Flow& flow, const wire::PacketHeader& header) {
  core.strays.queue_reset(now, {.tuple = flow.tuple,
                                .path = flow.path,
                                .tag = header.tag,
                                .sequence = header.ack,
                                .flags = wire::kFlagReflected});
  // The next kOpen will find the way free: no need to wait for its timer, once.
  if (flow.challenged) return;
  flow.challenged = true;
  flow.open_due = true;
  mark_ready(core, flow);
}

void confirm_half_open(Core& core, Instant now, Flow& flow) {
  core.half_open -= !flow.proven;
  flow.accepted = true;
  become_established(core, now, flow);
  flow.store->flow_accepted(flow.store_flow);
}

bool transmit_handshake(Core& core, Instant now, Flow& flow, TransmitView* view) {
  if (!flow.open_due) return false;
  flow.open_due = false;
  const bool opening = flow.state == FlowState::kOpening;
  const auto window = static_cast<uint16_t>(core.config.window_packets_max);
  const wire::PacketHeader header{.type = opening ? PacketType::kOpen : PacketType::kOpenAck,
                                  .window = window,
                                  .tag = flow.tag_remote,
                                  .sequence = flow.tx_next.value,
                                  .ack = flow.rx_next.value,
                                  .timestamp = timestamp_of(now),
                                  .echo = flow.echo,
                                  .echo_delay = echo_delay_of(core, flow, now),
                                  .payload_length = wire::kOptionsSize};
  const wire::Options options{.mss = flow.rx_mss,
                              .tag = flow.tag_local,
                              .first_sequence = flow.tx_first.value,
                              .features = wire::kFeatureParts | wire::kFeatureCoalescing,
                              .window = window,
                              .engine = static_cast<uint16_t>(core.config.engine),
                              .cookie = flow.open_cookie};
  address_view(now, flow, view);
  const size_t size = wire::encode_packet_header(header, {}, view->header);
  MN_TRACE_WITH(trace_packet, core, now, flow, ipc::kTraceSent, view->header.data());
  wire::encode_options(options, std::span(view->header).subspan(size).first<wire::kOptionsSize>());
  view->header_size = size + wire::kOptionsSize;
  view->table_size = view->piece_count = 0;
  return true;
}

}  // namespace mn::transport
