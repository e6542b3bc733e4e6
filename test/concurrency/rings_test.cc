// SPDX-License-Identifier: MIT
// Rings between two threads (where ThreadSanitizer sees both) and between two processes, both sides
// polling.
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
constexpr uint64_t kCount = 500'000;
#else
constexpr uint64_t kCount = 4'000'000;
#endif

RingPair pair;

int set_up(void**) { return ring_pair_create(&pair) ? 0 : -1; }
int tear_down(void**) {
  ring_pair_destroy(&pair);
  return 0;
}

void rings__two_threads(void**) {
  int taken = -1;
  std::thread taker([&taken] { taken = ring_pair_take(pair, kCount, false, 1); });
  const int given = ring_pair_give(pair, kCount, false, 2);
  taker.join();
  assert_int_equal(given, 0);
  assert_int_equal(taken, 0);
}

void rings__two_processes(void**) {
  const pid_t child = fork();
  if (child == 0) _exit(ring_pair_take(pair, kCount, false, 3) == 0 ? 0 : 1);
  assert_true(child > 0);
  const int given = ring_pair_give(pair, kCount, false, 4);
  int status = -1;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(given, 0);
  assert_int_equal(status, 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(rings__two_threads, set_up, tear_down),
      cmocka_unit_test_setup_teardown(rings__two_processes, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
