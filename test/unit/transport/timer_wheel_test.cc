// SPDX-License-Identifier: MIT
#include "transport/timer_wheel.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <vector>
extern "C" {
#include <cmocka.h>
}

#include "base/prng.h"

using namespace mn;
using namespace mn::transport;

namespace {

constexpr int64_t kTickNs = 8192;

struct Fixture {
  TimerWheel wheel;
  std::vector<TimerNode> nodes = std::vector<TimerNode>(200, TimerNode{{}, INT64_MAX, 0});
};
int setup(void** state) {
  *state = new Fixture;
  return 0;
}
int teardown(void** state) {
  delete static_cast<Fixture*>(*state);
  return 0;
}

void pop_due__never_early_and_at_most_a_tick_late(void** state) {
  Fixture& f = *static_cast<Fixture*>(*state);
  Prng random(5);
  Instant now{123'456'789};
  assert_null(f.wheel.pop_due(now));
  std::vector<int64_t> due(f.nodes.size(), INT64_MAX);
  size_t fired = 0;
  for (int round = 0; round < 20000; round++) {
    for (int k = 0; k < 3; k++) {
      const size_t i = random.below(f.nodes.size());
      const int64_t range = int64_t{1} << random.between(8, 36);
      if (random.below(8) == 0) {
        f.wheel.clear(&f.nodes[i]);
        due[i] = INT64_MAX;
      } else {
        due[i] = now.ns + static_cast<int64_t>(random.below(static_cast<uint64_t>(range)));
        f.wheel.set(&f.nodes[i], {due[i]});
      }
    }
    // A sleeper that trusts next_deadline must not miss anything.
    const Instant next = f.wheel.next_deadline();
    int64_t earliest = INT64_MAX;
    for (int64_t d : due) earliest = std::min(earliest, d);
    if (earliest != INT64_MAX) assert_true(next.ns <= earliest + 2 * kTickNs);
    now.ns += static_cast<int64_t>(random.below(uint64_t{1} << random.between(8, 33)));
    while (TimerNode* node = f.wheel.pop_due(now)) {
      const size_t i = static_cast<size_t>(node - f.nodes.data());
      assert_true(due[i] <= now.ns);
      assert_true(node->at_ns == INT64_MAX);
      due[i] = INT64_MAX;
      fired++;
    }
    size_t set = 0;
    for (int64_t d : due) {
      assert_true(d > now.ns - kTickNs);
      set += d != INT64_MAX;
    }
    assert_int_equal(set, f.wheel.size());
  }
  assert_true(fired > 10000);
}

void next_deadline__sleeping_until_it_makes_progress(void** state) {
  Fixture& f = *static_cast<Fixture*>(*state);
  Instant now{1'000'000'000};
  f.wheel.pop_due(now);
  for (int64_t away : {int64_t{1}, int64_t{100'000}, int64_t{5'000'000}, int64_t{3'000'000'000},
                       int64_t{300'000'000'000}}) {
    const Instant at = now + nanoseconds(away);
    f.wheel.set(&f.nodes[0], at);
    int wakes = 0;
    while (f.wheel.pop_due(now) == nullptr) {
      assert_true(f.wheel.next_deadline() > now);
      now = f.wheel.next_deadline();
      assert_true(++wakes < 10);
    }
    assert_true(now >= at && now - at <= nanoseconds(2 * kTickNs));
    assert_null(f.wheel.pop_due(now));
  }
  assert_true(f.wheel.next_deadline() == Instant::never());
}

void pop_due__may_clear_others_that_are_due(void** state) {
  Fixture& f = *static_cast<Fixture*>(*state);
  const Instant at{2'000'000'000};
  for (int i = 0; i < 3; i++) f.wheel.set(&f.nodes[i], at);
  TimerNode* first = f.wheel.pop_due(at + milliseconds(1));
  assert_non_null(first);
  for (int i = 0; i < 3; i++) f.wheel.clear(&f.nodes[i]);
  assert_null(f.wheel.pop_due(at + milliseconds(1)));
  assert_int_equal(f.wheel.size(), 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(pop_due__never_early_and_at_most_a_tick_late, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(next_deadline__sleeping_until_it_makes_progress, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(pop_due__may_clear_others_that_are_due, setup, teardown),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
