// SPDX-License-Identifier: MIT
#include "host/neighbor_table.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
extern "C" {
#include <cmocka.h>
}

#include "base/prng.h"

using mn::Instant;
using mn::Mac;
using mn::milliseconds;
using mn::seconds;
using namespace mn::host;

namespace {

constexpr Instant kStart{5'000'000'000};
constexpr mn::Ipv4 kPeer = 0x0a000002;
constexpr Mac kMac{{2, 0, 0, 0, 0, 2}}, kOther{{2, 0, 0, 0, 0, 3}};

NeighborTable* table;
NeighborRequest request;
NeighborEvent event;
Mac mac;

int setup_of(uint32_t entries) {
  NeighborConfig config;
  config.entries_max = entries;
  config.seed = 1;
  table = new NeighborTable(config);
  return 0;
}
int setup(void**) { return setup_of(64); }
int setup_small(void**) { return setup_of(8); }
int teardown(void**) {
  delete table;
  return 0;
}

void answer(Instant now, mn::Ipv4 ip, Mac from) { table->learn(now, ip, from, false, true); }

// An entry that ARP has confirmed at `now`.
Path make_reachable(Instant now, mn::Ipv4 ip, Mac from = kMac) {
  const NextHop hop = table->resolve(now, ip);
  assert_int_equal(hop.status, ResolveStatus::kPending);
  assert_true(table->poll_request(now, &request));
  answer(now, ip, from);
  assert_true(table->poll_event(&event));
  assert_true(event.ready);
  assert_int_equal(event.path, hop.path);
  return hop.path;
}

void resolve__asks_and_hears(void**) {
  const NextHop hop = table->resolve(kStart, kPeer);
  assert_int_equal(hop.status, ResolveStatus::kPending);
  assert_int_not_equal(hop.path, kNoPath);
  assert_false(table->path_mac(hop.path, &mac));
  assert_true(table->has_request());
  assert_true(table->poll_request(kStart, &request));
  assert_int_equal(request.ip, kPeer);
  assert_true(request.destination == mn::kBroadcastMac);
  assert_false(table->poll_request(kStart, &request));
  assert_false(table->poll_event(&event));
  // A second connection to the same place waits for the same answer.
  assert_int_equal(table->resolve(kStart, kPeer).path, hop.path);
  assert_false(table->has_request());

  answer(kStart + milliseconds(1), kPeer, kMac);
  assert_true(table->poll_event(&event));
  assert_true(event.ready);
  assert_int_equal(event.next_hop, kPeer);
  assert_int_equal(event.path, hop.path);
  assert_false(table->poll_event(&event));
  assert_true(table->path_mac(hop.path, &mac));
  assert_true(mac == kMac);
  const NextHop again = table->resolve(kStart + milliseconds(2), kPeer);
  assert_int_equal(again.status, ResolveStatus::kReady);
  assert_int_equal(again.path, hop.path);
}

void resolve__asks_once_a_second_then_fails(void**) {
  const NextHop hop = table->resolve(kStart, kPeer);
  for (int i = 0; i < 3; i++) {
    const Instant now = kStart + seconds(i);
    table->on_deadline(now);
    assert_true(table->poll_request(now, &request));
    assert_true(request.destination == mn::kBroadcastMac);
    assert_true(table->next_deadline() == now + seconds(1));
    table->on_deadline(now + milliseconds(999));
    assert_false(table->poll_request(now + milliseconds(999), &request));
  }
  table->on_deadline(kStart + seconds(3));
  assert_true(table->poll_event(&event));
  assert_false(event.ready);
  assert_int_equal(event.path, hop.path);
  assert_false(table->has_request());
  assert_true(table->next_deadline() == Instant::never());
  assert_int_equal(table->state(kPeer), NeighborState::kFailed);
  // Remembered for a second, then asked again.
  assert_int_equal(table->resolve(kStart + milliseconds(3999), kPeer).status,
                   ResolveStatus::kUnreachable);
  assert_int_equal(table->resolve(kStart + seconds(4), kPeer).status, ResolveStatus::kPending);
  assert_true(table->poll_request(kStart + seconds(4), &request));
  answer(kStart + seconds(4), kPeer, kMac);
  assert_true(table->poll_event(&event));
  assert_true(event.ready);
}

void resolve__a_new_question_replaces_an_unread_failure(void**) {
  table->resolve(kStart, kPeer);
  for (int i = 0; i <= 3; i++) {
    table->on_deadline(kStart + seconds(i));
    table->poll_request(kStart + seconds(i), &request);
  }
  assert_int_equal(table->resolve(kStart + seconds(5), kPeer).status, ResolveStatus::kPending);
  assert_false(table->poll_event(&event));
  assert_true(table->poll_request(kStart + seconds(5), &request));
  answer(kStart + seconds(5), kPeer, kMac);
  assert_true(table->poll_event(&event));
  assert_true(event.ready);
  assert_false(table->poll_event(&event));
}

void age__unused_becomes_stale_and_asks_nobody(void**) {
  const Path path = make_reachable(kStart, kPeer);
  assert_true(table->next_deadline() == kStart + seconds(30));
  table->on_deadline(kStart + seconds(30));
  assert_int_equal(table->state(kPeer), NeighborState::kStale);
  assert_false(table->has_request());
  // The first use still has the address, and has it verified, by a request to the address itself.
  assert_true(table->path_mac(path, &mac));
  assert_true(table->path_mac(path, &mac));
  assert_true(table->poll_request(kStart + seconds(40), &request));
  assert_true(request.destination == kMac);
  assert_false(table->poll_request(kStart + seconds(40), &request));
  answer(kStart + seconds(40), kPeer, kMac);
  assert_int_equal(table->state(kPeer), NeighborState::kReachable);
  assert_false(table->poll_event(&event));  // nobody waited
}

void age__used_is_verified_without_a_gap(void**) {
  const Path path = make_reachable(kStart, kPeer);
  table->path_mac(path, &mac);
  table->on_deadline(kStart + seconds(30));
  assert_int_equal(table->state(kPeer), NeighborState::kProbing);
  assert_true(table->path_mac(path, &mac));
  assert_true(table->poll_request(kStart + seconds(30), &request));
  assert_true(request.destination == kMac);
  // The neighbour got another MAC: it does not hear that, but the broadcast.
  table->on_deadline(kStart + seconds(31));
  assert_true(table->poll_request(kStart + seconds(31), &request));
  assert_true(request.destination == mn::kBroadcastMac);
  answer(kStart + seconds(31), kPeer, kOther);
  assert_true(table->path_mac(path, &mac));
  assert_true(mac == kOther);
}

void age__no_answer_ends_the_path(void**) {
  const Path path = make_reachable(kStart, kPeer);
  table->path_mac(path, &mac);
  for (int i = 30; i < 34; i++) {
    table->on_deadline(kStart + seconds(i));
    assert_true(table->poll_request(kStart + seconds(i), &request));
    assert_true(table->path_mac(path, &mac));
  }
  table->on_deadline(kStart + seconds(34));
  assert_false(table->path_mac(path, &mac));
  assert_int_equal(table->resolve(kStart + seconds(34), kPeer).status, ResolveStatus::kUnreachable);
}

void learn__a_request_for_us_creates_a_hint(void**) {
  table->learn(kStart, kPeer, kMac, true, false);
  assert_int_equal(table->state(kPeer), NeighborState::kStale);
  const NextHop hop = table->resolve(kStart, kPeer);
  assert_int_equal(hop.status, ResolveStatus::kReady);
  assert_true(table->path_mac(hop.path, &mac));
  assert_true(mac == kMac);
  assert_true(table->poll_request(kStart, &request));  // using it verifies it
  assert_true(request.destination == kMac);
}

void learn__others_talk_creates_nothing(void**) {
  table->learn(kStart, kPeer, kMac, false, false);
  answer(kStart, kPeer, kMac);
  assert_int_equal(table->state(kPeer), NeighborState::kFree);
  assert_int_equal(table->size(), 0);
}

void learn__an_unasked_answer_is_only_a_hint(void**) {
  const Path path = make_reachable(kStart, kPeer);
  answer(kStart + seconds(5), kPeer, kOther);
  assert_int_equal(table->state(kPeer), NeighborState::kStale);
  assert_true(table->path_mac(path, &mac));
  assert_true(mac == kOther);
  assert_true(table->poll_request(kStart + seconds(5), &request));
  assert_true(request.destination == kOther);
}

void learn__gratuitous_arp_moves_an_entry(void**) {
  const Path path = make_reachable(kStart, kPeer);
  table->learn(kStart + seconds(5), kPeer, kOther, false, false);
  assert_true(table->path_mac(path, &mac));
  assert_true(mac == kOther);
  // Repeating what is known changes nothing.
  make_reachable(kStart + seconds(5), kPeer + 1);
  table->learn(kStart + seconds(6), kPeer + 1, kMac, true, false);
  assert_int_equal(table->state(kPeer + 1), NeighborState::kReachable);
}

void learn__a_request_answers_our_question_too(void**) {
  table->resolve(kStart, kPeer);
  table->learn(kStart, kPeer, kMac, true, false);
  assert_true(table->poll_event(&event));
  assert_true(event.ready);
  assert_false(table->has_request());
  assert_true(table->next_deadline() == Instant::never());
}

void traffic__gives_a_path_at_once(void**) {
  const Path path = table->learn_from_traffic(kStart, kPeer, kMac);
  assert_true(table->path_mac(path, &mac));
  assert_true(mac == kMac);
  assert_true(table->poll_request(kStart, &request));
  answer(kStart, kPeer, kMac);
  assert_int_equal(table->learn_from_traffic(kStart, kPeer, kMac), path);
  assert_int_equal(table->state(kPeer), NeighborState::kReachable);
}

void traffic__does_not_overrule_arp(void**) {
  const Path path = make_reachable(kStart, kPeer);
  assert_int_equal(table->learn_from_traffic(kStart + seconds(2), kPeer, kOther), path);
  assert_true(table->path_mac(path, &mac));
  assert_true(mac == kMac);
  assert_true(table->poll_request(kStart + seconds(2), &request));  // but makes us ask
  assert_false(table->poll_request(kStart + seconds(2), &request));
}

void traffic__ends_a_wait(void**) {
  table->resolve(kStart, kPeer);
  const Path path = table->learn_from_traffic(kStart, kPeer, kMac);
  assert_true(table->poll_event(&event));
  assert_true(event.ready);
  assert_int_equal(event.path, path);
}

void doubt__at_most_once_a_second(void**) {
  const Path path = make_reachable(kStart, kPeer);
  table->doubt(kStart + milliseconds(500), path);
  assert_false(table->has_request());
  table->doubt(kStart + seconds(1), path);
  assert_true(table->poll_request(kStart + seconds(1), &request));
  table->doubt(kStart + seconds(1), path);
  assert_false(table->has_request());
  table->doubt(kStart + seconds(1), kNoPath);
  table->doubt(kStart + seconds(1), 0xffffffff);
}

// Whatever makes an entry ask anew, one address hears one request a second.
void poll_request__is_limited_for_each_address(void**) {
  const Path path = make_reachable(kStart, kPeer);
  int requests = 0;
  for (int ms = 10; ms < 3000; ms += 10) {
    const Instant now = kStart + milliseconds(ms);
    table->learn(now, kPeer, ms % 20 == 0 ? kMac : kOther, false, false);
    table->path_mac(path, &mac);
    table->on_deadline(now);
    while (table->poll_request(now, &request)) requests++;
  }
  assert_in_range(requests, 0, 3);
}

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

void eviction__spares_what_is_held(void**) {
  Path paths[8];
  for (uint32_t i = 0; i < 8; i++) {
    paths[i] = make_reachable(kStart, kPeer + i);
    table->hold(paths[i]);
  }
  assert_int_equal(table->resolve(kStart, kPeer + 100).status, ResolveStatus::kNoRoom);
  assert_int_equal(table->learn_from_traffic(kStart, kPeer + 100, kMac), kNoPath);
  table->release(paths[5]);
  assert_int_equal(table->resolve(kStart, kPeer + 100).status, ResolveStatus::kPending);
  assert_false(table->path_mac(paths[5], &mac));
  table->release(paths[5]);  // the name of what it was: ignored
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

void path_mac__refuses_names_that_never_were(void**) {
  const Path path = make_reachable(kStart, kPeer);
  assert_false(table->path_mac(kNoPath, &mac));
  assert_false(table->path_mac(path + (1u << 16), &mac));
  assert_false(table->path_mac(path | 0xffff, &mac));
  assert_false(table->path_mac(path + 1, &mac));
}

// Anything in any order: lists and asserts hold, an answer is never more than 64 steps away.
void table__random_operations(void**) {
  mn::Prng random(3);
  Instant now = kStart;
  Path paths[32] = {};
  bool held[32] = {};
  for (int step = 0; step < 300000; step++) {
    now = now + milliseconds(static_cast<int64_t>(random.below(40)));
    const uint32_t i = static_cast<uint32_t>(random.below(32));
    const mn::Ipv4 ip = kPeer + i;
    const Mac from{{2, 0, 0, 0, static_cast<uint8_t>(random.below(2)), static_cast<uint8_t>(i)}};
    switch (random.below(9)) {
      case 0: {
        const NextHop hop = table->resolve(now, ip);
        if (!held[i] && hop.path != kNoPath) paths[i] = hop.path;
        if (held[i] && hop.path != kNoPath) assert_int_equal(hop.path, paths[i]);
        break;
      }
      case 1:
        table->learn(now, ip, from, random.below(2) == 0, random.below(2) == 0);
        break;
      case 2: {
        const Path path = table->learn_from_traffic(now, ip, from);
        if (!held[i]) paths[i] = path;
        break;
      }
      case 3:
        if (table->path_mac(paths[i], &mac)) assert_int_equal(mac.bytes[5], i);
        break;
      case 4:
        table->doubt(now, paths[i]);
        break;
      case 5:
        if (held[i]) {
          table->release(paths[i]);
          held[i] = false;
        } else if (table->path_mac(paths[i], &mac) && random.below(4) == 0) {
          table->hold(paths[i]);
          held[i] = true;
        }
        break;
      case 6:
        table->on_deadline(now);
        break;
      case 7:
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
#define MN_CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define MN_SMALL(name) cmocka_unit_test_setup_teardown(name, setup_small, teardown)
  const CMUnitTest tests[] = {
      MN_CASE(resolve__asks_and_hears),
      MN_CASE(resolve__asks_once_a_second_then_fails),
      MN_CASE(resolve__a_new_question_replaces_an_unread_failure),
      MN_CASE(age__unused_becomes_stale_and_asks_nobody),
      MN_CASE(age__used_is_verified_without_a_gap),
      MN_CASE(age__no_answer_ends_the_path),
      MN_CASE(learn__a_request_for_us_creates_a_hint),
      MN_CASE(learn__others_talk_creates_nothing),
      MN_CASE(learn__an_unasked_answer_is_only_a_hint),
      MN_CASE(learn__gratuitous_arp_moves_an_entry),
      MN_CASE(learn__a_request_answers_our_question_too),
      MN_CASE(traffic__gives_a_path_at_once),
      MN_CASE(traffic__does_not_overrule_arp),
      MN_CASE(traffic__ends_a_wait),
      MN_CASE(doubt__at_most_once_a_second),
      MN_CASE(poll_request__is_limited_for_each_address),
      MN_SMALL(eviction__takes_the_longest_unused),
      MN_SMALL(eviction__failed_entries_go_first),
      MN_SMALL(eviction__spares_what_is_held),
      MN_SMALL(eviction__open_questions_are_kept_but_limited),
      MN_CASE(path_mac__refuses_names_that_never_were),
      MN_SMALL(table__random_operations),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
