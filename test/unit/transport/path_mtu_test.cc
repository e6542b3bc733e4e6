// SPDX-License-Identifier: MIT
#include "transport/path_mtu.h"

#include "two_hosts.h"

using namespace mn;
using namespace mn::test;

namespace {

// Time goes on, and packets of host `eaten` above `bytes_max` do not arrive; what the path took.
void fly(TwoHosts* t, int eaten, size_t bytes_max, Duration duration) {
  const Instant end = t->now + duration;
  while (t->now < end) {
    t->pass(microseconds(50), false);
    for (int round = 0; round < 100; round++) {
      if (t->poll(0) + t->poll(1) == 0) break;
      auto& wire = t->hosts[eaten]->wire;
      std::erase_if(wire, [bytes_max](const Bytes& b) { return b.size() > bytes_max; });
      t->now = t->now + microseconds(5);
      t->deliver_all(0);
      t->deliver_all(1);
      t->read_all();
    }
  }
}

uint64_t reduced(TwoHosts* t, int host) {
  return t->hosts[host]->transport.counters().path_mtu_reduced;
}

void path__large_packets_are_eaten(void** state) {
  TwoHosts& t = *two_hosts(state);
  fly(&t, 0, 1300, milliseconds(1));
  for (uint8_t i = 0; i < 3; i++) {
    assert_true(t.send(0, TwoHosts::message(20'000, i)));
    for (uint8_t j = 1; j < 10; j++) assert_true(t.send(0, TwoHosts::message(90u + j, j)));
  }
  fly(&t, 0, 1300, milliseconds(40));
  assert_int_equal(t.hosts[1]->messages.size(), 3 * 10);
  for (uint8_t i = 0; i < 3; i++) {
    assert_true(t.hosts[1]->messages[i * 10u] == TwoHosts::message(20'000, i));
    for (uint8_t j = 1; j < 10; j++) {
      assert_true(t.hosts[1]->messages[i * 10u + j] == TwoHosts::message(90u + j, j));
    }
  }
  assert_int_equal(reduced(&t, 0), 1);
  assert_int_equal(reduced(&t, 1), 0);
  assert_true(t.hosts[0]->transport.counters().path_mtu_probes_lost >= 3);
  // The search has come near to what the path takes.
  assert_true(t.stats(0).mss <= 1300 - 32 && t.stats(0).mss > 1300 - 32 - 40);
  assert_int_equal(t.stats(1).mss, 1440);
  assert_int_equal(t.hosts[0]->store.tx_owned_by_transport(), 0);
}

// After ten minutes it tries again, and finds the path as it was before.
void path__a_path_that_recovers(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(20'000, 1));
  fly(&t, 0, 600, milliseconds(100));
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_int_equal(reduced(&t, 0), 2);
  assert_true(t.stats(0).mss <= 600 - 32);
  t.pass(seconds(590));
  assert_true(t.stats(0).mss <= 600 - 32);
  t.pass(seconds(20));
  assert_int_equal(t.stats(0).mss, 1440);
  t.send(0, TwoHosts::message(1440, 2));
  assert_int_equal(t.poll(0), 1);
  assert_int_equal(t.hosts[0]->wire[0].size(), 32 + 1440);
}

// One that stays as it is: a few more probes every ten minutes.
void path__a_path_that_stays_narrow(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(20'000, 1));
  fly(&t, 0, 600, milliseconds(100));
  const uint64_t lost = t.hosts[0]->transport.counters().path_mtu_probes_lost;
  for (int i = 0; i < 650; i++) {
    t.pass(milliseconds(998), false);
    fly(&t, 0, 600, milliseconds(2));
  }
  assert_int_equal(reduced(&t, 0), 2);
  assert_true(t.stats(0).mss <= 600 - 32 && t.stats(0).mss >= transport::kMssFloor);
  const uint64_t more = t.hosts[0]->transport.counters().path_mtu_probes_lost - lost;
  assert_true(more >= 3 && more <= 40);
}

void path__nothing_arrives(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(20'000, 1));
  t.pass_cut_off(seconds(3));
  t.pass(seconds(1));
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_int_equal(t.stats(0).mss, 1440);
  assert_int_equal(t.hosts[0]->transport.counters().path_mtu_probes_lost, 0);
}

// A queue in the path that holds two packets: of each burst of parts the third is lost.
void path__parts_that_came_are_not_sent_again(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(1440, 1));
  bool in_parts = false;
  for (int i = 0; i < 4000 && t.hosts[1]->messages.empty(); i++) {
    t.pass(microseconds(50), false);
    t.poll(0);
    auto& wire = t.hosts[0]->wire;
    std::erase_if(wire, [](const Bytes& b) { return b.size() > 560; });
    for (const Bytes& b : wire) in_parts |= header_of(b).type == PacketType::kPart;
    if (wire.size() > 2) wire.resize(2);
    t.deliver_all(0);
    t.poll(1);
    t.deliver_all(1);
    t.read_all();
  }
  assert_true(in_parts);
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_true(t.hosts[1]->messages[0] == TwoHosts::message(1440, 1));
}

// The peer goes on asking and is heard, but hears nothing: no size is to blame.
void path__only_the_way_back(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(20'000, 1));
  for (int i = 0; i < 40; i++) {
    t.send(1, TwoHosts::message(100, 1));
    fly(&t, 0, 0, milliseconds(50));
  }
  assert_int_equal(reduced(&t, 0), 0);
  assert_int_equal(t.hosts[0]->transport.counters().path_mtu_probes_lost, 0);
  fly(&t, 0, 9000, milliseconds(1000));
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_int_equal(t.stats(0).mss, 1440);
}

// One that knows neither padded probes nor parts looks like a path that eats them.
void path__a_peer_without_parts(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.hosts[1]->transport.listen(0, t.flow_tuple.remote_port, &t.hosts[1]->store);
  t.open();
  t.poll(0);
  t.deliver_all(0);
  t.poll(1);
  assert_true(header_of(t.hosts[1]->wire[0]).type == PacketType::kOpenAck);
  memset(t.hosts[1]->wire[0].data() + wire::kHeaderSize + 12, 0, 4);  // its features
  t.settle();
  t.send(0, TwoHosts::message(20'000, 1));
  fly(&t, 0, 1300, milliseconds(500));
  assert_int_equal(reduced(&t, 0), 0);
  assert_int_equal(t.hosts[0]->transport.counters().path_mtu_probes_lost, 0);
  assert_int_equal(t.stats(0).mss, 1440);
}

// An unlucky packet: the probe of its size arrives, and all stays as it was.
void path__false_alarm(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(1440, 1));
  bool probed = false;
  for (int i = 0; i < 2000 && t.hosts[1]->messages.empty(); i++) {
    t.pass(microseconds(50), false);
    t.poll(0);
    const bool last = t.stats(0).retransmitted_packets >= 4;
    for (const Bytes& bytes : t.hosts[0]->wire) {
      probed |= header_of(bytes).type == PacketType::kProbe && bytes.size() == 32 + 1440;
    }
    std::erase_if(t.hosts[0]->wire, [last](const Bytes& bytes) {
      return !last && header_of(bytes).type == PacketType::kData;
    });
    t.deliver_all(0);
    t.poll(1);
    t.deliver_all(1);
    t.read_all();
  }
  assert_true(probed);
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_int_equal(t.stats(0).mss, 1440);
  assert_int_equal(t.hosts[0]->transport.counters().path_mtu_probes_lost, 0);
}

}  // namespace

int main() {
  const struct CMUnitTest tests[] = {
      MN_CONNECTED_TEST(path__large_packets_are_eaten),
      MN_CONNECTED_TEST(path__a_path_that_recovers),
      MN_CONNECTED_TEST(path__a_path_that_stays_narrow),
      MN_CONNECTED_TEST(path__nothing_arrives),
      MN_CONNECTED_TEST(path__parts_that_came_are_not_sent_again),
      MN_CONNECTED_TEST(path__only_the_way_back),
      MN_HOSTS_TEST(path__a_peer_without_parts),
      MN_CONNECTED_TEST(path__false_alarm),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
