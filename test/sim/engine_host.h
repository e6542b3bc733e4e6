// SPDX-License-Identifier: MIT
// EngineHost: one host of an engine simulation: a NIC of one or several queues, a real Engine on
// each (a SimPort behind a FaultyPort), applications with real channels, and a control plane that
// only passes commands and events on. The NIC spreads packets by a key that nobody knows and a
// table that may change. Driven by the clock's events: engines are polled when a frame, an
// application or a deadline gives a reason, as sleeping ones would be.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/engine.h"
#include "ipc/shm_counters.h"
#include "sim/engine_app.h"
#include "sim/sim_run.h"
#include "support/faulty_port.h"
#include "support/sim_port.h"

namespace mn::test {

struct EngineSetup {
  NicFacts facts;
  uint32_t tx_frames = 256;
  PortFaults faults;
  uint32_t prefix_length = 24;
  uint32_t engines = 1;
  double settles = 0.2;  // flows that stay with the engine that opens them, wherever packets arrive
};

class EngineHost {
 public:
  using Setup = EngineSetup;

  EngineHost(RunState* run, int index, uint64_t seed, const EngineSetup& setup);
  ~EngineHost();

  int index() const { return index_; }
  void connect_to(SimLink* out) {
    out_ = out;
    for (auto& member : members_) member->port.connect_to(out);
  }
  void start();
  void packet_arrived(std::span<const uint8_t> frame, bool damaged);
  void frame_arrived_at(uint32_t queue, std::span<const uint8_t> frame);
  void wake_at(Instant when);
  void wake() { wake_at(run_->clock->now()); }
  void command(uint32_t engine, const EngineCommand& command);
  uint32_t engines() const { return setup_.engines; }
  double settles() const { return setup_.settles; }
  void resteer();  // the NIC's table is written anew
  uint64_t cookie(EngineApp* app, uint64_t number) const;

  EngineApp& app(uint32_t index) { return *apps_[index]; }
  uint32_t apps() const { return static_cast<uint32_t>(apps_.size()); }
  void open(uint32_t app, Port local_port, Port remote_port, const FlowPlan& plan);
  void restart();
  void heal() {
    for (auto& member : members_) member->faulty.heal();
    stopped_until_ = Instant{};
    set_link(true);
  }
  // The machine stands still for so long, applications too; frames go on arriving.
  void stop(Duration length);
  // Its NIC's link goes down for so long.
  void drop_link(Duration length);
  // Its NIC is reset: the rings are emptied, and it takes so long.
  void reset_nic(Duration length);
  // Its clock says that so much time has passed at once.
  void jump_clock(Duration by) { clock_ahead_ = clock_ahead_ + by; }
  bool plans_done() const;
  void check_empty();
  void describe() const;  // to stderr, when a run failed
  void close_everything(SimRandom* random, bool all);
  // From the engine's counters.
  uint32_t flow_count() const;
  bool idle() const;  // no flow is left, and no application has anything to take
  transport::TransportCounters transport_counters() const { return {}; }
  const ipc::EngineCounters& counters(uint32_t engine = 0) const {
    return *members_[engine]->counters;
  }
  uint64_t faults_injected() const;

 private:
  void make_engine();
  void poll();
  void pass_events();

  RunState* run_;
  int index_;
  SimRandom random_;
  EngineSetup setup_;
  SimLink* out_ = nullptr;
  struct Member {
    Member(const NicFacts& facts, const EngineSetup& setup, uint64_t seed)
        : port(facts, setup.tx_frames), faulty(&port, setup.faults, seed) {}
    SimPort port;
    FaultyPort faulty;
    std::unique_ptr<ipc::EngineCounters> counters;
    std::unique_ptr<Engine> engine;
  };
  void lose_link(Duration length);
  void set_link(bool is_up);
  uint32_t queue_of(std::span<const uint8_t> frame) const;
  Instant next_deadline() const;

  std::unique_ptr<EngineGroup> group_;  // of several
  std::vector<std::unique_ptr<Member>> members_;
  uint64_t rss_key_ = 0;
  std::array<uint32_t, 64> rss_table_{};  // queues
  std::vector<std::unique_ptr<EngineApp>> apps_;
  std::vector<std::unique_ptr<EngineApp>> dead_apps_;
  Instant stopped_until_{};
  Instant link_lost_until_{};
  Duration clock_ahead_{};
  Instant wake_at_ = Instant::never();
  uint64_t wake_generation_ = 0;
  uint32_t stuck_polls_ = 0;
  Instant last_poll_{};
  uint32_t lives_ = 0;
};

using EngineRun = SimRun<EngineHost>;

}  // namespace mn::test
