// SPDX-License-Identifier: MIT
#include "transport/scoreboard.h"

#include "two_hosts.h"

using namespace mn;
using namespace mn::test;

namespace {

// Ten packets left host 0 and are lost; returns an ack that host 1 could send.
wire::PacketHeader ten_packets_out(TwoHosts& t) {
  for (int i = 0; i < 10; i++) t.send(0, TwoHosts::message(1440, 1));
  assert_int_equal(t.poll(0), 10);
  const wire::PacketHeader data = header_of(t.hosts[0]->wire[0]);
  t.send(1, TwoHosts::message(1, 1));
  t.poll(1);
  wire::PacketHeader ack = header_of(t.hosts[1]->wire.back());
  t.lose_all(1);
  ack.type = PacketType::kAck;
  ack.flags = 0;
  ack.payload_length = 0;
  ack.ack = data.sequence;
  ack.echo = data.timestamp;
  ack.echo_delay = 0;
  return ack;
}

Bytes encoded(wire::PacketHeader header, std::vector<wire::SackRange> sack = {}) {
  Bytes out(wire::kHeaderSize + wire::kSackRangeSize * sack.size());
  header.sack_count = static_cast<uint8_t>(sack.size());
  wire::encode_packet_header(header, sack, out);
  return out;
}

void ack__gives_buffers_back_in_order(void** state) {
  TwoHosts& t = *two_hosts(state);
  wire::PacketHeader ack = ten_packets_out(t);
  ack.ack += 4;
  assert_true(t.arrive(1, encoded(ack)) == PacketVerdict::kAccepted);
  assert_int_equal(t.hosts[0]->store.tx_owned_by_transport(), 6);
  assert_int_equal(t.stats(0).packets_in_flight, 6);
  // What is acknowledged selectively is still needed by nobody, but goes back in its turn.
  assert_true(t.arrive(1, encoded(ack, {{2, 4}})) == PacketVerdict::kAccepted);
  assert_int_equal(t.hosts[0]->store.tx_owned_by_transport(), 6);
  assert_int_equal(t.stats(0).packets_in_flight, 2);
  ack.ack += 6;
  assert_true(t.arrive(1, encoded(ack)) == PacketVerdict::kAccepted);
  assert_int_equal(t.hosts[0]->store.tx_owned_by_transport(), 0);
  assert_int_equal(t.stats(0).packets_in_flight, 0);
}

void ack__old_ones_say_nothing(void** state) {
  TwoHosts& t = *two_hosts(state);
  wire::PacketHeader ack = ten_packets_out(t);
  ack.ack += 8;
  t.arrive(1, encoded(ack));
  ack.ack -= 6;
  t.arrive(1, encoded(ack, {{3, 2}}));
  assert_int_equal(t.stats(0).packets_in_flight, 2);
}

// Acks overtake each other: a window that was told earlier is not the window.
void ack__an_earlier_window_says_nothing(void** state) {
  TwoHosts& t = *two_hosts(state);
  wire::PacketHeader ack = ten_packets_out(t);
  ack.window = 20;
  t.arrive(1, encoded(ack));
  ack.window = 0;
  ack.timestamp -= 1;
  t.arrive(1, encoded(ack));
  t.lose_all(0);
  t.send(0, TwoHosts::message(1440, 1));
  assert_int_equal(t.poll(0), 1);
}

void hostile__acks_for_nothing_are_refused(void** state) {
  TwoHosts& t = *two_hosts(state);
  const wire::PacketHeader ack = ten_packets_out(t);
  wire::PacketHeader wrong = ack;
  for (uint32_t beyond : {11u, 1000u, 0x7ffffffeu}) {
    wrong.ack = ack.ack + beyond;
    assert_true(t.arrive(1, encoded(wrong)) == PacketVerdict::kMalformed);
  }
  assert_true(t.arrive(1, encoded(ack, {{1, 10}})) == PacketVerdict::kMalformed);
  assert_true(t.arrive(1, encoded(ack, {{9, 2}})) == PacketVerdict::kMalformed);
  assert_true(t.arrive(1, encoded(ack, {{60000, 5000}})) == PacketVerdict::kMalformed);
  assert_int_equal(t.hosts[0]->store.tx_owned_by_transport(), 10);
  assert_int_equal(t.stats(0).packets_in_flight, 10);
}

// The peer takes back what it acknowledged: an honest one never does.
void hostile__reneging_is_refused(void** state) {
  TwoHosts& t = *two_hosts(state);
  wire::PacketHeader ack = ten_packets_out(t);
  t.arrive(1, encoded(ack, {{2, 3}}));
  ack.ack += 3;
  assert_true(t.arrive(1, encoded(ack)) == PacketVerdict::kMalformed);
  for (int i = 0; i < 20; i++) {
    t.pass(milliseconds(5), false);
    t.poll(0);
    t.lose_all(0);
  }
}

void hostile__any_combination_of_acks(void** state) {
  TwoHosts& t = *two_hosts(state);
  wire::PacketHeader ack = ten_packets_out(t);
  uint64_t random = 7;
  const auto below = [&random](uint32_t n) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(random >> 33) % n;
  };
  for (int i = 0; i < 3000; i++) {
    wire::PacketHeader h = ack;
    h.ack += below(12);
    h.window = static_cast<uint16_t>(below(3) * below(40));
    h.timestamp += below(1000);
    h.echo += below(10'000'000);
    std::vector<wire::SackRange> sack;
    uint32_t at = 1;
    while (sack.size() < below(5)) {
      at += below(4);
      const uint32_t n = 1 + below(4);
      sack.push_back({static_cast<uint16_t>(at), static_cast<uint16_t>(n)});
      at += n + 1;
    }
    t.arrive(1, encoded(h, sack));
    t.pass(microseconds(below(300)), false);
    t.poll(0);
    t.lose_all(0);
    t.poll(1);
    t.lose_all(1);
    if (t.hosts[0]->store.tx_free() > 10) t.send(0, TwoHosts::message(1 + below(3000), 1));
  }
}

