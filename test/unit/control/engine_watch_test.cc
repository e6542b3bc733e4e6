// SPDX-License-Identifier: MIT
#include "control/engine_watch.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
extern "C" {
#include <cmocka.h>
}

using namespace mn;
using namespace mn::control;

namespace {

uint64_t beats[2];
std::vector<std::unique_ptr<EngineLink>> links;
std::unique_ptr<EngineWatch> watch;

int setup(void**) {
  links.clear();
  for (uint64_t& beat : beats) {
    beat = 0;
    EngineDoor door;
    door.heartbeat = [&beat] { return beat; };
    links.push_back(std::make_unique<EngineLink>(EngineFacts{}, door));
  }
  watch = std::make_unique<EngineWatch>(links);
  return 0;
}

Instant at(int64_t ms) { return Instant{} + milliseconds(ms); }

void find_stuck__patience_is_longer_than_the_longest_sleep(void**) {
  assert_null(watch->find_stuck(at(0)));
  assert_null(watch->find_stuck(at(1000)));
  assert_null(watch->find_stuck(at(EngineWatch::kStandMax.ns / 1'000'000)));
  assert_ptr_equal(watch->find_stuck(at(EngineWatch::kStandMax.ns / 1'000'000 + 1)),
                   links[0].get());
}

void find_stuck__each_engine_for_itself(void**) {
  for (int64_t ms = 0; ms < 10'000; ms += 500) {
    beats[0]++;
    const EngineLink* stuck = watch->find_stuck(at(ms));
    assert_ptr_equal(stuck, ms > 2000 ? links[1].get() : nullptr);
  }
  beats[1]++;
  assert_null(watch->find_stuck(at(10'000)));
  assert_null(watch->find_stuck(at(11'500)));
  assert_ptr_equal(watch->find_stuck(at(12'000)), links[0].get());
}

void find_stuck__looks_that_are_far_apart(void**) {
  for (int64_t ms = 0; ms < 100'000; ms += 10'000) {
    beats[0]++;
    beats[1]++;
    assert_null(watch->find_stuck(at(ms)));
  }
  beats[1]++;
  assert_ptr_equal(watch->find_stuck(at(100'000)), links[0].get());
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test_setup(find_stuck__patience_is_longer_than_the_longest_sleep, setup),
      cmocka_unit_test_setup(find_stuck__each_engine_for_itself, setup),
      cmocka_unit_test_setup(find_stuck__looks_that_are_far_apart, setup),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
