// SPDX-License-Identifier: MIT
// What the log says about links, read from standard error.
#include "control/link_watch.h"

#include <fcntl.h>
#include <unistd.h>

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>

#include "support/control_bench.h"
extern "C" {
#include <cmocka.h>
}

#include "base/clock.h"

using namespace mn;
using namespace mn::control;

namespace {

struct Fixture {
  test::ControlBench bench;
  EventLoop loop;
  int changes = 0;
  LinkWatch watch{bench.links(), [this] { changes++; }};
};

UniqueFd read_end, own_stderr;

int setup(void** state) {
  unsetenv("JOURNAL_STREAM");
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0) return -1;
  read_end.reset(pipe_ends[0]);
  own_stderr.reset(dup(STDERR_FILENO));
  dup2(pipe_ends[1], STDERR_FILENO);
  close(pipe_ends[1]);
  auto* fixture = new Fixture;
  *state = fixture;
  return fixture->loop.open() < 0 ? -1 : 0;
}

int teardown(void** state) {
  delete static_cast<Fixture*>(*state);
  dup2(own_stderr.get(), STDERR_FILENO);
  return 0;
}

// What was logged since the last call.
const char* logged() {
  static char text[1024];
  const ssize_t n = read(read_end.get(), text, sizeof(text) - 1);
  text[n > 0 ? n : 0] = '\0';
  return text;
}

void look(Fixture* fixture) {
  const Instant end = clock_now() + LinkWatch::kPeriod + milliseconds(300);
  while (clock_now() < end) sd_event_run(fixture->loop.get(), 50'000);
}

void start__says_what_is_down_already(void** state) {
  auto* fixture = static_cast<Fixture*>(*state);
  fixture->bench.engines[1]->link_is_up = false;
  assert_true(fixture->watch.start(fixture->loop.get()).ok());
  assert_string_equal(logged(), "warning: nic nic1: the link is down\n");
  assert_false(fixture->watch.is_down(0));
  assert_true(fixture->watch.is_down(1));
  assert_int_equal(fixture->changes, 1);
}

void look__tells_each_change_once(void** state) {
  auto* fixture = static_cast<Fixture*>(*state);
  assert_true(fixture->watch.start(fixture->loop.get()).ok());
  assert_string_equal(logged(), "");
  fixture->bench.engines[0]->link_is_up = false;
  look(fixture);
  assert_string_equal(logged(), "warning: nic nic0: the link is down\n");
  look(fixture);
  assert_string_equal(logged(), "");
  fixture->bench.engines[0]->link_is_up = true;
  look(fixture);
  assert_string_equal(logged(), "nic nic0: the link is up again\n");
  assert_false(fixture->watch.is_down(0));
  assert_int_equal(fixture->changes, 2);
  fixture->watch.stop();
  fixture->bench.engines[0]->link_is_up = false;
  look(fixture);
  assert_string_equal(logged(), "");
}

void start__without_a_nic_never_wakes_up(void**) {
  std::vector<std::unique_ptr<EngineLink>> local;
  local.push_back(std::make_unique<EngineLink>(EngineFacts{}, EngineDoor{}));
  EventLoop loop;
  loop.open();
  LinkWatch watch(local, [] {});
  const bool started = watch.start(loop.get()).ok();
  const int ran = sd_event_run(loop.get(), 1'200'000);
  local.clear();
  assert_true(started && !watch.is_down(0));
  assert_int_equal(ran, 0);
}

}  // namespace

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main() {
  const CMUnitTest tests[] = {
      TEST(start__says_what_is_down_already),
      TEST(look__tells_each_change_once),
      TEST(start__without_a_nic_never_wakes_up),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
