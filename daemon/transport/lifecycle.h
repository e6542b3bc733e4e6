// SPDX-License-Identifier: MIT
// The end of a flow, and what watches over its life: orderly close, reset, keep-alive, death of the
// peer. A flow that is over for its application may linger without store and buffers to acknowledge
// what the peer sends again.
#pragma once

#include "transport/core.h"
#include "wire/packet_header.h"

namespace mn::transport {

struct FlowEnding {
  uint32_t reason = 0;  // ipc::EndReason; 0: the application never heard of the flow
  bool send_reset = false;
  bool linger = false;  // acknowledge what comes again
  int error = 0;        // kConnectFailed of a flow that was opening
  bool silent = false;  // no event of a flow that was opening
};

// Gives buffers back, tells store and control plane. The flow is kDead afterwards, or its slot
// free.
void end_flow(Core& core, Instant now, Flow& flow, const FlowEnding& ending);

// The peer's close came, everything before it was delivered.
void on_peer_closed(Core& core, Instant now, Flow& flow);
// False: a reset that is not from the peer or its host.
bool on_reset(Core& core, Instant now, Flow& flow, const wire::PacketHeader& header);
// A packet for a flow that is over.
void on_lingering_packet(Core& core, Instant now, Flow& flow, const wire::PacketHeader& header);

// Our application's close: after everything queued. A message cut short cannot be closed in order:
// reset.
void begin_close(Core& core, Instant now, Flow& flow);

inline void on_heard(Flow& flow, Instant now) {
  flow.heard_at = now;
  flow.has_waited = false;
}
// Something left that the peer must answer.
inline void on_asked(Flow& flow, Instant now) {
  if (flow.has_waited) return;
  flow.has_waited = true;
  flow.waiting_since = now;
}

// When the flow's life must be looked at next.
Instant life_deadline(const Core& core, const Flow& flow);
// Looks. False: the flow has ended.
bool on_life_deadline(Core& core, Instant now, Flow& flow);

}  // namespace mn::transport
