// SPDX-License-Identifier: MIT
// EngineGroup with a thread for each engine. Tokens go from engine to engine: whoever takes one
// passes it on to an engine by chance, and there are so few that engines sleep all the time: a
// wake-up that is lost stops a token for so long that the test fails. A token's content is plain
// memory, so that ThreadSanitizer checks that the rings order it. Then the moment that matters
// alone, very often: one engine pushes while the other announces its sleep. A missing fence shows
// there, in a build without ThreadSanitizer, whose own work hides it.
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <vector>

extern "C" {
#include <cmocka.h>
}

#include "engine/engine_group.h"
#include "support/sim_random.h"

namespace {

using mn::EngineGroup;
using mn::HandedFrame;
using mn::test::mix64;
using mn::test::SimRandom;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kHops = 30'000;  // of each token
constexpr uint64_t kRounds = 50'000;
#else
constexpr uint64_t kHops = 100'000;
constexpr uint64_t kRounds = 500'000;
#endif
// A token that does not come for so long is lost: machines that are busy with other things hold a
// thread up for less.
constexpr int kLostAfterMs = 20'000;

struct Token {
  uint64_t hops = 0;
  uint64_t words[6] = {};
};

struct Ring {
  Ring(uint32_t engines, uint32_t token_count) : group(engines), tokens(token_count) {
    for (uint32_t i = 0; i < engines; i++) {
      fds.push_back(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      group.set_wake_fd(i, fds.back());
    }
  }
  ~Ring() {
    for (const int fd : fds) close(fd);
  }
  EngineGroup group;
  std::vector<int> fds;
  std::vector<Token> tokens;
  std::atomic<uint64_t> sleeps{0};
};

void write_token(Token* token) {
  for (uint64_t i = 0; i < std::size(token->words); i++) token->words[i] = mix64(token->hops + i);
}

bool token_is_right(const Token& token) {
  for (uint64_t i = 0; i < std::size(token.words); i++) {
    if (token.words[i] != mix64(token.hops + i)) return false;
  }
  return true;
}

// False: the wake-up was lost.
bool sleep_a_while(Ring* ring, uint32_t self) {
  if (!ring->group.announce_sleep(self)) return true;
  ring->sleeps.fetch_add(1, std::memory_order_relaxed);
  pollfd waiting{ring->fds[self], POLLIN, 0};
  const bool woken = poll(&waiting, 1, kLostAfterMs) == 1;
  ring->group.end_sleep(self);
  uint64_t count = 0;
  return woken && read(ring->fds[self], &count, sizeof count) == sizeof count;
}

void pass_on(Ring* ring, uint32_t self, SimRandom* random, Token* token) {
  token->hops++;
  write_token(token);
  uint32_t to = static_cast<uint32_t>(random->below(ring->group.size() - 1));
  to += to >= self;
  const bool room = ring->group.hand_over(
      self, to, {.data = reinterpret_cast<const uint8_t*>(token), .length = sizeof *token});
  if (!room) abort();  // there are fewer tokens than entries
}

// 0: every token made its way and ended; else the line of what went wrong.
int run_engine(Ring* ring, uint32_t self) {
  SimRandom random(self + 1);
  uint32_t ended = 0;  // tokens; who sees the end of one tells all others
  if (self == 0) {
    for (Token& token : ring->tokens) pass_on(ring, self, &random, &token);
  }
  const uint32_t count = static_cast<uint32_t>(ring->tokens.size());
  for (;;) {
    HandedFrame handed;
    bool worked = false;
    while (ring->group.take(self, &handed)) {
      worked = true;
      if (handed.arrived_at == self || handed.arrived_at >= ring->group.size()) return __LINE__;
      if (handed.copied > 0) {
        if (handed.copied != 42 || handed.bytes[41] != 41) return __LINE__;
        ended++;
        continue;
      }
      auto* token = reinterpret_cast<Token*>(const_cast<uint8_t*>(handed.frame.data));
      if (!token_is_right(*token)) return __LINE__;
      if (token->hops < kHops) {
        pass_on(ring, self, &random, token);
        continue;
      }
      uint8_t end[42];
      for (size_t i = 0; i < sizeof end; i++) end[i] = static_cast<uint8_t>(i);
      if (ring->group.copy_to_others(self, end) != 0) return __LINE__;
      ended++;
    }
    ring->group.ring(self);
    if (ended == count) return 0;
    if (worked) {
      // So that what follows meets the others at ever different moments.
      for (uint64_t i = random.below(200); i > 0; i--) asm volatile("");
    } else if (!sleep_a_while(ring, self)) {
      return __LINE__;
    }
  }
}

// The engines that saw something wrong, a line each; nothing that a failing test would leave
// behind.
struct Outcome {
  uint32_t failed = 0;
  uint64_t sleeps = 0;
};

Outcome run_all(uint32_t engines, uint32_t tokens) {
  Ring ring(engines, tokens);
  std::vector<int> lines(engines, -1);
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < engines; i++) {
    threads.emplace_back([&ring, &lines, i] { lines[i] = run_engine(&ring, i); });
  }
  for (std::thread& thread : threads) thread.join();
  Outcome outcome;
  for (uint32_t i = 0; i < engines; i++) {
    if (lines[i] != 0) print_error("engine %u: line %d\n", i, lines[i]);
    outcome.failed += lines[i] != 0;
  }
  outcome.sleeps = ring.sleeps.load();
  return outcome;
}

void run(uint32_t engines, uint32_t tokens) {
  const Outcome outcome = run_all(engines, tokens);
  assert_int_equal(outcome.failed, 0);
  // Or nothing was tested; with many tokens and processors nobody may ever have nothing to do.
  if (tokens < engines) assert_true(outcome.sleeps > 100);
}

// Both come here before both go on.
class Start {
 public:
  void wait(uint64_t round) {
    arrived_.fetch_add(1, std::memory_order_acq_rel);
    for (uint32_t spins = 0; arrived_.load(std::memory_order_acquire) < 2 * round; spins++) {
      if (spins > 1000) sched_yield();  // the other one may need this processor
    }
  }

