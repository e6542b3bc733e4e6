// SPDX-License-Identifier: MIT
#include "transport/sender.h"

#include "two_hosts.h"
#include "wire/bundle.h"

using namespace mn;
using namespace mn::test;

namespace {

void send__several_small_messages_share_a_packet(void** state) {
  TwoHosts& t = *two_hosts(state);
  for (uint8_t i = 1; i <= 20; i++) t.send(0, TwoHosts::message(i, i));
  assert_int_equal(t.poll(0), 1);
  const wire::Packet packet = parsed(t.hosts[0]->wire[0]);
  assert_int_equal(packet.header.message_count, 20);
  assert_int_equal(packet.header.flags & 3, wire::kFlagFirst | wire::kFlagLast);
  t.settle();
  assert_int_equal(t.hosts[1]->segments, 1);
  assert_int_equal(t.hosts[1]->messages.size(), 20);
  for (uint8_t i = 1; i <= 20; i++) {
    assert_true(t.hosts[1]->messages[i - 1U] == TwoHosts::message(i, i));
  }
  t.pass(milliseconds(1));
  assert_int_equal(t.hosts[0]->store.tx_owned_by_transport(), 0);
}

void send__one_message_is_no_bundle(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(64, 1));
  t.poll(0);
  const wire::PacketHeader header = header_of(t.hosts[0]->wire[0]);
  assert_int_equal(header.message_count, 0);
  assert_int_equal(header.payload_length, 64);
}

void send__a_bundle_has_at_most_255_messages(void** state) {
  TwoHosts& t = *two_hosts(state);
  TransportConfig config = TwoHosts::config(1);
  config.mss = 8940;
  const StoreShape shape{.tx_buffers = 600, .rx_buffers = 64, .buffer_size = 8960};
  for (auto& h : t.hosts) h = std::make_unique<TwoHosts::Host>(config, shape);
  t.connect();
  for (int i = 0; i < 300; i++) t.send(0, TwoHosts::message(1, static_cast<uint8_t>(i)));
  assert_int_equal(t.poll(0), 2);
  assert_int_equal(header_of(t.hosts[0]->wire[0]).message_count, 255);
  assert_int_equal(header_of(t.hosts[0]->wire[1]).message_count, 45);
  t.settle();
  assert_int_equal(t.hosts[1]->messages.size(), 300);
}

