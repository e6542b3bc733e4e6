// SPDX-License-Identifier: MIT
// SimRun: one simulated run from a profile: two hosts, two links, the workload, then the end: the
// network is healed, what is outstanding must arrive soon, every flow must close, nothing may be
// left behind. A broken rule ends the process (sim_fail). A host is a TransportHost or an
// EngineHost. Scenarios hook in by the profile, on_start and on_step.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "sim/profile.h"
#include "sim/sim_app.h"
#include "support/oracle.h"
#include "support/sim_link.h"

namespace mn::test {

constexpr Port kListenPort = 7000;  // application i listens on kListenPort + i
constexpr Ipv4 host_address(int host) { return 0x0a000001 + static_cast<uint32_t>(host); }

struct RunResult {
  uint64_t trace_hash = 0;
  uint64_t messages = 0, bytes = 0, events = 0;
  LinkCounters links[2];
  transport::TransportCounters transports[2];  // of transport runs
  Duration virtual_time{};
};

template <typename Host>
class SimRun {
 public:
  using Setup = typename Host::Setup;

  SimRun(const Profile& profile, FILE* trace_to, const Setup& setup_0 = {},
         const Setup& setup_1 = {});

  RunResult run();

  SimClock& clock() { return clock_; }
  Oracle& oracle() { return oracle_; }
  SimLink& link(int direction) { return *links_[direction]; }
  Host& host(int index) { return *hosts_[index]; }
  // Bytes that appear at a host out of nowhere.
  void inject(int host, const std::vector<uint8_t>& bytes) {
    hosts_[host]->packet_arrived(bytes, false);
  }

  std::function<void(SimRun*)>
      on_start;                   // when the workload has been scheduled, before the first event
  std::function<void()> on_step;  // after every event

 private:
  void schedule_workload();
  void schedule_faults();
  void schedule_open(int host, Duration at, uint32_t number);
  bool run_until(Instant limit, const std::function<bool()>& done);
  void heal();
  Duration transfer_max() const;
  void settle();
  void describe();
  void close_all();

