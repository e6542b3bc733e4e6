// SPDX-License-Identifier: MIT
// Helpers of the scenarios: a plain profile to start from, plans, and looks into packets on a link.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "sim/transport_host.h"
#include "wire/packet_header.h"

namespace mn::test {

// A rack without faults, one application a host, one flow from host 0 to host 1.
inline Profile plain_profile(uint64_t seed) {
  SimRandom random(seed);
  Profile profile;
  profile.seed = seed;
  for (int i = 0; i < 2; i++) {
    profile.transport[i].flows_max = 64;
    profile.transport[i].listeners_max = 16;
    profile.transport[i].half_open_max = 32;
    profile.transport[i].seed = random.next();
    profile.shape[i].buffer_size = 1472;
    profile.shape[i].tx_buffers = 512;
    profile.shape[i].rx_buffers = 1024;
  }
  profile.opens[0] = 1;
  profile.open_spread = microseconds(20);
  profile.run_min = milliseconds(20);
  profile.bytes_budget = 64 << 20;
  profile.plan = [](SimRandom*, bool) { return FlowPlan{}; };
  return profile;
}

// `count` messages of `size` bytes from the opener, and if `both` from the acceptor.
inline std::function<FlowPlan(SimRandom*, bool)> send_plan(uint32_t count, uint32_t size, bool both,
                                                           EndAction end = EndAction::kNone,
                                                           Duration gap = {}) {
  return [=](SimRandom*, bool opener) {
    FlowPlan plan;
    plan.messages = opener || both ? count : 0;
    plan.size_min = plan.size_max = size;
    plan.gap = gap;
    plan.end = opener || both ? end : EndAction::kNone;
    return plan;
  };
}

inline wire::PacketType packet_type(std::span<const uint8_t> datagram) {
  return static_cast<wire::PacketType>(datagram[kDatagramHeaderSize] & 15);
}

inline RunResult run_profile(const Profile& profile, FILE* trace,
                             std::function<void(TransportRun*)> on_start = nullptr) {
  TransportRun run(profile, trace);
  run.on_start = std::move(on_start);
  return run.run();
}

inline void cut(Profile* profile, int direction, Duration from, Duration to) {
  profile->changes.push_back(
      {from, direction, [](SimLink* link) { link->config().blackhole = true; }});
  profile->changes.push_back(
      {to, direction, [](SimLink* link) { link->config().blackhole = false; }});
}

inline Duration since_start(Instant when) { return when - Instant{1'000'000'000}; }

inline const Life* find_life(const Oracle& oracle, int host, size_t number = 0) {
  for (const Life& life : oracle.lives()) {
    if (life.host == host && number-- == 0) return &life;
  }
  return nullptr;
}

}  // namespace mn::test
