// SPDX-License-Identifier: MIT
#include "engine/lane_set.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <memory>
#include <vector>
extern "C" {
#include <cmocka.h>
}

#include "channel/channel.h"

using namespace mn;

namespace {

constexpr ipc::LaneShape kShape{
    .tx_buffers = 4, .rx_buffers = 4, .buffer_size = 64, .flow_slots = 2};

struct Fixture {
  int command_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  LaneSet set{command_fd, -1};
  std::vector<std::unique_ptr<Channel>> channels;

  ~Fixture() {
    for (auto& channel : channels) {
      if (set.contains(channel->lane(0))) set.remove(channel->lane(0));
    }
    close(command_fd);
  }
  Lane* add() {
    auto made = Channel::create({&kShape, 1});
    if (!made.ok()) return nullptr;
    channels.push_back(std::move(made.value()));
    Lane* lane = channels.back()->lane(0);
    return set.add(lane) ? lane : nullptr;
  }
  static ipc::LaneHeader* header(Lane* lane) {
    return reinterpret_cast<ipc::LaneHeader*>(const_cast<uint8_t*>(lane->tx_bytes(0).data()) -
                                              ipc::lane_offsets(kShape).tx_data);
  }
  // What an application does: push a segment of no flow, ring if the engine sleeps. True: it rang.
  static bool submit(Lane* lane) {
    auto* base = reinterpret_cast<uint8_t*>(header(lane));
    ipc::Producer16 ring(reinterpret_cast<ipc::Entry16*>(base + ipc::lane_offsets(kShape).submit),
                         ipc::submit_capacity(kShape));
    ring.push({.a = 0, .b = 0, .word = ipc::entry_word(ipc::kSubmitSegment, ipc::kLastSegment, 1)});
    if (!ipc::wake_needed(&header(lane)->engine)) return false;
    const uint64_t one = 1;
    return write(lane->engine_fd(), &one, sizeof one) == sizeof one;
  }
  void quiet_rounds(int rounds) {
    for (int round = 0; round < rounds; round++) {
      for (uint32_t i = 0; i < set.hot_count();) {
        if (!set.looked(i, false)) i++;
      }
    }
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

void add__new_lane_is_hot(void** state) {
  Fixture& f = fixture(state);
  Lane* lane = f.add();
  assert_int_equal(f.set.hot_count(), 1);
  assert_ptr_equal(f.set.hot(0), lane);
  f.set.remove(lane);
  assert_int_equal(f.set.hot_count(), 0);
  assert_false(f.set.contains(lane));
}

void looked__few_quiet_lanes_stay_hot(void** state) {
  Fixture& f = fixture(state);
  for (int i = 0; i < 3; i++) assert_non_null(f.add());
  f.quiet_rounds(5000);
  assert_int_equal(f.set.hot_count(), 3);
}

void looked__many_quiet_lanes_are_parked_and_return_by_doorbell(void** state) {
  Fixture& f = fixture(state);
  for (int i = 0; i < 100; i++) assert_non_null(f.add());
  f.quiet_rounds(5000);
  assert_true(f.set.hot_count() <= 32);
  Lane* parked = nullptr;
  for (auto& channel : f.channels) {
    bool hot = false;
    for (uint32_t i = 0; i < f.set.hot_count(); i++) hot |= f.set.hot(i) == channel->lane(0);
    if (!hot) parked = channel->lane(0);
  }
  assert_non_null(parked);
  const uint32_t before = f.set.hot_count();
  assert_true(Fixture::submit(parked));
  f.set.collect_doorbells();
  assert_int_equal(f.set.hot_count(), before + 1);
}

void looked__lane_with_an_entry_is_not_parked(void** state) {
  Fixture& f = fixture(state);
  for (int i = 0; i < 40; i++) assert_non_null(f.add());
  assert_false(Fixture::submit(f.channels[7]->lane(0)));  // hot: no doorbell
  f.quiet_rounds(5000);
  bool hot = false;
  for (uint32_t i = 0; i < f.set.hot_count(); i++) {
    hot |= f.set.hot(i) == f.channels[7]->lane(0);
  }
  assert_true(hot);
}

void sleep__doorbell_ends_it(void** state) {
  Fixture& f = fixture(state);
  Lane* lane = f.add();
  assert_true(f.set.announce_sleep());
  assert_true(Fixture::submit(lane));
  f.set.sleep(seconds(60));  // returns at once, or this test times out
  assert_false(ipc::wake_needed(&Fixture::header(lane)->engine));
}

void announce_sleep__waiting_entry_forbids_it(void** state) {
  Fixture& f = fixture(state);
  Lane* lane = f.add();
  Fixture::submit(lane);
  assert_false(f.set.announce_sleep());
  assert_false(ipc::wake_needed(&Fixture::header(lane)->engine));
}

void sleep__command_ends_it(void** state) {
  Fixture& f = fixture(state);
  const uint64_t one = 1;
  assert_int_equal(write(f.command_fd, &one, sizeof one), sizeof one);
  assert_true(f.set.announce_sleep());
  f.set.sleep(seconds(60));
  pollfd p{.fd = f.command_fd, .events = POLLIN, .revents = 0};
  assert_int_equal(poll(&p, 1, 0), 0);  // collected
}

void silence__lane_is_not_read_again(void** state) {
  Fixture& f = fixture(state);
  Lane* lane = f.add();
  f.set.silence(lane);
  assert_int_equal(f.set.hot_count(), 0);
  f.set.collect_doorbells();
  assert_int_equal(f.set.hot_count(), 0);
  assert_true(f.set.contains(lane));
}

// The application holds the same open file: it may have read the bell, and made reading it wait.
void collect_doorbells__never_waits_for_a_bell_that_was_taken_away(void** state) {
  Fixture& f = fixture(state);
  Lane* lane = f.add();
  assert_true(f.set.announce_sleep());
  assert_true(Fixture::submit(lane));
  uint64_t rings = 0;
  assert_int_equal(fcntl(lane->engine_fd(), F_SETFL, 0), 0);
  assert_int_equal(read(lane->engine_fd(), &rings, sizeof rings), sizeof rings);
  f.set.sleep(milliseconds(1));
  // And a bell that nobody reads rings again.
  for (int i = 0; i < 3; i++) {
    f.set.announce_sleep();
    const uint64_t one = 1;
    assert_int_equal(write(lane->engine_fd(), &one, sizeof one), sizeof one);
    f.set.sleep(seconds(60));  // returns at once, or this test times out
  }
}

}  // namespace

#define MN_LANE_SET_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main() {
  const CMUnitTest tests[] = {
      MN_LANE_SET_TEST(add__new_lane_is_hot),
      MN_LANE_SET_TEST(looked__few_quiet_lanes_stay_hot),
      MN_LANE_SET_TEST(looked__many_quiet_lanes_are_parked_and_return_by_doorbell),
      MN_LANE_SET_TEST(looked__lane_with_an_entry_is_not_parked),
      MN_LANE_SET_TEST(sleep__doorbell_ends_it),
      MN_LANE_SET_TEST(announce_sleep__waiting_entry_forbids_it),
      MN_LANE_SET_TEST(sleep__command_ends_it),
      MN_LANE_SET_TEST(silence__lane_is_not_read_again),
      MN_LANE_SET_TEST(collect_doorbells__never_waits_for_a_bell_that_was_taken_away),
  };
  return cmocka_run_group_tests_name("lane_set", tests, nullptr, nullptr);
}
