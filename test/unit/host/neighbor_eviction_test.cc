// SPDX-License-Identifier: MIT
#include "base/prng.h"
#include "unit/host/neighbor_fixture.h"

using namespace neighbor_test;

namespace {

void eviction__takes_the_longest_unused(void**) {
  Path paths[8];
  for (uint32_t i = 0; i < 8; i++) paths[i] = make_reachable(kStart, kPeer + i);
  for (uint32_t i = 0; i < 8; i++) {
    if (i != 3) table->path_mac(paths[i], &mac);
  }
  const Path fresh = make_reachable(kStart, kPeer + 100);
  assert_false(table->path_mac(paths[3], &mac));
  assert_int_equal(table->state(kPeer + 3), NeighborState::kFree);
  assert_true(table->path_mac(fresh, &mac));
  assert_int_equal(fresh & 0xffff, paths[3] & 0xffff);
  for (uint32_t i = 0; i < 8; i++) {
    if (i != 3) assert_true(table->path_mac(paths[i], &mac));
  }
}

void eviction__failed_entries_go_first(void**) {
  for (uint32_t i = 0; i < 7; i++) make_reachable(kStart, kPeer + i);
  table->resolve(kStart, kPeer + 7);
  for (int i = 0; i <= 3; i++) {
    table->on_deadline(kStart + seconds(i));
    table->poll_request(kStart + seconds(i), &request);
  }
  assert_true(table->poll_event(&event));
  make_reachable(kStart + seconds(3), kPeer + 50);
  for (uint32_t i = 0; i < 7; i++) {
    assert_int_equal(table->state(kPeer + i), NeighborState::kReachable);
  }
}

void eviction__open_questions_are_kept_but_limited(void**) {
  for (uint32_t i = 0; i < 6; i++) make_reachable(kStart, kPeer + i);
  assert_int_equal(table->resolve(kStart, kPeer + 100).status, ResolveStatus::kPending);
  assert_int_equal(table->resolve(kStart, kPeer + 101).status, ResolveStatus::kPending);
  assert_int_equal(table->resolve(kStart, kPeer + 102).status, ResolveStatus::kNoRoom);
  // Neighbours that come to us still find a place.
  for (uint32_t i = 0; i < 20; i++) {
    assert_int_not_equal(table->learn_from_traffic(kStart, kPeer + 200 + i, kMac), kNoPath);
  }
  assert_int_equal(table->state(kPeer + 100), NeighborState::kIncomplete);
  assert_int_equal(table->state(kPeer + 101), NeighborState::kIncomplete);
}

// Anything in any order: lists and asserts hold, an answer is never more than 64 steps away.
void table__random_operations(void**) {
  mn::Prng random(3);
  Instant now = kStart;
  Path paths[32] = {};
  for (int step = 0; step < 300000; step++) {
    now = now + milliseconds(static_cast<int64_t>(random.below(40)));
    const uint32_t i = static_cast<uint32_t>(random.below(32));
    const mn::Ipv4 ip = kPeer + i;
    const Mac from{{2, 0, 0, 0, static_cast<uint8_t>(random.below(2)), static_cast<uint8_t>(i)}};
    switch (random.below(8)) {
      case 0: {
        const NextHop hop = table->resolve(now, ip);
        if (hop.path != kNoPath) paths[i] = hop.path;
        break;
      }
      case 1:
        table->learn(now, ip, from, random.below(2) == 0, random.below(2) == 0);
        break;
      case 2:
        paths[i] = table->learn_from_traffic(now, ip, from);
        break;
      case 3:
        if (table->path_mac(paths[i], &mac)) assert_int_equal(mac.bytes[5], i);
        break;
      case 4:
        table->doubt(now, paths[i]);
        break;
      case 5:
        table->on_deadline(now);
        break;
      case 6:
        if (table->poll_request(now, &request)) {
          assert_in_range(request.ip, kPeer, kPeer + 31);
          if (random.below(2) == 0)
            answer(now, request.ip,
                   from.bytes[5] == request.ip - kPeer
                       ? from
                       : Mac{{2, 0, 0, 0, 0, static_cast<uint8_t>(request.ip - kPeer)}});
        }
        break;
      default:
        table->poll_event(&event);
    }
    assert_true(table->size() <= 8);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      MN_SMALL(eviction__takes_the_longest_unused),
      MN_SMALL(eviction__failed_entries_go_first),
      MN_SMALL(eviction__open_questions_are_kept_but_limited),
      MN_SMALL(table__random_operations),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
