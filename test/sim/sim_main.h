// SPDX-License-Identifier: MIT
// The command line that transport_sim and engine_sim share: which seeds, which scenarios, the same
// trace twice, and how a failure is repeated.
#pragma once

#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <span>

#include "sim/scenario.h"

namespace mn::test {

struct RunTotals {
  uint64_t messages = 0, bytes = 0, events = 0, packets = 0, lost = 0;
  int64_t virtual_ns = 0;
};

// One random run; returns the hash of its trace.
using RandomRun = uint64_t (*)(uint64_t seed, FILE* trace, RunTotals* totals);

int sim_main(int argc, char** argv, RandomRun random_run,
             std::initializer_list<std::span<const Scenario>> scenarios);

}  // namespace mn::test
