// SPDX-License-Identifier: MIT
// SimRandom: the only source of chance in a simulation, so that a seed says everything about a run.
// splitmix64: small, and good enough for choosing delays and losses. Each part of a simulation
// forks a generator of its own, so that one part's draws do not change another's.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace mn::test {

constexpr uint64_t mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

class SimRandom {
 public:
  explicit SimRandom(uint64_t seed) : state_(mix64(seed)) {}

  uint64_t next() {
    state_ += 0x9e3779b97f4a7c15;
    return mix64(state_);
  }
  // Uniform in [0, bound); 0 if bound is 0.
  uint64_t below(uint64_t bound) { return bound == 0 ? 0 : next() % bound; }
  uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  // Draws even when the chance is 0, so that turning a fault off leaves the other draws as they
  // were.
  bool chance(double p) { return unit() < p; }
  Duration duration(Duration low, Duration high) {
    return {static_cast<int64_t>(
        between(static_cast<uint64_t>(low.ns), static_cast<uint64_t>(high.ns)))};
  }
  SimRandom fork() { return SimRandom(next()); }

 private:
  uint64_t state_;
};

}  // namespace mn::test
