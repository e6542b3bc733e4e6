// SPDX-License-Identifier: MIT
#include "transport/handshake.h"

#include <cerrno>

#include "two_hosts.h"

using namespace mn;
using namespace mn::test;

namespace {

void open__connects_and_tells_both_sides(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.hosts[1]->transport.listen(0, 7000, &t.hosts[1]->store);
  t.open();
  assert_int_equal(t.poll(0), 1);
  const wire::PacketHeader open = header_of(t.hosts[0]->wire[0]);
  assert_true(open.type == PacketType::kOpen && open.tag == 0);
  assert_int_equal(t.view->path, 5);
  t.deliver_all(0);
  assert_false(t.hosts[1]->store.has_delivery());  // only when the peer has shown that it is there
  assert_int_equal(t.poll(1), 1);
  t.deliver_all(1);
  assert_int_equal(t.hosts[0]->events.size(), 1);
  assert_true(t.hosts[0]->events[0].kind == TransportEvent::Kind::kConnected);
  assert_int_equal(t.hosts[0]->events[0].cookie, 99);
  t.settle();
  assert_true(t.hosts[1]->opened != 0);
  assert_int_equal(t.hosts[1]->transport.counters().flows_opened, 1);
}

void open__refused_where_nobody_listens(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.open();
  t.settle();
  assert_int_equal(t.hosts[0]->events.size(), 1);
  assert_true(t.hosts[0]->events[0].kind == TransportEvent::Kind::kConnectFailed);
  assert_int_equal(t.hosts[0]->events[0].error, ECONNREFUSED);
  t.check_empty();
}

void open__times_out(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.open();
  t.pass(milliseconds(1990), false);
  const size_t tries = t.poll(0);
  assert_true(tries >= 1);
  assert_int_equal(t.hosts[0]->events.size(), 0);
  t.pass(milliseconds(20), false);
  assert_int_equal(t.hosts[0]->events.size(), 1);
  assert_int_equal(t.hosts[0]->events[0].error, ETIMEDOUT);
  t.check_empty();
}

void open__abort_gives_one_failure(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.open();
  t.poll(0);
  t.hosts[0]->transport.abort_store(t.now, &t.hosts[0]->store, ipc::kEndReset);
  t.take_events(0);
  assert_int_equal(t.hosts[0]->events.size(), 1);
  assert_true(t.hosts[0]->events[0].kind == TransportEvent::Kind::kConnectFailed);
  assert_int_equal(t.hosts[0]->events[0].error, ECONNABORTED);
  assert_int_equal(t.hosts[0]->events[0].cookie, 99);
  t.check_empty();
}

void open__same_tuple_twice_is_in_use(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.open();
  FlowHandle second;
  assert_true(t.hosts[0]->transport.open(t.now, t.flow_tuple, &t.hosts[0]->store, 1, 0, &second) ==
              RequestStatus::kInUse);
}

void open__lost_packets_are_repeated(void** state) {
  for (int lost = 0; lost < 3; lost++) {
    TwoHosts& t = *two_hosts(state);
    t.flow_tuple.local_port++;
    t.hosts[0]->events.clear();
    t.hosts[1]->opened = 0;
    t.hosts[1]->transport.listen(0, 7000, &t.hosts[1]->store);
    t.open();
    t.poll(0);
    if (lost == 0) t.lose_all(0);
    t.deliver_all(0);
    t.poll(1);
    if (lost == 1) t.lose_all(1);
    t.deliver_all(1);
    t.poll(0);
    if (lost == 2) t.lose_all(0);
    t.pass(milliseconds(50));
    assert_int_equal(t.hosts[0]->events.size(), 1);
    assert_true(t.hosts[1]->opened != 0);
  }
}

void half_open__forged_handshakes_are_bounded_and_short(void** state) {
  TwoHosts& t = *two_hosts(state);
  TransportConfig config = TwoHosts::config(3);
  config.half_open_max = 4;
  t.hosts[1] = std::make_unique<TwoHosts::Host>(config, StoreShape{});
  t.hosts[1]->transport.listen(0, 7000, &t.hosts[1]->store);
  t.open();
  t.poll(0);
  const Bytes open = t.hosts[0]->wire.front();
  FourTuple tuple = TwoHosts::reversed(t.flow_tuple);
  uint32_t refused = 0;
  for (uint16_t port = 0; port < 20; port++) {
    tuple.remote_port = port;
    refused +=
        t.hosts[1]->transport.on_packet(t.now, tuple, open, 0) == PacketVerdict::kHandshakeLimit;
  }
  assert_int_equal(refused, 16);
  assert_int_equal(t.hosts[1]->store.flows_live(), 4);
  assert_false(t.hosts[1]->store.has_delivery());
  t.pass(milliseconds(1100), false);
  assert_int_equal(t.hosts[1]->transport.flow_count(), 0);
  assert_int_equal(t.hosts[1]->store.flows_live(), 0);
}

// Where forged handshakes fill what there is, who can hear us gets in all the same.
void half_open__a_cookie_opens_what_floods_shut(void** state) {
  TwoHosts& t = *two_hosts(state);
  TransportConfig config = TwoHosts::config(3);
  config.half_open_max = 4;
  t.hosts[1] = std::make_unique<TwoHosts::Host>(config, StoreShape{});
  t.hosts[1]->transport.listen(0, 7000, &t.hosts[1]->store);
  t.open();
  t.poll(0);
  const Bytes open = t.hosts[0]->wire.front();
  FourTuple tuple = TwoHosts::reversed(t.flow_tuple);
  for (uint16_t port = 0; port < 20; port++) {
    tuple.remote_port = port;
    t.hosts[1]->transport.on_packet(t.now, tuple, open, 0);
  }
  while (t.hosts[1]->transport.poll_transmit(t.now, t.view.get())) {
  }
  const Instant start = t.now;
  t.settle();
  assert_true(t.now == start);
  assert_int_equal(t.hosts[0]->events.size(), 1);
  assert_true(t.hosts[0]->events[0].kind == TransportEvent::Kind::kConnected);
  assert_true(t.hosts[1]->opened != 0);
  // A cookie is no good for another address.
  tuple.remote_port = 30;
  wire::Options options;
  assert_true(wire::parse_options(parsed(open).payload, &options));
  options.cookie = 12345;
  Bytes forged = open;
  wire::encode_options(options, std::span<uint8_t, wire::kOptionsSize>(
                                    forged.data() + wire::kHeaderSize, wire::kOptionsSize));
  assert_true(t.hosts[1]->transport.on_packet(t.now, tuple, forged, 0) ==
              PacketVerdict::kHandshakeLimit);
}

// Opens `port` as the host that is heard there would: with the cookie, if it is asked for one.
void open_honestly(TwoHosts& t, Port port, Bytes open) {
  FourTuple tuple = TwoHosts::reversed(t.flow_tuple);
  tuple.remote_port = port;
  t.poll(1);
  t.lose_all(1);
  t.hosts[1]->transport.on_packet(t.now, tuple, open, 0);
  t.poll(1);
  wire::Options options, answer;
  assert_true(wire::parse_options(parsed(open).payload, &options));
  assert_true(wire::parse_options(parsed(t.hosts[1]->wire.back()).payload, &answer));
  if (answer.cookie == 0) return;
  options.cookie = answer.cookie;
  wire::encode_options(options, std::span<uint8_t, wire::kOptionsSize>(
                                    open.data() + wire::kHeaderSize, wire::kOptionsSize));
  t.hosts[1]->transport.on_packet(t.now, tuple, open, 0);
  t.hosts[1]->transport.check_invariants();
}

// Those who have shown their address do not count among the forged, and leave the count as it was.
void half_open__cookies_go_beyond_the_limit(void** state) {
  TwoHosts& t = *two_hosts(state);
  TransportConfig config = TwoHosts::config(3);
  config.half_open_max = 4;
  t.hosts[1] = std::make_unique<TwoHosts::Host>(config, StoreShape{});
  t.hosts[1]->transport.listen(0, 7000, &t.hosts[1]->store);
  t.open();
  t.poll(0);
  const Bytes open = t.hosts[0]->wire.front();
  for (Port port = 0; port < 20; port++) open_honestly(t, port, open);
  assert_int_equal(t.hosts[1]->store.flows_live(), 20);
  t.pass(milliseconds(1100), false);
  assert_int_equal(t.hosts[1]->transport.flow_count(), 0);
}

// Long before the limit: a store's last slots are not for the forged.
void half_open__the_last_slots_want_a_cookie(void** state) {
  TwoHosts& t = *two_hosts(state);
  StoreShape shape;
  shape.flow_slots = 16;
  t.hosts[1] = std::make_unique<TwoHosts::Host>(TwoHosts::config(3), shape);
  t.hosts[1]->transport.listen(0, 7000, &t.hosts[1]->store);
  t.open();
  t.poll(0);
  const Bytes open = t.hosts[0]->wire.front();
  FourTuple tuple = TwoHosts::reversed(t.flow_tuple);
  for (tuple.remote_port = 0; tuple.remote_port < 20; tuple.remote_port++) {
    t.hosts[1]->transport.on_packet(t.now, tuple, open, 0);
  }
  assert_int_equal(t.hosts[1]->store.flows_live(), 14);
  t.poll(1);
  for (Port port = 100; port < 102; port++) open_honestly(t, port, open);
  assert_int_equal(t.hosts[1]->store.flows_live(), 16);
}

// Whoever forges the opener's address neither takes the half-open flow over nor gets answers.
void half_open__another_tag_changes_nothing(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.hosts[1]->transport.listen(0, 7000, &t.hosts[1]->store);
  t.open();
  t.poll(0);
  const Bytes open = t.hosts[0]->wire.front();
  t.deliver_all(0);
  t.poll(1);
  wire::Options options;
  assert_true(wire::parse_options(parsed(open).payload, &options));
  options.tag++;
  Bytes forged = open;
  wire::encode_options(options, std::span<uint8_t, wire::kOptionsSize>(
                                    forged.data() + wire::kHeaderSize, wire::kOptionsSize));
  assert_true(t.arrive(0, forged) == PacketVerdict::kDuplicate);
  assert_int_equal(t.poll(1), 0);
  t.settle();
  assert_true(t.hosts[1]->opened != 0);
}

// Until the peer has named its tag there is none that a reset could carry: 0 is not it.
void open__a_reset_with_tag_0_does_not_stop_it(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.open();
  t.poll(0);
  Bytes bytes(wire::kHeaderSize);
  wire::encode_packet_header({.type = PacketType::kReset, .flags = wire::kFlagReflected}, {},
                             bytes);
  assert_true(t.arrive(1, bytes) == PacketVerdict::kNoFlow);
  assert_int_equal(t.hosts[0]->events.size(), 0);
}

void open__an_answer_to_another_request_is_refused(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.hosts[1]->transport.listen(0, 7000, &t.hosts[1]->store);
  t.open();
  t.poll(0);
  t.deliver_all(0);
  t.poll(1);
  wire::PacketHeader header = header_of(t.hosts[1]->wire.front());
  header.ack++;
  assert_true(t.arrive(1, with_header(t.hosts[1]->wire.front(), header)) ==
              PacketVerdict::kMalformed);
  assert_int_equal(t.hosts[0]->events.size(), 0);
}

void half_open__wrong_tag_does_not_confirm(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.hosts[1]->transport.listen(0, 7000, &t.hosts[1]->store);
  t.open();
  t.poll(0);
  t.deliver_all(0);
  t.poll(1);
  t.deliver_all(1);
  t.poll(0);
  const Bytes confirm = t.hosts[0]->wire.front();
  wire::PacketHeader header = header_of(confirm);
  header.tag++;
  assert_true(t.arrive(0, with_header(confirm, header)) == PacketVerdict::kNoFlow);
  assert_false(t.hosts[1]->store.has_delivery());
  assert_true(t.arrive(0, confirm) == PacketVerdict::kAccepted);
  assert_true(t.hosts[1]->store.has_delivery());
}

void half_open__data_confirms_too(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.hosts[1]->transport.listen(0, 7000, &t.hosts[1]->store);
  t.open();
  t.send(0, TwoHosts::message(10, 1));  // may be queued before the connection stands
  t.poll(0);
  t.deliver_all(0);
  t.poll(1);
  t.deliver_all(1);
  t.poll(0);
  while (header_of(t.hosts[0]->wire.front()).type != PacketType::kData)
    t.hosts[0]->wire.pop_front();
  t.deliver_one(0);
  t.read_all();
  assert_true(t.hosts[1]->opened != 0);
  assert_int_equal(t.hosts[1]->messages.size(), 1);
}

// The peer lost its memory and opens the same tuple again.
void restart__same_tuple_succeeds_at_once(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.connect();
  t.hosts[0] = std::make_unique<TwoHosts::Host>(TwoHosts::config(77), StoreShape{});
  t.open();
  const Instant start = t.now;
  for (int i = 0; i < 20 && t.hosts[0]->events.empty(); i++) t.settle();
  assert_int_equal(t.hosts[0]->events.size(), 1);
  assert_true(t.hosts[0]->events[0].kind == TransportEvent::Kind::kConnected);
  assert_true(t.now == start);
  t.settle();
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndReset);
  assert_int_equal(t.hosts[1]->transport.counters().flows_opened, 2);
}

