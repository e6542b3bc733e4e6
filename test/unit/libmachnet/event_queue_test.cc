// SPDX-License-Identifier: MIT
#include "libmachnet/event_queue.h"

#include "fake_daemon.h"

namespace mn::client {
namespace {

int setup(void** state) {
  EventQueue* queue = new EventQueue;
  assert_true(queue->init(10));
  *state = queue;
  return 0;
}

int teardown(void** state) {
  EventQueue* queue = static_cast<EventQueue*>(*state);
  queue->destroy();
  delete queue;
  return 0;
}

void pop__in_order_over_many_laps(void** state) {
  EventQueue* queue = static_cast<EventQueue*>(*state);
  FlowEvent event;
  assert_false(queue->pop(&event));
  for (uint32_t i = 0; i < 1000; i++) {
    queue->push({MACHNET_EVENT_ACCEPTED, 2 * i, 0, false, test_flow(0)});
    queue->push({MACHNET_EVENT_CLOSED, 2 * i + 1, 0, true, test_flow(0)});
    assert_int_equal(queue->size(), 2);
    for (uint32_t k = 0; k < 2; k++) {
      assert_true(queue->pop(&event));
      assert_int_equal(event.ref, 2 * i + k);
    }
  }
  assert_int_equal(queue->pushed(), 2000);
}

void full__not_before_two_events_for_each_flow(void** state) {
  EventQueue* queue = static_cast<EventQueue*>(*state);
  for (uint32_t i = 0; i < 20; i++) {
    assert_false(queue->full());
    queue->push({MACHNET_EVENT_ACCEPTED, i, 0, false, test_flow(0)});
  }
  while (!queue->full()) queue->push({MACHNET_EVENT_ACCEPTED, 0, 0, false, test_flow(0)});
  assert_int_equal(queue->size(), 32);
}

}  // namespace
}  // namespace mn::client

int main() {
  using namespace mn::client;
  const CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(pop__in_order_over_many_laps, setup, teardown),
      cmocka_unit_test_setup_teardown(full__not_before_two_events_for_each_flow, setup, teardown),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
