// SPDX-License-Identifier: MIT
#include "base/log.h"

#include <fcntl.h>
#include <pty.h>
#include <sys/stat.h>
#include <sys/uio.h>
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

// In the place of libsystemd's.
extern "C" int sd_journal_sendv(const struct iovec* pieces, int count);

namespace {

char text[4096];

// What was given to the journal, field by field; there is none when `journal_is_there` is false.
char sent[4096];
bool journal_is_there;

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

// What `body` writes to a terminal.
template <typename Body>
const char* capture_terminal(Body body) {
  int master;
  int slave;
  assert_int_equal(openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
  const int saved = dup(STDERR_FILENO);
  dup2(slave, STDERR_FILENO);
  close(slave);
  body();
  dup2(saved, STDERR_FILENO);
  close(saved);
  const ssize_t got = read(master, text, sizeof text - 1);
  close(master);
  text[got > 0 ? got : 0] = '\0';
  return text;
}

int forget(void**) {
  sent[0] = '\0';
  journal_is_there = false;
  setenv("TERM", "xterm", 1);
  unsetenv("NO_COLOR");
  mn::set_log_level(mn::LogLevel::kInfo);
  return 0;
}

void log__names_the_level_on_a_terminal(void**) {
  assert_string_equal(capture([] { mn::log_error("no %s", "device"); }), "error: no device\n");
  assert_string_equal(capture([] { mn::log_warning("%d", 5); }), "warning: 5\n");
  assert_string_equal(capture([] { mn::log_info("ready"); }), "ready\n");
}

void log__priority_for_a_journal_that_only_reads_the_stream(void**) {
  assert_string_equal(capture([] { mn::log_error("x"); }, true), "<3>x\n");
  assert_string_equal(capture([] { mn::log_warning("x"); }, true), "<4>x\n");
  assert_string_equal(capture([] { mn::log_info("x"); }, true), "<6>x\n");
}

void log__sends_fields_to_the_journal(void**) {
  journal_is_there = true;
  assert_string_equal(capture([] { mn::log_warning("a%sb", "\n"); }, true), "");
  assert_string_equal(sent, "PRIORITY=4|MESSAGE=a?b|");
  capture(
      [] {
        mn::log_event(mn::LogLevel::kError,
                      {.message_id = "0123", .nic = "eth\n1", .channel = 7, .flow = "a-b"},
                      "text %d", 5);
      },
      true);
  assert_string_equal(sent,
                      "PRIORITY=3|MESSAGE_ID=0123|NIC=eth?1|FLOW=a-b|CHANNEL=7|MESSAGE=text 5|");
}

void log__sends_nothing_to_the_journal_when_it_goes_elsewhere(void**) {
  journal_is_there = true;
  assert_string_equal(
      capture([] { mn::log_event(mn::LogLevel::kInfo, {.nic = "e", .channel = 1}, "up"); }),
      "up\n");
  assert_string_equal(sent, "");
}

// A journal is there, and is not spoken to. Last: nothing takes it back.
void set_log_stream_only__the_journal_gets_the_stream(void**) {
  journal_is_there = true;
  mn::set_log_stream_only();
  assert_string_equal(capture([] { mn::log_error("file:%d", 5); }, true), "<3>file:5\n");
  assert_string_equal(
      capture([] { mn::log_event(mn::LogLevel::kError, {.message_id = "0123"}, "x"); }, true),
      "<3>x\n");
  assert_string_equal(sent, "");
  // The priority is for the journal; JOURNAL_STREAM may be of a parent whose stream was another.
  assert_string_equal(capture([] { mn::log_error("file:%d", 5); }), "error: file:5\n");
  assert_string_equal(capture_terminal([] { mn::log_info("x"); }), "x\r\n");
}

void log__is_coloured_on_a_terminal(void**) {
  assert_string_equal(capture_terminal([] { mn::log_error("x"); }),
                      "\x1b[1;31merror: x\x1b[0m\r\n");
  assert_string_equal(capture_terminal([] { mn::log_info("x"); }), "x\r\n");
  setenv("NO_COLOR", "1", 1);
  assert_string_equal(capture_terminal([] { mn::log_error("x"); }), "error: x\r\n");
  unsetenv("NO_COLOR");
  setenv("TERM", "dumb", 1);
  assert_string_equal(capture_terminal([] { mn::log_error("x"); }), "error: x\r\n");
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
  assert_string_equal(capture([] { mn::log_info("%m"); }), "Device or resource busy\n");
  journal_is_there = true;
  errno = EBUSY;
  capture([] { mn::log_info("%m"); }, true);
  assert_int_equal(errno, EBUSY);
  assert_string_equal(sent, "PRIORITY=6|MESSAGE=Device or resource busy|");
}

void log__cuts_long_lines_for_the_journal(void**) {
  static char big[3000];
  memset(big, 'x', sizeof big - 1);
  journal_is_there = true;
  capture([] { mn::log_event(mn::LogLevel::kInfo, {.nic = big}, "%s", big); }, true);
  assert_in_range(strlen(sent), 1100, 1200);
}

}  // namespace

extern "C" int sd_journal_sendv(const struct iovec* pieces, int count) {
  if (!journal_is_there) return -ENOENT;
  sent[0] = '\0';
  for (int i = 0; i < count; i++) {
    strncat(sent, static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
    strcat(sent, "|");
  }
  errno = ENOTTY;  // as a call may
  return 0;
}

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test_setup(log__names_the_level_on_a_terminal, forget),
      cmocka_unit_test_setup(log__priority_for_a_journal_that_only_reads_the_stream, forget),
      cmocka_unit_test_setup(log__sends_fields_to_the_journal, forget),
      cmocka_unit_test_setup(log__sends_nothing_to_the_journal_when_it_goes_elsewhere, forget),
      cmocka_unit_test_setup(log__is_coloured_on_a_terminal, forget),
      cmocka_unit_test_setup(log__level_hides_what_is_below, forget),
      cmocka_unit_test_setup(log__is_one_line_whatever_is_in_it, forget),
      cmocka_unit_test_setup(log__cuts_long_lines, forget),
      cmocka_unit_test_setup(log__cuts_long_lines_for_the_journal, forget),
      cmocka_unit_test_setup(log__leaves_errno, forget),
      cmocka_unit_test_setup(set_log_stream_only__the_journal_gets_the_stream, forget),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
