// SPDX-License-Identifier: MIT
// engine_sim: two whole engines with real channels and libmachnet's code, in simulated networks.
// Options as those of transport_sim.
#include "sim/engine_profile.h"
#include "sim/scenario.h"
#include "sim/sim_main.h"

namespace mn::test {
namespace {

uint64_t random_run(uint64_t seed, FILE* trace, RunTotals* totals) {
  const EngineProfile engines = random_engine_profile(seed);
  EngineRun run(engines.profile, trace, engines.setup[0], engines.setup[1]);
  run.on_start = [&engines](EngineRun* started) {
    schedule_absences(started, engines);
    schedule_resteers(started, engines);
  };
  const RunResult result = run.run();
  totals->messages += result.messages;
  totals->bytes += result.bytes;
  totals->events += result.events;
  totals->virtual_ns += result.virtual_time.ns;
  for (int i = 0; i < 2; i++) {
    totals->packets += result.links[i].sent;
    totals->lost +=
        result.links[i].losses + result.links[i].queue_drops + result.links[i].blackholed;
  }
  return result.trace_hash;
}

}  // namespace
}  // namespace mn::test

int main(int argc, char** argv) {
  using namespace mn::test;
  return sim_main(argc, argv, random_run,
                  {engine_scenarios(), queue_scenarios(), time_scenarios()});
}
