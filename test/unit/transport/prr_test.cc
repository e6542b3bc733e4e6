// SPDX-License-Identifier: MIT
#include "transport/prr.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
extern "C" {
#include <cmocka.h>
}

using namespace mn::transport;

namespace {

// A sender with as much to send as it may, whose losses are found at once when it starts.
struct Sender {
  Prr prr;
  uint32_t in_flight;
  uint32_t sent = 1000;
  uint32_t first = 77;

  // `acked` of `flight` packets arrived, `lost` are found to be lost.
  Sender(uint32_t target, uint32_t flight, uint32_t acked, uint32_t lost)
      : in_flight(flight - acked - lost) {
    const Flight now{in_flight, acked, lost, sent, first, false};
    prr.start(target, now);
    left = send(prr.window(now));
  }
  // What leaves when so many arrive.
  uint32_t ack(uint32_t acked, uint32_t advance = 0, uint32_t lost = 0) {
    in_flight -= acked + lost;
    first += advance;
    return send(prr.window({in_flight, acked, lost, sent, first, false}));
  }
  uint32_t send(uint32_t window) {
    assert_true(window >= in_flight);
    const uint32_t count = window - in_flight;
    in_flight = window;
    sent += count;
    return count;
  }
  uint32_t left;  // when it started
};

// The first example of RFC 6937 section 5: 20 in flight, one lost, the window halved. One leaves
// for every second one that arrives, from the first on; the last two of them fill the smaller
// window.
void one_lost__every_second_ack_sends(void**) {
  Sender sender(10, 20, 1, 1);
  assert_int_equal(sender.left, 1);
  for (uint32_t i = 0; i < 15; i++) assert_int_equal(sender.ack(1), i % 2);
  assert_int_equal(sender.ack(1), 0);
  assert_int_equal(sender.ack(1), 1);
  assert_int_equal(sender.ack(1), 1);
  assert_int_equal(sender.in_flight, 10);
}

// Cubic's seven tenths: seven of ten, never two at once, never none for three.
void one_lost__seven_of_ten_send(void**) {
  Sender sender(70, 100, 1, 1);
  uint32_t sent = sender.left;
  uint32_t none = 0;
  for (uint32_t i = 0; i < 98; i++) {
    const uint32_t now = sender.ack(1);
    assert_true(now <= 1);
    none = now == 0 ? none + 1 : 0;
    assert_true(none < 3);
    sent += now;
  }
  assert_int_equal(sent, 70);  // of 99 that arrived: rounded up
  assert_int_equal(sender.in_flight, 70);
}

// The second example there: 15 of 20 lost. One leaves for each that arrives, not the six that the
// window has room for; then two, when what was sent again is acknowledged, until the window is
// full.
void most_lost__no_burst(void**) {
  Sender sender(10, 20, 1, 15);
  assert_int_equal(sender.left, 1);
  for (int i = 0; i < 4; i++) assert_int_equal(sender.ack(1), 1);
  assert_int_equal(sender.in_flight, 5);
  for (int i = 0; i < 5; i++) assert_int_equal(sender.ack(1, 1), 2);
  assert_int_equal(sender.in_flight, 10);
  assert_int_equal(sender.ack(1, 1), 1);
  assert_int_equal(sender.in_flight, 10);
}

// Progress with more losses is not safe: packets are conserved.
void more_lost__one_for_one(void**) {
  Sender sender(10, 20, 1, 12);
  assert_int_equal(sender.ack(1, 1, 1), 1);
  assert_int_equal(sender.ack(1, 1, 2), 1);
}

void one_ack_for_many__no_stall(void**) {
  Sender sender(14, 20, 16, 1);
  assert_int_equal(sender.left, 11);  // 3 were left in flight
  assert_int_equal(sender.in_flight, 14);
  Sender half(10, 40, 16, 1);
  assert_int_equal(half.left, 4);  // 16 / 4
}

void found_by_a_timer__one_leaves(void**) {
  Sender sender(10, 20, 0, 1);
  assert_int_equal(sender.left, 1);
  Sender nothing_left(2, 3, 0, 3);
  assert_int_equal(nothing_left.left, 1);
  assert_int_equal(nothing_left.ack(0, 0, 1), 1);  // that one, too
}

// What the application had not ready may go out later.
void unused__is_kept(void**) {
  Prr prr;
  Flight flight{18, 1, 1, 0, 0, false};
  prr.start(10, flight);
  assert_int_equal(prr.window(flight), 19);
  for (uint32_t i = 1; i <= 4; i++) {
    flight = {18 - i, 1, 0, 1, 0, false};
    prr.window(flight);
  }
  assert_int_equal(prr.window({13, 1, 0, 1, 0, false}), 15);  // 6 arrived, 3 may leave, 1 has left
  flight = {8, 1, 11, 0, 0, false};
  prr.start(10, flight);
  prr.window(flight);
  assert_int_equal(prr.window({7, 1, 0, 0, 0, false}), 9);  // 2 arrived, none has left
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(one_lost__every_second_ack_sends),
      cmocka_unit_test(one_lost__seven_of_ten_send),
      cmocka_unit_test(most_lost__no_burst),
      cmocka_unit_test(more_lost__one_for_one),
      cmocka_unit_test(one_ack_for_many__no_stall),
      cmocka_unit_test(found_by_a_timer__one_leaves),
      cmocka_unit_test(unused__is_kept),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
