// SPDX-License-Identifier: MIT
// Loss detection: a packet is lost when one sent sufficiently later has arrived (RACK), a probe
// goes out when the end of a flight stays unanswered (TLP; both RFC 8985), and a retransmission
// timeout with back-off is the last resort (RFC 6298). Also the timer that asks about a shut
// window.
#pragma once

#include "transport/core.h"

namespace mn::transport {

// Remembers the packet sent last among those that arrived.
inline void note_arrival(Flow& flow, Instant now, int64_t sent_ns, Seqno s) {
  if (sent_ns > flow.rack_sent_ns || (sent_ns == flow.rack_sent_ns && before(flow.rack_end, s))) {
    flow.rack_sent_ns = sent_ns;
    flow.rack_end = s;
    flow.rack_rtt_ns = now.ns - sent_ns;
  }
}

// Marks what is lost, after `acked` packets were acknowledged; returns when to look again (never:
// nothing is in doubt).
Instant detect_losses(Core& core, Instant now, Flow& flow, uint32_t acked);
// The packet goes to the list of lost ones.
void mark_lost(Core& core, Flow& flow, Seqno s);
// The peer's window opens again after it was shut: what it had dropped for lack of buffers is lost.
void mark_unanswered_lost(Core& core, Instant now, Flow& flow);

// Chooses the flow's loss timer. `in_doubt`: from detect_losses.
void set_loss_timer(Core& core, Instant now, Flow& flow, Instant in_doubt);
// After a packet with new data left: the cheap common case of set_loss_timer.
void on_data_left(Core& core, Instant now, Flow& flow);
// The loss deadline has come.
void on_loss_deadline(Core& core, Instant now, Flow& flow);

}  // namespace mn::transport
