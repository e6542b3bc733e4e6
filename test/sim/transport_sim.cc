// SPDX-License-Identifier: MIT
// transport_sim: runs the transport in simulated networks. Exit code 0: every run kept every rule;
// else the failing seed or scenario is named with the command that repeats it.
//
//   transport_sim --seeds A..B       random runs from fixed seeds
//   transport_sim --fresh N          N random runs from seeds of the clock, printed
//   transport_sim --soak MESSAGES    random runs from --seeds on, until so many messages arrived
//                                    (all three: in --jobs N processes)
//   transport_sim --seed N [--trace] one run, and everything that happens in it; with --record FILE
//   also
//                                    what the transports say, for machnetctl trace --print FILE
//   transport_sim --scenario NAME|all [--seed N] [--trace]
//   transport_sim --list
#include "sim/scenario.h"
#include "sim/sim_main.h"
#include "sim/transport_host.h"

namespace mn::test {
namespace {

uint64_t random_run(uint64_t seed, FILE* trace, RunTotals* totals) {
  TransportRun run(random_profile(seed), trace);
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
                  {loss_scenarios(), path_mtu_scenarios(), flow_scenarios(), hostile_scenarios(),
                   many_scenarios()});
}
