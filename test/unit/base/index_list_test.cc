// SPDX-License-Identifier: MIT
#include "base/index_list.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
extern "C" {
#include <cmocka.h>
}

#include "base/fixed_array.h"
#include "base/prng.h"

namespace {

struct Item {
  mn::IndexLink link;
  mn::IndexLink other;
};
using List = mn::IndexList<Item, &Item::link>;

void check(const List& list, const mn::FixedArray<Item>& items, const uint32_t* want,
           uint32_t count) {
  assert_int_equal(list.size(), count);
  uint32_t at = list.front();
  uint32_t before = List::kEnd;
  for (uint32_t i = 0; i < count; i++) {
    assert_int_equal(at, want[i]);
    assert_int_equal(items[at].link.previous, before);
    before = at;
    at = list.next(items, at);
  }
  assert_int_equal(at, List::kEnd);
  assert_int_equal(list.back(), before);
}

void list__orders(void**) {
  mn::FixedArray<Item> items(8);
  List list;
  assert_true(list.empty());
  assert_int_equal(list.pop_front(items), List::kEnd);
  list.push_back(items, 3);
  list.push_back(items, 4);
  list.push_front(items, 2);
  list.insert_before(items, 7, 4);
  const uint32_t first[] = {2, 3, 7, 4};
  check(list, items, first, 4);
  list.move_to_back(items, 3);
  list.insert_before(items, 0, 2);
  const uint32_t second[] = {0, 2, 7, 4, 3};
  check(list, items, second, 5);
  list.remove(items, 3);
  list.remove(items, 0);
  list.remove(items, 7);
  const uint32_t third[] = {2, 4};
  check(list, items, third, 2);
  assert_false(items[7].link.linked());
  assert_int_equal(list.pop_front(items), 2);
  assert_int_equal(list.pop_front(items), 4);
  assert_true(list.empty());
}

void list__two_lists_through_one_element(void**) {
  mn::FixedArray<Item> items(4);
  List list;
  mn::IndexList<Item, &Item::other> other;
  list.push_back(items, 1);
  other.push_back(items, 1);
  other.push_back(items, 2);
  list.remove(items, 1);
  assert_int_equal(other.size(), 2);
  assert_true(items[1].other.linked());
}

void list__random_against_array(void**) {
  constexpr uint32_t kCount = 20;
  mn::FixedArray<Item> items(kCount);
  List list;
  uint32_t want[kCount];
  uint32_t count = 0;
  mn::Prng random(7);
  for (int step = 0; step < 20000; step++) {
    const uint32_t index = static_cast<uint32_t>(random.below(kCount));
    if (items[index].link.linked()) {
      list.remove(items, index);
      uint32_t at = 0;
      while (want[at] != index) at++;
      for (; at + 1 < count; at++) want[at] = want[at + 1];
      count--;
    } else if (random.below(2) == 0) {
      list.push_back(items, index);
      want[count++] = index;
    } else {
      list.push_front(items, index);
      for (uint32_t i = count; i > 0; i--) want[i] = want[i - 1];
      want[0] = index;
      count++;
    }
    check(list, items, want, count);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(list__orders),
      cmocka_unit_test(list__two_lists_through_one_element),
      cmocka_unit_test(list__random_against_array),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
