// SPDX-License-Identifier: MIT
// Prng: a small generator of pseudo-random numbers from a seed (SplitMix64: Steele, Lea and Flood,
// "Fast splittable pseudorandom number generators", 2014). Same seed, same numbers: simulations
// depend on it. Not for values an attacker must not guess: one output reveals all others; those
// come from base/keyed_hash.h.
#pragma once

#include <cstdint>

#include "base/assert.h"

namespace mn {

class Prng {
 public:
  explicit constexpr Prng(uint64_t seed) : state_(seed) {}

  constexpr uint64_t next() {
    state_ += 0x9e3779b97f4a7c15;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  constexpr uint32_t next_u32() { return static_cast<uint32_t>(next() >> 32); }

  // 0 .. bound-1, uniform but for less than bound / 2^64.
  constexpr uint64_t below(uint64_t bound) {
    MN_ASSERT(bound > 0);
    __extension__ using Wide = unsigned __int128;
    return static_cast<uint64_t>((Wide{next()} * bound) >> 64);
  }
  constexpr uint64_t between(uint64_t low, uint64_t high) {  // both included
    MN_ASSERT(low <= high && high - low < UINT64_MAX);
    return low + below(high - low + 1);
  }
  // True in `parts` of 1,000,000 cases.
  constexpr bool chance_ppm(uint32_t parts) { return below(1'000'000) < parts; }

 private:
  uint64_t state_;
};

}  // namespace mn
