// SPDX-License-Identifier: MIT
// Hosts that stand still, and clocks that jump.
#include "sim/engine_profile.h"
#include "sim/scenario.h"
#include "sim/scenario_util.h"

namespace mn::test {
namespace {

using Ull = unsigned long long;

uint64_t read(const std::atomic<uint64_t>& counter) {
  return counter.load(std::memory_order_relaxed);
}

// What a host has sent by some moments.
struct Outflow {
  uint64_t before = 0, after = 0;
};

// Frames of host 0 in the `length` from `at` on.
void watch_outflow(EngineRun* run, Duration at, Duration length, Outflow* outflow) {
  run->clock().after(at, [=] { outflow->before = run->link(0).counters().sent; });
  run->clock().after(at + length, [=] { outflow->after = run->link(0).counters().sent; });
}

EngineProfile idle_flows(uint64_t seed) {
  EngineProfile engines = plain_engine_profile(seed);
  engines.profile.opens[0] = 40;
  engines.profile.plan = send_plan(1, 100, true);
  return engines;
}

// Nothing may happen at all: no flow ends, and the timers of 40 idle flows do not fire at once.
void time_clock_jumps_idle(uint64_t seed, FILE* trace) {
  for (const Duration length : {milliseconds(150), seconds(1), seconds(10), seconds(600)}) {
    EngineProfile engines = idle_flows(seed);
    engines.profile.run_min = seconds(2);
    engines.absences = {{0, milliseconds(1500), length, Absence::Kind::kClock}};
    Outflow outflow;
    EngineRun run(engines.profile, trace, engines.setup[0], engines.setup[1]);
    run.on_start = [&](EngineRun* started) {
      schedule_absences(started, engines);
      watch_outflow(started, milliseconds(1490), milliseconds(60), &outflow);
    };
    run.run();
    const ipc::EngineCounters& counters = run.host(0).counters();
    SIM_CHECK(length < seconds(1) || read(counters.absences) == 1,
              "clock_jumps_idle: %llu absences", static_cast<Ull>(read(counters.absences)));
    SIM_CHECK(read(counters.timeouts) == 0, "clock_jumps_idle: %llu timeouts",
              static_cast<Ull>(read(counters.timeouts)));
    SIM_CHECK(outflow.after - outflow.before <= 40, "clock_jumps_idle: %llu frames after the jump",
              static_cast<Ull>(outflow.after - outflow.before));
  }
}

// In the middle of traffic: no retransmission storm, no broken estimate of the round trip.
void time_clock_jumps_busy(uint64_t seed, FILE* trace) {
  for (const Duration length : {milliseconds(150), seconds(10), seconds(3600)}) {
    EngineProfile engines = plain_engine_profile(seed);
    engines.profile.opens[0] = engines.profile.opens[1] = 4;
    engines.profile.plan = send_plan(1000, 3000, true);
    engines.profile.run_min = milliseconds(30);
    for (int64_t i = 1; i <= 5; i++) {
      engines.absences.push_back(
          {static_cast<int>(i % 2), milliseconds(2 * i), length, Absence::Kind::kClock});
    }
    EngineRun run(engines.profile, trace, engines.setup[0], engines.setup[1]);
    run.on_start = [&](EngineRun* started) { schedule_absences(started, engines); };
    const RunResult result = run.run();
    SIM_CHECK(result.messages == 16 * 1000, "clock_jumps_busy: %llu messages",
              static_cast<Ull>(result.messages));
    for (int i = 0; i < 2; i++) {
      const ipc::EngineCounters& counters = run.host(i).counters();
      SIM_CHECK(read(counters.absences) == (i == 0 ? 2 : 3), "clock_jumps_busy: %llu absences",
                static_cast<Ull>(read(counters.absences)));
      SIM_CHECK(read(counters.timeouts) == 0 && read(counters.retransmitted_packets) < 300,
                "clock_jumps_busy: %llu timeouts, %llu packets sent again",
                static_cast<Ull>(read(counters.timeouts)),
                static_cast<Ull>(read(counters.retransmitted_packets)));
    }
  }
}

// A flow lives through what its peer's patience allows.
void time_stopped_one_second(uint64_t seed, FILE* trace) {
  for (uint64_t i = 0; i < 8; i++) {
    EngineProfile engines = plain_engine_profile(seed + i);
    engines.profile.opens[0] = engines.profile.opens[1] = 5;
    engines.profile.plan = send_plan(500, 2000, true, EndAction::kNone, microseconds(20));
    engines.profile.run_min = seconds(3);
    engines.absences = {{0, milliseconds(static_cast<int64_t>(2 + i)), seconds(1)}};
    EngineRun run(engines.profile, trace, engines.setup[0], engines.setup[1]);
    run.on_start = [&](EngineRun* started) { schedule_absences(started, engines); };
    const RunResult result = run.run();
    SIM_CHECK(result.messages == 20 * 500, "stopped_one_second: %llu messages",
              static_cast<Ull>(result.messages));
    const ipc::EngineCounters& counters = run.host(0).counters();
    SIM_CHECK(read(counters.absences) == 1, "stopped_one_second: %llu absences",
              static_cast<Ull>(read(counters.absences)));
    // The peer's flows ran into theirs, one after the other; ours did not run.
    SIM_CHECK(read(counters.timeouts) <= 10, "stopped_one_second: %llu timeouts",
              static_cast<Ull>(read(counters.timeouts)));
  }
}

// A moment is no absence; but acks that wait in the ring are read before anything counts as
// silence.
void time_looks_late(uint64_t seed, FILE* trace) {
  EngineProfile engines = plain_engine_profile(seed);
  engines.profile.opens[0] = 60;
  engines.profile.plan = send_plan(40, 200, false, EndAction::kNone, microseconds(500));
  engines.profile.run_min = seconds(1);
  for (int64_t i = 0; i < 8; i++) {
    engines.absences.push_back({0, milliseconds(3) + microseconds(61'100 * i), milliseconds(50)});
  }
  EngineRun run(engines.profile, trace, engines.setup[0], engines.setup[1]);
  run.on_start = [&](EngineRun* started) { schedule_absences(started, engines); };
  run.run();
  const ipc::EngineCounters& counters = run.host(0).counters();
  SIM_CHECK(read(counters.absences) == 0 && read(counters.timeouts) == 0,
            "looks_late: %llu absences, %llu timeouts", static_cast<Ull>(read(counters.absences)),
            static_cast<Ull>(read(counters.timeouts)));
}

// Longer than the peer's patience: its flows are over, and ours learn that from it, without a
// flood.
void time_stopped_long(uint64_t seed, FILE* trace) {
  for (const Duration length : {seconds(10), seconds(600)}) {
    EngineProfile engines = idle_flows(seed);
    engines.profile.timeouts_allowed = true;
    engines.profile.plan = send_plan(3000, 200, true, EndAction::kNone, milliseconds(1));
    engines.profile.run_min = length + seconds(3);
    engines.profile.run_max = length + seconds(10);
    engines.absences = {{0, milliseconds(500), length}};
    Outflow outflow;
    EngineRun run(engines.profile, trace, engines.setup[0], engines.setup[1]);
    run.on_start = [&](EngineRun* started) {
      schedule_absences(started, engines);
      watch_outflow(started, milliseconds(500) + length, milliseconds(100), &outflow);
      // Who comes later is served.
      for (Port i = 0; i < 3; i++) {
        started->clock().after(length + seconds(1), [started, i] {
          FlowPlan plan;
          plan.messages = 5;
          started->host(1).open(0, static_cast<Port>(50000 + i), kListenPort, plan);
          started->host(1).wake();
        });
      }
    };
    run.run();
    SIM_CHECK(read(run.host(0).counters().absences) == 1, "stopped_long: absences");
    SIM_CHECK(read(run.host(0).counters().flows_opened) == 43, "stopped_long: %llu flows opened",
              static_cast<Ull>(read(run.host(0).counters().flows_opened)));
    // Of 40 flows with data: what was in the ring is answered, and a few packets each.
    SIM_CHECK(outflow.after - outflow.before <= 40 * 40, "stopped_long: %llu frames in 100 ms",
              static_cast<Ull>(outflow.after - outflow.before));
  }
}

// A cable is pulled and put in again: both ends know, and no flow is given up however long it took.
// What was sent meanwhile is not charged as time-outs.
void time_link_down(uint64_t seed, FILE* trace) {
  for (const Duration length : {milliseconds(500), seconds(4), seconds(60)}) {
    EngineProfile engines = plain_engine_profile(seed);
    engines.profile.opens[0] = engines.profile.opens[1] = 3;
    engines.profile.plan = send_plan(200, 500, true, EndAction::kNone, milliseconds(1));
    engines.profile.run_min = length + seconds(3);
    engines.profile.run_max = length + seconds(10);
    using Kind = Absence::Kind;
    engines.absences = {{0, milliseconds(30), length, Kind::kLink},
                        {1, milliseconds(30), length, Kind::kLink}};
    EngineRun run(engines.profile, trace, engines.setup[0], engines.setup[1]);
    Instant back;
    Duration gone_on = Duration{-1};
    run.on_start = [&](EngineRun* started) {
      schedule_absences(started, engines);
      started->clock().after(milliseconds(30) + length,
                             [&back, started] { back = started->clock().now(); });
    };
    uint64_t seen = 0;
    run.on_step = [&] {
      if (back == Instant{} || gone_on.ns >= 0) return;
      const uint64_t now = run.oracle().messages_received();
      if (seen == 0) seen = now;
      if (now > seen) gone_on = run.clock().now() - back;
    };
    const RunResult result = run.run();
    SIM_CHECK(result.messages == 12 * 200, "link_down: %llu messages",
              static_cast<Ull>(result.messages));
    for (int i = 0; i < 2; i++) {
      SIM_CHECK(read(run.host(i).counters().flows_timed_out) == 0,
                "link_down: a flow was given up");
      // Those of the first second, until it is known; then one each.
      SIM_CHECK(read(run.host(i).counters().timeouts) <= 6 * 14, "link_down: %llu timeouts",
                static_cast<Ull>(read(run.host(i).counters().timeouts)));
    }
    SIM_CHECK(gone_on.ns >= 0 && gone_on < milliseconds(1200), "link_down: went on after %lld us",
              static_cast<long long>(gone_on.ns / 1000));
  }
}

// A NIC that is reset again and again, at any moment of traffic.
void time_nic_resets(uint64_t seed, FILE* trace) {
  EngineProfile engines = plain_engine_profile(seed);
  engines.profile.opens[0] = engines.profile.opens[1] = 4;
  engines.profile.plan = send_plan(400, 3000, true, EndAction::kNone, microseconds(200));
  engines.profile.run_min = seconds(4);
  add_resets(seed, 12, &engines);
  EngineRun run(engines.profile, trace, engines.setup[0], engines.setup[1]);
  run.on_start = [&](EngineRun* started) { schedule_absences(started, engines); };
  const RunResult result = run.run();
  SIM_CHECK(result.messages == 16 * 400, "nic_resets: %llu messages",
            static_cast<Ull>(result.messages));
  SIM_CHECK(read(run.host(0).counters().nic_resets) + read(run.host(1).counters().nic_resets) == 12,
            "nic_resets: not all were counted");
}

constexpr Scenario kScenarios[] = {
    {"time_clock_jumps_idle", time_clock_jumps_idle},
    {"time_clock_jumps_busy", time_clock_jumps_busy},
    {"time_stopped_one_second", time_stopped_one_second},
    {"time_stopped_long", time_stopped_long},
    {"time_looks_late", time_looks_late},
    {"time_link_down", time_link_down},
    {"time_nic_resets", time_nic_resets},
};

}  // namespace

std::span<const Scenario> time_scenarios() { return kScenarios; }

}  // namespace mn::test
