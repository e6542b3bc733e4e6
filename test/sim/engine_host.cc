// SPDX-License-Identifier: MIT
#include "sim/engine_host.h"

#include <algorithm>

#include "sim/flow_trace.h"

namespace mn::test {
namespace {
constexpr int kPollsPerWake = 8;
}

EngineHost::EngineHost(RunState* run, int index, uint64_t seed, const EngineSetup& setup)
    : run_(run), index_(index), random_(seed), setup_(setup) {
  for (uint32_t i = 0; i < setup.engines; i++) {
    NicFacts facts = setup.facts;
    facts.queue = static_cast<uint16_t>(i);
    members_.push_back(std::make_unique<Member>(facts, setup, random_.next()));
  }
  if (setup.engines > 1) {
    rss_key_ = random_.next();
    resteer();
  }
  make_engine();
}

EngineHost::~EngineHost() {
  for (auto& member : members_) member->engine.reset();
}

void EngineHost::resteer() {
  if (setup_.engines == 1) return;
  for (uint32_t& queue : rss_table_) queue = static_cast<uint32_t>(random_.below(setup_.engines));
}

// UDP by its four-tuple; the rest has one queue.
uint32_t EngineHost::queue_of(std::span<const uint8_t> frame) const {
  if (setup_.engines == 1) return 0;
  uint64_t hash = rss_key_;
  if (frame.size() >= 42 && frame[12] == 8 && frame[13] == 0 && frame[23] == 17) {
    for (size_t at = 26; at < 38; at++) hash = mix64(hash ^ frame[at]);
  }
  return rss_table_[hash % rss_table_.size()];
}

void EngineHost::make_engine() {
  EngineConfig config;
  config.address = host_address(index_);
  config.prefix_length = setup_.prefix_length;
  config.gateway = setup_.prefix_length == 32 ? host_address(1 - index_) : 0;
  config.transport = run_->profile->transport[index_];
  config.transport.seed ^= mix64(++lives_);
  if (setup_.engines > 1) {
    group_ = std::make_unique<EngineGroup>(setup_.engines);
    config.group = group_.get();
  }
  for (uint32_t i = 0; i < setup_.engines; i++) {
    Member& member = *members_[i];
    config.index = i;
    config.transport.seed = mix64(config.transport.seed + i);
    member.counters = std::make_unique<ipc::EngineCounters>();
    member.engine = std::make_unique<Engine>(config, &member.faulty, member.counters.get(), -1);
    FlowTrace* trace = FlowTrace::current();
    if (trace == nullptr) continue;
    SIM_CHECK(member.engine->commands().try_push({.kind = EngineCommand::Kind::kTrace,
                                                  .ring = trace->ring(),
                                                  .ring_capacity = FlowTrace::kCapacity,
                                                  .engine = static_cast<uint16_t>(index_)}),
              "the command queue is full");
  }
  for (auto& app : apps_) dead_apps_.push_back(std::move(app));
  apps_.clear();
  for (uint32_t i = 0; i < run_->profile->stores; i++) {
    apps_.push_back(std::make_unique<EngineApp>(run_, this, static_cast<int>(i), random_.next()));
  }
}

// High half: the application (from 1), low half: its own number; a lane's own commands have number
// 0.
uint64_t EngineHost::cookie(EngineApp* app, uint64_t number) const {
  for (size_t i = 0; i < apps_.size(); i++) {
    if (apps_[i].get() == app) return (i + 1) << 32 | number;
  }
  return 0;
}

void EngineHost::command(uint32_t engine, const EngineCommand& command) {
  SIM_CHECK(members_[engine]->engine->commands().try_push(command), "the command queue is full");
  wake();
}

uint64_t EngineHost::faults_injected() const {
  uint64_t sum = 0;
  for (const auto& member : members_) sum += member->faulty.injected();
  return sum;
}

Instant EngineHost::next_deadline() const {
  Instant next = Instant::never();
  for (const auto& member : members_) next = std::min(next, member->engine->next_deadline());
  return next;
}

void EngineHost::start() {
  for (uint32_t i = 0; i < apps_.size(); i++) {
    const Ipv4 ip = random_.chance(0.5) ? host_address(index_) : 0;
    for (uint32_t engine = 0; engine < setup_.engines; engine++) {
      EngineCommand add;
      add.kind = EngineCommand::Kind::kAddLane;
      add.cookie = cookie(apps_[i].get(), 0);
      add.lane = apps_[i]->lane(engine);
      command(engine, add);
      EngineCommand listen = add;
      listen.kind = EngineCommand::Kind::kListen;
      listen.tuple.local_ip = ip;
      listen.tuple.local_port = static_cast<Port>(kListenPort + i);
      command(engine, listen);
    }
  }
}

void EngineHost::restart() {
  run_->trace->note(run_->clock->now(), "host %d restarts", index_);
  for (auto& app : apps_) app->forget_all();
  for (auto& member : members_) member->engine.reset();
  for (auto& member : members_) {
    member->faulty.forget();
    member->port.power_cycle();
  }
  make_engine();
  start();
}

void EngineHost::open(uint32_t app, Port local_port, Port remote_port, const FlowPlan& plan) {
  apps_[app]->open({host_address(index_), host_address(1 - index_), local_port, remote_port}, plan);
}

void EngineHost::packet_arrived(std::span<const uint8_t> bytes, bool) {
  frame_arrived_at(queue_of(bytes), bytes);
}

void EngineHost::frame_arrived_at(uint32_t queue, std::span<const uint8_t> bytes) {
  members_[queue]->port.frame_arrived(bytes);
  wake_at(run_->clock->now() + random_.duration({}, run_->profile->poll_delay_max));
}

void EngineHost::wake_at(Instant when) {
  if (when >= wake_at_) return;
  wake_at_ = when;
  const uint64_t generation = ++wake_generation_;
  run_->clock->at(when, [this, generation] {
    if (generation == wake_generation_) poll();
  });
}

void EngineHost::pass_events() {
  EngineEvent event;
  for (auto& member : members_) {
    while (member->engine->events().try_pop(&event)) {
      run_->trace->add(static_cast<uint64_t>(event.kind));
      for (auto& app : apps_) {
        if (app->has(event.lane)) app->on_event(event);
      }
    }
  }
}

void EngineHost::stop(Duration length) {
  if (run_->winding_down) return;
  run_->trace->note(run_->clock->now(), "host %d stops for %lld us", index_,
                    static_cast<long long>(length.ns / 1000));
  stopped_until_ = run_->clock->now() + length;
}

void EngineHost::drop_link(Duration length) {
  if (run_->winding_down) return;
  run_->trace->note(run_->clock->now(), "host %d: link down", index_);
  lose_link(length);
}

// The engine does it, and nothing else meanwhile.
void EngineHost::reset_nic(Duration length) {
  if (run_->winding_down) return;
  run_->trace->note(run_->clock->now(), "host %d: NIC reset", index_);
  lose_link(length);
  for (auto& member : members_) member->port.reset();
  stop(length);
}

void EngineHost::poll() {
  wake_at_ = Instant::never();
  const Instant now = run_->clock->now();
  if (now < stopped_until_) {
    wake_at(stopped_until_);
    return;
  }
  stuck_polls_ = now == last_poll_ ? stuck_polls_ + 1 : 0;
  last_poll_ = now;
  SIM_CHECK(stuck_polls_ < 2000, "host %d: the deadline does not move (%lld, now %lld)", index_,
            static_cast<long long>(next_deadline().ns), static_cast<long long>(now.ns));
  Instant next = Instant::never();
  for (int i = 0; i < kPollsPerWake; i++) {
    for (auto& app : apps_) {
      if (!app->removed()) next = std::min(next, app->work());
    }
    size_t work = 0;
    for (auto& member : members_) work += member->engine->poll_once(now + clock_ahead_);
    if (FlowTrace* trace = FlowTrace::current()) trace->save();
    pass_events();
    if (work == 0) break;
    if (i == kPollsPerWake - 1) wake_at(now + nanoseconds(500));
  }
  for (auto& app : apps_) next = std::min(next, app->work());
  // The applications may have written something just now.
  bool input = false;
  for (uint32_t i = 0; i < setup_.engines; i++) {
    Member& member = *members_[i];
    input = input || member.port.rx_waiting() || member.faulty.wants_poll();
    for (auto& app : apps_) input = input || (!app->removed() && app->lane(i)->has_input());
    if (member.port.tx_blocked()) {
      wake_at(std::max(member.port.tx_unblocked(), now + nanoseconds(500)));
    }
  }
  if (input) wake_at(now + nanoseconds(500));
  next = std::min(next, next_deadline() - clock_ahead_);
  if (next != Instant::never()) wake_at(std::max(next, now));
}

bool EngineHost::plans_done() const {
  return std::all_of(apps_.begin(), apps_.end(), [](const auto& app) { return app->plans_done(); });
}

void EngineHost::close_everything(SimRandom* random, bool all) {
  for (auto& app : apps_) app->close_everything(random, all);
}

// Of several reasons for it to be down the longest counts.
void EngineHost::lose_link(Duration length) {
  set_link(false);
  link_lost_until_ = std::max(link_lost_until_, run_->clock->now() + length);
  run_->clock->after(length, [this] {
    if (run_->clock->now() >= link_lost_until_) set_link(true);
  });
}

void EngineHost::set_link(bool is_up) {
  for (auto& member : members_) member->port.set_link(is_up);
}

uint32_t EngineHost::flow_count() const {
  const auto order = std::memory_order_relaxed;
  uint64_t count = 0;
  for (const auto& member : members_) {
    count += member->counters->flows_opened.load(order) - member->counters->flows_ended.load(order);
  }
  return static_cast<uint32_t>(count);
}

bool EngineHost::idle() const {
  return flow_count() == 0 && std::none_of(apps_.begin(), apps_.end(),
                                           [](const auto& app) { return app->has_delivery(); });
}

void EngineHost::describe() const {
  std::fprintf(
      stderr, "host %d, next deadline in %lld us, wakes in %lld us:", index_,
      static_cast<long long>((next_deadline() - clock_ahead_ - run_->clock->now()).ns / 1000),
      static_cast<long long>((wake_at_ - run_->clock->now()).ns / 1000));
  for (const auto& member : members_) {
#define MN_PRINT(name, help)                                                           \
  if (const uint64_t value = member->counters->name.load(std::memory_order_relaxed)) { \
    std::fprintf(stderr, " " #name "=%llu", static_cast<unsigned long long>(value));   \
  }
    MN_COUNTERS(MN_PRINT)
#undef MN_PRINT
    std::fprintf(stderr, "\n");
  }
  for (const auto& app : apps_) app->describe();
}

void EngineHost::check_empty() {
  for (auto& app : apps_) app->check_empty();
  for (int i = 0; i < 4; i++) {
    for (auto& member : members_) member->engine->poll_once(run_->clock->now() + clock_ahead_);
  }
  pass_events();
  for (auto& app : apps_) {
    app->check_ports();
    if (app->removed()) continue;
    for (uint32_t i = 0; i < setup_.engines; i++) {
      const Lane* lane = app->lane(i);
      if (lane->rx_free() != lane->rx_capacity()) describe();
      SIM_CHECK(lane->rx_free() == lane->rx_capacity(), "host %d: %u of %u rx buffers came back",
                index_, lane->rx_free(), lane->rx_capacity());
    }
  }
}

}  // namespace mn::test
