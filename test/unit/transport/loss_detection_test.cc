// SPDX-License-Identifier: MIT
#include "transport/loss_detection.h"

#include "two_hosts.h"

using namespace mn;
using namespace mn::test;

namespace {

// Gives both sides a round trip of `rtt`.
void measure(TwoHosts& t, Duration rtt) {
  for (int i = 0; i < 60; i++) {
    t.send(0, TwoHosts::message(8, 1));
    t.poll(0);
    t.now = t.now + rtt / 2;
    t.deliver_all(0);
    t.read_all();
    t.send(1, TwoHosts::message(8, 1));
    t.poll(1);
    t.now = t.now + rtt / 2;
    t.deliver_all(1);
    t.read_all();
  }
  t.pass(milliseconds(1));
  t.hosts[1]->messages.clear();
}

void rtt__measured_without_the_hold_time(void** state) {
  TwoHosts& t = *two_hosts(state);
  measure(t, microseconds(40));
  assert_true(t.stats(0).rtt_smoothed >= microseconds(39) &&
              t.stats(0).rtt_smoothed <= microseconds(42));
  t.send(0, TwoHosts::message(8, 1));
  t.poll(0);
  t.deliver_all(0);
  t.pass(microseconds(120), false);  // held, then acknowledged
  t.poll(1);
  t.deliver_all(1);
  assert_true(t.stats(0).rtt_smoothed < microseconds(60));
  assert_true(t.stats(0).rto == milliseconds(1));
}

void rack__gap_is_repaired_without_a_timeout(void** state) {
  TwoHosts& t = *two_hosts(state);
  measure(t, microseconds(40));
  for (int i = 0; i < 10; i++) {
    t.send(0, TwoHosts::message(1440, 1));
    t.poll(0);
    t.now = t.now + microseconds(3);
  }
  t.hosts[0]->wire.erase(t.hosts[0]->wire.begin() + 2);
  t.now = t.now + microseconds(20);
  t.deliver_all(0);
  t.poll(1);
  t.now = t.now + microseconds(20);
  t.deliver_all(1);
  // The tenth packet left 21 us after the lost one: more than the reordering window of 20 us.
  assert_int_equal(t.poll(0), 1);
  t.settle();
  assert_int_equal(t.hosts[1]->messages.size(), 10);
  assert_int_equal(t.hosts[0]->transport.counters().retransmitted_packets, 1);
  assert_int_equal(t.hosts[0]->transport.counters().timeouts, 0);
  assert_int_equal(t.hosts[0]->transport.counters().tail_probes, 0);
}

void rack__slight_reordering_is_no_loss(void** state) {
  TwoHosts& t = *two_hosts(state);
  measure(t, microseconds(40));
  for (int i = 0; i < 4; i++) t.send(0, TwoHosts::message(1440, 1));
  t.poll(0);
  std::swap(t.hosts[0]->wire[0], t.hosts[0]->wire[2]);
  t.now = t.now + microseconds(40);
  while (!t.hosts[0]->wire.empty()) {
    t.deliver_one(0);
    t.poll(1);
    t.deliver_all(1);
    t.now = t.now + microseconds(2);
  }
  t.settle();
  assert_int_equal(t.hosts[1]->messages.size(), 4);
  assert_int_equal(t.hosts[0]->transport.counters().retransmitted_packets, 0);
}

void rack__lost_retransmission_is_found(void** state) {
  TwoHosts& t = *two_hosts(state);
  measure(t, microseconds(40));
  for (int i = 0; i < 3; i++) t.send(0, TwoHosts::message(1440, 1));
  t.poll(0);
  t.hosts[0]->wire.pop_front();
  t.now = t.now + microseconds(40);
  t.deliver_all(0);
  t.poll(1);
  t.deliver_all(1);
  t.pass(microseconds(60), false);
  assert_int_equal(t.poll(0), 1);
  t.lose_all(0);  // once more
  t.now = t.now + microseconds(100);
  for (int i = 0; i < 3; i++) t.send(0, TwoHosts::message(1440, 1));
  t.poll(0);
  t.now = t.now + microseconds(40);
  t.deliver_all(0);
  t.poll(1);
  t.deliver_all(1);
  t.settle();
  t.pass(microseconds(100));
  assert_int_equal(t.hosts[1]->messages.size(), 6);
  assert_int_equal(t.hosts[0]->transport.counters().timeouts, 0);
}

// The peer names only so many ranges, the oldest first: what is sent out of order may arrive and
// never be heard of.
void rack__lost_again_goes_before_lost_later(void** state) {
  TwoHosts& t = *two_hosts(state);
  measure(t, microseconds(40));
  for (int i = 0; i < 3; i++) t.send(0, TwoHosts::message(1440, 1));
  t.poll(0);
  const uint32_t oldest = header_of(t.hosts[0]->wire[0]).sequence;
  t.hosts[0]->wire.pop_front();
  t.now = t.now + microseconds(40);
  t.deliver_all(0);
  t.poll(1);
  t.deliver_all(1);
  t.pass(microseconds(60), false);
  assert_int_equal(t.poll(0), 1);
  t.lose_all(0);
  for (int i = 0; i < 3; i++) t.send(0, TwoHosts::message(1440, 1));
  t.poll(0);
  t.hosts[0]->wire.pop_front();  // a later one, for the first time
  t.now = t.now + microseconds(40);
  t.deliver_all(0);
  t.poll(1);
  t.deliver_all(1);
  t.pass(microseconds(100), false);  // both are late now
  assert_int_equal(t.poll(0), 2);
  assert_int_equal(header_of(t.hosts[0]->wire[0]).sequence, oldest);
  assert_int_equal(header_of(t.hosts[0]->wire[1]).sequence, oldest + 3);
}

void tail_probe__repairs_the_last_packet(void** state) {
  TwoHosts& t = *two_hosts(state);
  measure(t, microseconds(40));
  t.send(0, TwoHosts::message(100, 1));
  t.poll(0);
  t.lose_all(0);
  t.pass(microseconds(150), false);
  assert_int_equal(t.poll(0), 0);
  t.pass(microseconds(100), false);
  assert_int_equal(t.poll(0), 1);
  assert_true((header_of(t.hosts[0]->wire[0]).flags & wire::kFlagAckNow) != 0);
  t.settle();
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_int_equal(t.hosts[0]->transport.counters().tail_probes, 1);
  assert_int_equal(t.hosts[0]->transport.counters().timeouts, 0);
}

void timeout__backs_off_and_is_bounded(void** state) {
  TwoHosts& t = *two_hosts(state);
  measure(t, microseconds(40));
  t.send(0, TwoHosts::message(100, 1));
  t.poll(0);
  t.lose_all(0);
  std::vector<Instant> sent;
  const Instant start = t.now;
  while (t.now - start < seconds(3)) {
    t.pass(microseconds(100), false);
    if (t.poll(0) > 0) {
      for (const Bytes& b : t.hosts[0]->wire) {
        if (header_of(b).type == PacketType::kData) sent.push_back(t.now);
      }
    }
    t.lose_all(0);
    t.lose_all(1);
  }
  assert_true(sent.size() >= 11 && sent.size() <= 16);
  for (size_t i = 3; i < sent.size(); i++) {
    const Duration gap = sent[i] - sent[i - 1];
    const Duration before = sent[i - 1] - sent[i - 2];
    assert_true(gap <= milliseconds(501));
    assert_true(gap > before + before / 2 || gap >= milliseconds(499));
  }
  t.pass(milliseconds(600));
  assert_int_equal(t.hosts[1]->messages.size(), 1);
}

// After a long hole one packet is tried; its arrival releases the rest at once.
// The probe that was lost as well was the newest: sent first, it would make the others look late.
void timeout__lost_tail_probe_is_sent_last(void** state) {
  TwoHosts& t = *two_hosts(state);
  measure(t, microseconds(40));
  for (int i = 0; i < 10; i++) t.send(0, TwoHosts::message(1440, 1));
  t.poll(0);
  const uint32_t oldest = header_of(t.hosts[0]->wire[0]).sequence;
  t.lose_all(0);
  t.pass(microseconds(500), false);
  assert_int_equal(t.poll(0), 1);  // the probe
  t.lose_all(0);
  t.pass(milliseconds(3), false);
  assert_int_equal(t.poll(0), 1);
  t.now = t.now + microseconds(40);
  t.deliver_all(0);
  t.poll(1);
  t.deliver_all(1);
  assert_int_equal(t.poll(0), 9);
  for (uint32_t i = 0; i < 9; i++) {
    assert_int_equal(header_of(t.hosts[0]->wire[i]).sequence, oldest + 1 + i);
  }
}

// A control that shrinks its window to a packet while 20 are under way: without one beyond the
// window nobody would ask the peer again.
void timeout__one_packet_whatever_the_window(void** state) {
  TwoHosts& t = *two_hosts(state);
  transport::TransportConfig config = TwoHosts::config(1);
  config.congestion = transport::CongestionKind::kCubic;
  t.hosts[0] = std::make_unique<TwoHosts::Host>(config, StoreShape{});
  t.connect();
  measure(t, microseconds(40));
  for (int i = 0; i < 20; i++) t.send(0, TwoHosts::message(1440, 1));
  const size_t sent = t.poll(0);
  assert_in_range(sent, 10, 20);
  const uint32_t oldest = header_of(t.hosts[0]->wire[0]).sequence;
  t.lose_all(0);
  t.pass(milliseconds(1), false);
  assert_int_equal(t.poll(0), 1);  // the tail probe
  t.lose_all(0);
  t.pass(milliseconds(3), false);
  assert_int_equal(t.hosts[0]->transport.counters().timeouts, 1);
  assert_int_equal(t.poll(0), 1);
  assert_int_equal(header_of(t.hosts[0]->wire[0]).sequence, oldest);
  t.settle();
  assert_int_equal(t.hosts[1]->messages.size(), 20);
}

void timeout__everything_lost_is_repaired_in_a_round_trip(void** state) {
  TwoHosts& t = *two_hosts(state);
  measure(t, microseconds(40));
  for (int i = 0; i < 100; i++) t.send(0, TwoHosts::message(1440, 1));
  t.poll(0);
  t.lose_all(0);
  while (t.hosts[0]->transport.counters().timeouts < 3) {
    t.pass(microseconds(100), false);
    t.poll(0);
    t.lose_all(0);
  }
  const Instant start = t.now;
  t.pass(milliseconds(10));
  assert_int_equal(t.hosts[1]->messages.size(), 100);
  assert_true(t.hosts[0]->transport.counters().retransmitted_packets < 115);
  assert_true(t.now - start <= milliseconds(11));
}

void persist__asks_about_a_shut_window_until_it_opens(void** state) {
  TwoHosts& t = *two_hosts(state);
  for (auto& h : t.hosts) {
    h = std::make_unique<TwoHosts::Host>(TwoHosts::config(1),
                                         StoreShape{.tx_buffers = 64, .rx_buffers = 8});
  }
  t.connect();
  for (int i = 0; i < 30; i++) t.send(0, TwoHosts::message(1440, 1));
  t.settle(false);
  // The update is lost.
  t.read_all();
  t.poll(1);
  t.lose_all(1);
  const Instant start = t.now;
  for (int i = 0; i < 50 && t.hosts[1]->messages.size() < 30; i++) t.pass(milliseconds(10));
  assert_int_equal(t.hosts[1]->messages.size(), 30);
  assert_true(t.now - start < milliseconds(300));
}

// In-order packets that found no buffer are not repeated into the shut window, and are repeated
// when it opens.
void no_buffer__is_no_loss_storm(void** state) {
  TwoHosts& t = *two_hosts(state);
  for (auto& h : t.hosts) {
    h = std::make_unique<TwoHosts::Host>(TwoHosts::config(1),
                                         StoreShape{.tx_buffers = 256, .rx_buffers = 64});
  }
  t.connect();
  for (int i = 0; i < 40; i++) t.send(0, TwoHosts::message(1440, 1));
  assert_int_equal(t.poll(0), 40);
  std::vector<transport::BufferIndex> taken;  // another flow was faster
  const Bytes some(10);
  while (t.hosts[1]->store.rx_free() > 10) taken.push_back(t.hosts[1]->store.rx_put(some));
  t.settle(false);
  for (int i = 0; i < 100; i++)
    t.pass(milliseconds(10), false), t.poll(0), t.deliver_all(0), t.poll(1), t.deliver_all(1);
  assert_true(t.hosts[0]->transport.counters().retransmitted_packets < 5);
  for (const auto buffer : taken) t.hosts[1]->store.rx_discard(buffer);
  const Instant start = t.now;
  t.read_all();
  t.settle();
  assert_true(t.now == start);
  assert_int_equal(t.hosts[1]->messages.size(), 40);
  assert_true(t.hosts[0]->transport.counters().retransmitted_packets < 40);
}

// Ten packets of a flow that CUBIC steers, 3 us apart, of which the first `lost` are; more waits.
void send_ten(TwoHosts& t, long lost) {
  for (auto& h : t.hosts) {
    TransportConfig config = TwoHosts::config(1);
    config.congestion = transport::CongestionKind::kCubic;
    h = std::make_unique<TwoHosts::Host>(config, StoreShape{});
  }
  t.connect();
  measure(t, microseconds(40));
  for (int i = 0; i < 10; i++) {
    t.send(0, TwoHosts::message(1440, 1));
    assert_int_equal(t.poll(0), 1);
    t.now = t.now + microseconds(3);
  }
  for (int i = 0; i < 20; i++) t.send(0, TwoHosts::message(1440, 1));
  assert_int_equal(t.poll(0), 0);  // the first window
  t.hosts[0]->wire.erase(t.hosts[0]->wire.begin(), t.hosts[0]->wire.begin() + lost);
  t.now = t.now + microseconds(20);
  while (!t.hosts[0]->wire.empty()) {
    t.deliver_one(0);
    assert_int_equal(t.poll(1), 1);
  }
  t.now = t.now + microseconds(20);
}

void check_thirty_arrive(TwoHosts& t) {
  t.deliver_all(0);
  t.settle();
  t.pass(milliseconds(2));
  assert_int_equal(t.hosts[1]->messages.size(), 30);
  assert_int_equal(t.hosts[0]->transport.counters().timeouts, 0);
}

// What was lost goes out with the acknowledgement that shows it, though more is in flight than the
// smaller window.
void recovery__begins_at_once(void** state) {
  TwoHosts& t = *two_hosts(state);
  send_ten(t, 1);
  const auto& counters = t.hosts[0]->transport.counters();
  size_t sent = 0;
  while (counters.retransmitted_packets == 0) {
    t.now = t.now + microseconds(3);
    t.deliver_one(1);
    sent = t.poll(0);
  }
  assert_int_equal(sent, 1);
  assert_true(t.stats(0).packets_in_flight > 12);  // of 16, of which 11 are seven tenths
  check_thirty_arrive(t);
  assert_int_equal(counters.retransmitted_packets, 1);
}

// One packet arrived, so one leaves: not the five for which the smaller window has room.
void recovery__is_no_burst(void** state) {
  TwoHosts& t = *two_hosts(state);
  send_ten(t, 7);
  t.deliver_one(1);
  t.pass(microseconds(30), false);
  assert_int_equal(t.stats(0).packets_in_flight, 2);
  assert_int_equal(t.poll(0), 1);
  t.deliver_one(1);
  assert_int_equal(t.poll(0), 1);
  check_thirty_arrive(t);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      MN_CONNECTED_TEST(rtt__measured_without_the_hold_time),
      MN_CONNECTED_TEST(rack__gap_is_repaired_without_a_timeout),
      MN_CONNECTED_TEST(rack__slight_reordering_is_no_loss),
      MN_CONNECTED_TEST(rack__lost_retransmission_is_found),
      MN_CONNECTED_TEST(rack__lost_again_goes_before_lost_later),
      MN_CONNECTED_TEST(tail_probe__repairs_the_last_packet),
      MN_CONNECTED_TEST(timeout__backs_off_and_is_bounded),
      MN_CONNECTED_TEST(timeout__lost_tail_probe_is_sent_last),
      MN_HOSTS_TEST(timeout__one_packet_whatever_the_window),
      MN_CONNECTED_TEST(timeout__everything_lost_is_repaired_in_a_round_trip),
      MN_HOSTS_TEST(persist__asks_about_a_shut_window_until_it_opens),
      MN_HOSTS_TEST(no_buffer__is_no_loss_storm),
      MN_HOSTS_TEST(recovery__begins_at_once),
      MN_HOSTS_TEST(recovery__is_no_burst),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
