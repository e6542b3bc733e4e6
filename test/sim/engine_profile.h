// SPDX-License-Identifier: MIT
// What an engine run needs beyond a transport's: NICs. From the same seed as the profile.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/engine_host.h"
#include "sim/profile.h"

namespace mn::test {

// A host that stands still, or believes that it did: its clock alone jumps; or whose NIC is away.
struct Absence {
  enum class Kind : uint8_t { kStop, kClock, kLink, kReset };
  int host = 0;
  Duration at{};
  Duration length{};
  Kind kind = Kind::kStop;
};

// The NIC's table of queues is written anew.
struct Resteer {
  int host = 0;
  Duration at{};
};

struct EngineProfile {
  Profile profile;
  EngineSetup setup[2];
  std::vector<Absence> absences;
  std::vector<Resteer> resteers;
};

void schedule_resteers(EngineRun* run, const EngineProfile& engines);

void schedule_absences(EngineRun* run, const EngineProfile& engines);
// So many resets of either host's NIC, one within every 200 ms.
void add_resets(uint64_t seed, int count, EngineProfile* engines);

EngineProfile random_engine_profile(uint64_t seed);
// A rack without faults, one application a host, one flow from host 0 to host 1.
EngineProfile plain_engine_profile(uint64_t seed);

}  // namespace mn::test
