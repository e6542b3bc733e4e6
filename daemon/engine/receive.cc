// SPDX-License-Identifier: MIT
// A packet's way in: port, frame, host or transport. What fails a check is dropped and counted.
#include <algorithm>
#include <cstring>

#include "engine/engine.h"
#include "wire/bytes.h"
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

bool opens_flow(std::span<const uint8_t> packet) {
  return !packet.empty() && (packet[0] & 0x0f) == static_cast<uint8_t>(wire::PacketType::kOpen);
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

size_t Engine::receive(Instant now) {
  const std::span<RxFrame> frames(received_.data(), rx_burst_);
  const size_t n = port_->rx_burst(frames);
  if (n == 0) return 0;
  uint64_t bytes = 0;
  for (size_t i = 0; i < std::min<size_t>(n, 3); i++) __builtin_prefetch(frames[i].data);
  uint32_t hash = n > 1 ? prefetch_table(transport_, frames[0], frames[1]) : 0;
  for (size_t i = 0; i < n; i++) {
    if (i + 1 < n) {
      __builtin_prefetch(frames[i + 1].data + 64);
      if (hash != 0) transport_.prefetch_of(hash);
      if (i + 2 < n) hash = prefetch_table(transport_, frames[i + 1], frames[i + 2]);
      if (i + 3 < n) __builtin_prefetch(frames[i + 3].data);
    }
    bytes += frames[i].length;
    receive_frame(now, frames[i]);
  }
  port_->rx_release(frames.first(n));
  ipc::counter_add(counters_->rx_packets, n);
  ipc::counter_add(counters_->rx_bytes, bytes);
  return n;
}

void Engine::receive_frame(Instant now, const RxFrame& frame) {
  const wire::FrameView view = wire::parse_frame({frame.data, frame.length}, frame.udp_checksum_ok);
  switch (view.kind) {
    case wire::FrameKind::kUdp: {
      // Our own addresses never come in from outside: loopback and forged sources end here.
      if (view.destination_ip != config_.address || (config_.address >> 24) == 127 ||
          is_local(view.source_ip) || (view.source_ip >> 24) == 127 ||
          view.destination != port_->facts().mac) {
        ipc::counter_add(counters_->drop_not_for_us, 1);
        return;
      }
      // Only a packet that may open a flow needs a way back; the flow remembers it.
      uint32_t path = host::kNoPath;
      if (opens_flow(view.payload)) {
        path = host_.learn_from_traffic(now, view.source_ip, view.source);
        if (path == host::kNoPath) {
          ipc::counter_add(counters_->drop_not_for_us, 1);
          return;
        }
      }
      receive_packet(now,
                     {.local_ip = view.destination_ip,
                      .remote_ip = view.source_ip,
                      .local_port = view.destination_port,
                      .remote_port = view.source_port},
                     view.payload, path);
      return;
    }
    case wire::FrameKind::kArp:
      ipc::counter_add(counters_->arp_received, 1);
      host_.on_frame(now, view);
      return;
    case wire::FrameKind::kIcmpEcho:
      if (view.destination_ip != config_.address) {
        ipc::counter_add(counters_->drop_not_for_us, 1);
        return;
      }
      ipc::counter_add(counters_->icmp_received, 1);
      host_.on_frame(now, view);
      return;
    case wire::FrameKind::kOther:
      ipc::counter_add(counters_->drop_not_for_us, 1);
      return;
    case wire::FrameKind::kMalformed:
      ipc::counter_add(counters_->drop_malformed, 1);
      return;
    case wire::FrameKind::kChecksum:
      ipc::counter_add(counters_->drop_checksum, 1);
      return;
  }
}

void Engine::receive_packet(Instant now, const FourTuple& tuple, std::span<const uint8_t> payload,
                            uint32_t path) {
  const transport::PacketVerdict verdict = transport_.on_packet(now, tuple, payload, path);
  if (std::atomic<uint64_t>* counter = counter_of(counters_, verdict)) {
    ipc::counter_add(*counter, 1);
  }
}

}  // namespace mn
