// SPDX-License-Identifier: MIT
// The sleep/wake word with eventfds: both sides sleep whenever they find nothing; a wake-up that is
// lost stops the test for so long that it fails.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

extern "C" {
#include <cmocka.h>
}

#include "ring_pair.h"

namespace {

using namespace mn::test;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kCount = 200'000;
#else
constexpr uint64_t kCount = 1'000'000;
#endif

RingPair pair;

int set_up(void**) { return ring_pair_create(&pair) ? 0 : -1; }
int tear_down(void**) {
  ring_pair_destroy(&pair);
  return 0;
}

void wake__two_threads(void**) {
  int taken = -1;
  std::thread taker([&taken] { taken = ring_pair_take(pair, kCount, true, 1); });
  const int given = ring_pair_give(pair, kCount, true, 2);
  taker.join();
  assert_int_equal(given, 0);
  assert_int_equal(taken, 0);
}

void wake__two_processes(void**) {
  const pid_t child = fork();
  if (child == 0) _exit(ring_pair_take(pair, kCount, true, 3) == 0 ? 0 : 1);
  assert_true(child > 0);
  const int given = ring_pair_give(pair, kCount, true, 4);
  int status = -1;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(given, 0);
  assert_int_equal(status, 0);
}

void wake__only_one_side_sleeps(void**) {
  int taken = -1;
  std::thread taker([&taken] { taken = ring_pair_take(pair, kCount, true, 5); });
  const int given = ring_pair_give(pair, kCount, false, 6);
  taker.join();
  assert_int_equal(given, 0);
  assert_int_equal(taken, 0);
}

// A word that nobody sleeps on costs no doorbell; one that somebody does is answered once.
void wake_needed__once_per_sleep(void**) {
  mn::ipc::SleepWord* word = &pair.memory->taker;
  assert_false(mn::ipc::wake_needed(word));
  mn::ipc::sleep_announce(word);
  assert_true(mn::ipc::wake_needed(word));
  assert_false(mn::ipc::wake_needed(word));
  mn::ipc::sleep_announce(word);
  mn::ipc::sleep_end(word);
  assert_false(mn::ipc::wake_needed(word));
}

// Who waits for buffers is not woken by entries.
void wake_needed__only_for_what_is_wanted(void**) {
  mn::ipc::SleepWord* word = &pair.memory->taker;
  mn::ipc::sleep_announce(word, mn::ipc::kWakeSpace);
  assert_false(mn::ipc::wake_needed(word, mn::ipc::kWakeEntries));
  assert_true(mn::ipc::sleep_announced(word));
  assert_true(mn::ipc::wake_needed(word, mn::ipc::kWakeSpace));
  assert_false(mn::ipc::sleep_announced(word));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(wake__two_threads, set_up, tear_down),
      cmocka_unit_test_setup_teardown(wake__two_processes, set_up, tear_down),
      cmocka_unit_test_setup_teardown(wake__only_one_side_sleeps, set_up, tear_down),
      cmocka_unit_test_setup_teardown(wake_needed__once_per_sleep, set_up, tear_down),
      cmocka_unit_test_setup_teardown(wake_needed__only_for_what_is_wanted, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
