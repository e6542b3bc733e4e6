// SPDX-License-Identifier: MIT
#include "transport/receiver.h"

#include "two_hosts.h"

using namespace mn;
using namespace mn::test;

namespace {

// Ten packets of one message each on the wire of host 0.
void ten_packets(TwoHosts& t) {
  for (uint8_t i = 0; i < 10; i++) t.send(0, TwoHosts::message(1440, i));
  assert_int_equal(t.poll(0), 10);
}

void order__packets_in_any_order_are_delivered_in_order(void** state) {
  TwoHosts& t = *two_hosts(state);
  ten_packets(t);
  for (int i : {3, 1, 2, 9, 8, 0, 7, 6, 4, 5}) {
    assert_true(t.arrive(0, t.hosts[0]->wire[static_cast<size_t>(i)]) == PacketVerdict::kAccepted);
  }
  t.read(1);
  assert_int_equal(t.hosts[1]->messages.size(), 10);
  for (uint8_t i = 0; i < 10; i++)
    assert_true(t.hosts[1]->messages[i] == TwoHosts::message(1440, i));
}

void order__duplicates_are_dropped_and_answered(void** state) {
  TwoHosts& t = *two_hosts(state);
  ten_packets(t);
  assert_true(t.arrive(0, t.hosts[0]->wire[0]) == PacketVerdict::kAccepted);
  assert_true(t.arrive(0, t.hosts[0]->wire[0]) == PacketVerdict::kDuplicate);
  assert_true(t.arrive(0, t.hosts[0]->wire[4]) == PacketVerdict::kAccepted);
  assert_true(t.arrive(0, t.hosts[0]->wire[4]) == PacketVerdict::kDuplicate);
  assert_int_equal(t.poll(1), 1);
  t.read(1);
  assert_int_equal(t.hosts[1]->messages.size(), 1);
}

void sack__tells_what_waits(void** state) {
  TwoHosts& t = *two_hosts(state);
  ten_packets(t);
  for (size_t i : {1u, 2u, 5u, 7u, 8u, 9u}) t.arrive(0, t.hosts[0]->wire[i]);
  t.poll(1);
  const wire::Packet ack = parsed(t.hosts[1]->wire.back());
  assert_int_equal(ack.header.sack_count, 3);
  assert_true(ack.sack[0].start == 1 && ack.sack[0].count == 2);
  assert_true(ack.sack[1].start == 5 && ack.sack[1].count == 1);
  assert_true(ack.sack[2].start == 7 && ack.sack[2].count == 3);
}

void sack__runs_across_blocks(void** state) {
  TwoHosts& t = *two_hosts(state);
  for (auto& h : t.hosts) {
    h = std::make_unique<TwoHosts::Host>(TwoHosts::config(1), StoreShape{.rx_buffers = 1024});
  }
  t.connect();
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 200; i++) t.send(0, TwoHosts::message(1440, 1));
    assert_int_equal(t.poll(0), 200);
    std::deque<Bytes> wire = t.hosts[0]->wire;
    t.lose_all(0);
    for (size_t i = 1; i < 180; i++) t.arrive(0, wire[i]);
    t.poll(1);
    const wire::Packet ack = parsed(t.hosts[1]->wire.back());
    assert_int_equal(ack.header.sack_count, 1);
    assert_true(ack.sack[0].start == 1 && ack.sack[0].count == 179);
    t.arrive(0, wire[0]);
    for (size_t i = 180; i < 200; i++) t.arrive(0, wire[i]);
    t.settle();
  }
  assert_int_equal(t.hosts[1]->messages.size(), 600);
  assert_int_equal(t.hosts[0]->transport.counters().retransmitted_packets, 0);
}

void ack__delayed_then_sent(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(10, 1));
  t.poll(0);
  t.deliver_all(0);
  assert_int_equal(t.poll(1), 0);
  t.pass(microseconds(90), false);
  assert_int_equal(t.poll(1), 0);
  t.pass(microseconds(30), false);
  assert_int_equal(t.poll(1), 1);
  const wire::PacketHeader ack = header_of(t.hosts[1]->wire[0]);
  assert_true(ack.type == PacketType::kAck && ack.echo_delay >= 90 && ack.echo_delay <= 120);
}