void restart__old_packets_are_refused(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.connect();
  t.send(0, TwoHosts::message(100, 1));
  t.poll(0);
  const Bytes old = t.hosts[0]->wire.front();
  t.settle();
  t.hosts[0]->transport.close(t.now, t.handle[0]);
  t.settle();
  t.open();
  t.settle();
  t.hosts[1]->messages.clear();
  assert_true(t.arrive(0, old) == PacketVerdict::kNoFlow);
  t.settle();
  assert_int_equal(t.hosts[1]->messages.size(), 0);
}

void options__mss_is_the_smaller_one(void** state) {
  TwoHosts& t = *two_hosts(state);
  TransportConfig small = TwoHosts::config(9);
  small.mss = 200;
  t.hosts[1] = std::make_unique<TwoHosts::Host>(small, StoreShape{});
  t.connect();
  assert_int_equal(t.stats(0).mss, 200);
  assert_int_equal(t.stats(1).mss, 200);
  const Bytes message = TwoHosts::message(5000, 3);
  t.send(0, message);
  t.settle();
  assert_true(t.hosts[1]->messages.at(0) == message);
}

void options__absurd_ones_are_refused(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.hosts[1]->transport.listen(0, 7000, &t.hosts[1]->store);
  t.open();
  t.poll(0);
  Bytes open = t.hosts[0]->wire.front();
  wire::Options options;
  assert_true(wire::parse_options(parsed(open).payload, &options));
  options.mss = 3;
  wire::encode_options(options, std::span<uint8_t, wire::kOptionsSize>(
                                    open.data() + wire::kHeaderSize, wire::kOptionsSize));
  assert_true(t.arrive(0, open) != PacketVerdict::kAccepted);
  assert_int_equal(t.hosts[1]->transport.flow_count(), 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      MN_HOSTS_TEST(open__connects_and_tells_both_sides),
      MN_HOSTS_TEST(open__a_reset_with_tag_0_does_not_stop_it),
      MN_HOSTS_TEST(open__an_answer_to_another_request_is_refused),
      MN_HOSTS_TEST(half_open__cookies_go_beyond_the_limit),
      MN_HOSTS_TEST(half_open__the_last_slots_want_a_cookie),
      MN_HOSTS_TEST(half_open__another_tag_changes_nothing),
      MN_HOSTS_TEST(open__refused_where_nobody_listens),
      MN_HOSTS_TEST(open__times_out),
      MN_HOSTS_TEST(open__abort_gives_one_failure),
      MN_HOSTS_TEST(open__same_tuple_twice_is_in_use),
      MN_HOSTS_TEST(open__lost_packets_are_repeated),
      MN_HOSTS_TEST(half_open__forged_handshakes_are_bounded_and_short),
      MN_HOSTS_TEST(half_open__a_cookie_opens_what_floods_shut),
      MN_HOSTS_TEST(half_open__wrong_tag_does_not_confirm),
      MN_HOSTS_TEST(half_open__data_confirms_too),
      MN_HOSTS_TEST(restart__same_tuple_succeeds_at_once),
      MN_HOSTS_TEST(restart__old_packets_are_refused),
      MN_HOSTS_TEST(options__mss_is_the_smaller_one),
      MN_HOSTS_TEST(options__absurd_ones_are_refused),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
