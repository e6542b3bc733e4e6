// SPDX-License-Identifier: MIT
#include "transport/congestion.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
extern "C" {
#include <cmocka.h>
}

using namespace mn;
using namespace mn::transport;

namespace {

constexpr uint32_t kMax = 256;

// A control and the path that it sees.
struct Path {
  Congestion congestion;
  RttEstimator rtt;
  Instant now{1'000'000'000};

  explicit Path(CongestionKind kind) { congestion.start(kind, now, kMax); }
  uint32_t window() const { return congestion.window_packets(); }

  // A round trip of `delay` in which a window of packets arrives, acknowledged in quarters.
  void round(Duration delay, bool filled = true, uint32_t acked = 0, Duration hold = {}) {
    const uint32_t packets = acked != 0 ? acked : std::max(window(), 1u);
    const uint32_t acks = std::min(packets, 4u);
    for (uint32_t i = 0; i < acks; i++) {
      now = now + delay / acks + nanoseconds(1);
      if (filled) congestion.on_filled(now);
      rtt.on_sample(now, delay);
      congestion.on_ack({.now = now,
                         .acked_packets = packets / acks,
                         .rtt = delay,
                         .receiver_delay = hold,
                         .peer_time = 1},
                        rtt);
    }
  }
  void rounds(int n, Duration delay) {
    for (int i = 0; i < n; i++) round(delay);
  }
};

constexpr Duration kEmpty = microseconds(40);
constexpr Duration kFull = microseconds(400);

void fixed__hears_nothing(void**) {
  Path path(CongestionKind::kFixed);
  assert_int_equal(path.window(), kMax);
  path.rounds(10, kFull);
  path.congestion.on_loss(path.now, 100);
  path.congestion.on_timeout(path.now, 5);
  path.congestion.on_spurious(5);
  assert_int_equal(path.window(), kMax);
}

void swift__doubles_until_there_is_a_queue(void**) {
  Path path(CongestionKind::kSwift);
  assert_int_equal(path.window(), 10);
  path.round(kEmpty);
  path.rounds(6, kEmpty);
  assert_int_equal(path.window(), kMax);
}

void swift__grows_by_one_packet_after_the_first_queue(void**) {
  Path path(CongestionKind::kSwift);
  path.round(kEmpty);
  path.rounds(3, kFull);
  const uint32_t least = path.window();
  path.rounds(20, kEmpty);
  assert_in_range(path.window(), least + 14, least + 22);
}

void swift__shrinks_at_most_by_half_a_round_trip(void**) {
  Path path(CongestionKind::kSwift);
  path.round(kEmpty);
  path.rounds(8, kEmpty);
  const uint32_t before = path.window();
  path.round(kFull);
  assert_in_range(path.window(), before / 2 - 2, before);
  path.rounds(20, kFull);
  assert_int_equal(path.window(), 1);  // and by delay alone no further
}

void swift__one_late_sample_is_no_queue(void**) {
  Path path(CongestionKind::kSwift);
  path.rounds(9, kEmpty);
  assert_int_equal(path.window(), kMax);
  for (int i = 0; i < 50; i++) {
    path.now = path.now + microseconds(10);
    const Duration rtt = i % 4 == 0 ? kEmpty : milliseconds(3);
    path.rtt.on_sample(path.now, rtt);
    path.congestion.on_filled(path.now);
    path.congestion.on_ack({.now = path.now, .acked_packets = 16, .rtt = rtt, .peer_time = 1},
                           path.rtt);
  }
  assert_int_equal(path.window(), kMax);
}

void swift__does_not_grow_when_the_application_is_the_limit(void**) {
  Path path(CongestionKind::kSwift);
  for (int i = 0; i < 100; i++) path.round(kEmpty, false, 4);
  assert_int_equal(path.window(), 10);
}

void swift__tolerates_random_loss(void**) {
  Path path(CongestionKind::kSwift);
  path.rounds(9, kEmpty);
  for (int i = 0; i < 200; i++) {
    path.congestion.on_loss(path.now, i % 2 == 0 ? 5 : 0);  // 1 % of 256 packets a round trip
    path.round(kEmpty);
  }
  assert_int_equal(path.window(), kMax);
}

void swift__shrinks_to_what_a_policer_lets_through(void**) {
  Path path(CongestionKind::kSwift);
  path.rounds(9, kEmpty);
  for (int i = 0; i < 2; i++) {  // more is lost for two round trips
    path.congestion.on_loss(path.now, 128);
    path.round(kEmpty, true, 128);
  }
  assert_in_range(path.window(), 60, 130);
  // And stays there for long.
  const uint32_t window = path.window();
  path.rounds(20, kEmpty);
  assert_in_range(path.window(), window - 1, window + 1);
}

void swift__timeouts_halve_then_start_anew(void**) {
  Path path(CongestionKind::kSwift);
  path.rounds(9, kEmpty);
  path.congestion.on_timeout(path.now, 1);
  assert_int_equal(path.window(), kMax / 2);
  path.congestion.on_timeout(path.now, 2);
  assert_int_equal(path.window(), 1);
  path.rounds(8, kEmpty);
  assert_in_range(path.window(), kMax / 2, kMax / 2 + 8);
}

void swift__spurious_timeout_is_undone(void**) {
  Path path(CongestionKind::kSwift);
  path.rounds(9, kEmpty);
  path.congestion.on_timeout(path.now, 1);
  path.congestion.on_spurious(1);
  path.round(kEmpty);
  assert_int_equal(path.window(), kMax);
}

void swift__below_one_packet_is_a_pause(void**) {
  Path path(CongestionKind::kSwift);
  path.round(kEmpty);
  for (int i = 0; i < 60; i++) {
    path.congestion.on_loss(path.now, 5);
    path.round(kFull);
    path.congestion.release();
  }
  path.round(kFull);
  assert_true(path.congestion.waits());
  assert_true(path.congestion.pause() > Duration{} && path.congestion.pause() <= milliseconds(20));
  path.congestion.release();
  assert_int_equal(path.window(), 1);
}

// Without losses a window of a packet is the least, and one that was smaller shrinks no further:
// what makes round trips long may be the hosts.
void swift__below_one_packet_only_while_packets_are_lost(void**) {
  Swift swift;
  RttEstimator rtt;
  Instant now{1'000'000'000};
  swift.start(now, kMax);
  const auto round = [&](Duration delay, uint32_t lost) {
    if (lost > 0) swift.on_loss(lost);
    for (int i = 0; i < 4; i++) {
      now = now + delay;
      rtt.on_sample(now, delay);
      swift.on_ack({.now = now, .acked_packets = 1, .rtt = delay, .filled = true}, rtt);
    }
  };
  round(kEmpty, 0);
  while (swift.window() > 0.2F) round(kFull * 4, 8);
  for (int i = 0; i < 8; i++) round(kFull * 4, 0);
  const float smallest = swift.window();
  for (int i = 0; i < 100; i++) round(kFull * 4, 0);
  assert_true(swift.window() >= smallest);
  while (swift.window() < 0.5F) round(kEmpty, 0);
  const float grown = swift.window();
  for (int i = 0; i < 20; i++) round(kFull * 4, 0);
  assert_true(swift.window() >= grown);
  // One loss, too few to be judged before 256 packets have passed.
  round(kFull * 4, 1);
  int rounds = 9;
  for (int i = 0; i < rounds; i++) round(kFull * 4, 0);
  for (; swift.window() < grown; rounds++) round(kEmpty, 0);
  assert_true(rounds < 40);
  for (int i = 0; i < 20; i++) round(kFull * 4, 0);
  assert_true(swift.window() >= grown);
}

// Each round trip of 10 ms or more carries a packet, whatever is lost.
void swift__long_round_trips_carry_a_packet(void**) {
  for (const Duration delay : {milliseconds(5), milliseconds(10), milliseconds(40)}) {
    Swift swift;
    RttEstimator rtt;
    Instant now{1'000'000'000};
    swift.start(now, kMax);
    for (int i = 0; i < 400; i++) {
      swift.on_loss(2);
      now = now + delay;
      rtt.on_sample(now, delay);
      swift.on_ack({.now = now, .acked_packets = 1, .rtt = delay, .filled = true}, rtt);
    }
    const float least = delay < milliseconds(10) ? 0.5F : 1.0F;
    assert_true(swift.window() > least - 0.01F && swift.window() < least + 0.2F);
  }
}

void swift__a_host_that_is_behind_is_given_less(void**) {
  Path path(CongestionKind::kSwift);
  path.rounds(9, kEmpty);
  for (int i = 0; i < 6; i++) path.round(kEmpty, true, 0, milliseconds(2));
  assert_in_range(path.window(), 2, 32);
  for (int i = 0; i < 60; i++) path.round(kEmpty);
  assert_int_equal(path.window(), kMax);
}

void cubic__shrinks_by_three_tenths_once_a_round_trip(void**) {
  Path path(CongestionKind::kCubic);
  path.rounds(9, kEmpty);
  assert_int_equal(path.window(), kMax);
  path.congestion.on_loss(path.now, 3);
  assert_in_range(path.window(), kMax * 7 / 10 - 1, kMax * 7 / 10);
  assert_true(path.congestion.reduced_at() == path.now);
}

// K = cbrt(W_max * 0.3 / C): 5.8 s for 256 packets.
void cubic__returns_to_the_peak(void**) {
  Path path(CongestionKind::kCubic);
  path.rounds(9, kEmpty);
  path.congestion.on_loss(path.now, 3);
  path.rounds(20, milliseconds(100));
  assert_in_range(path.window(), 225, 245);
  path.rounds(40, milliseconds(100));
  assert_in_range(path.window(), 250, kMax);
}

void cubic__timeout_starts_anew_and_is_undone(void**) {
  Path path(CongestionKind::kCubic);
  path.rounds(9, kEmpty);
  path.congestion.on_timeout(path.now, 1);
  assert_int_equal(path.window(), 1);
  path.congestion.on_spurious(1);
  path.round(kEmpty);
  assert_int_equal(path.window(), kMax);
}

// While what was lost is on its way the window is what may be in flight now, and does not grow; it
// is what the reduction said when nothing is missing, or a round trip later.
void cubic__recovers_in_proportion(void**) {
  for (const bool by_answer : {false, true}) {
    Path path(CongestionKind::kCubic);
    path.rounds(9, kEmpty);
    path.congestion.on_loss(path.now, 1);
    assert_true(path.congestion.recovers());
    Flight flight{.in_flight = kMax - 2, .acked = 1, .lost = 1};
    path.congestion.recover(flight);
    assert_int_equal(path.window(), kMax - 1);
    for (uint32_t i = 0; i < 100; i++) {
      path.congestion.on_filled(path.now);
      path.congestion.on_ack({.now = path.now, .acked_packets = 1, .rtt = kEmpty, .holes = true},
                             path.rtt);
      flight.sent += path.window() - flight.in_flight;
      flight = {.in_flight = path.window() - 1, .acked = 1, .sent = flight.sent};
      path.congestion.recover(flight);
    }
    assert_in_range(path.window(), kMax - 2 - 32, kMax - 2 - 29);
    if (by_answer) {
      flight.answered = true;
      path.congestion.recover(flight);
    } else {
      path.congestion.on_ack({.now = path.now, .acked_packets = 1, .rtt = kEmpty}, path.rtt);
    }
    assert_false(path.congestion.recovers());
    assert_in_range(path.window(), kMax * 7 / 10 - 1, kMax * 7 / 10);
  }
}

// An answer alone is no end while less is in flight than the window: the rest would be a burst.
void cubic__recovers_until_the_window_is_full(void**) {
  Path path(CongestionKind::kCubic);
  path.rounds(9, kEmpty);
  path.congestion.on_loss(path.now, 200);
  path.congestion.recover({.in_flight = 55, .acked = 1, .lost = 200});
  assert_int_equal(path.window(), 56);
  path.congestion.recover({.in_flight = 55, .acked = 1, .sent = 1, .answered = true});
  assert_int_equal(path.window(), 56);
  assert_true(path.congestion.recovers());
}

// A few that were only late, of many, undo nothing.
void cubic__undoes_when_all_were_late(void**) {
  Path path(CongestionKind::kCubic);
  path.rounds(9, kEmpty);
  path.congestion.on_loss(path.now, 3);
  path.congestion.recover({.in_flight = 99, .acked = 1, .lost = 4});
  path.congestion.recover({.in_flight = 97, .acked = 1, .lost = 1});
  path.congestion.on_spurious(4);
  assert_true(path.congestion.recovers());
  assert_true(path.window() < kMax);
  path.congestion.on_spurious(1);
  assert_false(path.congestion.recovers());
  assert_int_equal(path.window(), kMax);
}

void cubic__timeout_and_undoing_end_recovery(void**) {
  for (const bool timeout : {false, true}) {
    Path path(CongestionKind::kCubic);
    path.rounds(9, kEmpty);
    path.congestion.on_loss(path.now, 1);
    path.congestion.recover({.in_flight = 99, .acked = 1, .lost = 1});
    if (timeout) {
      path.congestion.on_timeout(path.now, 1);
    } else {
      path.congestion.on_spurious(1);
    }
    assert_false(path.congestion.recovers());
    assert_int_equal(path.window(), timeout ? 1 : kMax);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(fixed__hears_nothing),
      cmocka_unit_test(swift__doubles_until_there_is_a_queue),
      cmocka_unit_test(swift__grows_by_one_packet_after_the_first_queue),
      cmocka_unit_test(swift__shrinks_at_most_by_half_a_round_trip),
      cmocka_unit_test(swift__one_late_sample_is_no_queue),
      cmocka_unit_test(swift__does_not_grow_when_the_application_is_the_limit),
      cmocka_unit_test(swift__tolerates_random_loss),
      cmocka_unit_test(swift__shrinks_to_what_a_policer_lets_through),
      cmocka_unit_test(swift__timeouts_halve_then_start_anew),
      cmocka_unit_test(swift__spurious_timeout_is_undone),
      cmocka_unit_test(swift__below_one_packet_is_a_pause),
      cmocka_unit_test(swift__below_one_packet_only_while_packets_are_lost),
      cmocka_unit_test(swift__long_round_trips_carry_a_packet),
      cmocka_unit_test(swift__a_host_that_is_behind_is_given_less),
      cmocka_unit_test(cubic__shrinks_by_three_tenths_once_a_round_trip),
      cmocka_unit_test(cubic__returns_to_the_peak),
      cmocka_unit_test(cubic__timeout_starts_anew_and_is_undone),
      cmocka_unit_test(cubic__recovers_in_proportion),
      cmocka_unit_test(cubic__recovers_until_the_window_is_full),
      cmocka_unit_test(cubic__undoes_when_all_were_late),
      cmocka_unit_test(cubic__timeout_and_undoing_end_recovery),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
