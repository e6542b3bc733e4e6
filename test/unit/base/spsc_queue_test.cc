// SPDX-License-Identifier: MIT
#include "base/spsc_queue.h"

#include <sched.h>

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
extern "C" {
#include <cmocka.h>
}

namespace {

void queue__full_and_empty(void**) {
  static mn::SpscQueue<int, 4> queue;
  int value = 0;
  assert_true(queue.empty());
  assert_false(queue.try_pop(&value));
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 4; i++) assert_true(queue.try_push(round * 10 + i));
    assert_false(queue.try_push(99));
    for (int i = 0; i < 4; i++) {
      assert_true(queue.try_pop(&value));
      assert_int_equal(value, round * 10 + i);
    }
    assert_true(queue.empty());
  }
}

void queue__keeps_order_between_threads(void**) {
  static mn::SpscQueue<uint64_t, 64> queue;
  constexpr uint64_t kCount = 200000;
  std::thread pusher([] {
    for (uint64_t i = 0; i < kCount;) {
      if (queue.try_push(i)) {
        i++;
      } else {
        sched_yield();
      }
    }
  });
  uint64_t wrong = 0;
  for (uint64_t want = 0; want < kCount;) {
    uint64_t got;
    if (queue.try_pop(&got)) {
      wrong += got != want++;
    } else {
      sched_yield();
    }
  }
  pusher.join();
  assert_int_equal(wrong, 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(queue__full_and_empty),
      cmocka_unit_test(queue__keeps_order_between_threads),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
