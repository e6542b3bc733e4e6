// SPDX-License-Identifier: MIT
// RingPair: what a lane does in one direction, alone: an Entry16 ring that hands buffers over, an
// Entry4 ring that brings them back, plain buffers between, and two sleep/wake words with an
// eventfd each. Memory is shared between processes, so that a test can run the two sides as threads
// or as processes. Buffer contents are plain memory on purpose: ThreadSanitizer then checks that
// the rings order them.
#pragma once

#include <cstdint>

#include "ipc/shm_ring.h"

namespace mn::test {

constexpr uint32_t kPairBuffers = 64;  // = the capacity of both rings: positions wrap all the time
constexpr uint32_t kPairWords = 8;     // of a buffer

struct RingPairMemory {
  ipc::SleepWord giver;  // written by the giver when it sleeps
  ipc::SleepWord taker;
  ipc::Entry16 forward[kPairBuffers];
  ipc::Entry4 back[kPairBuffers];
  uint64_t buffers[kPairBuffers][kPairWords];
};

struct RingPair {
  RingPairMemory* memory = nullptr;
  int giver_fd = -1;  // eventfd that wakes the giver
  int taker_fd = -1;
};

bool ring_pair_create(RingPair* pair);
void ring_pair_destroy(RingPair* pair);

// Hands over `count` buffers with known contents, with random pauses and sleeps if `sleeps`;
// returns 0, or the line of what went wrong.
int ring_pair_give(const RingPair& pair, uint64_t count, bool sleeps, uint64_t seed);
// Takes and checks them, spoils them and gives them back.
int ring_pair_take(const RingPair& pair, uint64_t count, bool sleeps, uint64_t seed);

}  // namespace mn::test
