// SPDX-License-Identifier: MIT
// Profile: everything that defines a simulated run: links, hosts, applications and what they do.
// Drawn from a seed (random_profile) or written by a scenario. The run draws its own chances from
// `seed` as well, so a profile and its seed give the same trace every time.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/time.h"
#include "support/array_store.h"
#include "support/sim_link.h"
#include "transport/transport.h"

namespace mn::test {

enum class EndAction : uint8_t { kNone, kClose, kAbort };

// What one end of a flow does.
struct FlowPlan {
  uint32_t messages = 0;
  uint32_t size_min = 1, size_max = 200;
  Duration gap{};                    // between messages; 0: as fast as there are buffers
  bool echo = false;                 // sends only in answer to a message received
  EndAction end = EndAction::kNone;  // when everything was sent
  Duration end_delay{};
};

// How an application takes what is delivered.
struct Appetite {
  Duration gap{};  // between deliveries taken; 0: all at once
  Instant stopped_from = Instant::never();
  Instant stopped_to = Instant::never();
};

// A change to the network at some moment of the run.
struct LinkChange {
  Duration at{};
  int direction = 0;  // 0: from host 0 to host 1
  std::function<void(SimLink*)> apply;
};

struct Profile {
  uint64_t seed = 0;
  LinkConfig link[2];
  transport::TransportConfig transport[2];
  StoreShape shape[2];
  uint32_t stores = 1;                // applications per host
  std::vector<Appetite> appetite[2];  // of each application
  uint32_t opens[2] = {4, 0};         // flows that each host opens
  uint32_t tuples = 0;  // > 0: local ports come from so few that tuples are used again
  Duration open_spread = milliseconds(2);
  uint64_t bytes_budget = 1 << 20;  // of all messages together
  std::function<FlowPlan(SimRandom*, bool opener)> plan;
  std::vector<LinkChange> changes;
  Duration poll_delay_max{};  // an engine that looks late
  uint32_t rx_burst = 32, tx_burst = 32;
  uint32_t nic_depth = 512;               // packets handed to a link that does not keep up
  Duration crash_application_at[2] = {};  // > 0: application 0 of that host dies
  Duration restart_host_at[2] = {};       // > 0: host loses every state and starts again
  bool timeouts_allowed = false;
  bool contents_checked = true;
  Duration run_min{};              // the workload counts as unfinished before
  Duration run_max = seconds(30);  // before the network is healed whatever is left to do
  Duration settle_max =
      seconds(3);  // after healing, for what is outstanding; plus what the rate takes
};

Profile random_profile(uint64_t seed);

}  // namespace mn::test
