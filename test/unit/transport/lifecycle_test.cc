// SPDX-License-Identifier: MIT
#include "transport/lifecycle.h"

#include "two_hosts.h"

using namespace mn;
using namespace mn::test;

namespace {

bool ended(const TwoHosts::Host& h) {
  return h.events.size() == 1 && h.events[0].kind == TransportEvent::Kind::kEnded;
}

void close__everything_queued_arrives_first(void** state) {
  TwoHosts& t = *two_hosts(state);
  for (uint8_t i = 0; i < 100; i++) t.send(0, TwoHosts::message(1440, i));
  t.hosts[0]->transport.close(t.now, t.handle[0]);
  t.settle();
  assert_int_equal(t.hosts[1]->messages.size(), 100);
  assert_int_equal(t.hosts[0]->end_reason, ipc::kEndClosed);
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndClosedByPeer);
  t.take_events(0);
  assert_true(ended(*t.hosts[0]) && ended(*t.hosts[1]));
  assert_int_equal(t.hosts[0]->transport.flow_count(), 0);
  t.pass(seconds(6));
  t.check_empty();
}

void close__what_the_closed_side_had_queued_goes_back(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.hosts[0]->transport.close(t.now, t.handle[0]);
  t.poll(0);
  for (int i = 0; i < 50; i++) t.send(1, TwoHosts::message(1440, 1));
  t.deliver_all(0);
  t.settle();
  assert_int_equal(t.hosts[1]->store.tx_owned_by_transport(), 0);
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndClosedByPeer);
  assert_int_equal(t.hosts[0]->end_reason, ipc::kEndClosed);
}

void close__both_at_once(void** state) {
  TwoHosts& t = *two_hosts(state);
  for (int i = 0; i < 2; i++) t.hosts[i]->transport.close(t.now, t.handle[i]);
  t.poll(0);
  t.poll(1);
  t.settle();
  for (int i = 0; i < 2; i++) {
    assert_true(t.hosts[i]->end_reason == ipc::kEndClosed ||
                t.hosts[i]->end_reason == ipc::kEndClosedByPeer);
  }
  t.pass(seconds(6));
  t.check_empty();
}

void close__lost_acks_are_repeated_by_the_lingering_side(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(10, 1));
  t.hosts[0]->transport.close(t.now, t.handle[0]);
  const Instant start = t.now;
  while (t.now - start < milliseconds(1500)) {
    t.pass(milliseconds(1), false);
    t.poll(0);
    t.deliver_all(0);
    t.poll(1);
    t.lose_all(1);
    t.read_all();
  }
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndClosedByPeer);
  assert_int_equal(t.hosts[0]->end_reason, 0);
  t.pass(milliseconds(600));
  assert_int_equal(t.hosts[0]->end_reason, ipc::kEndClosed);
}

void close__given_up_when_the_peer_is_gone(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(10, 1));
  t.hosts[0]->transport.close(t.now, t.handle[0]);
  t.pass_cut_off(milliseconds(4900));
  assert_int_equal(t.hosts[0]->end_reason, 0);
  t.pass_cut_off(milliseconds(200));
  assert_int_equal(t.hosts[0]->end_reason, ipc::kEndTimeout);
  assert_int_equal(t.hosts[0]->store.tx_owned_by_transport(), 0);
}

// The peer's application stopped, but its host answers.
void close_towards_a_stopped_reader(TwoHosts& t, Duration stopped) {
  for (auto& h : t.hosts) {
    h = std::make_unique<TwoHosts::Host>(TwoHosts::config(1),
                                         StoreShape{.tx_buffers = 64, .rx_buffers = 8});
  }
  t.connect();
  for (int i = 0; i < 30; i++) t.send(0, TwoHosts::message(1440, 1));
  t.hosts[0]->transport.close(t.now, t.handle[0]);
  for (const Instant end = t.now + stopped; t.now < end;) {
    t.pass(milliseconds(10), false);
    t.settle(false);
  }
  t.pass(milliseconds(100));
}

void close__patient_with_a_stopped_reader(void** state) {
  TwoHosts& t = *two_hosts(state);
  close_towards_a_stopped_reader(t, seconds(50));
  assert_int_equal(t.hosts[1]->messages.size(), 30);
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndClosedByPeer);
  assert_int_equal(t.hosts[0]->end_reason, ipc::kEndClosed);
}

void close__given_up_after_a_minute_without_progress(void** state) {
  TwoHosts& t = *two_hosts(state);
  close_towards_a_stopped_reader(t, seconds(61));
  assert_int_equal(t.hosts[0]->end_reason, ipc::kEndTimeout);
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndReset);
  assert_int_equal(t.hosts[0]->store.tx_owned_by_transport(), 0);
}