void ack__rides_on_data(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(10, 1));
  t.poll(0);
  t.deliver_all(0);
  t.send(1, TwoHosts::message(10, 2));
  assert_int_equal(t.poll(1), 1);
  t.deliver_all(1);
  assert_int_equal(t.hosts[0]->store.tx_owned_by_transport(), 0);
  t.pass(microseconds(150), false);
  assert_int_equal(t.poll(1), 0);  // nothing left to acknowledge
}

void ack__at_once_after_sixteen(void** state) {
  TwoHosts& t = *two_hosts(state);
  for (int i = 0; i < 16; i++) t.send(0, TwoHosts::message(1440, 1));
  t.poll(0);
  for (int i = 0; i < 15; i++) t.deliver_one(0);
  assert_int_equal(t.poll(1), 0);
  t.deliver_one(0);
  assert_int_equal(t.poll(1), 1);
}

// A copy that comes late would else make a round trip of the time that it was under way.
void ack__echoes_the_newest(void** state) {
  TwoHosts& t = *two_hosts(state);
  const auto next = [&t](uint8_t seed) {
    t.send(0, TwoHosts::message(10, seed));
    t.poll(0);
    const Bytes bytes = t.hosts[0]->wire.front();
    t.deliver_all(0);
    return bytes;
  };
  const auto echo = [&t] {
    assert_int_equal(t.poll(1), 1);
    const uint32_t value = header_of(t.hosts[1]->wire.back()).echo;
    t.deliver_all(1);
    return value;
  };
  const Bytes old = next(1);
  t.pass(milliseconds(900));
  const Bytes newest = next(2);
  t.arrive(0, old);
  assert_int_equal(echo(), header_of(newest).timestamp);
  // After a while nothing is known of what is newer: timestamps wrap.
  t.now = t.now + milliseconds(1001);
  t.arrive(0, old);
  assert_int_equal(echo(), header_of(old).timestamp);
}

void window__follows_the_free_buffers(void** state) {
  TwoHosts& t = *two_hosts(state);
  for (auto& h : t.hosts) {
    h = std::make_unique<TwoHosts::Host>(TwoHosts::config(1),
                                         StoreShape{.tx_buffers = 256, .rx_buffers = 32});
  }
  t.connect();
  for (int i = 0; i < 100; i++) t.send(0, TwoHosts::message(1440, 1));
  t.settle(false);
  // It stopped within the pool, and no packet was thrown away.
  assert_true(t.hosts[1]->store.rx_free() > 0);
  assert_int_equal(t.hosts[0]->transport.counters().retransmitted_packets, 0);
  t.pass(milliseconds(100), false);
  t.poll(0);
  assert_true(header_of(t.hosts[0]->wire.back()).type == PacketType::kProbe);
  t.deliver_all(0);
  t.poll(1);
  assert_int_equal(header_of(t.hosts[1]->wire.back()).window, 0);
  t.deliver_all(1);
  // Reading opens the window without waiting for a probe.
  const Instant before = t.now;
  t.read_all();
  t.settle();
  assert_true(t.now == before);
  assert_int_equal(t.hosts[1]->messages.size(), 100);
  assert_int_equal(t.hosts[0]->transport.counters().retransmitted_packets, 0);
}

void pool__early_packets_leave_room_for_holes(void** state) {
  TwoHosts& t = *two_hosts(state);
  for (auto& h : t.hosts) {
    h = std::make_unique<TwoHosts::Host>(TwoHosts::config(1),
                                         StoreShape{.tx_buffers = 256, .rx_buffers = 16});
  }
  t.connect();
  for (int i = 0; i < 16; i++) t.send(0, TwoHosts::message(1440, 1));
  const size_t sent = t.poll(0);
  assert_true(sent > 4);
  std::deque<Bytes> wire = t.hosts[0]->wire;
  t.lose_all(0);
  for (size_t i = sent - 1; i > 0; i--) t.arrive(0, wire[i]);
  assert_true(t.hosts[1]->store.rx_free() >= 4);
  t.settle();
  t.pass(milliseconds(20));
  assert_int_equal(t.hosts[1]->messages.size(), 16);
}

