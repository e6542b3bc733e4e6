// SPDX-License-Identifier: MIT
#include "transport/lifecycle.h"

#include <algorithm>
#include <cerrno>

#include "ipc/shm_layout.h"
#include "transport/loss_detection.h"
#include "transport/receiver.h"
#include "transport/sender.h"
#include "transport/trace.h"

namespace mn::transport {

namespace {

constexpr Duration kHalfOpenTimeout = seconds(1);
constexpr int64_t kProbeHaste = 5;  // of keep-alive questions, once one was not answered
// A close that does not get on, while the peer's host answers: its application has stopped reading.
constexpr Duration kCloseTimeout = seconds(60);

// Out of the lists of its store, which may go away afterwards.
void detach(Core& core, Flow& flow) {
  flow.store_link.unlink();
  flow.group->flow_count--;
  if (flow.starved) {
    flow.starved = false;
    flow.starved_link.unlink();
    flow.group->starved_count--;
  }
  flow.ready_link.unlink();
  if (flow.group->ready_flows.empty()) flow.group->ready_link.unlink();
  flow.group = &core.orphans;
}

Instant silent_since(const Core& core, Instant since) { return std::max(since, core.silence_from); }

void count_end(Core& core, uint32_t reason) {
  core.counters.flows_ended++;
  if (reason == ipc::kEndReset) core.counters.flows_reset++;
  if (reason == ipc::kEndTimeout) core.counters.flows_timed_out++;
}

// As long as the peer may go on sending its close again. A slot that is needed is taken before
// (take_flow).
void linger(Core& core, Instant now, Flow& flow) {
  flow.linger_until = now + core.config.dead_timeout;
  need_timer(core, flow, flow.linger_until);
}

}  // namespace

void end_flow(Core& core, Instant now, Flow& flow, const FlowEnding& ending) {
  MN_ASSERT(flow.state != FlowState::kDead && flow.state != FlowState::kFree);
  const FlowState was = flow.state;
  if (was == FlowState::kHalfOpen) core.half_open -= !flow.proven;
  return_buffers(core, flow);
  discard_early(core, flow);
  const bool told = was == FlowState::kEstablished;
  flow.store->flow_ended(flow.store_flow, told ? ending.reason : 0);
  detach(core, flow);
  flow.state = FlowState::kDead;
  MN_TRACE(core, flow, kTraceState, static_cast<uint8_t>(flow.state), ending.reason);
  flow.loss_timer = LossTimer::kNone;
  flow.loss_deadline = flow.ack_deadline = flow.pace_at = flow.path_deadline = Instant::never();
  flow.ack_now = flow.probe_due = flow.tail_probe_due = flow.open_due = false;
  flow.path_asked = false;
  flow.path_due = 0;
  if (told) {
    count_end(core, ending.reason);
    flow.ended_event = true;
    core.post_event(&flow);
  } else if (was == FlowState::kOpening && !ending.silent) {
    flow.failed_event = true;
    flow.rx_message_bytes = static_cast<uint32_t>(ending.error);  // kept for the event
    core.post_event(&flow);
  }
  if (ending.send_reset && flow.tag_remote != 0) {
    flow.reset_due = true;
    mark_ready(core, flow);
  }
  if (ending.linger) {
    flow.lingering = true;
    core.lingering.push_back(&flow.store_link);
    linger(core, now, flow);
  }
  core.release_if_done(&flow);
}

void on_peer_closed(Core& core, Instant now, Flow& flow) {
  if (flow.rx_in_message) {  // cut off: the application must not take it for an orderly end
    end_flow(core, now, flow, {.reason = ipc::kEndReset, .send_reset = true});
    return;
  }
  end_flow(core, now, flow, {.reason = ipc::kEndClosedByPeer, .linger = true});
  ask_for_ack(core, flow);
}

bool on_reset(Core& core, Instant now, Flow& flow, const wire::PacketHeader& header) {
  const bool reflected = (header.flags & wire::kFlagReflected) != 0;
  const uint32_t expected = reflected ? flow.tag_remote : flow.tag_local;
  if (expected == 0 || header.tag != expected) return false;
  switch (flow.state) {
    case FlowState::kOpening:
      end_flow(core, now, flow, {.error = ECONNREFUSED});
      return true;
    case FlowState::kDead:
      flow.lingering = flow.ack_now = false;
      core.release_if_done(&flow);
      return true;
    default:
      break;
  }
  // A peer that has forgotten the flow after our close had everything but the last ack.
  const bool only_close_left = flow.close_sent && flow.outstanding() == 1;
  end_flow(core, now, flow, {.reason = only_close_left ? ipc::kEndClosed : ipc::kEndReset});
  return true;
}

void on_lingering_packet(Core& core, Instant now, Flow& flow, const wire::PacketHeader& header) {
  switch (header.type) {
    case wire::PacketType::kData:
    case wire::PacketType::kPart:
    case wire::PacketType::kClose:
    case wire::PacketType::kProbe:
      note_echo(flow, now, header);
      ask_for_ack(core, flow);
      linger(core, now, flow);
      return;
    default:
      return;
  }
}

void begin_close(Core& core, Instant now, Flow& flow) {
  if (flow.state != FlowState::kEstablished || flow.tx_cut) {
    end_flow(core, now, flow,
             {.reason = ipc::kEndReset, .send_reset = true, .error = ECONNABORTED});
    return;
  }
  if (flow.close_requested) return;
  flow.close_requested = true;
  flow.progress_at = now;
  mark_ready(core, flow);
}

Instant life_deadline(const Core& core, const Flow& flow) {
  switch (flow.state) {
    case FlowState::kOpening:
      return flow.born_at + core.config.open_timeout;
    case FlowState::kHalfOpen:
      return flow.born_at + kHalfOpenTimeout;
    case FlowState::kDead:
      return flow.lingering ? flow.linger_until : Instant::never();
    case FlowState::kFree:
      return Instant::never();
    case FlowState::kEstablished:
      break;
  }
  // A question without an answer is asked again soon: five lost packets are no dead peer.
  const Duration interval = core.config.keepalive_interval;
  Instant at = flow.probed_at > flow.heard_at ? flow.probed_at + interval / kProbeHaste
                                              : flow.heard_at + interval;
  if (flow.has_waited)
    at = std::min(at, silent_since(core, flow.waiting_since) + core.config.dead_timeout);
  if (flow.close_requested) at = std::min(at, flow.progress_at + kCloseTimeout);
  if (flow.rx_early > 0)
    at = std::min(at, silent_since(core, flow.hole_since) + core.config.dead_timeout);
  return at;
}

bool on_life_deadline(Core& core, Instant now, Flow& flow) {
  if (life_deadline(core, flow) > now) return true;
  switch (flow.state) {
    case FlowState::kOpening:
      end_flow(core, now, flow, {.error = ETIMEDOUT});
      return false;
    case FlowState::kHalfOpen:
      end_flow(core, now, flow, {});
      return false;
    case FlowState::kDead:
      flow.lingering = flow.ack_now = false;
      core.release_if_done(&flow);
      return false;
    case FlowState::kFree:
      return false;
    case FlowState::kEstablished:
      break;
  }
  const Duration patience = core.config.dead_timeout;
  // A hole that nothing fills keeps buffers of others. That the peer is heard does not show that it
  // means to: every repetition may have been lost, and what is heard be old packets come late.
  if ((flow.has_waited && now - silent_since(core, flow.waiting_since) >= patience) ||
      (flow.close_requested && now - flow.progress_at >= kCloseTimeout) ||
      (flow.rx_early > 0 && now - silent_since(core, flow.hole_since) >= patience)) {
    end_flow(core, now, flow, {.reason = ipc::kEndTimeout, .send_reset = true});
    return false;
  }
  flow.probed_at = now;
  flow.probe_due = true;
  mark_ready(core, flow);
  return true;
}

}  // namespace mn::transport
