// SPDX-License-Identifier: MIT
// What a sender makes of packets that are larger than the path takes by now.
#include "narrow_path.h"

using namespace mn;
using namespace mn::test;

namespace {

using transport::kMssFallback;
using wire::kFlagAckNow, wire::kFlagFirst, wire::kFlagLast, wire::kFlagMore;

// Parts that would continue, or begin, one packet after the other.
void assert_in_order(const NarrowPath::Headers& parts, uint32_t sequence, uint32_t packet_bytes) {
  uint32_t extra = 0;
  for (const PacketHeader& part : parts) {
    assert_int_equal(part.sequence, sequence);
    assert_int_equal(part.extra, extra);
    extra += part.payload_length;
    if (extra < packet_bytes) continue;
    sequence++;
    extra = 0;
  }
}

// Host 0 sent one packet and has found out that the path does not take it.
void send_too_large(NarrowPath* t, uint16_t bytes) {
  t->takes(1300);
  t->send(0, TwoHosts::message(bytes, 1));
  t->fly_until_reduced();
}

void parts__are_marked(void** state) {
  NarrowPath& t = *narrow_path(state);
  send_too_large(&t, kMssJumbo);
  const transport::FlowSnapshot before = t.stats(0);
  const auto parts = of_type(t.leave(), PacketType::kPart);
  assert_int_equal(parts.size(), 8);
  assert_int_equal(t.stats(0).tx_packets, before.tx_packets + 8);
  assert_int_equal(t.stats(0).retransmitted_packets, before.retransmitted_packets + 1);
  assert_in_order(parts, t.sent[0].sequence, kMssJumbo);
  for (size_t i = 0; i < 8; i++) {
    assert_int_equal(parts[i].payload_length, i < 7 ? kMssFallback : kMssJumbo - 7 * kMssFallback);
    assert_int_equal(parts[i].flags, i == 0  ? kFlagFirst | kFlagMore
                                     : i < 7 ? kFlagMore
                                             : kFlagLast | kFlagAckNow);
  }
}

// Whole messages, as many as fit; one of them is no bundle.
void parts__of_a_bundle_are_marked(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes(1300);
  for (uint8_t i = 0; i < 12; i++) t.send(0, TwoHosts::message(101, i));
  t.fly_until_reduced();
  assert_int_equal(t.sent[0].message_count, 12);
  const auto parts = of_type(t.leave(), PacketType::kPart);
  assert_int_equal(parts.size(), 2);
  assert_int_equal(parts[0].message_count, 11);
  assert_int_equal(parts[0].flags, kFlagFirst | kFlagLast | kFlagMore);
  assert_int_equal(parts[1].message_count, 0);
  assert_int_equal(parts[1].extra, 11 * 101);
  assert_int_equal(parts[1].flags, kFlagFirst | kFlagLast | kFlagAckNow);
  // All has come, or more than that: such an ack would have moved on. What aligns the messages in
  // the packet does not count.
  for (const uint16_t extra : {12 * 101, 12 * 101 + 1, UINT16_MAX}) t.answer(kFlagMore, extra);
  t.wait_for_timeout();
  assert_int_equal(t.leave_one().extra, 0);
  t.answer(kFlagMore, 11 * 101);
  t.wait_for_timeout();
  assert_int_equal(t.leave_one().extra, 11 * 101);
}

// The table of lengths counts, too.
void parts__of_a_bundle_that_is_too_large_by_its_table(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes(32 + kMssFallback);
  for (uint8_t i = 0; i < 29; i++) t.send(0, TwoHosts::message(40, i));
  t.fly_until_reduced();
  assert_int_equal(t.sent[0].message_count, 29);
  assert_int_equal(t.sent[0].payload_length, 64 + 29 * 40);
  const auto again = t.leave();
  assert_int_equal(of_type(again, PacketType::kData).size(), 0);
  assert_int_equal(of_type(again, PacketType::kPart).size(), 2);
}

// The peer takes parts only of the packet that it expects next, however late that was found lost.
void parts__of_the_oldest_packet_come_first(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.send(0, TwoHosts::message(1440, 1));
  t.send(0, TwoHosts::message(1440, 2));
  t.send(0, TwoHosts::message(100, 3));
  t.leave();
  t.lose_all(0);
  t.pass_until([&t] { return !t.leave().empty(); });
  const Bytes third = t.hosts[0]->wire.front();  // as a tail probe, and long on its way
  t.lose_all(0);
  t.takes_no_data(1300);
  t.fly_until([&t] { return t.probes_lost() == 2; });
  t.exchange();
  const uint32_t first = t.sent[0].sequence;
  const uint64_t timeouts = t.stats(0).timeouts;
  t.pass(t.stats(0).rto + t.stats(0).rto / 2, false);
  assert_int_equal(t.stats(0).packets_in_flight, 3);
  t.hosts[0]->wire.push_back(third);
  t.round_trip();
  // Sent before the third, the second is lost; the first was sent again since.
  assert_int_equal(t.stats(0).packets_in_flight, 1);
  t.pass_until([&t] { return t.reduced() > 0; });
  assert_int_equal(t.stats(0).timeouts, timeouts);
  const auto parts = of_type(t.leave(), PacketType::kPart);
  assert_int_equal(parts.size(), 4);
  assert_in_order(parts, first, 1440);
  t.path = [](NarrowPath::Wire&) {};
  t.exchange();
  assert_int_equal(t.hosts[1]->messages.size(), 3);
}

void parts__that_came_are_not_sent_after_a_timeout(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.send(0, TwoHosts::message(kMssJumbo, 1));
  t.send(0, TwoHosts::message(kMssJumbo, 2));
  t.takes(1300);
  t.fly_until_reduced();
  assert_int_equal(of_type(t.leave(), PacketType::kPart).size(), 2 * 8);
  const uint32_t first = t.sent[0].sequence;
  t.hosts[0]->wire.resize(3);
  t.round_trip();
  t.wait_for_timeout();
  auto parts = of_type(t.leave(), PacketType::kPart);
  assert_int_equal(parts.size(), 5);
  assert_int_equal(parts[0].sequence, first);
  assert_int_equal(parts[0].extra, 3 * kMssFallback);
  assert_int_equal(parts[4].flags, kFlagLast | kFlagAckNow);
  // Of the next packet nothing has come.
  t.round_trip();
  t.wait_for_timeout();
  parts = of_type(t.leave(), PacketType::kPart);
  assert_int_equal(parts.size(), 8);
  assert_in_order(parts, first + 1, kMssJumbo);
}

// The last packet is too large for a tail probe, too.
void parts__are_no_tail_probe(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.send(0, TwoHosts::message(kMssJumbo, 1));
  send_too_large(&t, kMssJumbo);
  const uint32_t first = t.sent[0].sequence;
  t.leave();
  t.hosts[0]->wire.resize(8);
  t.round_trip();
  t.sent.clear();
  t.pass_until([&t, before = t.stats(0).timeouts] {
    t.leave();
    return t.stats(0).timeouts > before;
  });
  assert_int_equal(of_type(t.sent, PacketType::kData).size(), 0);
  assert_int_equal(of_type(t.sent, PacketType::kPart).size(), 8);
  assert_in_order(of_type(t.sent, PacketType::kPart), first + 1, kMssJumbo);
}

// An answer to what was sent first comes while the parts are sent again.
void parts__that_came_meanwhile_are_left_out(void** state) {
  NarrowPath& t = *narrow_path(state);
  send_too_large(&t, kMssJumbo);
  t.leave();
  t.wait_for_timeout();
  assert_int_equal(t.leave_one().extra, 0);
  t.answer(kFlagMore, 3 * kMssFallback);
  assert_int_equal(t.leave_one().extra, 3 * kMssFallback);
  // Less than what has left since.
  t.answer(kFlagMore, 3 * kMssFallback + 1);
  assert_int_equal(t.leave_one().extra, 4 * kMssFallback);
}

// The packet has come whole, late, while its parts are being sent.
void parts__of_the_next_packet_begin_anew(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.send(0, TwoHosts::message(kMssJumbo, 1));
  send_too_large(&t, kMssJumbo);
  const uint32_t first = t.sent[0].sequence;
  t.leave_one();
  assert_int_equal(t.leave_one().extra, kMssFallback);
  t.heard.ack = first + 1;
  t.answer(0, 0);
  const PacketHeader next = t.leave_one();
  assert_true(next.type == PacketType::kPart);
  assert_int_equal(next.sequence, first + 1);
  assert_int_equal(next.extra, 0);
}

void parts__answers_that_say_nothing(void** state) {
  NarrowPath& t = *narrow_path(state);
  send_too_large(&t, kMssJumbo);
  t.leave();
  for (const uint16_t extra : {kMssJumbo, uint16_t{kMssJumbo + 1}, uint16_t{UINT16_MAX}}) {
    t.answer(kFlagMore, extra);
  }
  // Of an earlier packet.
  t.heard.ack--;
  t.answer(kFlagMore, 3 * kMssFallback);
  t.heard.ack++;
  t.wait_for_timeout();
  assert_int_equal(t.leave_one().extra, 0);
  // They overtake each other.
  t.answer(kFlagMore, 2 * kMssFallback);
  t.answer(kFlagMore, kMssFallback);
  t.wait_for_timeout();
  assert_int_equal(t.leave_one().extra, 2 * kMssFallback);
}

// Each answer with news begins the wait again, and others do not.
void parts__answers_and_the_timeout(void** state) {
  NarrowPath& t = *narrow_path(state);
  send_too_large(&t, kMssJumbo);
  t.leave();
  uint16_t came = 0;
  const Duration rto = t.stats(0).rto;
  const auto timeouts_of_8_answers = [&](uint16_t more) {
    const uint64_t before = t.stats(0).timeouts;
    for (int i = 0; i < 8; i++) {
      t.pass(rto / 2, false);
      t.leave();
      t.answer(kFlagMore, came = static_cast<uint16_t>(came + more));
    }
    return t.stats(0).timeouts - before;
  };
  assert_int_equal(timeouts_of_8_answers(10), 0);
  assert_int_equal(timeouts_of_8_answers(0), 2);  // after one and three times of it
  t.answer(kFlagMore, ++came);
  assert_int_equal(timeouts_of_8_answers(0), 2);
}

void parts__each_begins_the_wait_again(void** state) {
  NarrowPath& t = *narrow_path(state);
  send_too_large(&t, kMssJumbo);
  const transport::FlowSnapshot before = t.stats(0);
  for (int i = 0; i < 8; i++) {
    assert_true(t.leave_one().type == PacketType::kPart);
    t.pass(before.rto / 2, false);
  }
  assert_int_equal(t.stats(0).timeouts, before.timeouts);
}

// A peer that answers none is dead after a while.
void parts__ask_for_an_answer(void** state) {
  NarrowPath& t = *narrow_path(state);
  send_too_large(&t, kMssJumbo);
  t.leave_one();
  t.answer(kFlagMore, kMssFallback);
  t.leave_one();
  t.pass(TwoHosts::config(1).dead_timeout + milliseconds(1), false);
  t.read(0);
  assert_int_equal(t.hosts[0]->end_reason, ipc::kEndTimeout);
}

// After a timeout one packet leaves, whatever the window: all its parts.
void parts__all_of_one_packet_after_a_timeout(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes_no_data(1300);
  t.send(0, TwoHosts::message(kMssJumbo, 1));
  t.send(0, TwoHosts::message(kMssJumbo, 2));
  t.send(0, TwoHosts::message(100, 3));
  t.fly_until_reduced();
  assert_int_equal(t.stats(0).packets_in_flight, 1);
  assert_int_equal(t.stats(0).window_packets, 1);
  assert_int_equal(of_type(t.leave(), PacketType::kPart).size(), 0);
  t.wait_for_timeout();
  const auto parts = of_type(t.leave(), PacketType::kPart);
  assert_int_equal(parts.size(), 8);
  assert_in_order(parts, t.sent[0].sequence, kMssJumbo);
}

void reduced__only_what_is_too_large_is_lost(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.send(0, TwoHosts::message(1440, 1));
  t.send(0, TwoHosts::message(1440, 2));
  t.send(0, TwoHosts::message(1440, 3));
  t.send(0, TwoHosts::message(100, 4));
  t.leave();
  t.arrive(0, t.hosts[0]->wire[1]);  // small enough once
  t.lose_all(0);
  t.takes_no_data(1300);
  t.fly_until_reduced();
  assert_int_equal(t.stats(0).packets_in_flight, 1);
  const uint32_t first = t.sent[0].sequence;
  const auto again = t.leave();
  assert_int_equal(of_type(again, PacketType::kData).size(), 0);
  const auto parts = of_type(again, PacketType::kPart);
  assert_int_equal(parts.size(), 4);
  for (size_t i = 0; i < 4; i++) assert_int_equal(parts[i].sequence, first + i / 2 * 2);
}

// The timeouts before, which made the next one late, were the size's fault.
void reduced__the_next_timeout_comes_soon(void** state) {
  NarrowPath& t = *narrow_path(state);
  send_too_large(&t, 1440);
  t.leave();
  const uint64_t timeouts = t.stats(0).timeouts;
  assert_true(timeouts >= 2);
  t.pass(t.stats(0).rto * 2, false);
  assert_int_equal(t.stats(0).timeouts, timeouts + 1);
}

}  // namespace

