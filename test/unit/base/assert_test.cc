// SPDX-License-Identifier: MIT
#include "base/assert.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
extern "C" {
#include <cmocka.h>
}

namespace {

// What a child says on standard error while it runs `body`, and how it ends.
template <typename Body>
int run_child(Body body, char* ret_text, size_t size) {
  int pipe_fds[2];
  assert_int_equal(pipe(pipe_fds), 0);
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    dup2(pipe_fds[1], STDERR_FILENO);
    signal(SIGABRT, SIG_DFL);
    body();
    _exit(0);
  }
  close(pipe_fds[1]);
  const ssize_t got = read(pipe_fds[0], ret_text, size - 1);
  ret_text[got > 0 ? got : 0] = '\0';
  close(pipe_fds[0]);
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  return status;
}

void assert_failed__says_where_and_aborts(void**) {
  char text[512];
  const int status = run_child([] { MN_ASSERT(1 + 1 == 3); }, text, sizeof text);
  assert_true(WIFSIGNALED(status));
  assert_int_equal(WTERMSIG(status), SIGABRT);
  assert_non_null(strstr(text, "assert_test.cc:"));
  assert_non_null(strstr(text, "1 + 1 == 3\n"));
}

void assert__evaluates_once_and_goes_on(void**) {
  int count = 0;
  MN_ASSERT(++count == 1);
  assert_int_equal(count, 1);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(assert_failed__says_where_and_aborts),
      cmocka_unit_test(assert__evaluates_once_and_goes_on),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
