// SPDX-License-Identifier: MIT
#include "transport/trace.h"

#include <algorithm>
#include <limits>
#include <span>

#include "wire/packet_header.h"

namespace mn::transport {

namespace {

template <typename T>
T clamped(uint64_t n) {
  return static_cast<T>(std::min<uint64_t>(n, std::numeric_limits<T>::max()));
}

bool wanted(const Tracer& tracer, const FourTuple& t) {
  const FourTuple& only = tracer.only;
  return (only.local_ip == 0 || only.local_ip == t.local_ip) &&
         (only.remote_ip == 0 || only.remote_ip == t.remote_ip) &&
         (only.local_port == 0 || only.local_port == t.local_port) &&
         (only.remote_port == 0 || only.remote_port == t.remote_port);
}

void append(Core& core, const Flow& flow, ipc::TraceRecord record) {
  Tracer& tracer = core.tracer;
  if (!wanted(tracer, flow.tuple)) return;
  record.time_ns = tracer.now.ns;
  record.flow = flow.handle;
  record.in_flight = clamped<uint16_t>(flow.in_flight);
  record.engine = tracer.engine;
  ipc::trace_append(tracer.ring, tracer.capacity, record);
}

void name_flow(Core& core, const Flow& flow) {
  append(core, flow,
         {.seq = flow.tuple.local_ip,
          .ack = flow.tuple.remote_ip,
          .value = static_cast<uint32_t>(flow.tuple.local_port) << 16 | flow.tuple.remote_port,
          .kind = ipc::kTraceFlow,
          .detail = static_cast<uint8_t>(flow.state)});
}

}  // namespace

void trace_begin(Core& core) {
  for (uint32_t i = 0; i < core.flows_touched; i++) {
    const Flow& flow = *core.flow_at(i);
    if (flow.state != FlowState::kFree) name_flow(core, flow);
  }
}

void trace_event(Core& core, const Flow& flow, ipc::TraceKind kind, uint8_t detail,
                 uint64_t value) {
  if (kind == ipc::kTraceState) name_flow(core, flow);
  append(core, flow,
         {.seq = flow.tx_next.value,
          .ack = flow.rx_next.value,
          .value = clamped<uint32_t>(value),
          .window = clamped<uint16_t>(flow.congestion.window_packets()),
          .kind = kind,
          .detail = detail});
}

void trace_packet(Core& core, Instant now, const Flow& flow, ipc::TraceKind kind,
                  const uint8_t* packet) {
  const wire::PacketHeader header =
      wire::header_of(std::span<const uint8_t, wire::kHeaderSize>(packet, wire::kHeaderSize));
  core.tracer.now = now;
  if (header.type == wire::PacketType::kOpen || header.type == wire::PacketType::kOpenAck) {
    name_flow(core, flow);
  }
  append(core, flow,
         {.seq = header.sequence,
          .ack = header.ack,
          .value = header.payload_length,
          .window = header.window,
          .kind = kind,
          .detail = static_cast<uint8_t>(header.type)});
}

void trace_record(Core& core, Instant now, const Flow& flow, ipc::TraceKind kind, Seqno s,
                  const SentPacket& packet) {
  core.tracer.now = std::max(core.tracer.now, now);
  const int64_t age_us = (core.tracer.now.ns - packet.sent_ns) / 1000;
  append(core, flow,
         {.seq = s.value,
          .ack = flow.rx_next.value,
          .value = clamped<uint32_t>(static_cast<uint64_t>(std::max<int64_t>(age_us, 0))),
          .window = clamped<uint16_t>(flow.congestion.window_packets()),
          .kind = kind,
          .detail = packet.transmissions});
}

void trace_timer(Core& core, const Flow& flow, ipc::TraceKind kind, LossTimer timer, Instant at) {
  if (kind == ipc::kTraceFired) core.tracer.now = at;
  const int64_t us = at == Instant::never() ? 0 : (at.ns - core.tracer.now.ns) / 1000;
  trace_event(core, flow, kind, static_cast<uint8_t>(timer),
              static_cast<uint64_t>(std::max<int64_t>(us, 0)));
}

void trace_progress(Core& core, const Flow& flow, uint32_t acked, Duration rtt) {
  if (rtt.ns > 0) trace_event(core, flow, ipc::kTraceRtt, 0, static_cast<uint64_t>(rtt.ns));
  trace_event(core, flow, ipc::kTraceAcked, 0, acked);
  trace_timer(core, flow, ipc::kTraceArmed, flow.loss_timer, flow.loss_deadline);
}

}  // namespace mn::transport
