// SPDX-License-Identifier: MIT
#include "sim/engine_host.h"

#include <algorithm>

#include "sim/flow_trace.h"

namespace mn::test {
namespace {
constexpr int kPollsPerWake = 8;
}

EngineHost::EngineHost(RunState* run, int index, uint64_t seed, const EngineSetup& setup)
    : run_(run),
      index_(index),
      random_(seed),
      setup_(setup),
      port_(setup.facts, setup.tx_frames),
      faulty_(&port_, setup.faults, random_.next()) {
  make_engine();
}

EngineHost::~EngineHost() { engine_.reset(); }

void EngineHost::make_engine() {
  EngineConfig config;
  config.address = host_address(index_);
  config.prefix_length = setup_.prefix_length;
  config.gateway = setup_.prefix_length == 32 ? host_address(1 - index_) : 0;
  config.transport = run_->profile->transport[index_];
  config.transport.seed ^= mix64(++lives_);
  counters_ = std::make_unique<ipc::EngineCounters>();
  engine_ = std::make_unique<Engine>(config, &faulty_, counters_.get(), -1);
  if (FlowTrace* trace = FlowTrace::current()) {
    SIM_CHECK(engine_->commands().try_push({.kind = EngineCommand::Kind::kTrace,
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

void EngineHost::command(const EngineCommand& command) {
  SIM_CHECK(engine_->commands().try_push(command), "the command queue is full");
  wake();
}

void EngineHost::start() {
  for (uint32_t i = 0; i < apps_.size(); i++) {
    EngineCommand add;
    add.kind = EngineCommand::Kind::kAddLane;
    add.cookie = cookie(apps_[i].get(), 0);
    add.lane = apps_[i]->lane();
    command(add);
    EngineCommand listen = add;
    listen.kind = EngineCommand::Kind::kListen;
    listen.tuple.local_ip = random_.chance(0.5) ? host_address(index_) : 0;
    listen.tuple.local_port = static_cast<Port>(kListenPort + i);
    command(listen);
  }
}

void EngineHost::restart() {
  run_->trace->note(run_->clock->now(), "host %d restarts", index_);
  for (auto& app : apps_) app->forget_all();
  engine_.reset();
  faulty_.forget();
  port_.power_cycle();
  make_engine();
  start();
}

void EngineHost::open(uint32_t app, Port local_port, Port remote_port, const FlowPlan& plan) {
  apps_[app]->open({host_address(index_), host_address(1 - index_), local_port, remote_port}, plan);
}

void EngineHost::packet_arrived(std::span<const uint8_t> bytes, bool) {
  port_.frame_arrived(bytes);
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
  while (engine_->events().try_pop(&event)) {
    run_->trace->add(static_cast<uint64_t>(event.kind));
    for (auto& app : apps_) {
      if (event.lane == app->lane()) app->on_event(event);
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
  port_.set_link(false);
  run_->clock->after(length, [this] { port_.set_link(true); });
}

// The engine does it, and nothing else meanwhile.
void EngineHost::reset_nic(Duration length) {
  if (run_->winding_down) return;
  run_->trace->note(run_->clock->now(), "host %d: NIC reset", index_);
  port_.set_link(false);
  port_.reset();
  stop(length);
  run_->clock->after(length, [this] { port_.set_link(true); });
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
            static_cast<long long>(engine_->next_deadline().ns), static_cast<long long>(now.ns));
  Instant next = Instant::never();
  for (int i = 0; i < kPollsPerWake; i++) {
    for (auto& app : apps_) {
      if (!app->removed()) next = std::min(next, app->work());
    }
    const size_t work = engine_->poll_once(now + clock_ahead_);
    pass_events();
    if (work == 0) break;
    if (i == kPollsPerWake - 1) wake_at(now + nanoseconds(500));
  }
  for (auto& app : apps_) next = std::min(next, app->work());
  // The applications may have written something just now.
  bool input = port_.rx_waiting() || faulty_.wants_poll();
  for (auto& app : apps_) input = input || (!app->removed() && app->lane()->has_input());
  if (input) wake_at(now + nanoseconds(500));
  if (port_.tx_blocked()) wake_at(std::max(port_.tx_unblocked(), now + nanoseconds(500)));
  next = std::min(next, engine_->next_deadline() - clock_ahead_);
  if (next != Instant::never()) wake_at(std::max(next, now));
}

bool EngineHost::plans_done() const {
  return std::all_of(apps_.begin(), apps_.end(), [](const auto& app) { return app->plans_done(); });
}

void EngineHost::close_everything(SimRandom* random, bool all) {
  for (auto& app : apps_) app->close_everything(random, all);
}

uint32_t EngineHost::flow_count() const {
  const auto order = std::memory_order_relaxed;
  return static_cast<uint32_t>(counters_->flows_opened.load(order) -
                               counters_->flows_ended.load(order));
}

bool EngineHost::idle() const {
  return flow_count() == 0 && std::none_of(apps_.begin(), apps_.end(),
                                           [](const auto& app) { return app->has_delivery(); });
}

void EngineHost::describe() const {
  std::fprintf(stderr, "host %d, next deadline in %lld us, wakes in %lld us:", index_,
               static_cast<long long>(
                   (engine_->next_deadline() - clock_ahead_ - run_->clock->now()).ns / 1000),
               static_cast<long long>((wake_at_ - run_->clock->now()).ns / 1000));
#define MN_PRINT(name, help)                                                         \
  if (const uint64_t value = counters_->name.load(std::memory_order_relaxed)) {      \
    std::fprintf(stderr, " " #name "=%llu", static_cast<unsigned long long>(value)); \
  }
  MN_COUNTERS(MN_PRINT)
#undef MN_PRINT
  std::fprintf(stderr, "\n");
  for (const auto& app : apps_) app->describe();
}

void EngineHost::check_empty() {
  for (auto& app : apps_) app->check_empty();
  for (int i = 0; i < 4; i++) engine_->poll_once(run_->clock->now() + clock_ahead_);
  for (auto& app : apps_) {
    if (app->removed()) continue;
    if (app->lane()->rx_free() != app->lane()->rx_capacity()) describe();
    SIM_CHECK(app->lane()->rx_free() == app->lane()->rx_capacity(),
              "host %d: %u of %u rx buffers came back", index_, app->lane()->rx_free(),
              app->lane()->rx_capacity());
  }
}

}  // namespace mn::test
