// SPDX-License-Identifier: MIT
#include "ring_pair.h"

#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/sim_random.h"

namespace mn::test {
namespace {

// A wake-up that does not come for so long is lost.
constexpr int kLostAfterMs = 20'000;

uint64_t content(uint64_t number, uint32_t word) { return mix64(number * kPairWords + word); }

bool doorbell(int fd) {
  const uint64_t one = 1;
  return write(fd, &one, sizeof(one)) == sizeof(one);
}

// Sleeps until the doorbell rings, unless `empty` turns out to be false. False: the wake-up was
// lost.
template <typename Empty>
bool sleep_while_empty(ipc::SleepWord* word, int fd, Empty empty) {
  ipc::sleep_announce(word);
  if (!empty()) {
    ipc::sleep_end(word);
    return true;
  }
  pollfd waiting{fd, POLLIN, 0};
  if (poll(&waiting, 1, kLostAfterMs) != 1) return false;
  uint64_t value = 0;
  if (read(fd, &value, sizeof(value)) != sizeof(value)) return false;
  ipc::sleep_end(word);
  return true;
}

void pause_a_little(SimRandom* random) {
  if (random->chance(0.05)) {
    sched_yield();
  } else if (random->chance(0.2)) {
    for (uint64_t i = random->below(300); i > 0; i--) asm volatile("");
  }
}

}  // namespace

bool ring_pair_create(RingPair* pair) {
  void* memory = mmap(nullptr, sizeof(RingPairMemory), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  pair->memory = static_cast<RingPairMemory*>(memory);
  pair->giver_fd = eventfd(0, EFD_CLOEXEC);
  pair->taker_fd = eventfd(0, EFD_CLOEXEC);
  return pair->giver_fd >= 0 && pair->taker_fd >= 0;
}

void ring_pair_destroy(RingPair* pair) {
  if (pair->memory != nullptr) munmap(pair->memory, sizeof(RingPairMemory));
  if (pair->giver_fd >= 0) close(pair->giver_fd);
  if (pair->taker_fd >= 0) close(pair->taker_fd);
  *pair = RingPair{};
}

int ring_pair_give(const RingPair& pair, uint64_t count, bool sleeps, uint64_t seed) {
  SimRandom random(seed);
  RingPairMemory* memory = pair.memory;
  ipc::Producer16 forward(memory->forward, kPairBuffers);
  ipc::Consumer4 back(memory->back, kPairBuffers);
  uint32_t free[kPairBuffers];
  uint32_t free_count = 0;
  while (free_count < kPairBuffers) {
    free[free_count] = free_count;
    free_count++;
  }
  uint64_t sent = 0, returned = 0;
  while (returned < count) {
    uint32_t buffer = 0;
    bool worked = false;
    while (back.pop(&buffer)) {
      if (buffer >= kPairBuffers || free_count == kPairBuffers) return __LINE__;
      for (uint32_t w = 0; w < kPairWords; w++) {
        if (memory->buffers[buffer][w] != ~uint64_t{0}) return __LINE__;  // the taker's last word
      }
      free[free_count++] = buffer;
      returned++;
      worked = true;
    }
    const uint64_t batch = random.between(1, 8);
    for (uint64_t i = 0; i < batch && sent < count && free_count > 0; i++) {
      buffer = free[--free_count];
      for (uint32_t w = 0; w < kPairWords; w++) memory->buffers[buffer][w] = content(sent, w);
      forward.push({static_cast<uint32_t>(sent), buffer, static_cast<uint32_t>(mix64(sent)),
                    static_cast<uint32_t>(sent * 7) & 0x7fffffff});
      sent++;
      worked = true;
    }
    if (worked && ipc::wake_needed(&memory->taker) && !doorbell(pair.taker_fd)) return __LINE__;
    if (worked) {
      pause_a_little(&random);
    } else if (!sleeps) {
      sched_yield();
    } else if (!sleep_while_empty(&memory->giver, pair.giver_fd,
                                  [&back] { return back.empty(); })) {
      return __LINE__;
    }
  }
  return 0;
}

int ring_pair_take(const RingPair& pair, uint64_t count, bool sleeps, uint64_t seed) {
  SimRandom random(seed);
  RingPairMemory* memory = pair.memory;
  ipc::Consumer16 forward(memory->forward, kPairBuffers);
  ipc::Producer4 back(memory->back, kPairBuffers);
  uint64_t taken = 0;
  while (taken < count) {
    ipc::Item16 item;
    bool worked = false;
    const uint64_t batch = random.between(1, 8);
    for (uint64_t i = 0; i < batch && forward.pop(&item); i++) {
      if (item.a != static_cast<uint32_t>(taken) || item.b >= kPairBuffers) return __LINE__;
      if (item.c != static_cast<uint32_t>(mix64(taken))) return __LINE__;
      if (item.word != (static_cast<uint32_t>(taken * 7) & 0x7fffffff)) return __LINE__;
      for (uint32_t w = 0; w < kPairWords; w++) {
        if (memory->buffers[item.b][w] != content(taken, w)) return __LINE__;
        memory->buffers[item.b][w] = ~uint64_t{0};
      }
      back.push(item.b);
      taken++;
      worked = true;
    }
    if (worked && ipc::wake_needed(&memory->giver) && !doorbell(pair.giver_fd)) return __LINE__;
    if (worked) {
      pause_a_little(&random);
    } else if (!sleeps) {
      sched_yield();
    } else if (!sleep_while_empty(&memory->taker, pair.taker_fd,
                                  [&forward] { return forward.empty(); })) {
      return __LINE__;
    }
  }
  return 0;
}

}  // namespace mn::test