// Everything arrived and only the last ack is missing, of a peer that knows nothing any more.
void close__answered_with_a_reset_is_a_close(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(10, 1));
  t.pass(milliseconds(1));
  t.hosts[0]->transport.close(t.now, t.handle[0]);
  t.poll(0);
  t.lose_all(0);
  t.hosts[1] = std::make_unique<TwoHosts::Host>(TwoHosts::config(77), StoreShape{});
  t.pass(seconds(1));
  assert_int_equal(t.hosts[0]->end_reason, ipc::kEndClosed);
}

// A message that its sender cut off must not look like an orderly end.
void close__inside_a_message_is_a_reset(void** state) {
  TwoHosts& t = *two_hosts(state);
  auto& h = *t.hosts[0];
  const auto buffer = h.store.tx_alloc();
  h.store.tx_submitted(buffer);
  h.transport.send(t.now, t.handle[0], buffer, 1440, false);
  t.poll(0);
  wire::PacketHeader header = header_of(h.wire.front());
  t.deliver_all(0);
  header.type = PacketType::kClose;
  header.flags = 0;
  header.sequence++;
  header.payload_length = 0;
  Bytes close(wire::kHeaderSize);
  wire::encode_packet_header(header, {}, close);
  t.arrive(0, close);
  t.read(1);
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndReset);
}

void close__of_half_a_message_is_a_reset(void** state) {
  TwoHosts& t = *two_hosts(state);
  auto& h = *t.hosts[0];
  const auto buffer = h.store.tx_alloc();
  h.store.tx_submitted(buffer);
  h.transport.send(t.now, t.handle[0], buffer, 1472, false);
  t.settle();
  h.transport.close_store(t.now, &h.store);
  t.settle();
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndReset);
  assert_int_equal(t.hosts[1]->messages.size(), 0);
}

void abort__resets_the_peer(void** state) {
  TwoHosts& t = *two_hosts(state);
  for (int i = 0; i < 300; i++) t.send(0, TwoHosts::message(1000, 1));
  t.hosts[0]->transport.abort(t.now, t.handle[0], ipc::kEndReset);
  assert_int_equal(t.hosts[0]->store.tx_owned_by_transport(), 0);
  t.settle();
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndReset);
  t.take_events(0);
  t.check_empty();
}

void abort__lost_reset_is_replaced_by_an_answer(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.hosts[0]->transport.abort(t.now, t.handle[0], ipc::kEndReset);
  t.poll(0);
  t.lose_all(0);
  t.send(1, TwoHosts::message(10, 1));
  t.settle();
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndReset);
}

void abort_store__leaves_nothing_behind(void** state) {
  TwoHosts& t = *two_hosts(state);
  for (int i = 0; i < 20; i++) t.send(0, TwoHosts::message(3000, 1));
  t.poll(0);
  t.hosts[0]->wire.pop_front();
  t.deliver_all(0);  // out of order at host 1
  for (auto& h : t.hosts) {
    h->transport.abort_store(t.now, &h->store, ipc::kEndReset);
    assert_int_equal(h->store.tx_owned_by_transport(), 0);
    assert_int_equal(h->store.rx_owned_by_transport(), 0);
    assert_int_equal(h->transport.store_flow_count(&h->store), 0);
  }
  t.settle();
  t.take_events(0);
  t.take_events(1);
  t.check_empty();
}

void abort_all__every_flow_and_listener(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.hosts[1]->transport.abort_all(t.now, ipc::kEndDaemonStop);
  t.settle();
  assert_int_equal(t.hosts[0]->end_reason, ipc::kEndReset);
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndDaemonStop);
  t.take_events(0);
  t.take_events(1);
  t.check_empty();
  t.hosts[0]->events.clear();
  t.open();
  t.settle();
  assert_true(t.hosts[0]->events.at(0).kind == TransportEvent::Kind::kConnectFailed);
}

void reset__blind_ones_are_refused(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(10, 1));
  t.poll(0);
  const uint32_t right = header_of(t.hosts[0]->wire[0]).tag;
  wire::PacketHeader reset;
  reset.type = PacketType::kReset;
  Bytes bytes(wire::kHeaderSize);
  for (uint8_t flags : {uint8_t{0}, uint8_t{wire::kFlagReflected}}) {
    for (uint32_t tag : {0u, 1u, right + 1, right}) {
      if (tag == right && flags == 0) continue;
      reset.flags = flags;
      reset.tag = tag;
      wire::encode_packet_header(reset, {}, bytes);
      assert_true(t.arrive(0, bytes) == PacketVerdict::kNoFlow);
    }
  }
  reset.flags = 0;
  reset.tag = right;
  wire::encode_packet_header(reset, {}, bytes);
  assert_true(t.arrive(0, bytes) == PacketVerdict::kAccepted);
}

