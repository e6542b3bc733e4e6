// SPDX-License-Identifier: MIT
#include "transport/transport.h"

#include <algorithm>

#include "base/prng.h"
#include "two_hosts.h"

using namespace mn;
using namespace mn::test;

namespace {

// Messages of both sides, sizes mixed, packets lost, repeated and reordered at random.
void exchange(TwoHosts& t, uint64_t seed, uint32_t loss_ppm) {
  Prng random(seed);
  std::vector<Bytes> sent[2];
  uint32_t next[2] = {};
  for (int i = 0; i < 2; i++) {
    for (uint8_t m = 0; m < 120; m++) {
      const uint64_t size =
          random.below(4) == 0 ? random.between(1, 20'000) : random.between(1, 200);
      sent[i].push_back(TwoHosts::message(size, m));
    }
  }
  for (int step = 0; step < 200'000; step++) {
    for (int i = 0; i < 2; i++) {
      while (next[i] < sent[i].size() && t.hosts[i]->store.tx_free() > 20 && random.below(3) == 0) {
        assert_true(t.send(i, sent[i][next[i]++]));
      }
      t.poll(i);
    }
    for (int i = 0; i < 2; i++) {
      auto& wire = t.hosts[i]->wire;
      for (int n = 0; n < 5 && !wire.empty(); n++) {
        const size_t pick = random.below(8) == 0 ? random.below(wire.size()) : 0;
        const Bytes bytes = wire[pick];
        if (!random.chance_ppm(20'000)) wire.erase(wire.begin() + static_cast<long>(pick));
        if (!random.chance_ppm(loss_ppm)) t.arrive(i, bytes);
      }
    }
    if (random.below(4) != 0) t.read_all();
    t.pass(microseconds(static_cast<int64_t>(random.below(30))), false);
    if (t.hosts[0]->messages.size() == 120 && t.hosts[1]->messages.size() == 120) break;
  }
  for (int i = 0; i < 2; i++) {
    assert_int_equal(t.hosts[1 - i]->messages.size(), sent[i].size());
    for (size_t m = 0; m < sent[i].size(); m++)
      assert_true(t.hosts[1 - i]->messages[m] == sent[i][m]);
  }
  t.hosts[0]->transport.close(t.now, t.handle[0]);
  t.pass(seconds(6));
  t.check_empty();
}

void messages__perfect_link(void** state) { exchange(*two_hosts(state), 1, 0); }
void messages__lossy_link(void** state) { exchange(*two_hosts(state), 2, 50'000); }
void messages__very_lossy_link(void** state) { exchange(*two_hosts(state), 3, 300'000); }

void messages__8mib(void** state) {
  TwoHosts& t = *two_hosts(state);
  for (auto& h : t.hosts) {
    h = std::make_unique<TwoHosts::Host>(TwoHosts::config(1),
                                         StoreShape{.tx_buffers = 6000, .rx_buffers = 512});
  }
  t.connect();
  const Bytes message = TwoHosts::message(8u << 20, 1);
  assert_true(t.send(0, message));
  t.settle();
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_true(t.hosts[1]->messages[0] == message);
  assert_true(t.hosts[0]->transport.counters().retransmitted_packets == 0);
}

void loopback__both_ends_in_one_transport(void** state) {
  TwoHosts& t = *two_hosts(state);
  Transport& both = t.hosts[0]->transport;
  ArrayStore& store = t.hosts[0]->store;
  both.listen(0, 7000, &store);
  const FourTuple tuple{.local_ip = kLoopbackAddress,
                        .remote_ip = kLoopbackAddress,
                        .local_port = 40000,
                        .remote_port = 7000};
  FlowHandle flow;
  assert_true(both.open(t.now, tuple, &store, 1, 0, &flow) == RequestStatus::kOk);
  const auto buffer = store.tx_alloc();
  store.tx_submitted(buffer);
  assert_true(both.send(t.now, flow, buffer, 100, true) == RequestStatus::kOk);
  uint8_t bytes[2048];
  for (int i = 0; i < 100 && both.poll_transmit(t.now, t.view.get()); i++) {
    uint8_t* end = std::copy_n(t.view->header.begin(), t.view->header_size, bytes);
    for (size_t p = 0; p < t.view->piece_count; p++)
      end = std::copy_n(t.view->pieces[p].data, t.view->pieces[p].length, end);
    assert_true(both.on_packet(t.now, TwoHosts::reversed(t.view->tuple),
                               {bytes, static_cast<size_t>(end - bytes)},
                               0) == PacketVerdict::kAccepted);
    both.check_invariants();
  }
  t.read(0);
  assert_int_equal(t.hosts[0]->messages.size(), 1);
  assert_int_equal(both.flow_count(), 2);
}

void on_packet__garbage_is_counted_and_changes_nothing(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(500, 1));
  t.poll(0);
  const Bytes good = t.hosts[0]->wire[0];
  Prng random(9);
  for (int i = 0; i < 20000; i++) {
    Bytes bytes = good;
    for (uint64_t n = random.between(1, 6); n > 0; n--)
      bytes[random.below(wire::kHeaderSize)] = static_cast<uint8_t>(random.next());
    if (random.below(4) == 0) bytes.resize(random.below(bytes.size()));
    if (bytes.size() >= 8 && std::equal(bytes.begin() + 4, bytes.begin() + 8, good.begin() + 4))
      bytes[5] ^= 1;  // a wrong tag
    assert_true(t.arrive(0, bytes) != PacketVerdict::kAccepted);
    t.poll(1);
    t.lose_all(1);
  }
  t.settle();
  assert_int_equal(t.hosts[1]->messages.size(), 1);
}

void snapshot__of_a_live_flow_only(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(500, 1));
  t.send(0, TwoHosts::message(3000, 1));
  assert_int_equal(t.stats(0).tx_queued_bytes, 3500);
  t.settle();
  t.pass(milliseconds(1));
  const auto a = t.stats(0), b = t.stats(1);
  assert_int_equal(a.tx_messages, 2);
  assert_int_equal(a.tx_bytes, 3500);
  assert_int_equal(a.tx_queued_bytes, 0);
  assert_int_equal(b.rx_messages, 2);
  assert_int_equal(b.rx_bytes, 3500);
  assert_int_equal(a.tx_packets, b.rx_packets);
  transport::FlowSnapshot s;
  assert_false(t.hosts[0]->transport.snapshot(t.handle[0] + 1, &s));
  t.hosts[0]->transport.abort(t.now, t.handle[0], ipc::kEndReset);
  assert_false(t.hosts[0]->transport.snapshot(t.handle[0], &s));
}

void deadlines__an_idle_flow_sleeps(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.pass(milliseconds(100));
  int wakes = 0;
  for (const Instant end = t.now + seconds(10); t.now < end; wakes++) {
    const Instant next =
        std::min(t.hosts[0]->transport.next_deadline(), t.hosts[1]->transport.next_deadline());
    assert_true(next > t.now);
    t.now = next;
    for (auto& h : t.hosts) h->transport.on_deadline(t.now);
    t.settle();
  }
  assert_true(wakes < 200);  // a keep-alive a second
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      MN_CONNECTED_TEST(messages__perfect_link),
      MN_CONNECTED_TEST(messages__lossy_link),
      MN_CONNECTED_TEST(messages__very_lossy_link),
      MN_HOSTS_TEST(messages__8mib),
      MN_HOSTS_TEST(loopback__both_ends_in_one_transport),
      MN_CONNECTED_TEST(on_packet__garbage_is_counted_and_changes_nothing),
      MN_CONNECTED_TEST(snapshot__of_a_live_flow_only),
      MN_CONNECTED_TEST(deadlines__an_idle_flow_sleeps),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
