// SPDX-License-Identifier: MIT
#include "engine/engine_group.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstring>
#include <memory>
extern "C" {
#include <cmocka.h>
}

using namespace mn;

namespace {

constexpr uint32_t kEngines = 3;

struct Fixture {
  EngineGroup group{kEngines};
  int fds[kEngines];
  uint8_t bytes[200];
  HandedFrame handed;

  Fixture() {
    for (uint32_t i = 0; i < kEngines; i++) {
      fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
      group.set_wake_fd(i, fds[i]);
    }
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = static_cast<uint8_t>(i * 7);
  }
  ~Fixture() {
    for (const int fd : fds) close(fd);
  }
  // `at` marks the frame.
  bool hand_over(uint32_t from, uint32_t to, uintptr_t at = 0) {
    return group.hand_over(
        from, to, {.data = bytes, .length = sizeof bytes, .handle = reinterpret_cast<void*>(at)});
  }
  uint32_t fill(uint32_t from, uint32_t to) {
    uint32_t n = 0;
    while (hand_over(from, to, n)) n++;
    return n;
  }
  uintptr_t mark() const { return reinterpret_cast<uintptr_t>(handed.frame.handle); }
  // How often the engine was woken since the last look.
  uint64_t wakes(uint32_t engine) const {
    uint64_t count = 0;
    return read(fds[engine], &count, sizeof count) == sizeof count ? count : 0;
  }
};

int setup(void** state) {
  *state = new Fixture;
  return 0;
}
int teardown(void** state) {
  delete static_cast<Fixture*>(*state);
  return 0;
}
Fixture& fixture(void** state) { return *static_cast<Fixture*>(*state); }

void take__nothing_was_handed(void** state) {
  Fixture& f = fixture(state);
  for (uint32_t i = 0; i < kEngines; i++) assert_false(f.group.take(i, &f.handed));
}

void hand_over__only_to_that_engine_and_in_order(void** state) {
  Fixture& f = fixture(state);
  for (uintptr_t i = 0; i < 5; i++) assert_true(f.hand_over(2, 1, i));
  assert_false(f.group.take(0, &f.handed));
  assert_false(f.group.take(2, &f.handed));
  for (uintptr_t i = 0; i < 5; i++) {
    assert_true(f.group.take(1, &f.handed));
    assert_int_equal(f.mark(), i);
    assert_int_equal(f.handed.arrived_at, 2);
    assert_int_equal(f.handed.copied, 0);
    assert_ptr_equal(f.handed.frame.data, f.bytes);
    assert_int_equal(f.handed.frame.length, sizeof f.bytes);
    assert_true(f.handed.frame.udp_checksum_ok);  // nobody need verify it a second time
  }
  assert_false(f.group.take(1, &f.handed));
}

// Nothing is overwritten, others' rings have room, and so has this one again when one was taken.
void hand_over__full_ring_refuses(void** state) {
  Fixture& f = fixture(state);
  const uint32_t room = f.fill(0, 1);
  assert_int_equal(room, EngineGroup::kRing);
  assert_true(f.hand_over(0, 2));
  assert_true(f.hand_over(2, 1));
  uint32_t from_0 = 0;
  while (f.group.take(1, &f.handed)) {
    if (f.handed.arrived_at != 0) continue;
    assert_int_equal(f.mark(), from_0);
    if (from_0++ == 0) assert_true(f.hand_over(0, 1, room));
  }
  assert_int_equal(from_0, room + 1);
}

// What others hold is bounded, whoever they are, and counted again when they have given it back.
void hand_over__others_hold_so_many(void** state) {
  constexpr uint32_t kOthers = 15;
  static_assert(kOthers * EngineGroup::kRing > EngineGroup::kHeldMax);
  Fixture& f = fixture(state);
  const auto group = std::make_unique<EngineGroup>(kOthers + 1);
  const auto hand_to_all = [&f, &group] {
    size_t handed = 0;
    for (uint32_t i = 0; i < 10 * EngineGroup::kHeldMax; i++) {
      handed += group->hand_over(0, 1 + i % kOthers, {.data = f.bytes, .length = 60});
    }
    return handed;
  };
  assert_int_equal(hand_to_all(), EngineGroup::kHeldMax);
  assert_true(group->hand_over(1, 2, {.data = f.bytes, .length = 60}));  // others' are others'
  for (uint32_t i = 0; i < 10; i++) assert_true(group->take(5, &f.handed));
  assert_int_equal(hand_to_all(), 10);
}

// One engine's flood does not keep the frames of others waiting.
void take__engines_take_turns(void** state) {
  Fixture& f = fixture(state);
  f.fill(0, 1);
  for (uintptr_t i = 0; i < 20; i++) assert_true(f.hand_over(2, 1, i));
  uint32_t from_2 = 0;
  for (uint32_t i = 0; i < 48; i++) {
    assert_true(f.group.take(1, &f.handed));
    f.hand_over(0, 1);  // it goes on
    from_2 += f.handed.arrived_at == 2;
  }
  assert_int_equal(from_2, 20);
  uint32_t rest = 0;
  while (f.group.take(1, &f.handed)) rest++;
  assert_int_equal(rest, EngineGroup::kRing);
}

void copy_to_others__each_gets_one(void** state) {
  Fixture& f = fixture(state);
  assert_int_equal(f.group.copy_to_others(1, {f.bytes, 60}), 0);
  assert_false(f.group.take(1, &f.handed));
  for (const uint32_t to : {0u, 2u}) {
    assert_true(f.group.take(to, &f.handed));
    assert_int_equal(f.handed.copied, 60);
    assert_int_equal(f.handed.arrived_at, 1);
    assert_memory_equal(f.handed.bytes.data(), f.bytes, 60);
    assert_false(f.group.take(to, &f.handed));
  }
}

void copy_to_others__counts_who_had_no_room(void** state) {
  Fixture& f = fixture(state);
  f.fill(1, 0);
  assert_int_equal(f.group.copy_to_others(1, {f.bytes, 60}), 1);
  assert_true(f.group.take(2, &f.handed));
  assert_int_equal(f.handed.copied, 60);
}

void ring__wakes_who_sleeps_and_got_something(void** state) {
  Fixture& f = fixture(state);
  assert_true(f.group.announce_sleep(1));
  assert_true(f.group.announce_sleep(2));
  f.group.ring(0);
  assert_int_equal(f.wakes(1), 0);
  assert_true(f.hand_over(0, 1));
  assert_true(f.hand_over(0, 1));
  f.group.ring(0);
  assert_int_equal(f.wakes(1), 1);  // for both
  assert_int_equal(f.wakes(2), 0);  // got nothing
  f.group.ring(0);
  assert_int_equal(f.wakes(1), 0);  // nothing new
}

void ring__leaves_who_is_awake(void** state) {
  Fixture& f = fixture(state);
  assert_true(f.hand_over(0, 1));
  f.group.ring(0);
  assert_int_equal(f.wakes(1), 0);
  assert_true(f.group.take(1, &f.handed));
  assert_true(f.group.announce_sleep(1));
  f.group.end_sleep(1);
  assert_true(f.hand_over(0, 1));
  f.group.ring(0);
  assert_int_equal(f.wakes(1), 0);
}

void ring__copies_wake_too(void** state) {
  Fixture& f = fixture(state);
  assert_true(f.group.announce_sleep(0));
  assert_int_equal(f.group.copy_to_others(1, {f.bytes, 42}), 0);
  f.group.ring(1);
  assert_int_equal(f.wakes(0), 1);
}

void announce_sleep__not_while_something_waits(void** state) {
  Fixture& f = fixture(state);
  for (const uint32_t from : {0u, 2u}) {
    assert_true(f.hand_over(from, 1));
    assert_false(f.group.announce_sleep(1));
    f.group.ring(from);
    assert_int_equal(f.wakes(1), 0);  // a refused sleep is over
    assert_true(f.group.take(1, &f.handed));
    assert_true(f.group.announce_sleep(1));
    f.group.end_sleep(1);
  }
}

void engine_group__of_one_has_nobody_to_hand_to(void**) {
  const auto group = std::make_unique<EngineGroup>(1);
  HandedFrame handed;
  assert_int_equal(group->size(), 1);
  assert_false(group->take(0, &handed));
  assert_true(group->announce_sleep(0));
}

}  // namespace

int main() {
#define MN_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const CMUnitTest tests[] = {
      MN_TEST(take__nothing_was_handed),
      MN_TEST(hand_over__only_to_that_engine_and_in_order),
      MN_TEST(hand_over__full_ring_refuses),
      MN_TEST(hand_over__others_hold_so_many),
      MN_TEST(take__engines_take_turns),
      MN_TEST(copy_to_others__each_gets_one),
      MN_TEST(copy_to_others__counts_who_had_no_room),
      MN_TEST(ring__wakes_who_sleeps_and_got_something),
      MN_TEST(ring__leaves_who_is_awake),
      MN_TEST(ring__copies_wake_too),
      MN_TEST(announce_sleep__not_while_something_waits),
      MN_TEST(engine_group__of_one_has_nobody_to_hand_to),
  };
#undef MN_TEST
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
