// SPDX-License-Identifier: MIT
#include <algorithm>
#include <memory>

#include "ipc/shm_layout.h"
#include "sim/scenario.h"
#include "sim/scenario_util.h"

namespace mn::test {
namespace {

using wire::PacketType;
using Ull = unsigned long long;

// The receiver stops with a small pool, then takes everything; the packets that would say so at
// once are lost.
void zero_window_reopen(uint64_t seed, FILE* trace) {
  for (bool lose_update : {false, true}) {
    Profile profile = plain_profile(seed);
    profile.shape[1].rx_buffers = 16;
    profile.plan = send_plan(400, 1400, false);
    profile.run_min = seconds(2);
    const Instant resume = Instant{1'000'000'000} + milliseconds(700);
    profile.appetite[1] = {{Duration{}, Instant{1'000'000'000} + microseconds(100), resume}};
    uint64_t at_resume = 0;
    Instant all{};
    TransportRun run(profile, trace);
    run.on_start = [&](TransportRun* r) {
      r->clock().at(resume, [r, &at_resume] { at_resume = r->oracle().messages_received(); });
      if (!lose_update) return;
      r->link(1).drop_if([r, resume](uint64_t, std::span<const uint8_t>) {
        return r->clock().now() >= resume && r->clock().now() < resume + milliseconds(3);
      });
    };
    run.on_step = [&] {
      if (all.ns == 0 && run.oracle().messages_received() == 400) all = run.clock().now();
    };
    const RunResult result = run.run();
    SIM_CHECK(at_resume < 100, "zero_window: the receiver did not stop (%llu messages)",
              static_cast<Ull>(at_resume));
    SIM_CHECK(result.messages == 400, "zero_window: %llu messages",
              static_cast<Ull>(result.messages));
    const Duration took = all - resume;
    SIM_CHECK(took < (lose_update ? milliseconds(700) : milliseconds(20)),
              "zero_window: took %lld us after reopening", static_cast<long long>(took.ns / 1000));
  }
}

void slow_receiver(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.shape[1].rx_buffers = 8;
  profile.appetite[1] = {{microseconds(200), Instant::never(), Instant::never()}};
  profile.plan = send_plan(300, 4000, false);
  profile.run_min = seconds(1);
  const RunResult result = run_profile(profile, trace);
  SIM_CHECK(result.messages == 300, "slow_receiver: %llu messages",
            static_cast<Ull>(result.messages));
  // Back-pressure, not loss, slows the sender down.
  SIM_CHECK(result.transports[0].retransmitted_packets < 300, "slow_receiver: %llu retransmissions",
            static_cast<Ull>(result.transports[0].retransmitted_packets));
}

// A stopped application of one host must not hold up the other application there.
void stopped_neighbour(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.stores = 2;
  profile.opens[0] = 0;
  profile.shape[1].rx_buffers = 32;
  profile.appetite[1] = {{Duration{}, Instant{0}, Instant{1'000'000'000} + seconds(3)}, {}};
  profile.plan = send_plan(500, 1000, false);
  profile.run_min = milliseconds(3500);
  Instant done{};
  TransportRun run(profile, trace);
  run.on_start = [&profile](TransportRun* r) {
    for (uint32_t app = 0; app < 2; app++) {
      r->clock().after(microseconds(10), [r, app, &profile] {
        SimRandom random(1);
        r->host(0).open(app, static_cast<Port>(40000 + app), static_cast<Port>(kListenPort + app),
                        profile.plan(&random, true));
      });
    }
  };
  run.on_step = [&] {
    if (done.ns == 0 && run.host(1).app(1).delivered() > 0 &&
        run.oracle().messages_received() >= 500) {
      done = run.clock().now();
    }
  };
  const RunResult result = run.run();
  SIM_CHECK(result.messages == 1000, "stopped_neighbour: %llu messages",
            static_cast<Ull>(result.messages));
  SIM_CHECK(since_start(done) < milliseconds(50), "stopped_neighbour: the other took %lld us",
            static_cast<long long>(since_start(done).ns / 1000));
}

// A host loses everything and opens the same tuple again while its peer believes in the old flow.
void restart_same_tuple(uint64_t seed, FILE* trace) {
  for (Duration outage : {Duration{}, milliseconds(30)}) {
    Profile profile = plain_profile(seed);
    profile.tuples = 1;
    profile.open_spread = microseconds(1);
    profile.plan = send_plan(50, 100, true, EndAction::kNone, microseconds(100));
    profile.restart_host_at[0] = milliseconds(2) + outage;
    profile.run_min = seconds(3);
    const RunResult result = run_profile(profile, trace, [](TransportRun* run) {
      run->clock().after(milliseconds(2900), [run] {
        const Life* second = find_life(run->oracle(), 0, 1);
        SIM_CHECK(second != nullptr && second->state != Life::State::kFailed,
                  "restart: the second open failed");
      });
    });
    SIM_CHECK(result.messages >= 100, "restart: %llu messages", static_cast<Ull>(result.messages));
  }
}

void simultaneous_close(uint64_t seed, FILE* trace) {
  for (uint64_t i = 0; i < 20; i++) {
    Profile profile = plain_profile(seed + i);
    profile.opens[0] = 3;
    profile.plan =
        send_plan(20, 900, true, EndAction::kClose, microseconds(static_cast<int64_t>(i)));
    if (i % 2 == 1) profile.link[0].loss = profile.link[1].loss = 0.1;
    TransportRun run(profile, trace);
    run.run();
    uint32_t closed = 0;
    for (const Life& life : run.oracle().lives()) {
      SIM_CHECK(life.reason == ipc::kEndClosed || life.reason == ipc::kEndClosedByPeer ||
                    life.reason == ipc::kEndReset,
                "simultaneous_close: reason %u", life.reason);
      if (life.reason != ipc::kEndReset) closed++;
    }
    SIM_CHECK(closed >= 3, "simultaneous_close: only %u of %zu ended in order", closed,
              run.oracle().lives().size());
  }
}

// Everything sent before the close reaches an application that was not looking.
void close_to_stopped_receiver(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.appetite[1] = {{Duration{}, Instant{0}, Instant{1'000'000'000} + milliseconds(200)}};
  profile.plan = send_plan(200, 1000, false, EndAction::kClose);
  profile.run_min = milliseconds(300);
  TransportRun run(profile, trace);
  const RunResult result = run.run();
  SIM_CHECK(result.messages == 200, "close_to_stopped: %llu messages",
            static_cast<Ull>(result.messages));
  SIM_CHECK(find_life(run.oracle(), 0)->reason == ipc::kEndClosed,
            "close_to_stopped: opener ended with %u", find_life(run.oracle(), 0)->reason);
  SIM_CHECK(find_life(run.oracle(), 1)->reason == ipc::kEndClosedByPeer,
            "close_to_stopped: acceptor ended with %u", find_life(run.oracle(), 1)->reason);
}

// The reset of an abort is lost: the peer must find out by itself.
void abort_reset_lost(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.plan = [](SimRandom*, bool opener) {
    FlowPlan plan;
    plan.messages = opener ? 5 : 2;
    plan.gap = opener ? Duration{} : seconds(20);  // has something left to do
    plan.end = opener ? EndAction::kAbort : EndAction::kNone;
    plan.end_delay = milliseconds(1);
    return plan;
  };
  TransportRun run(profile, trace);
  run.on_start = [](TransportRun* r) {
    r->link(0).drop_if([count = 0](uint64_t, std::span<const uint8_t> bytes) mutable {
      return packet_type(bytes) == PacketType::kReset && count++ == 0;
    });
  };
  const RunResult result = run.run();
  const Life* acceptor = find_life(run.oracle(), 1);
  SIM_CHECK(result.links[0].exact_drops == 1, "abort_reset_lost: no reset was sent");
  SIM_CHECK(acceptor != nullptr && acceptor->reason == ipc::kEndReset &&
                since_start(acceptor->ended) < seconds(3),
            "abort_reset_lost: the peer learned nothing");
}

// Neither data nor death for a long time, then data again.
void idle_for_long(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.run_max = seconds(200);
  profile.plan = send_plan(3, 500, true, EndAction::kNone, seconds(60));
  profile.link[0].loss = profile.link[1].loss = 0.05;
  TransportRun run(profile, trace);
  const RunResult result = run.run();
  SIM_CHECK(result.messages == 6, "idle: %llu messages", static_cast<Ull>(result.messages));
  SIM_CHECK(result.links[0].sent < 2000, "idle: %llu packets",
            static_cast<Ull>(result.links[0].sent));
}

void connect_refused(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.opens[0] = 0;
  profile.run_min = milliseconds(1);
  TransportRun run(profile, trace);
  run.on_start = [](TransportRun* r) {
    r->clock().after(microseconds(5), [r] { r->host(0).open(0, 40000, 9999, FlowPlan{}); });
  };
  run.run();
  const Life* life = find_life(run.oracle(), 0);
  SIM_CHECK(life != nullptr && life->state == Life::State::kFailed, "connect_refused: it was not");
  SIM_CHECK(since_start(life->ended) < milliseconds(5), "connect_refused: took %lld us",
            static_cast<long long>(since_start(life->ended).ns / 1000));
}

void connect_to_nobody(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.link[0].blackhole = true;
  profile.open_spread = microseconds(1);
  TransportRun run(profile, trace);
  run.run();
  const Life* life = find_life(run.oracle(), 0);
  SIM_CHECK(life != nullptr && life->state == Life::State::kFailed, "connect_to_nobody: it did");
  const Duration after = since_start(life->ended);
  SIM_CHECK(after > milliseconds(1900) && after < milliseconds(2600),
            "connect_to_nobody: told after %lld ms", static_cast<long long>(after.ns / 1'000'000));
}

void small_peer_mss(uint64_t seed, FILE* trace) {
  for (int small = 0; small < 2; small++) {
    Profile profile = plain_profile(seed);
    profile.transport[small].mss = 536;
    profile.transport[1 - small].mss = 8940;
    profile.shape[small].buffer_size = 576;
    profile.shape[1 - small].buffer_size = 8960;
    profile.link[0].loss = profile.link[1].loss = 0.01;
    profile.opens[0] = 2;
    profile.plan = send_plan(60, 30'000, true, EndAction::kClose);
    const RunResult result = run_profile(profile, trace);
    SIM_CHECK(result.links[0].losses > 0, "small_peer_mss: no loss");
  }
}

void bundles_lossy(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.plan = send_plan(5000, 60, true);
  profile.shape[0].tx_buffers = profile.shape[1].tx_buffers = 2048;
  profile.link[0].loss = profile.link[1].loss = 0.03;
  const RunResult result = run_profile(profile, trace);
  SIM_CHECK(result.messages == 10'000 && result.links[0].losses > 10, "bundles: %llu messages",
            static_cast<Ull>(result.messages));
  SIM_CHECK(result.links[0].sent < 2500, "bundles: %llu packets for 5000 small messages",
            static_cast<Ull>(result.links[0].sent));
}

void eight_mib_lossy(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.plan = send_plan(1, 8 << 20, true);
  profile.link[0].loss = profile.link[1].loss = 0.01;
  profile.shape[0].tx_buffers = 6000;
  const RunResult result = run_profile(profile, trace);
  SIM_CHECK(result.messages == 2 && result.bytes == 16 << 20, "8mib: %llu bytes",
            static_cast<Ull>(result.bytes));
}

void tiny_pools(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.shape[0].tx_buffers = 1;
  profile.shape[1].tx_buffers = 2;
  profile.shape[0].rx_buffers = 4;
  profile.shape[1].rx_buffers = 5;
  profile.opens[0] = 3;
  profile.opens[1] = 1;
  profile.link[0].loss = profile.link[1].loss = 0.02;
  profile.plan = send_plan(10, 20'000, true);
  const RunResult result = run_profile(profile, trace);
  SIM_CHECK(result.messages == 80, "tiny_pools: %llu messages", static_cast<Ull>(result.messages));
}

// More flows than slots: the rest is refused, and slots come back.
void flow_slots_exhausted(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.shape[1].flow_slots = 2;
  profile.opens[0] = 6;
  profile.open_spread = milliseconds(1);
  profile.plan = send_plan(5, 100, true, EndAction::kClose, milliseconds(700));
  profile.run_min = seconds(6);
  TransportRun run(profile, trace);
  run.on_start = [&profile](TransportRun* r) {
    r->clock().after(milliseconds(4000), [r, &profile] {
      SimRandom random(2);
      r->host(0).open(0, 41000, kListenPort, profile.plan(&random, true));
    });
  };
  run.run();
  const auto& lives = run.oracle().lives();
  const auto failed = std::count_if(lives.begin(), lives.end(),
                                    [](const Life& l) { return l.state == Life::State::kFailed; });
  SIM_CHECK(failed == 4, "flow_slots_exhausted: %d of 6 refused, want 4", static_cast<int>(failed));
}

void many_flows(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  for (int i = 0; i < 2; i++) {
    profile.transport[i].flows_max = 1200;
    profile.transport[i].half_open_max = 600;
    profile.shape[i].flow_slots = 1100;
    profile.shape[i].rx_buffers = 4096;
    profile.link[i].loss = 0.005;
  }
  profile.opens[0] = profile.opens[1] = 500;
  profile.open_spread = milliseconds(30);
  profile.plan = send_plan(20, 300, true, EndAction::kClose, microseconds(500));
  const RunResult result = run_profile(profile, trace);
  SIM_CHECK(result.messages > 20'000, "many_flows: %llu messages",
            static_cast<Ull>(result.messages));
}

constexpr Scenario kScenarios[] = {
    {"zero_window_reopen", zero_window_reopen},
    {"slow_receiver", slow_receiver},
    {"stopped_neighbour", stopped_neighbour},
    {"restart_same_tuple", restart_same_tuple},
    {"simultaneous_close", simultaneous_close},
    {"close_to_stopped_receiver", close_to_stopped_receiver},
    {"abort_reset_lost", abort_reset_lost},
    {"idle_for_long", idle_for_long},
    {"connect_refused", connect_refused},
    {"connect_to_nobody", connect_to_nobody},
    {"small_peer_mss", small_peer_mss},
    {"bundles_lossy", bundles_lossy},
    {"8mib_lossy", eight_mib_lossy},
    {"tiny_pools", tiny_pools},
    {"flow_slots_exhausted", flow_slots_exhausted},
    {"many_flows", many_flows},
};

}  // namespace

std::span<const Scenario> flow_scenarios() { return kScenarios; }

}  // namespace mn::test