 private:
  alignas(64) std::atomic<uint64_t> arrived_{0};
};

// How often engine 1 fell asleep although something was pushed, and nobody woke it.
uint64_t lost_wakes(uint64_t rounds) {
  Ring ring(2, 0);
  Start start;
  std::atomic<bool> sleeps{false};
  uint64_t lost = 0;
  std::thread sleeper([&] {
    SimRandom random(2);
    for (uint64_t round = 1; round <= rounds; round++) {
      start.wait(3 * round - 2);
      for (uint64_t i = random.below(1500); i > 0; i--) asm volatile("");
      sleeps.store(ring.group.announce_sleep(1), std::memory_order_relaxed);
      start.wait(3 * round - 1);  // the pusher looks
      start.wait(3 * round);
      HandedFrame handed;
      while (ring.group.take(1, &handed)) {
      }
      ring.group.end_sleep(1);
    }
  });
  SimRandom random(1);
  for (uint64_t round = 1; round <= rounds; round++) {
    start.wait(3 * round - 2);
    for (uint64_t i = random.below(1500); i > 0; i--) asm volatile("");
    if (!ring.group.hand_over(0, 1, {})) abort();
    ring.group.ring(0);
    start.wait(3 * round - 1);
    uint64_t count = 0;
    const bool rang = read(ring.fds[1], &count, sizeof count) == sizeof count;
    lost += sleeps.load(std::memory_order_relaxed) && !rang;
    start.wait(3 * round);
  }
  sleeper.join();
  return lost;
}

void announce_sleep__while_another_pushes(void**) { assert_int_equal(lost_wakes(kRounds), 0); }

void engine_group__two_engines_one_token(void**) { run(2, 1); }
void engine_group__three_engines_two_tokens(void**) { run(3, 2); }
void engine_group__four_engines_many_tokens(void**) { run(4, 64); }

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(announce_sleep__while_another_pushes),
      cmocka_unit_test(engine_group__two_engines_one_token),
      cmocka_unit_test(engine_group__three_engines_two_tokens),
      cmocka_unit_test(engine_group__four_engines_many_tokens),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