  Profile profile_;
  SimClock clock_;
  SimTrace trace_;
  SimRandom random_;
  Oracle oracle_;
  RunState state_;
  std::unique_ptr<SimLink> links_[2];
  std::unique_ptr<Host> hosts_[2];
};

template <typename Host>
SimRun<Host>::SimRun(const Profile& profile, FILE* trace_to, const Setup& setup_0,
                     const Setup& setup_1)
    : profile_(profile),
      random_(profile.seed ^ 0x72756e),
      oracle_(profile.seed, &clock_, &trace_),
      state_{&clock_, &trace_, &oracle_, &profile_, profile.bytes_budget, false, {}} {
  if (trace_to != nullptr) trace_.print_to(trace_to);
  oracle_.timeouts_allowed = profile.timeouts_allowed;
  oracle_.contents_checked = profile.contents_checked;
  for (int i = 0; i < 2; i++) {
    if (profile.crash_application_at[i].ns > 0 || profile.restart_host_at[i].ns > 0)
      oracle_.hosts_die = true;
    for (const Appetite& appetite : profile.appetite[i]) {
      if (appetite.gap.ns > 0 || appetite.stopped_from != Instant::never())
        oracle_.receivers_stop = true;
    }
  }
  for (int i = 0; i < 2; i++) {
    hosts_[i] = std::make_unique<Host>(&state_, i, random_.next(), i == 0 ? setup_0 : setup_1);
  }
  for (int i = 0; i < 2; i++) {
    Host* receiver = hosts_[1 - i].get();
    links_[i] = std::make_unique<SimLink>(&clock_, &trace_, random_.next(), profile.link[i],
                                          [receiver](std::span<const uint8_t> bytes, bool damaged) {
                                            receiver->packet_arrived(bytes, damaged);
                                          });
    hosts_[i]->connect_to(links_[i].get());
  }
}

template <typename Host>
void SimRun<Host>::schedule_open(int host, Duration at, uint32_t number) {
  const uint32_t app = static_cast<uint32_t>(random_.below(profile_.stores));
  const uint32_t peer_app = static_cast<uint32_t>(random_.below(profile_.stores));
  const uint32_t port =
      profile_.tuples > 0 ? static_cast<uint32_t>(random_.below(profile_.tuples)) : number;
  const Port local =
      static_cast<Port>(40000 + app * 2000 + port);  // a port belongs to one application
  const FlowPlan plan = profile_.plan(&random_, true);
  clock_.after(at, [this, host, app, local, peer_app, plan] {
    hosts_[host]->open(app, local, static_cast<Port>(kListenPort + peer_app), plan);
  });
}

template <typename Host>
void SimRun<Host>::schedule_workload() {
  for (int host = 0; host < 2; host++) {
    for (uint32_t i = 0; i < profile_.opens[host]; i++) {
      schedule_open(host, random_.duration({}, profile_.open_spread), i);
    }
  }
}

template <typename Host>
void SimRun<Host>::schedule_faults() {
  for (const LinkChange& change : profile_.changes) {
    clock_.after(change.at, [this, &change] {
      if (state_.winding_down) return;
      trace_.note(clock_.now(), "link %d changes", change.direction);
      change.apply(links_[change.direction].get());
    });
  }
  for (int host = 0; host < 2; host++) {
    if (profile_.crash_application_at[host].ns > 0) {
      clock_.after(profile_.crash_application_at[host], [this, host] {
        trace_.note(clock_.now(), "host %d: application 0 dies", host);
        hosts_[host]->app(0).crash();
        hosts_[host]->wake();
      });
    }
    if (profile_.restart_host_at[host].ns > 0) {
      clock_.after(profile_.restart_host_at[host], [this, host] {
        hosts_[host]->restart();
        // It comes back with the same work, and often the same tuples.
        for (uint32_t i = 0; i < profile_.opens[host]; i++) {
          schedule_open(host, random_.duration({}, profile_.open_spread), i);
        }
      });
    }
  }
}

template <typename Host>
bool SimRun<Host>::run_until(Instant limit, const std::function<bool()>& done) {
  uint64_t steps = 0;
  while (clock_.next_event() <= limit) {
    clock_.step();
    if (on_step) on_step();
    if ((++steps & 15) == 0 && done()) return true;
  }
  return done();
}

template <typename Host>
void SimRun<Host>::heal() {
  trace_.note(clock_.now(), "the network is healed");
  state_.winding_down = true;
  for (int i = 0; i < 2; i++) {
    links_[i]->heal();
    hosts_[i]->heal();
    hosts_[i]->wake();
  }
}

template <typename Host>
void SimRun<Host>::describe() {
  oracle_.describe_unsettled();
  for (auto& host : hosts_) host->describe();
}

// What all messages of a run may take on a network that does not lose any.
template <typename Host>
Duration SimRun<Host>::transfer_max() const {
  const uint64_t slowest =
      std::min(profile_.link[0].bits_per_second, profile_.link[1].bits_per_second);
  Duration limit{};
  if (slowest > 0) {
    limit = limit + nanoseconds(static_cast<int64_t>(profile_.bytes_budget * 80) *
                                (1'000'000'000 / 1000) / static_cast<int64_t>(slowest / 1000));
  }
  // A window needs a round trip; small pools and far hosts make that many.
  const Duration rtt =
      profile_.link[0].delay + profile_.link[1].delay + profile_.poll_delay_max * 2;
  return limit + rtt * static_cast<int64_t>(profile_.bytes_budget / 500 + 100);
}

template <typename Host>
void SimRun<Host>::settle() {
  const Duration limit = profile_.settle_max + transfer_max();
  if (run_until(clock_.now() + limit, [this] { return oracle_.settled(); })) return;
  describe();
  sim_fail("messages still wait %.3f s after the network was healed",
           static_cast<double>(limit.ns) / 1e9);
}

template <typename Host>
void SimRun<Host>::close_all() {
  const int first = static_cast<int>(random_.below(2));
  for (int i = 0; i < 2; i++) {
    Host* host = hosts_[(first + i) % 2].get();
    host->close_everything(&random_, i == 1);
    host->wake();
    // What was sent before a close is sent after it, too.
    const Duration limit = i == 0 ? seconds(2) : seconds(8) + transfer_max();
    const bool done = run_until(clock_.now() + limit, [this] { return oracle_.all_over(); });
    if (done) break;
    if (i == 0) continue;
    describe();
    sim_fail("flows do not end");
  }
  // Half-open flows and what is left of closed ones go away too.
  const bool idle = run_until(clock_.now() + seconds(7) + transfer_max(),
                              [this] { return hosts_[0]->idle() && hosts_[1]->idle(); });
  if (!idle) describe();
  SIM_CHECK(idle, "flows are left that no application knows: %u on host 0, %u on host 1",
            hosts_[0]->flow_count(), hosts_[1]->flow_count());
}

template <typename Host>
RunResult SimRun<Host>::run() {
  for (auto& host : hosts_) host->start();
  schedule_workload();
  schedule_faults();
  if (on_start) on_start(this);
  const Instant begin = clock_.now();
  const Instant opened = begin + std::max(profile_.open_spread, profile_.run_min);
  run_until(begin + profile_.run_max, [this, opened] {
    return clock_.now() > opened && hosts_[0]->plans_done() && hosts_[1]->plans_done();
  });
  heal();
  settle();
  close_all();
  for (auto& host : hosts_) host->check_empty();
  oracle_.check_final();
  RunResult result;
  result.trace_hash = trace_.hash();
  result.messages = oracle_.messages_received();
  result.bytes = oracle_.bytes_received();
  result.events = clock_.events_run();
  for (int i = 0; i < 2; i++) {
    result.links[i] = links_[i]->counters();
    result.transports[i] = hosts_[i]->transport_counters();
  }
  result.virtual_time = clock_.now() - begin;
  return result;
}

}  // namespace mn::test
