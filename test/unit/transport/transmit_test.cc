// SPDX-License-Identifier: MIT
#include "transport/transmit.h"

#include "two_hosts.h"

using namespace mn;
using namespace mn::test;

namespace {

// Flows of host 0, `n` of them in `store`, connected to host 1.
std::vector<FlowHandle> open_flows(TwoHosts& t, ArrayStore* store, Port first_port, int n) {
  std::vector<FlowHandle> flows;
  for (int i = 0; i < n; i++) {
    t.flow_tuple.local_port = static_cast<Port>(first_port + i);
    FlowHandle flow;
    assert_true(t.hosts[0]->transport.open(t.now, t.flow_tuple, store, 0, 0, &flow) ==
                RequestStatus::kOk);
    t.settle();
    flows.push_back(flow);
  }
  return flows;
}

void queue(TwoHosts& t, ArrayStore* store, FlowHandle flow, int packets, uint16_t length = 1440) {
  for (int i = 0; i < packets; i++) {
    const auto buffer = store->tx_alloc();
    store->tx_submitted(buffer);
    assert_true(t.hosts[0]->transport.send(t.now, flow, buffer, length, true) ==
                RequestStatus::kOk);
  }
}

// Whose packets come in which order, by local port.
std::vector<Port> order(TwoHosts& t) {
  std::vector<Port> ports;
  while (t.hosts[0]->transport.poll_transmit(t.now, t.view.get()))
    ports.push_back(t.view->tuple.local_port);
  return ports;
}

void turns__flows_of_a_store_alternate(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.hosts[1]->transport.listen(0, 7000, &t.hosts[1]->store);
  ArrayStore* store = &t.hosts[0]->store;
  const auto flows = open_flows(t, store, 100, 2);
  queue(t, store, flows[0], 100);
  queue(t, store, flows[1], 20);
  const auto ports = order(t);
  assert_int_equal(ports.size(), 120);
  const auto done = std::find(ports.rbegin(), ports.rend(), Port{101}).base() - ports.begin();
  assert_true(done <= 48);  // not behind the 100 packets of the other
}

void turns__a_store_with_many_flows_gets_no_more(void** state) {
  TwoHosts& t = *two_hosts(state);
  ArrayStore second(StoreShape{});
  t.hosts[1]->transport.listen(0, 7000, &t.hosts[1]->store);
  const auto many = open_flows(t, &t.hosts[0]->store, 100, 20);
  const auto one = open_flows(t, &second, 500, 1);
  for (FlowHandle flow : many) queue(t, &t.hosts[0]->store, flow, 10);
  queue(t, &second, one[0], 100);
  const auto ports = order(t);
  assert_int_equal(ports.size(), 300);
  const auto done = std::find(ports.rbegin(), ports.rend(), Port{500}).base() - ports.begin();
  assert_true(done <= 240);
  t.hosts[0]->transport.abort_store(t.now, &second, ipc::kEndReset);
}

// Half as long, twice as many in the same time.
void turns__are_counted_in_bytes(void** state) {
  TwoHosts& t = *two_hosts(state);
  ArrayStore second(StoreShape{});
  t.hosts[1]->transport.listen(0, 7000, &t.hosts[1]->store);
  const auto large = open_flows(t, &t.hosts[0]->store, 100, 1);
  const auto small = open_flows(t, &second, 500, 1);
  queue(t, &t.hosts[0]->store, large[0], 80);
  queue(t, &second, small[0], 160, 721);  // no two fit into a packet
  const auto ports = order(t);
  assert_int_equal(ports.size(), 240);
  const auto last = std::find(ports.rbegin(), ports.rend(), Port{100}).base();
  const auto between = std::count(ports.begin(), last, Port{500});
  assert_in_range(between, 120, 160);
  t.hosts[0]->transport.abort_store(t.now, &second, ipc::kEndReset);
}

// What one application says now and then does not wait for the turns of those who always talk.
void turns__who_was_quiet_comes_first_once(void** state) {
  TwoHosts& t = *two_hosts(state);
  ArrayStore second(StoreShape{});
  t.hosts[1]->transport.listen(0, 7000, &t.hosts[1]->store);
  const auto bulk = open_flows(t, &t.hosts[0]->store, 100, 1);
  const auto quiet = open_flows(t, &second, 500, 1);
  queue(t, &t.hosts[0]->store, bulk[0], 100);
  for (int i = 0; i < 20; i++) {  // its first turn is over
    assert_true(t.hosts[0]->transport.poll_transmit(t.now, t.view.get()));
    assert_int_equal(t.view->tuple.local_port, 100);
  }
  for (int i = 0; i < 2; i++) {
    queue(t, &second, quiet[0], 1, 100);
    assert_true(t.hosts[0]->transport.poll_transmit(t.now, t.view.get()));
    assert_int_equal(t.view->tuple.local_port, 500);
  }
  assert_true(t.hosts[0]->transport.poll_transmit(t.now, t.view.get()));
  assert_int_equal(t.view->tuple.local_port, 100);
  // Again before the other had a whole turn: now it waits for that, and no longer.
  queue(t, &second, quiet[0], 1, 100);
  const auto ports = order(t);
  assert_int_equal(std::count(ports.begin(), ports.end(), Port{500}), 1);
  assert_true(std::find(ports.begin(), ports.end(), Port{500}) - ports.begin() <= 2);
  t.hosts[0]->transport.abort_store(t.now, &second, ipc::kEndReset);
}

void view__only_what_is_used_is_written(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(10, 1));
  memset(static_cast<void*>(t.view->pieces.data()), 0xaa, sizeof t.view->pieces);
  t.poll(0);
  assert_int_equal(t.view->piece_count, 1);
  assert_int_equal(t.view->table_size, 0);
  assert_int_equal(reinterpret_cast<uint8_t*>(&t.view->pieces[1])[0], 0xaa);
  assert_int_equal(t.view->flow, t.handle[0]);
}