// The caller was away: what lay in the ring meanwhile came as late as nobody knows.
void stall__tells_nothing_about_round_trips(void** state) {
  TwoHosts& t = *two_hosts(state);
  wire::PacketHeader ack = ten_packets_out(t);
  const Duration before = t.stats(0).rtt_smoothed;
  t.now = t.now + microseconds(700);
  t.hosts[0]->transport.on_stall(t.now);
  ack.ack += 4;
  t.lose_all(0);
  assert_true(t.arrive(1, encoded(ack)) == PacketVerdict::kAccepted);
  assert_int_equal(t.stats(0).packets_in_flight, 6);
  assert_true(t.stats(0).rtt_smoothed == before);
  // Nor is the peer told how long its packet was held.
  t.send(1, TwoHosts::message(1, 1));
  t.poll(1);
  t.deliver_all(1);
  t.now = t.now + microseconds(500);
  t.send(0, TwoHosts::message(1, 1));
  assert_true(t.poll(0) > 0);
  assert_int_equal(header_of(t.hosts[0]->wire.back()).echo_delay, UINT16_MAX);
  t.lose_all(0);
  // A moment later all is as before.
  t.now = t.now + milliseconds(3);
  t.send(1, TwoHosts::message(1, 1));
  t.poll(1);
  t.deliver_all(1);
  t.send(0, TwoHosts::message(1, 1));
  t.poll(0);
  const wire::PacketHeader data = header_of(t.hosts[0]->wire.back());
  assert_true(data.echo_delay < 100);
  t.now = t.now + microseconds(900);
  ack.ack += 2;
  ack.echo = data.timestamp;
  t.arrive(1, encoded(ack));
  assert_true(t.stats(0).rtt_smoothed > before);
}

// Of ten packets the second is named; the first goes out again, and arrives. The ack that says so
// is of a full data packet or part, with no room to name others that have come.
wire::PacketHeader acked_without_room(TwoHosts& t, PacketType type) {
  wire::PacketHeader ack = ten_packets_out(t);
  t.lose_all(0);
  t.pass(microseconds(50), false);
  t.arrive(1, encoded(ack, {{1, 1}}));
  t.pass(microseconds(200), false);
  assert_int_equal(t.poll(0), 1);
  ack.echo = header_of(t.hosts[0]->wire[0]).timestamp;
  assert_int_equal(t.stats(0).retransmitted_packets, 1);
  t.now = t.now + microseconds(100);
  ack.ack += 2;
  wire::PacketHeader data = ack;
  data.type = type;
  data.flags = wire::kFlagFirst | wire::kFlagLast;
  data.payload_length = 1;
  data.extra = type == PacketType::kData ? 7 : 0;
  Bytes bytes = encoded(data);
  bytes.push_back(1);
  assert_true(t.arrive(1, bytes) == PacketVerdict::kAccepted);
  return ack;
}

void expect_no_judgement(TwoHosts& t, PacketType type) {
  const wire::PacketHeader ack = acked_without_room(t, type);
  t.poll(0);
  assert_int_equal(t.stats(0).retransmitted_packets, 1);
  assert_int_equal(t.stats(0).packets_in_flight, 8);
  t.arrive(1, encoded(ack, {{1, 7}}));
  t.poll(0);
  assert_int_equal(t.stats(0).retransmitted_packets, 2);
  assert_int_equal(t.stats(0).packets_in_flight, 1);
}

void ranges__without_room_for_them_nothing_is_judged(void** state) {
  expect_no_judgement(*two_hosts(state), PacketType::kData);
}

// `extra` of a part says something else.
void ranges__of_a_part_without_them_nothing_is_judged(void** state) {
  expect_no_judgement(*two_hosts(state), PacketType::kPart);
}

// What the ack without room proved is not forgotten: the next one names nothing, so nothing came.
void ranges__an_ack_that_names_nothing_new_is_judged_by(void** state) {
  TwoHosts& t = *two_hosts(state);
  const wire::PacketHeader ack = acked_without_room(t, PacketType::kData);
  t.arrive(1, encoded(ack));
  t.poll(0);
  assert_int_equal(t.stats(0).retransmitted_packets, 9);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      MN_CONNECTED_TEST(ack__gives_buffers_back_in_order),
      MN_CONNECTED_TEST(ack__old_ones_say_nothing),
      MN_CONNECTED_TEST(ack__an_earlier_window_says_nothing),
      MN_CONNECTED_TEST(hostile__acks_for_nothing_are_refused),
      MN_CONNECTED_TEST(hostile__reneging_is_refused),
      MN_CONNECTED_TEST(hostile__any_combination_of_acks),
      MN_CONNECTED_TEST(ranges__without_room_for_them_nothing_is_judged),
      MN_CONNECTED_TEST(ranges__of_a_part_without_them_nothing_is_judged),
      MN_CONNECTED_TEST(ranges__an_ack_that_names_nothing_new_is_judged_by),
      MN_CONNECTED_TEST(stall__tells_nothing_about_round_trips),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