int main() {
  const struct CMUnitTest tests[] = {
      MN_PATH_TEST(parts__are_marked, kMssJumbo),
      MN_PATH_TEST(parts__of_a_bundle_are_marked),
      MN_PATH_TEST(parts__of_a_bundle_that_is_too_large_by_its_table),
      MN_PATH_TEST(parts__of_the_oldest_packet_come_first),
      MN_PATH_TEST(parts__that_came_are_not_sent_after_a_timeout, kMssJumbo),
      MN_PATH_TEST(parts__are_no_tail_probe, kMssJumbo),
      MN_PATH_TEST(parts__that_came_meanwhile_are_left_out, kMssJumbo),
      MN_PATH_TEST(parts__of_the_next_packet_begin_anew, kMssJumbo),
      MN_PATH_TEST(parts__answers_that_say_nothing, kMssJumbo),
      MN_PATH_TEST(parts__answers_and_the_timeout, kMssJumbo),
      MN_PATH_TEST(parts__each_begins_the_wait_again, kMssJumbo),
      MN_PATH_TEST(parts__ask_for_an_answer, kMssJumbo),
      MN_PATH_TEST(parts__all_of_one_packet_after_a_timeout, kMssJumbo, NarrowPath::Kind::kSwift),
      MN_PATH_TEST(reduced__only_what_is_too_large_is_lost),
      MN_PATH_TEST(reduced__the_next_timeout_comes_soon),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