void pool__early_packets_have_a_quarter(void** state) {
  TwoHosts& t = *two_hosts(state);
  for (auto& h : t.hosts) {
    h = std::make_unique<TwoHosts::Host>(TwoHosts::config(1),
                                         StoreShape{.tx_buffers = 256, .rx_buffers = 64});
  }
  t.connect();
  for (int i = 0; i < 30; i++) t.send(0, TwoHosts::message(1440, 1));
  assert_true(t.poll(0) > 20);
  t.hosts[0]->wire.pop_front();
  t.deliver_all(0);
  assert_int_equal(t.hosts[1]->store.rx_free(), 48);
}

// The window is shut before the last buffers are used: who sends all the same gets none of them.
void hostile__data_in_order_behind_a_shut_window(void** state) {
  TwoHosts& t = *two_hosts(state);
  TransportConfig config = TwoHosts::config(1);
  config.window_packets_max = 4;
  for (auto& h : t.hosts) {
    h = std::make_unique<TwoHosts::Host>(config, StoreShape{.tx_buffers = 64, .rx_buffers = 16});
  }
  t.connect();
  for (int i = 0; i < 40; i++) t.send(0, TwoHosts::message(1440, 1));
  t.poll(0);
  const Bytes good = t.hosts[0]->wire.front();
  t.settle(false);
  const uint32_t free = t.hosts[1]->store.rx_free();
  assert_true(free > 0);
  t.pass(milliseconds(20), false);
  t.poll(0);
  t.deliver_all(0);
  t.poll(1);
  const wire::PacketHeader told = header_of(t.hosts[1]->wire.back());
  assert_int_equal(told.window, 0);
  wire::PacketHeader header = header_of(good);
  header.sequence = told.ack;
  assert_true(t.arrive(0, with_header(good, header)) == PacketVerdict::kOutsideWindow);
  assert_int_equal(t.hosts[1]->store.rx_free(), free);
}

void pool__tiny_ones_make_progress(void** state) {
  for (uint32_t buffers = 1; buffers <= 5; buffers++) {
    auto t = std::make_unique<TwoHosts>(StoreShape{.tx_buffers = 64, .rx_buffers = buffers});
    t->connect();
    for (uint8_t i = 0; i < 40; i++) t->send(0, TwoHosts::message(1440, i));
    t->poll(0);
    if (t->hosts[0]->wire.size() > 1) t->hosts[0]->wire.pop_front();
    t->pass(milliseconds(300));
    assert_int_equal(t->hosts[1]->messages.size(), 40);
  }
  (void)state;
}

void grammar__message_that_never_ends(void** state) {
  TwoHosts& t = *two_hosts(state);
  auto& h = *t.hosts[0];
  uint64_t sent = 0;
  while (t.hosts[1]->end_reason == 0) {
    const auto buffer = h.store.tx_alloc();
    if (buffer != transport::kNoBuffer) {
      h.store.tx_submitted(buffer);
      if (h.transport.send(t.now, t.handle[0], buffer, 1472, false) != RequestStatus::kOk) {
        h.store.tx_refused(buffer);
        break;
      }
      sent += 1472;
      assert_true(sent < ipc::kMessageBytesMax + 2'000'000);
      if (h.store.tx_free() > 0) continue;
    }
    t.settle();
    t.hosts[1]->partial.clear();
    t.pass(microseconds(200));
  }
  t.settle();
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndReset);
  assert_int_equal(t.hosts[0]->end_reason, ipc::kEndReset);
  t.check_empty();
}

void grammar__continuation_without_a_beginning(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(100, 1));
  t.poll(0);
  wire::PacketHeader header = header_of(t.hosts[0]->wire[0]);
  header.flags &= static_cast<uint8_t>(~wire::kFlagFirst);
  assert_true(t.arrive(0, with_header(t.hosts[0]->wire[0], header)) == PacketVerdict::kMalformed);
  t.settle();
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndReset);
  assert_int_equal(t.hosts[0]->end_reason, ipc::kEndReset);
  t.check_empty();
}

void hostile__data_outside_every_window(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(100, 1));
  t.poll(0);
  const Bytes good = t.hosts[0]->wire[0];
  wire::PacketHeader header = header_of(good);
  for (uint32_t away : {256u, 1024u, 5000u, 0x7fffffffu, 0x80000000u}) {
    header.sequence = header_of(good).sequence + away;
    assert_true(t.arrive(0, with_header(good, header)) != PacketVerdict::kAccepted);
  }
  // A close needs no window, but not any place either.
  header.type = PacketType::kClose;
  header.flags = 0;
  header.payload_length = 0;
  for (uint32_t away : {256u, 2048u, 0x7fffffffu}) {
    header.sequence = header_of(good).sequence + away;
    Bytes close(wire::kHeaderSize);
    wire::encode_packet_header(header, {}, close);
    assert_true(t.arrive(0, close) == PacketVerdict::kOutsideWindow);
  }
  t.settle();
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_int_equal(t.hosts[1]->end_reason, 0);
}

