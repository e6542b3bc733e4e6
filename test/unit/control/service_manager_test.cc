// SPDX-License-Identifier: MIT
// What systemd hears, on a socket of the test's own.
#include "control/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

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
  UniqueFd systemd;
  EventLoop loop;
  std::string status = "idle";
  bool is_live = false;
  uint64_t beat = 1;  // added to every engine's count at each look at the loop
  std::unique_ptr<ServiceManager> manager;
};

int setup(void** state) {
  auto* fixture = new Fixture;
  *state = fixture;
  fixture->systemd.reset(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // An abstract name: nothing is left behind.
  snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "mn-notify-%d", getpid());
  const auto size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + strlen(address.sun_path + 1));
  if (bind(fixture->systemd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) return -1;
  setenv("NOTIFY_SOCKET", (std::string("@") + (address.sun_path + 1)).c_str(), 1);
  unsetenv("WATCHDOG_USEC");
  unsetenv("WATCHDOG_PID");
  if (fixture->loop.open() < 0) return -1;
  fixture->manager = std::make_unique<ServiceManager>(EngineWatch(fixture->bench.links()),
                                                      [fixture]() -> ServiceManager::Status {
                                                        return {fixture->status, fixture->is_live};
                                                      });
  return 0;
}

int teardown(void** state) {
  auto* fixture = static_cast<Fixture*>(*state);
  fixture->manager.reset();
  delete fixture;
  unsetenv("NOTIFY_SOCKET");
  unsetenv("WATCHDOG_USEC");
  return 0;
}

Fixture* fixture_of(void** state) { return static_cast<Fixture*>(*state); }

// Runs the loop for so long; what systemd heard meanwhile, messages separated by '|'.
const char* hear(Fixture* fixture, Duration time) {
  static char heard[4096];
  heard[0] = '\0';
  const Instant end = clock_now() + time;
  for (;;) {
    char message[1024];
    ssize_t n;
    while ((n = recv(fixture->systemd.get(), message, sizeof(message) - 1, 0)) >= 0) {
      message[n] = '\0';
      strncat(heard, message, sizeof(heard) - strlen(heard) - 2);
      strcat(heard, "|");
    }
    if (clock_now() >= end) return heard;
    for (auto& engine : fixture->bench.engines) engine->heartbeat += fixture->beat;
    sd_event_run(fixture->loop.get(), 5'000);
  }
}

size_t count(const char* text, const char* word) {
  size_t found = 0;
  for (const char* at = text; (at = strstr(at, word)) != nullptr; at++) found++;
  return found;
}

void start__is_ready_with_a_status(void** state) {
  Fixture* fixture = fixture_of(state);
  assert_true(fixture->manager->start(fixture->loop.get()).ok());
  assert_string_equal(hear(fixture, milliseconds(1300)), "READY=1\nSTATUS=idle|");
}

void status__only_when_changed_and_once_a_second(void** state) {
  Fixture* fixture = fixture_of(state);
  fixture->is_live = true;
  assert_true(fixture->manager->start(fixture->loop.get()).ok());
  assert_string_equal(hear(fixture, {}), "READY=1\nSTATUS=idle|");
  for (int i = 0; i < 50; i++) {
    fixture->status = "busy " + std::to_string(i);
    fixture->manager->status_changed();
    assert_string_equal(hear(fixture, milliseconds(5)), "");
  }
  // Nobody calls again: what is live is looked at all the same.
  const char* heard = hear(fixture, milliseconds(1400));
  assert_string_equal(heard, "STATUS=busy 49|");
  fixture->status = "other";
  assert_string_equal(hear(fixture, milliseconds(1300)), "STATUS=other|");
}

void reload__is_told_from_begin_to_end(void** state) {
  Fixture* fixture = fixture_of(state);
  assert_true(fixture->manager->start(fixture->loop.get()).ok());
  hear(fixture, {});
  fixture->manager->reload([fixture] { fixture->status = "reloaded"; });
  const char* heard = hear(fixture, {});
  assert_ptr_equal(strstr(heard, "RELOADING=1\nMONOTONIC_USEC="), heard);
  assert_non_null(strstr(heard, "|READY=1\nSTATUS=reloaded|"));
  // What a file says becomes neither a second line nor what systemd would drop.
  fixture->manager->reload([fixture] { fixture->status = "'K\xf6ln\nWATCHDOG=1'"; });
  assert_non_null(strstr(hear(fixture, {}), "|READY=1\nSTATUS='K?ln?WATCHDOG=1'|"));
}

void stop__is_the_last_word(void** state) {
  Fixture* fixture = fixture_of(state);
  setenv("WATCHDOG_USEC", "200000", 1);
  fixture->is_live = true;
  assert_true(fixture->manager->start(fixture->loop.get()).ok());
  hear(fixture, {});
  fixture->manager->stop();
  fixture->status = "never seen";
  const char* heard = hear(fixture, milliseconds(1200));
  assert_int_equal(strncmp(heard, "STOPPING=1\nSTATUS=stopping", 26), 0);
  assert_int_equal(count(heard, "|"), 1);
}

void watchdog__is_fed_twice_in_its_time(void** state) {
  Fixture* fixture = fixture_of(state);
  setenv("WATCHDOG_USEC", "400000", 1);
  assert_true(fixture->manager->start(fixture->loop.get()).ok());
  const size_t fed = count(hear(fixture, milliseconds(1050)), "WATCHDOG=1");
  assert_in_range(fed, 4, 6);
}

void watchdog__is_not_fed_while_one_engine_stands_still(void** state) {
  Fixture* fixture = fixture_of(state);
  setenv("WATCHDOG_USEC", "400000", 1);
  assert_true(fixture->manager->start(fixture->loop.get()).ok());
  hear(fixture, milliseconds(100));
  fixture->beat = 0;
  hear(fixture, EngineWatch::kStandMax + milliseconds(300));
  for (int i = 0; i < 10; i++) {
    fixture->bench.engines[0]->heartbeat++;  // the other one lives
    assert_string_equal(hear(fixture, milliseconds(50)), "");
  }
  fixture->beat = 1;
  assert_true(count(hear(fixture, milliseconds(300)), "WATCHDOG=1") >= 1);
}

void start__without_a_service_manager_does_nothing(void** state) {
  Fixture* fixture = fixture_of(state);
  unsetenv("NOTIFY_SOCKET");
  setenv("WATCHDOG_USEC", "200000", 1);
  fixture->is_live = true;
  assert_true(fixture->manager->start(fixture->loop.get()).ok());
  fixture->manager->status_changed();
  assert_int_equal(sd_event_run(fixture->loop.get(), 1'200'000), 0);  // no timer was armed
  assert_string_equal(hear(fixture, {}), "");
}

}  // namespace

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main() {
  const CMUnitTest tests[] = {
      TEST(start__is_ready_with_a_status),
      TEST(status__only_when_changed_and_once_a_second),
      TEST(reload__is_told_from_begin_to_end),
      TEST(stop__is_the_last_word),
      TEST(watchdog__is_fed_twice_in_its_time),
      TEST(watchdog__is_not_fed_while_one_engine_stands_still),
      TEST(start__without_a_service_manager_does_nothing),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
