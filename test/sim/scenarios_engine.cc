// SPDX-License-Identifier: MIT
#include <algorithm>
#include <vector>

#include "sim/engine_profile.h"
#include "sim/scenario.h"
#include "sim/scenario_util.h"

namespace mn::test {
namespace {

using Ull = unsigned long long;

uint64_t read(const std::atomic<uint64_t>& counter) {
  return counter.load(std::memory_order_relaxed);
}

RunResult run_engines(const EngineProfile& engines, FILE* trace,
                      std::function<void(EngineRun*)> on_start = nullptr,
                      std::function<void(EngineRun*)> at_end = nullptr) {
  EngineRun run(engines.profile, trace, engines.setup[0], engines.setup[1]);
  run.on_start = std::move(on_start);
  const RunResult result = run.run();
  if (at_end) at_end(&run);
  return result;
}

void engine_clean(uint64_t seed, FILE* trace) {
  EngineProfile engines = plain_engine_profile(seed);
  engines.profile.opens[0] = engines.profile.opens[1] = 3;
  engines.profile.plan = send_plan(300, 3000, true);
  const RunResult result = run_engines(engines, trace, nullptr, [](EngineRun* run) {
    for (int i = 0; i < 2; i++) {
      const ipc::EngineCounters& counters = run->host(i).counters();
      SIM_CHECK(read(counters.drop_checksum) == 0 && read(counters.drop_malformed) == 0,
                "engine_clean: drops");
      SIM_CHECK(read(counters.timeouts) == 0, "engine_clean: %llu timeouts",
                static_cast<Ull>(read(counters.timeouts)));
      SIM_CHECK(read(counters.rx_messages) == 1800, "engine_clean: counter of messages says %llu",
                static_cast<Ull>(read(counters.rx_messages)));
      SIM_CHECK(read(counters.arp_received) > 0, "engine_clean: no ARP");
    }
  });
  SIM_CHECK(result.messages == 6 * 2 * 300, "engine_clean: %llu messages",
            static_cast<Ull>(result.messages));
}

// The largest message there is, with a pool of receive buffers far smaller than it.
void engine_8mib_small_pool(uint64_t seed, FILE* trace) {
  EngineProfile engines = plain_engine_profile(seed);
  engines.profile.shape[0].tx_buffers = 6000;
  engines.profile.shape[1].rx_buffers = 64;
  engines.profile.plan = send_plan(2, 8 << 20, false);
  for (auto& link : engines.profile.link) link.loss = 0.005;
  const RunResult result = run_engines(engines, trace);
  SIM_CHECK(result.messages == 2 && result.bytes == 16 << 20, "8mib: %llu bytes",
            static_cast<Ull>(result.bytes));
}

// Several flows with messages of many segments each fill the pool with beginnings: the library must
// make room.
void engine_many_partial_messages(uint64_t seed, FILE* trace) {
  EngineProfile engines = plain_engine_profile(seed);
  engines.profile.opens[0] = 12;
  engines.profile.shape[0].tx_buffers = 3000;
  engines.profile.shape[1].rx_buffers = 40;
  engines.profile.plan = send_plan(4, 200'000, false, EndAction::kClose);
  for (auto& link : engines.profile.link) link.loss = 0.01;
  const RunResult result = run_engines(engines, trace);
  SIM_CHECK(result.messages == 48, "many_partial: %llu messages",
            static_cast<Ull>(result.messages));
}

// ARP requests and replies are lost at first.
void engine_lost_arp(uint64_t seed, FILE* trace) {
  for (int direction = 0; direction < 2; direction++) {
    EngineProfile engines = plain_engine_profile(seed);
    engines.profile.plan = send_plan(5, 100, true);
    engines.profile.run_min = seconds(4);
    uint64_t dropped = 0;
    const RunResult result = run_engines(engines, trace, [&](EngineRun* run) {
      run->link(direction).drop_if([&dropped](uint64_t, std::span<const uint8_t> frame) {
        const bool arp = frame[12] == 8 && frame[13] == 6;
        return arp && dropped < 2 ? (dropped++, true) : false;
      });
    });
    SIM_CHECK(dropped == 2 && result.messages == 10, "lost_arp: %llu dropped, %llu messages",
              static_cast<Ull>(dropped), static_cast<Ull>(result.messages));
  }
}

void engine_bad_nic(uint64_t seed, FILE* trace) {
  EngineProfile engines = plain_engine_profile(seed);
  engines.profile.opens[0] = engines.profile.opens[1] = 2;
  engines.profile.plan = send_plan(200, 4000, true, EndAction::kClose);
  for (auto& setup : engines.setup) {
    setup.faults = {0.02, 0.05, 0.1, 0.2, 0.02, 0.5, 0.5};
    setup.tx_frames = 40;
    setup.facts.tx_queue_depth = 4;
  }
  run_engines(engines, trace, nullptr, [](EngineRun* run) {
    SIM_CHECK(run->host(0).faults_injected() > 100, "bad_nic: nothing happened");
    SIM_CHECK(
        read(run->host(0).counters().drop_checksum) + read(run->host(0).counters().drop_malformed) >
            0,
        "bad_nic: no damage was seen");
  });
}

void engine_application_dies(uint64_t seed, FILE* trace) {
  for (uint64_t i = 0; i < 10; i++) {
    EngineProfile engines = plain_engine_profile(seed + i);
    engines.profile.stores = 2;
    engines.profile.opens[0] = engines.profile.opens[1] = 3;
    engines.profile.plan = send_plan(500, 2000, true, EndAction::kNone, microseconds(5));
    engines.profile.crash_application_at[i % 2] = microseconds(static_cast<int64_t>(200 + 150 * i));
    run_engines(engines, trace, nullptr, [i](EngineRun* run) {
      SIM_CHECK(run->host(static_cast<int>(i % 2)).app(0).removed(),
                "application_dies: the lane was not removed");
    });
  }
}

void engine_service_restarts(uint64_t seed, FILE* trace) {
  EngineProfile engines = plain_engine_profile(seed);
  engines.profile.tuples = 1;
  engines.profile.open_spread = microseconds(1);
  engines.profile.plan = send_plan(100, 500, true, EndAction::kNone, microseconds(50));
  engines.profile.restart_host_at[0] = milliseconds(2);
  engines.profile.run_min = seconds(3);
  const RunResult result = run_engines(engines, trace);
  SIM_CHECK(result.messages >= 200, "service_restarts: %llu messages",
            static_cast<Ull>(result.messages));
}

// How long messages of 64 bytes take from application 0 of host 0 to host 1, one every 30 us, while
// `bulk` other applications of each host send all they can to the other one.
Duration small_message_p99(uint64_t seed, FILE* trace, uint32_t bulk) {
  constexpr uint32_t kMessages = 600;
  EngineProfile engines = plain_engine_profile(seed);
  Profile& profile = engines.profile;
  profile.stores = 8;
  profile.opens[0] = 0;
  profile.bytes_budget = 1 << 30;
  for (int i = 0; i < 2; i++) {
    profile.link[i].delay = microseconds(50);
    engines.setup[i].facts.tx_queue_depth = 8;  // what waits in the NIC is not ours to order
  }
  std::vector<Duration> took;
  std::vector<Instant> sent_at;
  EngineRun run(engines.profile, trace, engines.setup[0], engines.setup[1]);
  run.on_start = [&](EngineRun* r) {
    const auto plan = [](uint32_t messages, uint32_t size, Duration gap) {
      FlowPlan p;
      p.messages = messages;
      p.size_min = p.size_max = size;
      p.gap = gap;
      return p;
    };
    for (uint32_t i = 1; i <= bulk; i++) {
      for (int host = 0; host < 2; host++) {
        r->host(host).open(i, static_cast<Port>(41000 + i), static_cast<Port>(kListenPort + i),
                           plan(100, 60000, {}));
      }
    }
    r->clock().after(milliseconds(2), [r, plan] {
      r->host(0).open(0, 40000, kListenPort, plan(kMessages, 64, microseconds(30)));
    });
  };
  const Life* small = nullptr;
  run.on_step = [&] {
    if (small == nullptr) {
      for (const Life& life : run.oracle().lives()) {
        if (life.host == 0 && life.tuple.local_port == 40000) small = &life;
      }
      if (small == nullptr) return;
    }
    while (sent_at.size() < small->sent) sent_at.push_back(run.clock().now());
    while (small->peer != nullptr && took.size() < small->peer->received) {
      took.push_back(run.clock().now() - sent_at[took.size()]);
    }
  };
  run.run();
  SIM_CHECK(took.size() == kMessages, "small messages: %zu arrived", took.size());
  std::sort(took.begin(), took.end());
  return took[took.size() * 99 / 100];
}

// Bulk of seven other channels at both ends does not double what a small message takes.
void engine_bulk_beside_small_messages(uint64_t seed, FILE* trace) {
  const Duration alone = small_message_p99(seed, trace, 0);
  const Duration beside = small_message_p99(seed, trace, 7);
  SIM_CHECK(beside <= alone * 2, "bulk: a small message's p99 is %lld ns beside it, %lld alone",
            static_cast<long long>(beside.ns), static_cast<long long>(alone.ns));
}

constexpr Scenario kScenarios[] = {
    {"engine_clean", engine_clean},
    {"engine_8mib_small_pool", engine_8mib_small_pool},
    {"engine_many_partial_messages", engine_many_partial_messages},
    {"engine_lost_arp", engine_lost_arp},
    {"engine_bad_nic", engine_bad_nic},
    {"engine_bulk_beside_small_messages", engine_bulk_beside_small_messages},
    {"engine_application_dies", engine_application_dies},
    {"engine_service_restarts", engine_service_restarts},
};

}  // namespace

std::span<const Scenario> engine_scenarios() { return kScenarios; }

}  // namespace mn::test