// Found by fuzz_transport: closes that wait take no buffers, however many there are.
void hostile__many_closes_before_their_turn(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(100, 1));
  t.poll(0);
  const Bytes good = t.hosts[0]->wire[0];
  wire::PacketHeader header = header_of(good);
  header.type = PacketType::kClose;
  header.flags = 0;
  header.payload_length = 0;
  for (uint32_t away : {1u, 2u, 5u}) {
    header.sequence = header_of(good).sequence + away;
    Bytes close(wire::kHeaderSize);
    wire::encode_packet_header(header, {}, close);
    assert_true(t.arrive(0, close) == PacketVerdict::kAccepted);  // checks the invariants
  }
  t.settle();
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndClosedByPeer);
  assert_int_equal(t.hosts[1]->store.rx_owned_by_transport(), 0);
}

// A peer that never sends what is missing keeps buffers of others: not for ever. Here all that it
// sends again is lost and an old packet of it is heard, so it is no mistake of the peer: no reset.
void hostile__a_hole_that_is_never_filled(void** state) {
  TwoHosts& t = *two_hosts(state);
  ten_packets(t);
  for (size_t i = 1; i < 10; i++) t.arrive(0, t.hosts[0]->wire[i]);
  const Bytes alive = t.hosts[0]->wire[9];
  t.lose_all(0);
  for (int i = 0; i < 49; i++) {
    t.pass_cut_off(milliseconds(100));
    t.arrive(0, alive);
  }
  assert_int_equal(t.hosts[1]->end_reason, 0);
  for (int i = 0; i < 15; i++) {
    t.pass_cut_off(milliseconds(100));
    t.arrive(0, alive);
  }
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndTimeout);
  assert_int_equal(t.hosts[1]->store.rx_owned_by_transport(), 0);
}

void hostile__payload_longer_than_agreed(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(100, 1));
  t.poll(0);
  Bytes big = t.hosts[0]->wire[0];
  big.resize(wire::kHeaderSize + 1441);
  wire::PacketHeader header = header_of(t.hosts[0]->wire[0]);
  header.payload_length = 1441;
  Bytes encoded(wire::kHeaderSize);
  wire::encode_packet_header(header, {}, encoded);
  std::copy(encoded.begin(), encoded.end(), big.begin());
  assert_true(t.arrive(0, big) == PacketVerdict::kMalformed);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      MN_CONNECTED_TEST(order__packets_in_any_order_are_delivered_in_order),
      MN_CONNECTED_TEST(order__duplicates_are_dropped_and_answered),
      MN_CONNECTED_TEST(sack__tells_what_waits),
      MN_HOSTS_TEST(sack__runs_across_blocks),
      MN_CONNECTED_TEST(ack__delayed_then_sent),
      MN_CONNECTED_TEST(ack__rides_on_data),
      MN_CONNECTED_TEST(ack__at_once_after_sixteen),
      MN_CONNECTED_TEST(ack__echoes_the_newest),
      MN_HOSTS_TEST(window__follows_the_free_buffers),
      MN_HOSTS_TEST(pool__early_packets_leave_room_for_holes),
      MN_HOSTS_TEST(pool__tiny_ones_make_progress),
      MN_HOSTS_TEST(pool__early_packets_have_a_quarter),
      MN_HOSTS_TEST(hostile__data_in_order_behind_a_shut_window),
      MN_CONNECTED_TEST(grammar__message_that_never_ends),
      MN_CONNECTED_TEST(grammar__continuation_without_a_beginning),
      MN_CONNECTED_TEST(hostile__data_outside_every_window),
      MN_CONNECTED_TEST(hostile__many_closes_before_their_turn),
      MN_CONNECTED_TEST(hostile__a_hole_that_is_never_filled),
      MN_CONNECTED_TEST(hostile__payload_longer_than_agreed),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
