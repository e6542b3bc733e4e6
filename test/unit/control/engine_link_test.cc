// SPDX-License-Identifier: MIT
#include "control/engine_link.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <memory>

extern "C" {
#include <cmocka.h>
}

using namespace mn;
using namespace mn::control;

namespace {

// What an engine could not tell for want of room it tells when it is woken up.
void drain__of_a_full_queue_wakes_the_engine(void**) {
  const auto commands = std::make_unique<EngineCommandQueue>();
  const auto events = std::make_unique<EngineEventQueue>();
  int wakes = 0;
  size_t news = 0;
  EngineLink link({}, {.commands = commands.get(),
                       .events = events.get(),
                       .wake = [&] { wakes++; },
                       .heartbeat = [] { return uint64_t{0}; },
                       .link_is_up = nullptr});
  link.on_event = [&](const EngineEvent&) { news++; };
  const EngineEvent ended{.kind = EngineEvent::Kind::kFlowEnded};
  events->try_push(ended);
  link.drain();
  assert_int_equal(news, 1);
  assert_int_equal(wakes, 0);
  while (events->try_push(ended)) continue;
  link.drain();
  assert_int_equal(news, 1 + EngineEventQueue::capacity());
  assert_int_equal(wakes, 1);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {cmocka_unit_test(drain__of_a_full_queue_wakes_the_engine)};
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