// Data of full size leaves no room for ranges: they come in an ack of their own.
void sack__never_makes_a_packet_too_long(void** state) {
  TwoHosts& t = *two_hosts(state);
  for (int i = 0; i < 40; i++) t.send(0, TwoHosts::message(1440, 1));
  t.poll(0);
  std::deque<Bytes> wire = t.hosts[0]->wire;
  t.lose_all(0);
  for (size_t i = 1; i < 40; i += 2) t.arrive(0, wire[i]);
  t.send(1, TwoHosts::message(1440, 1));
  t.send(1, TwoHosts::message(1400, 1));
  t.send(1, TwoHosts::message(100, 1));
  t.poll(1);
  bool told = false;
  for (const Bytes& bytes : t.hosts[1]->wire) {
    assert_true(bytes.size() <= wire::kHeaderSize + 1440);
    told = told || header_of(bytes).sack_count == 16;
  }
  assert_true(told);
}

// Once: what leaves behind that ack says that it has no room, and how many it would name.
void sack__goes_before_data_without_room(void** state) {
  TwoHosts& t = *two_hosts(state);
  for (int i = 0; i < 4; i++) t.send(0, TwoHosts::message(1440, 1));
  t.poll(0);
  const std::deque<Bytes> wire = t.hosts[0]->wire;
  t.lose_all(0);
  for (size_t i : {1, 3}) t.arrive(0, wire[i]);
  for (int i = 0; i < 3; i++) t.send(1, TwoHosts::message(1440, 1));
  assert_int_equal(t.poll(1), 4);
  const wire::PacketHeader ack = header_of(t.hosts[1]->wire[0]);
  assert_true(ack.type == PacketType::kAck);
  assert_int_equal(ack.sack_count, 2);
  assert_int_equal(ack.extra, 0);
  for (size_t i = 1; i < 4; i++) {
    const wire::PacketHeader data = header_of(t.hosts[1]->wire[i]);
    assert_true(data.type == PacketType::kData);
    assert_int_equal(data.sack_count, 0);
    assert_int_equal(data.extra, 2);
  }
  // Whole again: the ack goes with the data.
  t.lose_all(1);
  for (size_t i : {0, 2}) t.arrive(0, wire[i]);
  t.send(1, TwoHosts::message(1440, 1));
  assert_int_equal(t.poll(1), 1);
  const wire::PacketHeader data = header_of(t.hosts[1]->wire[0]);
  assert_true(data.type == PacketType::kData);
  assert_int_equal(data.extra, 0);
  assert_int_equal(data.ack, header_of(wire[0]).sequence + 4);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      MN_HOSTS_TEST(turns__flows_of_a_store_alternate),
      MN_HOSTS_TEST(turns__a_store_with_many_flows_gets_no_more),
      MN_HOSTS_TEST(turns__are_counted_in_bytes),
      MN_HOSTS_TEST(turns__who_was_quiet_comes_first_once),
      MN_CONNECTED_TEST(view__only_what_is_used_is_written),
      MN_CONNECTED_TEST(sack__never_makes_a_packet_too_long),
      MN_CONNECTED_TEST(sack__goes_before_data_without_room),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
