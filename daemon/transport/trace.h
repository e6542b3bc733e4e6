// SPDX-License-Identifier: MIT
// Trace points: events of flows for a ring that somebody reads (ipc/trace.h). Without a ring each
// is one branch that is never taken; with one it is still no more than a record written to memory.
// The ring belongs to the caller of Transport::trace_to. Never decides anything.
#pragma once

#include "transport/core.h"

namespace mn::transport {

inline bool tracing(const Core& core) {
  return __builtin_expect(core.tracer.ring != nullptr, 0) != 0;
}

// Out of line, and marked cold: what runs when nobody traces stays as short as it was.
[[gnu::cold]] void trace_event(Core& core, const Flow& flow, ipc::TraceKind kind, uint8_t detail,
                               uint64_t value);
// Once, when somebody begins to read: names every flow there is.
[[gnu::cold]] void trace_begin(Core& core);
// `packet`: its bytes, a whole header; so that no value has to be kept for this where nobody
// traces.
[[gnu::cold]] void trace_packet(Core& core, Instant now, const Flow& flow, ipc::TraceKind kind,
                                const uint8_t* packet);
[[gnu::cold]] void trace_record(Core& core, Instant now, const Flow& flow, ipc::TraceKind kind,
                                Seqno s, const SentPacket& packet);
[[gnu::cold]] void trace_timer(Core& core, const Flow& flow, ipc::TraceKind kind, LossTimer timer,
                               Instant at);
// Acks, the round trip that came with them, and the timer that follows.
[[gnu::cold]] void trace_progress(Core& core, const Flow& flow, uint32_t acked, Duration rtt);

}  // namespace mn::transport

// Something happened to `flow`, at the time that the packet or timer before it brought.
#define MN_TRACE(core, flow, kind, detail, value)                               \
  do {                                                                          \
    if (::mn::transport::tracing(core)) {                                       \
      ::mn::transport::trace_event(core, flow, ::mn::ipc::kind, detail, value); \
    }                                                                           \
  } while (false)
#define MN_TRACE_WITH(what, core, ...)                                            \
  do {                                                                            \
    if (::mn::transport::tracing(core)) ::mn::transport::what(core, __VA_ARGS__); \
  } while (false)