void send__packets_fill_the_mss_across_buffers(void** state) {
  TwoHosts& t = *two_hosts(state);
  // Buffers of 1472 bytes, packets of 1440: 10 packets and not 20.
  const Bytes message = TwoHosts::message(14'400, 3);
  t.send(0, message);
  assert_int_equal(t.poll(0), 10);
  t.settle();
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_true(t.hosts[1]->messages[0] == message);
  t.pass(milliseconds(1));
  assert_int_equal(t.hosts[0]->store.tx_owned_by_transport(), 0);
}

void send__messages_of_every_size_around_limits(void** state) {
  TwoHosts& t = *two_hosts(state);
  for (size_t size : {1u, 7u, 8u, 9u, 1431u, 1432u, 1439u, 1440u, 1441u, 1471u, 1472u, 1473u, 2879u,
                      2880u, 2881u, 2944u, 20'000u}) {
    for (size_t before : {0u, 1u, 3u}) {
      t.hosts[1]->messages.clear();
      for (size_t i = 0; i < before; i++) t.send(0, TwoHosts::message(i + 1, 9));
      const Bytes message = TwoHosts::message(size, 5);
      t.send(0, message);
      t.send(0, TwoHosts::message(2, 8));
      t.settle();
      assert_int_equal(t.hosts[1]->messages.size(), before + 2);
      assert_true(t.hosts[1]->messages[before] == message);
      assert_true(t.hosts[1]->messages[before + 1] == TwoHosts::message(2, 8));
      t.pass(milliseconds(1));
      assert_int_equal(t.hosts[0]->store.tx_owned_by_transport(), 0);
    }
  }
}

// A message cut by a pause of the application goes on with the next segment.
void send__continues_a_message_after_a_pause(void** state) {
  TwoHosts& t = *two_hosts(state);
  auto& h = *t.hosts[0];
  const Bytes message = TwoHosts::message(1472 + 100, 4);
  for (int part = 0; part < 2; part++) {
    const auto buffer = h.store.tx_alloc();
    const size_t n = part == 0 ? 1472 : 100;
    memcpy(h.store.tx_buffer(buffer).data(), message.data() + 1472 * part, n);
    h.store.tx_submitted(buffer);
    assert_true(h.transport.send(t.now, t.handle[0], buffer, static_cast<uint16_t>(n), part == 1) ==
                RequestStatus::kOk);
    t.settle();
    t.pass(milliseconds(3));
    h.transport.check_invariants();
  }
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_true(t.hosts[1]->messages[0] == message);
}

void retransmission__has_the_same_content(void** state) {
  TwoHosts& t = *two_hosts(state);
  for (uint8_t i = 1; i <= 9; i++) t.send(0, TwoHosts::message(i * 3U, i));
  t.send(0, TwoHosts::message(4000, 77));
  t.poll(0);
  std::deque<Bytes> first = t.hosts[0]->wire;
  t.lose_all(0);
  for (uint8_t i = 1; i <= 5; i++)
    t.send(0, TwoHosts::message(40, i));  // what comes later does not mix in
  std::vector<bool> again(first.size());
  for (int round = 0; round < 20; round++) {
    t.pass(milliseconds(2), false);
    t.poll(0);
    for (const Bytes& bytes : t.hosts[0]->wire) {
      const wire::Packet packet = parsed(bytes);
      if (packet.header.type != PacketType::kData) continue;
      for (size_t i = 0; i < first.size(); i++) {
        const wire::Packet old = parsed(first[i]);
        if (old.header.sequence != packet.header.sequence) continue;
        again[i] = true;
        assert_int_equal(old.header.message_count, packet.header.message_count);
        assert_int_equal(old.header.flags & 3, packet.header.flags & 3);
        assert_true(std::equal(old.payload.begin(), old.payload.end(), packet.payload.begin(),
                               packet.payload.end()));
      }
    }
    t.settle();
  }
  assert_true(again[0]);
  assert_int_equal(t.hosts[1]->messages.size(), 15);
}

void window__no_packet_beyond_what_the_peer_takes(void** state) {
  TwoHosts& t = *two_hosts(state);
  TransportConfig small = TwoHosts::config(2);
  small.window_packets_max = 4;
  t.hosts[1] = std::make_unique<TwoHosts::Host>(small, StoreShape{});
  t.connect();
  for (int i = 0; i < 10; i++) t.send(0, TwoHosts::message(1440, 1));
  assert_int_equal(t.poll(0), 4);
  const auto flags = [&](size_t i) {
    return header_of(t.hosts[0]->wire[i]).flags & wire::kFlagAckNow;
  };
  assert_true(flags(0) == 0 && flags(3) != 0);
  t.settle();
  assert_int_equal(t.hosts[1]->messages.size(), 10);
}

void send__refused_after_close_and_for_unknown_flows(void** state) {
  TwoHosts& t = *two_hosts(state);
  assert_true(t.hosts[0]->transport.close(t.now, t.handle[0]) == RequestStatus::kOk);
  assert_false(t.send(0, TwoHosts::message(1, 1)));
  assert_true(t.hosts[0]->transport.send(t.now, 0, 0, 1, true) == RequestStatus::kNoSuchFlow);
  assert_true(t.hosts[0]->transport.send(t.now, t.handle[0] + 0x10000, 0, 1, true) ==
              RequestStatus::kNoSuchFlow);
  assert_true(t.hosts[0]->transport.send(t.now, UINT32_MAX, 0, 1, true) ==
              RequestStatus::kNoSuchFlow);
  t.settle();
  t.take_events(0);
  assert_int_equal(t.hosts[0]->transport.flow_count(), 0);
  // The slot is free now; neither its old name nor none is a flow.
  assert_true(t.hosts[0]->transport.send(t.now, t.handle[0], 0, 1, true) ==
              RequestStatus::kNoSuchFlow);
  assert_true(t.hosts[0]->transport.send(t.now, 0, 0, 1, true) == RequestStatus::kNoSuchFlow);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      MN_CONNECTED_TEST(send__several_small_messages_share_a_packet),
      MN_CONNECTED_TEST(send__one_message_is_no_bundle),
      MN_HOSTS_TEST(send__a_bundle_has_at_most_255_messages),
      MN_CONNECTED_TEST(send__packets_fill_the_mss_across_buffers),
      MN_CONNECTED_TEST(send__messages_of_every_size_around_limits),
      MN_CONNECTED_TEST(send__continues_a_message_after_a_pause),
      MN_CONNECTED_TEST(retransmission__has_the_same_content),
      MN_HOSTS_TEST(window__no_packet_beyond_what_the_peer_takes),
      MN_CONNECTED_TEST(send__refused_after_close_and_for_unknown_flows),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
