// SPDX-License-Identifier: MIT
// What an engine run needs beyond a transport's: NICs. From the same seed as the profile.
#pragma once

#include <cstdint>

#include "sim/engine_host.h"
#include "sim/profile.h"

namespace mn::test {

struct EngineProfile {
  Profile profile;
  EngineSetup setup[2];
};

EngineProfile random_engine_profile(uint64_t seed);
// A rack without faults, one application a host, one flow from host 0 to host 1.
EngineProfile plain_engine_profile(uint64_t seed);

}  // namespace mn::test
