// SPDX-License-Identifier: MIT
#include "base/index_pool.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
extern "C" {
#include <cmocka.h>
}

namespace {

void pool__gives_each_index_once(void**) {
  mn::IndexPool pool(5);
  for (uint32_t i = 0; i < 5; i++) assert_int_equal(pool.take(), i);
  assert_int_equal(pool.take(), mn::IndexPool::kNone);
  assert_int_equal(pool.used_count(), 5);
}

void pool__last_in_first_out(void**) {
  mn::IndexPool pool(5);
  for (int i = 0; i < 5; i++) pool.take();
  pool.give_back(1);
  pool.give_back(4);
  assert_false(pool.in_use(4));
  assert_int_equal(pool.free_count(), 2);
  assert_int_equal(pool.take(), 4);
  assert_int_equal(pool.take(), 1);
  assert_true(pool.in_use(4));
}

void pool__empty(void**) {
  mn::IndexPool pool(0);
  assert_int_equal(pool.take(), mn::IndexPool::kNone);
}

void pool__giving_back_twice_aborts(void**) {
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    close(STDERR_FILENO);
    signal(SIGABRT, SIG_DFL);
    mn::IndexPool pool(2);
    const uint32_t index = pool.take();
    pool.give_back(index);
    pool.give_back(index);
    _exit(0);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(pool__gives_each_index_once),
      cmocka_unit_test(pool__last_in_first_out),
      cmocka_unit_test(pool__empty),
      cmocka_unit_test(pool__giving_back_twice_aborts),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
