// SPDX-License-Identifier: MIT
#include "base/log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
extern "C" {
#include <cmocka.h>
}

namespace {

char text[4096];

// What `body` writes to standard error, in `text`.
template <typename Body>
const char* capture(Body body, bool journal = false) {
  int pipe_fds[2];
  assert_int_equal(pipe(pipe_fds), 0);
  const int saved = dup(STDERR_FILENO);
  dup2(pipe_fds[1], STDERR_FILENO);
  struct stat status;
  assert_int_equal(fstat(STDERR_FILENO, &status), 0);
  char stream[64];
  snprintf(stream, sizeof stream, "%lu:%lu", static_cast<unsigned long>(status.st_dev),
           static_cast<unsigned long>(status.st_ino) + (journal ? 0 : 1));
  setenv("JOURNAL_STREAM", stream, 1);
  body();
  dup2(saved, STDERR_FILENO);
  close(saved);
  close(pipe_fds[1]);
  const ssize_t got = read(pipe_fds[0], text, sizeof text - 1);
  close(pipe_fds[0]);
  text[got > 0 ? got : 0] = '\0';
  unsetenv("JOURNAL_STREAM");
  return text;
}

void log__names_the_level_on_a_terminal(void**) {
  assert_string_equal(capture([] { mn::log_error("no %s", "device"); }), "error: no device\n");
  assert_string_equal(capture([] { mn::log_warning("%d", 5); }), "warning: 5\n");
  assert_string_equal(capture([] { mn::log_info("ready"); }), "ready\n");
}

void log__priority_for_the_journal(void**) {
  assert_string_equal(capture([] { mn::log_error("x"); }, true), "<3>x\n");
  assert_string_equal(capture([] { mn::log_warning("x"); }, true), "<4>x\n");
  assert_string_equal(capture([] { mn::log_info("x"); }, true), "<6>x\n");
}

void log__level_hides_what_is_below(void**) {
  assert_string_equal(capture([] { mn::log_debug("x"); }), "");
  mn::set_log_level(mn::LogLevel::kDebug);
  assert_string_equal(capture([] { mn::log_debug("x"); }), "debug: x\n");
  mn::set_log_level(mn::LogLevel::kError);
  assert_string_equal(capture([] { mn::log_warning("x"); }), "");
  assert_false(mn::log_enabled(mn::LogLevel::kWarning));
  mn::set_log_level(mn::LogLevel::kInfo);
}

void log__is_one_line_whatever_is_in_it(void**) {
  assert_string_equal(capture([] { mn::log_info("a%sb", "\n<0>\x1b[2J"); }), "a?<0>?[2Jb\n");
}

void log__cuts_long_lines(void**) {
  static char big[3000];
  memset(big, 'x', sizeof big - 1);
  const char* line = capture([] { mn::log_info("%s", big); });
  assert_in_range(strlen(line), 1000, 1024);
  assert_int_equal(line[strlen(line) - 1], '\n');
  assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

void log__leaves_errno(void**) {
  errno = EBUSY;
  capture([] { mn::log_info("%m"); });
  assert_int_equal(errno, EBUSY);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(log__names_the_level_on_a_terminal),
      cmocka_unit_test(log__priority_for_the_journal),
      cmocka_unit_test(log__level_hides_what_is_below),
      cmocka_unit_test(log__is_one_line_whatever_is_in_it),
      cmocka_unit_test(log__cuts_long_lines),
      cmocka_unit_test(log__leaves_errno),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
