// SPDX-License-Identifier: MIT
// Scenarios: runs with a name, each for one thing that must work or once did not. A scenario builds
// profiles, runs them, and checks afterwards that what it is about has really happened, so that it
// can fail both ways.
#pragma once

#include <cstdint>
#include <cstdio>
#include <span>

namespace mn::test {

struct Scenario {
  const char* name;
  void (*run)(uint64_t seed, FILE* trace);
};

std::span<const Scenario> loss_scenarios();      // scenarios_loss.cc: what networks do
std::span<const Scenario> flow_scenarios();      // scenarios_flow.cc: life of flows, windows, sizes
std::span<const Scenario> hostile_scenarios();   // scenarios_hostile.cc: forged, replayed, flooded
std::span<const Scenario> many_scenarios();      // scenarios_many.cc: very many flows
std::span<const Scenario> path_mtu_scenarios();  // scenarios_path_mtu.cc
std::span<const Scenario> engine_scenarios();    // scenarios_engine.cc: of engine_sim
std::span<const Scenario> queue_scenarios();     // scenarios_queues.cc: of engine_sim
std::span<const Scenario> time_scenarios();  // scenarios_time.cc: of engine_sim, clocks and stops

}  // namespace mn::test
