// SPDX-License-Identifier: MIT
#include "unit/host/neighbor_fixture.h"

using namespace neighbor_test;

namespace {

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

void path_mac__refuses_names_that_never_were(void**) {
  const Path path = make_reachable(kStart, kPeer);
  assert_false(table->path_mac(kNoPath, &mac));
  assert_false(table->path_mac(path + (1u << 16), &mac));
  assert_false(table->path_mac(path | 0xffff, &mac));
  assert_false(table->path_mac(path + 1, &mac));
}

}  // namespace

int main() {
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
      MN_CASE(path_mac__refuses_names_that_never_were),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
