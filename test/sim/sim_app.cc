// SPDX-License-Identifier: MIT
#include "sim/sim_app.h"

#include <algorithm>
#include <cerrno>

#include "ipc/shm_layout.h"

namespace mn::test {

using transport::FlowRef;
using transport::RequestStatus;

SimApp::SimApp(RunState* run, int host, uint32_t index, uint64_t seed)
    : run_(run),
      host_(host),
      random_(seed),
      store_(std::make_unique<ArrayStore>(run->profile->shape[host])) {
  const std::vector<Appetite>& appetites = run->profile->appetite[host];
  if (index < appetites.size()) appetite_ = appetites[index];
  by_slot_.resize(run->profile->shape[host].flow_slots);
  store_->on_flow_ended = [this](const FourTuple& tuple, uint32_t reason) {
    if (reason != ipc::kEndTimeout || !run_->profile->contents_checked) return;
    run_->liveness.check_given_up(host_, run_->clock->now(), tuple,
                                  run_->profile->transport[host_].dead_timeout);
  };
}

void SimApp::open(const FourTuple& tuple, const FlowPlan& plan) {
  if (dead_ || run_->winding_down) return;
  for (const Flow* flow : live_) {  // the control plane never gives a port twice
    if (flow->life->tuple == tuple) return;
  }
  Flow& flow = flows_.emplace_back();
  flow.plan = plan;
  flow.life = run_->oracle->open(host_, tuple, true);
  const RequestStatus status =
      transport_->open(run_->clock->now(), tuple, store_.get(), flows_.size(), 1, &flow.handle);
  if (status != RequestStatus::kOk) {
    run_->oracle->connect_failed(flow.life);
    return;
  }
  live_.push_back(&flow);
}

SimApp::Flow* SimApp::by_ref(FlowRef ref) {
  Flow* flow = by_slot_[ipc::flow_ref_slot(ref)];
  SIM_CHECK(flow != nullptr && flow->ref == ref,
            "host %d: delivery for flow %08x, which it does not know", host_, ref);
  return flow;
}

void SimApp::learn(Flow* flow, FlowRef ref) {
  flow->ref = ref;
  by_slot_[ipc::flow_ref_slot(ref)] = flow;
  flow->next_send = run_->clock->now();
  run_->oracle->connected(flow->life);
}

void SimApp::on_event(const transport::TransportEvent& event) {
  using Kind = transport::TransportEvent::Kind;
  if (event.kind == Kind::kEnded) return;
  SIM_CHECK(event.cookie >= 1 && event.cookie <= flows_.size(), "host %d: event with cookie %llu",
            host_, static_cast<unsigned long long>(event.cookie));
  Flow& flow = flows_[event.cookie - 1];
  SIM_CHECK(event.tuple == flow.life->tuple, "host %d: connect event with another tuple", host_);
  if (event.kind == Kind::kConnected) {
    SIM_CHECK(event.flow == flow.handle, "host %d: connect event with another handle", host_);
    learn(&flow, event.store_flow);
  } else {
    SIM_CHECK(
        event.error == ECONNREFUSED || event.error == ETIMEDOUT || (dead_ && event.error != 0),
        "host %d: connect failed with error %d", host_, event.error);
    if (flow.life->state == Life::State::kOpening) run_->oracle->connect_failed(flow.life);
    std::erase(live_, &flow);
  }
}

bool SimApp::may_take(Instant* next) {
  const Instant now = run_->clock->now();
  if (!store_->has_delivery()) return false;
  if (run_->winding_down) return true;
  if (now >= appetite_.stopped_from && now < appetite_.stopped_to) {
    *next = std::min(*next, appetite_.stopped_to);
    return false;
  }
  if (appetite_.gap.ns > 0) {
    if (now < next_take_) {
      *next = std::min(*next, next_take_);
      return false;
    }
    next_take_ = now + appetite_.gap;
  }
  return true;
}

bool SimApp::take_one() {
  Delivery delivery;
  if (!store_->next_delivery(&delivery)) return false;
  if (delivery.kind == Delivery::Kind::kOpened) {
    Flow& flow = flows_.emplace_back();
    flow.plan = run_->profile->plan(&random_, false);
    flow.handle = store_->handle(delivery.flow);
    flow.life = run_->oracle->open(host_, store_->tuple(delivery.flow), false);
    learn(&flow, delivery.flow);
    live_.push_back(&flow);
    return true;
  }
  Flow* flow = by_ref(delivery.flow);
  if (delivery.kind == Delivery::Kind::kEnded) {
    run_->oracle->on_ended(flow->life, delivery.reason);
    by_slot_[ipc::flow_ref_slot(delivery.flow)] = nullptr;
    store_->slot_release(delivery.flow);
    std::erase(live_, flow);
    return true;
  }
  const transport::RxSegment& segment = delivery.segment;
  const std::span<const uint8_t> bytes = store_->rx_buffer(segment);
  const uint32_t before = flow->life->received;
  if (segment.message_count > 0) {
    run_->oracle->on_bundle(flow->life, bytes, segment.message_count);
  } else {
    run_->oracle->on_bytes(flow->life, bytes, (segment.flags & ipc::kFirstSegment) != 0,
                           (segment.flags & ipc::kLastSegment) != 0);
  }
  flow->echoes += flow->life->received - before;
  delivered_++;
  store_->rx_release(segment.buffer);
  return true;
}

bool SimApp::begin_message(Flow* flow) {
  const FlowPlan& plan = flow->plan;
  if (flow->life->lengths.size() >= plan.messages || run_->bytes_left == 0 || run_->winding_down)
    return false;
  if (plan.echo && flow->echoes == 0) return false;
  // Mostly small: the square of a uniform number.
  const double u = random_.unit();
  uint32_t length =
      plan.size_min + static_cast<uint32_t>(u * u * (plan.size_max - plan.size_min + 1));
  length = std::min(length, plan.size_max);
  flow->index = run_->oracle->begin_message(flow->life, length);
  flow->length = flow->life->lengths.back();
  flow->offset = 0;
  run_->bytes_left -= std::min<uint64_t>(run_->bytes_left, flow->length);
  if (plan.echo) flow->echoes--;
  return true;
}

// False: no buffer, or the flow takes no more.
bool SimApp::send_segment(Flow* flow) {
  const transport::BufferIndex buffer = store_->tx_alloc();
  if (buffer == transport::kNoBuffer) return false;
  const uint32_t n = std::min(store_->buffer_size(), flow->length - flow->offset);
  run_->oracle->fill(*flow->life, flow->index, flow->offset, store_->tx_buffer(buffer).first(n));
  store_->tx_submitted(buffer);
  const bool last = flow->offset + n == flow->length;
  const RequestStatus status =
      transport_->send(run_->clock->now(), flow->handle, buffer, static_cast<uint16_t>(n), last);
  if (status != RequestStatus::kOk) {
    store_->tx_refused(buffer);
    SIM_CHECK(status == RequestStatus::kNoSuchFlow, "send: status %d", static_cast<int>(status));
    return false;
  }
  flow->offset += n;
  if (last) {
    run_->oracle->message_sent(flow->life);
    flow->length = 0;
    flow->next_send = run_->clock->now() + flow->plan.gap;
  }
  return true;
}

void SimApp::send_some(Flow* flow, Instant* next) {
  if (flow->ending || flow->ref == transport::kNoFlow || flow->life->over()) return;
  for (int i = 0; i < 64; i++) {
    if (flow->length == 0) {
      if (flow->next_send > run_->clock->now()) {
        *next = std::min(*next, flow->next_send);
        return;
      }
      if (!begin_message(flow)) return;
    }
    if (!send_segment(flow)) return;
  }
  *next = run_->clock->now();
}

void SimApp::end(Flow* flow, EndAction action) {
  flow->ending = true;
  const Instant now = run_->clock->now();
  // kNoSuchFlow: it is over, and the end waits in the queue.
  if (action == EndAction::kClose) {
    if (transport_->close(now, flow->handle) == RequestStatus::kOk) {
      flow->life->closed = true;
      run_->trace->note(now, "life %u: closes", flow->life->uid);
    }
  } else if (transport_->abort(now, flow->handle, ipc::kEndReset) == RequestStatus::kOk) {
    flow->life->aborted = true;
    run_->trace->note(now, "life %u: aborts", flow->life->uid);
  }
}

void SimApp::end_if_due(Flow* flow, Instant* next) {
  if (flow->ending || flow->ref == transport::kNoFlow || flow->plan.end == EndAction::kNone ||
      flow->life->over()) {
    return;
  }
  const bool sent_all = flow->length == 0 && (flow->life->lengths.size() >= flow->plan.messages ||
                                              run_->bytes_left == 0);
  if (!sent_all) return;
  if (flow->end_at == Instant::never()) flow->end_at = run_->clock->now() + flow->plan.end_delay;
  if (flow->end_at > run_->clock->now()) {
    *next = std::min(*next, flow->end_at);
    return;
  }
  end(flow, flow->plan.end);
}

Instant SimApp::work() {
  Instant next = Instant::never();
  if (dead_) return next;
  bool took = false;
  while (may_take(&next) && take_one()) took = true;
  if (took) transport_->on_store_space(run_->clock->now(), store_.get());
  const size_t count = live_.size();
  for (size_t i = 0; i < count; i++) send_some(live_[(turn_ + i) % count], &next);
  turn_++;
  for (size_t i = 0; i < live_.size(); i++) end_if_due(live_[i], &next);
  return next;
}

void SimApp::crash() {
  if (dead_) return;
  dead_ = true;
  transport_->abort_store(run_->clock->now(), store_.get(), ipc::kEndReset);
  SIM_CHECK(store_->tx_owned_by_transport() == 0, "abort_store left %u tx buffers",
            store_->tx_owned_by_transport());
  SIM_CHECK(store_->rx_owned_by_transport() == 0, "abort_store left %u rx buffers",
            store_->rx_owned_by_transport());
  SIM_CHECK(transport_->store_flow_count(store_.get()) == 0, "abort_store left %u flows",
            transport_->store_flow_count(store_.get()));
  forget_all();
}

void SimApp::forget_all() {
  for (Flow& flow : flows_) run_->oracle->crash(flow.life);
  live_.clear();
}

void SimApp::close_everything(SimRandom* random, bool all) {
  for (Flow* flow : std::vector<Flow*>(live_)) {
    if (flow->ending || flow->ref == transport::kNoFlow ||
        (run_->profile->contents_checked && !all && !random->chance(0.7))) {
      continue;
    }
    end(flow, flow->length == 0 && run_->profile->contents_checked ? EndAction::kClose
                                                                   : EndAction::kAbort);
  }
}

bool SimApp::plans_done() const {
  if (dead_) return true;
  return std::all_of(live_.begin(), live_.end(), [this](const Flow* flow) {
    if (flow->ref == transport::kNoFlow) return false;
    if (flow->ending || flow->length != 0) return flow->length == 0;
    return flow->plan.echo || run_->bytes_left == 0 ||
           flow->life->lengths.size() >= flow->plan.messages;
  });
}

}  // namespace mn::test