void reset__answers_to_strays_are_limited(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(10, 1));
  t.poll(0);
  const Bytes data = t.hosts[0]->wire[0];
  FourTuple tuple = TwoHosts::reversed(t.flow_tuple);
  for (uint32_t i = 0; i < 10000; i++) {
    tuple.remote_port = static_cast<Port>(i);
    if (tuple.remote_port == t.flow_tuple.local_port) continue;
    t.hosts[1]->transport.on_packet(t.now, tuple, data, 0);
    if (i % 32 == 0) t.poll(1);
  }
  assert_true(t.hosts[1]->wire.size() <= 200);
  // A reset is never answered.
  const Bytes reset = t.hosts[1]->wire.front();
  t.lose_all(1);
  t.now = t.now + seconds(1);
  tuple.remote_port = 5;
  assert_true(t.hosts[1]->transport.on_packet(t.now, tuple, reset, 0) == PacketVerdict::kNoFlow);
  assert_int_equal(t.poll(1), 0);
}

void keepalive__silence_is_broken_and_death_is_noticed(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.pass(seconds(30));
  assert_int_equal(t.hosts[0]->end_reason + t.hosts[1]->end_reason, 0);
  t.pass_cut_off(milliseconds(4900));
  assert_int_equal(t.hosts[0]->end_reason, 0);
  t.pass_cut_off(milliseconds(1500));
  assert_int_equal(t.hosts[0]->end_reason, ipc::kEndTimeout);
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndTimeout);
  assert_int_equal(t.hosts[0]->transport.counters().flows_timed_out, 1);
}

// On a network that loses much, a few questions in five seconds are not enough to call a peer dead.
void keepalive__an_unanswered_question_is_repeated_soon(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.pass(milliseconds(500));
  size_t asked = 0;
  for (int i = 0; i < 4500; i++) {
    t.pass(milliseconds(1), false);
    asked += t.poll(0);
    t.poll(1);
    t.lose_all(0);
    t.lose_all(1);
  }
  assert_int_equal(t.hosts[0]->end_reason, 0);
  assert_in_range(asked, 15, 25);
  // One that is heard again is not asked again within the second.
  t.pass(milliseconds(200));
  t.pass(milliseconds(700), false);
  assert_int_equal(t.poll(0) + t.poll(1), 0);
}

// Suspended for a minute (a virtual machine): nothing was asked in that time, so nobody is dead.
void keepalive__a_jump_of_the_clock_kills_nobody(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.pass(seconds(3));
  t.now = t.now + seconds(60);
  t.pass(seconds(3));
  assert_int_equal(t.hosts[0]->end_reason + t.hosts[1]->end_reason, 0);
}

void linger__a_new_flow_takes_the_slot(void** state) {
  TwoHosts& t = *two_hosts(state);
  TransportConfig config = TwoHosts::config(4);
  config.flows_max = 2;
  t.hosts[1] = std::make_unique<TwoHosts::Host>(config, StoreShape{});
  t.connect();
  for (uint16_t round = 0; round < 5; round++) {
    t.hosts[0]->transport.close(t.now, t.handle[0]);
    t.settle();
    t.take_events(0);
    t.take_events(1);
    assert_int_equal(t.hosts[1]->end_reason, ipc::kEndClosedByPeer);
    t.hosts[1]->end_reason = 0;
    t.hosts[1]->opened = 0;
    t.flow_tuple.local_port++;
    t.open();
    t.settle();
    assert_true(t.hosts[1]->opened != 0);
  }
  assert_int_equal(t.hosts[1]->transport.flow_count(), 2);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      MN_CONNECTED_TEST(close__everything_queued_arrives_first),
      MN_CONNECTED_TEST(close__what_the_closed_side_had_queued_goes_back),
      MN_CONNECTED_TEST(close__both_at_once),
      MN_CONNECTED_TEST(close__lost_acks_are_repeated_by_the_lingering_side),
      MN_CONNECTED_TEST(close__given_up_when_the_peer_is_gone),
      MN_HOSTS_TEST(close__patient_with_a_stopped_reader),
      MN_HOSTS_TEST(close__given_up_after_a_minute_without_progress),
      MN_CONNECTED_TEST(close__of_half_a_message_is_a_reset),
      MN_CONNECTED_TEST(abort__resets_the_peer),
      MN_CONNECTED_TEST(abort__lost_reset_is_replaced_by_an_answer),
      MN_CONNECTED_TEST(abort_store__leaves_nothing_behind),
      MN_CONNECTED_TEST(abort_all__every_flow_and_listener),
      MN_CONNECTED_TEST(reset__blind_ones_are_refused),
      MN_CONNECTED_TEST(reset__answers_to_strays_are_limited),
      MN_CONNECTED_TEST(keepalive__silence_is_broken_and_death_is_noticed),
      MN_CONNECTED_TEST(keepalive__an_unanswered_question_is_repeated_soon),
      MN_CONNECTED_TEST(keepalive__a_jump_of_the_clock_kills_nobody),
      MN_HOSTS_TEST(linger__a_new_flow_takes_the_slot),
      MN_CONNECTED_TEST(close__answered_with_a_reset_is_a_close),
      MN_CONNECTED_TEST(close__inside_a_message_is_a_reset),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
