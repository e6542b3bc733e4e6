// SPDX-License-Identifier: MIT
#include "sim/engine_app.h"

#include <poll.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "libmachnet/channel_state.h"
#include "libmachnet/message_io.h"
#include "sim/engine_host.h"

namespace mn::test {
namespace {

FourTuple tuple_of(const MachnetFlow_t& local) {
  return {local.src_ip, local.dst_ip, local.src_port, local.dst_port};
}
MachnetFlow_t name_of(const FourTuple& tuple) {
  return {tuple.local_ip, tuple.remote_ip, tuple.local_port, tuple.remote_port};
}

}  // namespace

EngineApp::EngineApp(RunState* run, EngineHost* host, int index, uint64_t seed)
    : run_(run), host_(host), index_(index), random_(seed), buffer_(64 << 10) {
  const int host_index = host->index();
  const std::vector<Appetite>& appetites = run->profile->appetite[host_index];
  if (static_cast<size_t>(index) < appetites.size())
    appetite_ = appetites[static_cast<size_t>(index)];
  const StoreShape& store = run->profile->shape[host_index];
  const ipc::LaneShape shape{store.tx_buffers, store.rx_buffers, store.buffer_size,
                             store.flow_slots};
  const std::vector<ipc::LaneShape> shapes(host->engines(), shape);
  auto channel = Channel::create(shapes);
  SIM_CHECK(channel.ok(), "channel: %s", channel.error().c_str());
  channel_ = std::move(channel.value());
  mapping_ = mmap(nullptr, channel_->memory_size(), PROT_READ | PROT_WRITE, MAP_SHARED,
                  channel_->memory_fd(), 0);
  SIM_CHECK(mapping_ != MAP_FAILED, "mmap of the channel: %s", std::strerror(errno));
  std::vector<int> engine_fds;
  for (uint32_t i = 0; i < host->engines(); i++) engine_fds.push_back(channel_->engine_fd(i));
  client::ChannelParts parts;
  parts.memory = mapping_;
  parts.memory_size = channel_->memory_size();
  parts.shapes = shapes.data();
  parts.lane_count = host->engines();
  parts.application_fd = channel_->application_fd();
  parts.engine_fds = engine_fds.data();
  client_ = client::channel_from_memory(parts);
  SIM_CHECK(client_ != nullptr, "channel_from_memory: %s", std::strerror(errno));
  client_->check_ticks = UINT64_MAX;  // what happens by the real clock happens by chance here
  // One that leaves messages lying may not wait for the descriptor.
  if (random_.chance(0.3) && appetite_.gap.ns == 0) {
    fd_ = machnet_fd(client_);
    SIM_CHECK(fd_ >= 0, "machnet_fd: %s", std::strerror(errno));
  }
}

EngineApp::~EngineApp() {
  client::channel_free(client_);
  munmap(mapping_, channel_->memory_size());
}

void EngineApp::open(const FourTuple& tuple, const FlowPlan& plan) {
  if (dead_ || run_->winding_down || by_tuple_.count(tuple) != 0) return;
  Flow& flow = flows_.emplace_back();
  flow.plan = plan;
  flow.name = name_of(tuple);
  flow.life = run_->oracle->open(host_->index(), tuple, true);
  by_tuple_[tuple] = &flow;
  live_.push_back(&flow);
  connecting_++;
  flow.engine = static_cast<uint32_t>(random_.below(host_->engines()));
  connect(&flow, flows_.size(), random_.chance(host_->settles()));
}

void EngineApp::connect(Flow* flow, uint64_t number, bool settles) {
  EngineCommand command;
  command.kind = EngineCommand::Kind::kConnect;
  command.cookie = host_->cookie(this, number);
  command.lane = lane(flow->engine);
  command.tuple = flow->life->tuple;
  command.settles = settles;
  host_->command(flow->engine, command);
}

bool EngineApp::has(const Lane* lane) const {
  for (uint32_t i = 0; i < client_->lane_count; i++) {
    if (channel_->lane(i) == lane) return true;
  }
  return false;
}

void EngineApp::on_event(const EngineEvent& event) {
  const uint64_t number = event.cookie & 0xffffffff;
  switch (event.kind) {
    case EngineEvent::Kind::kConnected: {
      SIM_CHECK(number >= 1 && number <= flows_.size(), "a connect that nobody asked for");
      Flow& flow = flows_[number - 1];
      connecting_--;
      if (dead_) return;
      SIM_CHECK(event.tuple == flow.life->tuple, "connected with another tuple");
      SIM_CHECK(client::register_flow(client_, flow.engine, event.flow, flow.name),
                "register_flow: %s", std::strerror(errno));
      flow.connected = true;
      flow.next_send = run_->clock->now();
      run_->oracle->connected(flow.life);
      return;
    }
    case EngineEvent::Kind::kMoved: {
      Flow& flow = flows_[number - 1];
      if (dead_) return;
      SIM_CHECK(event.engine != flow.engine, "a flow moves to where it is");
      flow.engine = event.engine;
      connect(&flow, number, true);
      return;
    }
    case EngineEvent::Kind::kDone:
      if (number == 0) return;  // listen, add lane
      connecting_--;
      if (dead_) return;
      SIM_CHECK(event.error == ECONNREFUSED || event.error == ETIMEDOUT ||
                    event.error == EHOSTUNREACH || event.error == EADDRINUSE ||
                    event.error == ENOBUFS,
                "connect failed with error %d", event.error);
      run_->oracle->connect_failed(flows_[number - 1].life);
      over(&flows_[number - 1]);
      return;
    case EngineEvent::Kind::kLaneViolated:
      sim_fail("host %d: the engine says that the application broke the protocol: %s",
               host_->index(), event.reason);
    case EngineEvent::Kind::kLaneRemoved:
      lanes_removed_++;
      return;
    case EngineEvent::Kind::kPortFree:
      SIM_CHECK(dead_ || ports_over_[event.tuple]-- > 0,
                "host %d: a port is free whose flow the application has", host_->index());
      return;
    case EngineEvent::Kind::kFlowStats:
    case EngineEvent::Kind::kLaneDrained:
    case EngineEvent::Kind::kFlowEnded:
      return;
  }
}

void EngineApp::over(Flow* flow) {
  if (flow->connected && flow->life->opener) ports_over_[flow->life->tuple]++;
  auto found = by_tuple_.find(flow->life->tuple);
  if (found != by_tuple_.end() && found->second == flow) by_tuple_.erase(found);
  std::erase(live_, flow);
}

EngineApp::Flow* EngineApp::by_local(const MachnetFlow_t& local) {
  auto found = by_tuple_.find(tuple_of(local));
  SIM_CHECK(found != by_tuple_.end(),
            "host %d: hears of flow %08x:%u -> %08x:%u, which it does not know", host_->index(),
            local.src_ip, local.src_port, local.dst_ip, local.dst_port);
  return found->second;
}

void EngineApp::take_events() {
  MachnetEvent_t event;
  int status;
  while ((status = machnet_next_event(client_, &event)) == 1) {
    if (event.type == MACHNET_EVENT_ACCEPTED) {
      const FourTuple tuple = tuple_of(event.flow);
      SIM_CHECK(by_tuple_.count(tuple) == 0, "host %d: accepted a flow that it has",
                host_->index());
      Flow& flow = flows_.emplace_back();
      flow.plan = run_->profile->plan(&random_, false);
      flow.name = event.flow;
      flow.connected = true;
      flow.next_send = run_->clock->now();
      flow.life = run_->oracle->open(host_->index(), tuple, false);
      run_->oracle->connected(flow.life);
      by_tuple_[tuple] = &flow;
      live_.push_back(&flow);
      continue;
    }
    Flow* flow = by_local(event.flow);
    run_->oracle->on_ended(flow->life, event.type == MACHNET_EVENT_CLOSED  ? ipc::kEndClosedByPeer
                                       : event.type == MACHNET_EVENT_RESET ? ipc::kEndReset
                                                                           : ipc::kEndTimeout);
    over(flow);
  }
  SIM_CHECK(status == 0, "machnet_next_event: %s", std::strerror(errno));
}

void EngineApp::send_some(Flow* flow, Instant* next) {
  if (!flow->connected || flow->ending || flow->life->over()) return;
  for (int i = 0; i < 32; i++) {
    if (flow->length == 0) {
      if (flow->next_send > run_->clock->now()) {
        *next = std::min(*next, flow->next_send);
        return;
      }
      if (!begin_message(flow)) return;
    }
    const int error = send_message(flow);
    if (error == 0) continue;
    if (error == EAGAIN) {
      room_wanted_ = true;
      return;
    }
    // The flow is over and its event is on the way: this message was never sent.
    SIM_CHECK(error == EPIPE || error == ENOTCONN || error == ECONNRESET || error == ETIMEDOUT,
              "send: %s", std::strerror(error));
    flow->life->lengths.pop_back();
    flow->length = 0;
    flow->plan.messages = 0;
    return;
  }
  *next = run_->clock->now();
}

void EngineApp::end(Flow* flow) {
  flow->ending = true;
  const int status = machnet_close(client_, flow->name);
  SIM_CHECK(status == 0 || errno == ENOTCONN, "machnet_close: %s", std::strerror(errno));
  if (status != 0) return;  // its end waits among the events
  // The program hears nothing more of it.
  run_->oracle->close_and_forget(flow->life);
  over(flow);
}

void EngineApp::end_if_due(Flow* flow, Instant* next) {
  if (!flow->connected || flow->ending || flow->plan.end == EndAction::kNone || flow->life->over())
    return;
  if (flow->length != 0 ||
      (flow->life->lengths.size() < flow->plan.messages && run_->bytes_left > 0))
    return;
  if (flow->end_at == Instant::never()) flow->end_at = run_->clock->now() + flow->plan.end_delay;
  if (flow->end_at > run_->clock->now()) {
    *next = std::min(*next, flow->end_at);
    return;
  }
  end(flow);
}

// Applications with machnet_fd look only when it is readable: a doorbell that is not rung stops
// them for good.
bool EngineApp::may_look(Instant* next) {
  const Instant now = run_->clock->now();
  if (!run_->winding_down && now >= appetite_.stopped_from && now < appetite_.stopped_to) {
    *next = std::min(*next, appetite_.stopped_to);
    return false;
  }
  if (!run_->winding_down && appetite_.gap.ns > 0 && now < next_take_) {
    *next = std::min(*next, next_take_);
    return false;
  }
  if (fd_ < 0) return true;
  pollfd waiting{fd_, POLLIN, 0};
  if (poll(&waiting, 1, 0) != 1) {
    SIM_CHECK(!has_delivery() || run_->clock->now() == last_look_,
              "host %d: entries wait and the doorbell was not rung", host_->index());
    return false;
  }
  last_look_ = run_->clock->now();
  waits_seen_++;
  return true;
}

Instant EngineApp::work() {
  Instant next = Instant::never();
  if (dead_ || connecting_ > 0) return next;
  if (may_look(&next)) {
    take_events();
    const bool slow = appetite_.gap.ns > 0 && !run_->winding_down;
    while (take_message()) {
      take_events();
      if (slow) break;
    }
    if (slow) {
      next_take_ = run_->clock->now() + appetite_.gap;
      next = std::min(next, next_take_);
    }
  }
  room_wanted_ = false;
  if (random_.chance(0.05))
    SIM_CHECK(client::channel_check_now(client_) == 0, "the channel died: %d", client_->dead_errno);
  const std::vector<Flow*> flows = live_;
  for (size_t i = 0; i < flows.size(); i++) send_some(flows[(turn_ + i) % flows.size()], &next);
  turn_++;
  for (Flow* flow : flows) end_if_due(flow, &next);
  return next;
}

void EngineApp::crash() {
  if (dead_) return;
  for (uint32_t i = 0; i < lanes(); i++) {
    EngineCommand command;
    command.kind = EngineCommand::Kind::kRemoveLane;
    command.cookie = host_->cookie(this, 0);
    command.lane = lane(i);
    host_->command(i, command);
  }
  forget_all();
}

void EngineApp::forget_all() {
  dead_ = true;
  for (Flow& flow : flows_) run_->oracle->crash(flow.life);
  live_.clear();
  by_tuple_.clear();
}

void EngineApp::close_everything(SimRandom* random, bool all) {
  if (dead_ || connecting_ > 0) return;
  for (Flow* flow : std::vector<Flow*>(live_)) {
    if (flow->connected && !flow->ending && flow->length == 0 && (all || random->chance(0.7)))
      end(flow);
  }
}

bool EngineApp::plans_done() const {
  if (dead_) return true;
  return std::all_of(live_.begin(), live_.end(), [this](const Flow* flow) {
    if (!flow->connected || flow->length != 0) return false;
    return flow->ending || flow->plan.echo || run_->bytes_left == 0 ||
           flow->life->lengths.size() >= flow->plan.messages;
  });
}

bool EngineApp::has_delivery() const {
  if (dead_) return false;
  for (uint32_t i = 0; i < client_->lane_count; i++) {
    if (!client_->lanes[i].deliver.empty()) return true;
  }
  return false;
}

void EngineApp::describe() const {
  for (uint32_t i = 0; i < client_->lane_count; i++) {
    const client::Lane& l = client_->lanes[i];
    std::fprintf(
        stderr,
        "  application %d%s%s: %u connecting, daemon has %u of %u rx buffers, %u gathered, "
        "%u in views, tx free %u of %u, "
        "deliveries %s, fd %s, descriptor %d\n",
        index_, dead_ ? " (dead)" : "", removed() ? " (removed)" : "", connecting_,
        removed() ? 0 : channel_->lane(i)->rx_free(), l.rx_buffers, l.gathered_buffers,
        l.view_buffers, l.tx_free_count, l.tx_buffers, l.deliver.empty() ? "none" : "wait",
        fd_ < 0 ? "unused" : "used", fd_);
  }
}

void EngineApp::check_empty() {
  if (dead_) return;
  if (view_held_) {
    SIM_CHECK(machnet_view_release(client_, &held_view_) == 0, "machnet_view_release: %s",
              std::strerror(errno));
    view_held_ = false;
  }
  const StoreShape& shape = run_->profile->shape[host_->index()];
  for (uint32_t i = 0; i < client_->lane_count; i++) {
    client::Lane* lane = &client_->lanes[i];
    SIM_CHECK(client::tx_drain(client_, lane), "the channel died: %d", client_->dead_errno);
    SIM_CHECK(lane->tx_free_count == shape.tx_buffers, "host %d: %u of %u tx buffers came back",
              host_->index(), lane->tx_free_count, shape.tx_buffers);
  }
}

void EngineApp::check_ports() {
  if (dead_) return;
  for (const auto& [tuple, count] : ports_over_) {
    SIM_CHECK(count == 0, "host %d: %d flows from port %u are over, and it is not free",
              host_->index(), count, tuple.local_port);
  }
}

}  // namespace mn::test
