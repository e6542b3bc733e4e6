// SPDX-License-Identifier: MIT
// A packet's way in: port, frame, host or transport. What fails a check is dropped and counted.
// With several engines a frame first finds the one that has its flow.
#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/engine.h"
#include "engine/gather.h"
#include "wire/bytes.h"
#include "wire/datagram.h"
#include "wire/frame.h"

namespace mn {

namespace {

std::atomic<uint64_t>* counter_of(ipc::EngineCounters* c, transport::PacketVerdict verdict) {
  switch (verdict) {
    case transport::PacketVerdict::kAccepted:
      return nullptr;
    case transport::PacketVerdict::kNoFlow:
      return &c->drop_no_flow;
    case transport::PacketVerdict::kMalformed:
      return &c->drop_malformed;
    case transport::PacketVerdict::kDuplicate:
      return &c->drop_duplicate;
    case transport::PacketVerdict::kOutsideWindow:
      return &c->drop_window;
    case transport::PacketVerdict::kNoBuffer:
      return &c->drop_no_buffer;
    case transport::PacketVerdict::kHandshakeLimit:
      return &c->drop_handshake_limit;
  }
  return nullptr;
}

// Of what may be a packet; nothing is checked yet.
wire::PacketType packet_type(std::span<const uint8_t> packet) {
  return static_cast<wire::PacketType>(packet.empty() ? 0 : packet[0] & 0x0f);
}

FourTuple tuple_of(const wire::FrameView& view) {
  return {.local_ip = view.destination_ip,
          .remote_ip = view.source_ip,
          .local_port = view.destination_port,
          .remote_port = view.source_port};
}

bool is_reflected_reset(std::span<const uint8_t> packet) {
  return packet_type(packet) == wire::PacketType::kReset && packet.size() > 1 &&
         (packet[1] & wire::kFlagReflected) != 0;
}

// Asks for the entry in the table of the flow that a frame looks like belonging to, if that is
// another one than the frame before has: two frames ahead; its flow is asked for one frame ahead,
// so that neither is waited for, however many flows there are. 0: nothing to ask for.
uint32_t prefetch_table(const transport::Transport& transport, const RxFrame& before,
                        const RxFrame& frame) {
  constexpr size_t kAddresses = wire::kEthernetSize + 12;  // of IPv4 without options, then ports
  if (frame.length < wire::kUdpPayloadOffset || before.length < wire::kUdpPayloadOffset) return 0;
  const uint8_t* at = frame.data + kAddresses;
  if (memcmp(at, before.data + kAddresses, 12) == 0) return 0;
  return transport.prefetch_table({.local_ip = wire::load_be32(at + 4),
                                   .remote_ip = wire::load_be32(at),
                                   .local_port = wire::load_be16(at + 10),
                                   .remote_port = wire::load_be16(at + 8)});
}

}  // namespace

// Inlined into the two ways here: a packet pays for each call on its path.
[[gnu::always_inline]] inline void Engine::receive_packet(Instant now, const FourTuple& tuple,
                                                          std::span<const uint8_t> payload,
                                                          uint32_t path) {
  const transport::PacketVerdict verdict = transport_.on_packet(now, tuple, payload, path);
  if (std::atomic<uint64_t>* counter = counter_of(counters_, verdict)) {
    ipc::counter_add(*counter, 1);
  }
}

[[gnu::always_inline]] inline void Engine::receive_udp(Instant now, const wire::FrameView& view) {
  // Only a packet that may open a flow needs a way back; the flow remembers it.
  uint32_t path = host::kNoPath;
  if (packet_type(view.payload) == wire::PacketType::kOpen) {
    path = host_.learn_from_traffic(now, view.source_ip, view.source);
    if (path == host::kNoPath) {
      ipc::counter_add(counters_->drop_not_for_us, 1);
      return;
    }
  }
  const size_t first_length = wire::first_packet_length(view.payload);
  if (__builtin_expect(first_length < view.payload.size(), 0)) {
    receive_coalesced(now, view, first_length);
    return;
  }
  receive_packet(now, tuple_of(view), view.payload, path);
}

// All packets of a datagram are for flows of this engine, or the peer is wrong about it. A few at a
// time are asked for in the flow table, then their flows, then they are read: none is waited for
// alone.
void Engine::receive_coalesced(Instant now, const wire::FrameView& view, size_t first_length) {
  if (!wire::coalesced_ok(view.payload)) {
    ipc::counter_add(counters_->drop_malformed, 1);
    return;
  }
  struct Waiting {
    FourTuple tuple;
    std::span<const uint8_t> bytes;
    uint32_t hash;
  };
  std::array<Waiting, 16> waiting;
  waiting[0] = {tuple_of(view), view.payload.first(first_length), 0};
  waiting[0].hash = transport_.prefetch_table(waiting[0].tuple);
  size_t count = 1;
  std::span<const uint8_t> rest = view.payload.subspan(first_length);
  size_t further = 0;
  do {
    for (wire::CoalescedPacket packet;
         count < waiting.size() && wire::next_coalesced(&rest, &packet); count++, further++) {
      FourTuple tuple = tuple_of(view);
      tuple.remote_port = packet.source_port;
      tuple.local_port = packet.destination_port;
      waiting[count] = {tuple, packet.bytes, transport_.prefetch_table(tuple)};
    }
    transport_.prefetch_of(waiting[0].hash);
    for (size_t i = 0; i < count; i++) {
      if (i + 1 < count) transport_.prefetch_of(waiting[i + 1].hash);
      receive_packet(now, waiting[i].tuple, waiting[i].bytes, host::kNoPath);
    }
    count = 0;
  } while (!rest.empty());
  ipc::counter_add(counters_->rx_coalesced, further);
}

size_t Engine::receive(Instant now) {
  const std::span<RxFrame> frames(received_.data(), rx_burst_);
  const size_t n = port_->rx_burst(frames);
  if (n == 0) return 0;
  uint64_t bytes = 0;
  for (size_t i = 0; i < std::min<size_t>(n, 3); i++) __builtin_prefetch(frames[i].data);
  uint32_t hash = n > 1 ? prefetch_table(transport_, frames[0], frames[1]) : 0;
  size_t ours = 0;  // still: other engines have the rest
  for (size_t i = 0; i < n; i++) {
    if (i + 1 < n) {
      __builtin_prefetch(frames[i + 1].data + 64);
      if (hash != 0) transport_.prefetch_of(hash);
      if (i + 2 < n) hash = prefetch_table(transport_, frames[i + 1], frames[i + 2]);
      if (i + 3 < n) __builtin_prefetch(frames[i + 3].data);
    }
    bytes += frames[i].length;
    const bool stays = receive_frame(now, frames[i], config_.index);
    if (__builtin_expect(ours != i, 0)) frames[ours] = frames[i];
    ours += stays;
  }
  port_->rx_release(frames.first(ours));
  if (config_.group != nullptr) config_.group->ring(config_.index);
  ipc::counter_add(counters_->rx_packets, n);
  ipc::counter_add(counters_->rx_bytes, bytes);
  return n;
}

// What other engines got at their queues and found to be ours.
size_t Engine::take_handed(Instant now) {
  size_t taken = 0;
  HandedFrame handed;
  for (; taken < kBurstMax && config_.group->take(config_.index, &handed); taken++) {
    const bool is_copy = handed.copied > 0;
    receive_frame(
        now,
        is_copy
            ? RxFrame{.data = handed.bytes.data(), .length = handed.copied, .udp_checksum_ok = true}
            : handed.frame,
        handed.arrived_at);
    if (!is_copy) port_->rx_release({&handed.frame, 1});
  }
  return taken;
}

// Looked at where it arrived.
void Engine::receive_handed(Instant now, const wire::FrameView& view, uint32_t arrived_at) {
  if (view.kind == wire::FrameKind::kUdp) {
    if (!move_open(now, view, arrived_at)) receive_udp(now, view);
  } else {
    host_.overhear(now, view);
  }
}

// A flow lives best where its packets arrive, which its first answer tells.
bool Engine::move_open(Instant now, const wire::FrameView& view, uint32_t arrived_at) {
  if (packet_type(view.payload) != wire::PacketType::kOpenAck) return false;
  if (moved_.size() == moved_.capacity()) return false;
  EngineEvent event{
      .kind = EngineEvent::Kind::kMoved, .tuple = tuple_of(view), .engine = arrived_at};
  transport::MessageStore* store = nullptr;
  if (!transport_.move_open(now, event.tuple, view.payload, &event.cookie, &store)) return false;
  event.lane = static_cast<Lane*>(store);
  moved_.push_back(event);
  return true;
}

// The engine that has the flow, as far as the packet says; this one if it does not.
uint32_t Engine::owner_of(std::span<const uint8_t> payload) const {
  uint32_t tag = 0;
  if (!wire::peek_tag(payload, &tag)) return config_.index;
  const uint32_t size = config_.group->size();
  const uint32_t owner = tag & (std::bit_ceil(size) - 1);
  return owner < size ? owner : config_.index;
}

// False: it stays here, and is lost.
bool Engine::hand_over(uint32_t owner, const RxFrame& frame) {
  const bool handed = config_.group->hand_over(config_.index, owner, frame);
  ipc::counter_add(handed ? counters_->handed_over : counters_->handed_lost, 1);
  return handed;
}

// The start of a frame that may concern every engine.
void Engine::tell_others(const RxFrame& frame) {
  const size_t length = std::min<size_t>(frame.length, sizeof HandedFrame::bytes);
  const uint32_t lost = config_.group->copy_to_others(config_.index, {frame.data, length});
  ipc::counter_add(counters_->handed_lost, lost);
}

// Our own addresses never come in from outside: loopback and forged sources end here.
bool Engine::is_for_us(const wire::FrameView& view) const {
  return view.destination_ip == config_.address && (config_.address >> 24) != 127 &&
         !is_local(view.source_ip) && (view.source_ip >> 24) != 127 && view.destination == nic_.mac;
}

// `arrived_at`: the engine at whose queue it did. False: another engine has the frame now.
bool Engine::receive_frame(Instant now, const RxFrame& frame, uint32_t arrived_at) {
  const wire::FrameView view = wire::parse_frame({frame.data, frame.length}, frame.udp_checksum_ok);
  if (__builtin_expect(arrived_at != config_.index, 0)) {
    receive_handed(now, view, arrived_at);
    return true;
  }
  switch (view.kind) {
    case wire::FrameKind::kUdp:
      if (!is_for_us(view)) {
        ipc::counter_add(counters_->drop_not_for_us, 1);
        return true;
      }
      if (config_.group != nullptr) {
        const uint32_t owner = owner_of(view.payload);
        if (owner != config_.index) return !hand_over(owner, frame);
        // Its tag is the peer's own, so it may be for anybody's flow.
        if (is_reflected_reset(view.payload)) tell_others(frame);
      }
      receive_udp(now, view);
      return true;
    case wire::FrameKind::kArp:
      ipc::counter_add(counters_->arp_received, 1);
      host_.on_frame(now, view);
      if (config_.group != nullptr) tell_others(frame);
      return true;
    case wire::FrameKind::kIcmpEcho:
      if (view.destination_ip != config_.address) {
        ipc::counter_add(counters_->drop_not_for_us, 1);
        return true;
      }
      ipc::counter_add(counters_->icmp_received, 1);
      host_.on_frame(now, view);
      return true;
    case wire::FrameKind::kOther:
      ipc::counter_add(counters_->drop_not_for_us, 1);
      return true;
    case wire::FrameKind::kMalformed:
      ipc::counter_add(counters_->drop_malformed, 1);
      return true;
    case wire::FrameKind::kChecksum:
      ipc::counter_add(counters_->drop_checksum, 1);
      return true;
  }
  return true;
}

// To an application of this host: the packet arrives at once. Returns its length.
size_t Engine::loop_back(Instant now) {
  const uint8_t* end = gather(view_, loop_.data());
  const FourTuple& t = view_.tuple;
  const FourTuple arriving{.local_ip = t.remote_ip,
                           .remote_ip = t.local_ip,
                           .local_port = t.remote_port,
                           .remote_port = t.local_port};
  const auto length = static_cast<size_t>(end - loop_.data());
  receive_packet(now, arriving, {loop_.data(), length}, 0);
  return length;
}

}  // namespace mn
