// SPDX-License-Identifier: MIT
// SpscQueue between two threads: order, contents, and the memory that a value points to.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cstdint>
#include <thread>
#include <vector>

extern "C" {
#include <cmocka.h>
}

#include "base/spsc_queue.h"

namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kCount = 200'000;
#else
constexpr uint64_t kCount = 2'000'000;
#endif

struct Value {
  uint64_t number = 0;
  uint64_t* plain = nullptr;  // written by the pusher before, read by the popper after
};
using Queue = mn::SpscQueue<Value, 64>;

Queue* queue;
std::vector<uint64_t>* words;

int set_up(void**) {
  queue = new Queue;
  words = new std::vector<uint64_t>(kCount);
  return 0;
}
int tear_down(void**) {
  delete queue;
  delete words;
  return 0;
}

void spsc_queue__two_threads(void**) {
  uint64_t wrong = 0;
  std::thread popper([&wrong] {
    for (uint64_t i = 0; i < kCount;) {
      Value value;
      if (!queue->try_pop(&value)) {
        std::this_thread::yield();
        continue;
      }
      if (value.number != i || *value.plain != i * 3) wrong++;
      *value.plain = 0;
      i++;
    }
    if (!queue->empty()) wrong++;
  });
  for (uint64_t i = 0; i < kCount; i++) {
    (*words)[i] = i * 3;
    while (!queue->try_push({i, &(*words)[i]})) std::this_thread::yield();
  }
  popper.join();
  assert_int_equal(wrong, 0);
}

void spsc_queue__refuses_when_full(void**) {
  for (uint64_t i = 0; i < 64; i++) assert_true(queue->try_push({i, nullptr}));
  assert_false(queue->try_push({64, nullptr}));
  Value value;
  assert_true(queue->try_pop(&value));
  assert_int_equal(value.number, 0);
  assert_true(queue->try_push({64, nullptr}));
  for (uint64_t i = 1; i <= 64; i++) {
    assert_true(queue->try_pop(&value));
    assert_int_equal(value.number, i);
  }
  assert_false(queue->try_pop(&value));
  assert_true(queue->empty());
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(spsc_queue__two_threads, set_up, tear_down),
      cmocka_unit_test_setup_teardown(spsc_queue__refuses_when_full, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
