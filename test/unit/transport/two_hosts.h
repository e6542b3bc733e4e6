// SPDX-License-Identifier: MIT
// TwoHosts: two transports and two stores, with the packets between them in the test's hands: each
// can be delivered, lost, repeated or changed. Time stands still unless the test moves it.
#pragma once

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>
extern "C" {
#include <cmocka.h>
}

#include "support/array_store.h"
#include "transport/transport.h"
#include "transport_packets.h"

namespace mn::test {

using transport::FlowHandle;
using transport::FlowRef;
using transport::PacketVerdict;
using transport::RequestStatus;
using transport::Transport;
using transport::TransportConfig;
using transport::TransportEvent;
using wire::PacketType;

struct TwoHosts {
  struct Host {
    Host(const TransportConfig& config, const StoreShape& shape)
        : store(shape), transport(config) {}
    ArrayStore store;
    Transport transport;
    std::deque<Bytes> wire;  // sent by this host, not yet delivered
    std::vector<TransportEvent> events;
    std::vector<Bytes> messages;  // received whole, all flows
    Bytes partial;
    uint32_t segments = 0;
    uint32_t end_reason = 0;
    FlowRef opened = 0;
  };

  static TransportConfig config(uint64_t seed) {
    TransportConfig c;
    c.flows_max = 64;
    c.seed = seed;
    return c;
  }
  static constexpr FourTuple kTuple{
      .local_ip = 0x0a000001, .remote_ip = 0x0a000002, .local_port = 40000, .remote_port = 7000};

  explicit TwoHosts(const StoreShape& shape = {}, TransportConfig a = config(1),
                    TransportConfig b = config(2)) {
    hosts[0] = std::make_unique<Host>(a, shape);
    hosts[1] = std::make_unique<Host>(b, shape);
    view = std::make_unique<transport::TransmitView>();
  }

  static FourTuple reversed(const FourTuple& t) {
    return {.local_ip = t.remote_ip,
            .remote_ip = t.local_ip,
            .local_port = t.remote_port,
            .remote_port = t.local_port};
  }

  // Everything that host `i` has to send goes to its wire. Returns how many packets.
  size_t poll(int i) {
    Host& h = *hosts[i];
    size_t count = 0;
    while (h.transport.poll_transmit(now, view.get())) {
      Bytes bytes(view->header.begin(),
                  view->header.begin() + static_cast<long>(view->header_size));
      bytes.insert(bytes.end(), view->table.begin(),
                   view->table.begin() + static_cast<long>(view->table_size));
      for (size_t p = 0; p < view->piece_count; p++) {
        bytes.insert(bytes.end(), view->pieces[p].data,
                     view->pieces[p].data + view->pieces[p].length);
        bytes.insert(bytes.end(), view->pieces[p].pad, 0);
      }
      assert_int_equal(bytes.size(), view->header_size + view->payload_size());
      tuples[i] = view->tuple;
      h.wire.push_back(std::move(bytes));
      count++;
      assert_true(count < 10000);
    }
    return count;
  }

  // A packet from host `i` arrives at the other one.
  PacketVerdict arrive(int i, const Bytes& bytes) {
    Host& to = *hosts[1 - i];
    const FourTuple tuple = i == 0 ? reversed(flow_tuple) : flow_tuple;
    const PacketVerdict verdict = to.transport.on_packet(now, tuple, bytes, 7);
    to.transport.check_invariants();
    take_events(1 - i);
    return verdict;
  }
  PacketVerdict deliver_one(int i) {
    assert_false(hosts[i]->wire.empty());
    const Bytes bytes = hosts[i]->wire.front();
    hosts[i]->wire.pop_front();
    return arrive(i, bytes);
  }
  void deliver_all(int i) {
    while (!hosts[i]->wire.empty()) deliver_one(i);
  }
  void lose_all(int i) { hosts[i]->wire.clear(); }

  // Packets fly until nobody has anything to say; the applications read as they come.
  void settle(bool read = true) {
    for (int round = 0;; round++) {
      assert_true(round < 10000);
      const bool any = poll(0) + poll(1) > 0 || !hosts[0]->wire.empty() || !hosts[1]->wire.empty();
      if (!any) {
        if (read) read_all();
        if (poll(0) + poll(1) == 0) return;
        continue;
      }
      deliver_all(0);
      deliver_all(1);
      if (read) read_all();
    }
  }

  // Time goes on, timers fire; packets fly at once if `flying`.
  void pass(Duration duration, bool flying = true) {
    const Instant end = now + duration;
    for (int guard = 0;; guard++) {
      assert_true(guard < 100000);
      Instant next = end;
      for (auto& h : hosts) next = std::min(next, h->transport.next_deadline());
      now = std::max(now, next);
      for (auto& h : hosts) {
        h->transport.on_deadline(now);
        h->transport.check_invariants();
      }
      if (flying) settle();
      take_events(0);
      take_events(1);
      if (now >= end) return;
    }
  }

  // Time goes on, and everything that is sent is lost.
  void pass_cut_off(Duration duration) {
    const Instant end = now + duration;
    while (now < end) {
      pass(std::min(milliseconds(1), end - now), false);
      poll(0);
      poll(1);
      lose_all(0);
      lose_all(1);
    }
    read_all();
  }

  void take_events(int i) {
    TransportEvent event;
    while (hosts[i]->transport.poll_event(&event)) hosts[i]->events.push_back(event);
  }

  void read(int i) {
    Host& h = *hosts[i];
    Delivery d;
    while (h.store.next_delivery(&d)) {
      if (d.kind == Delivery::Kind::kOpened) {
        h.opened = d.flow;
        continue;
      }
      if (d.kind == Delivery::Kind::kEnded) {
        h.end_reason = d.reason;
        h.store.slot_release(d.flow);
        continue;
      }
      h.segments++;
      const auto bytes = h.store.rx_buffer(d.segment);
      if (d.segment.message_count > 0) {
        size_t at = (2 * size_t{d.segment.message_count} + 7) & ~size_t{7};
        for (size_t m = 0; m < d.segment.message_count; m++) {
          const size_t length = size_t{bytes[2 * m]} << 8 | bytes[2 * m + 1];
          at = (at + 7) & ~size_t{7};
          h.messages.emplace_back(bytes.begin() + static_cast<long>(at),
                                  bytes.begin() + static_cast<long>(at + length));
          at += length;
        }
      } else {
        h.partial.insert(h.partial.end(), bytes.begin(), bytes.end());
        if ((d.segment.flags & ipc::kLastSegment) != 0) {
          h.messages.push_back(h.partial);
          h.partial.clear();
        }
      }
      h.store.rx_release(d.segment.buffer);
    }
    h.transport.on_store_space(now, &h.store);
  }
  void read_all() {
    read(0);
    read(1);
  }

  static Bytes message(size_t size, uint8_t seed) {
    Bytes bytes(size);
    for (size_t i = 0; i < size; i++) bytes[i] = static_cast<uint8_t>(seed + i * 7 + i / 251);
    return bytes;
  }

  // Queues one message; false: refused or no buffer.
  bool send(int i, const Bytes& bytes) {
    Host& h = *hosts[i];
    for (size_t at = 0; at < bytes.size();) {
      const auto buffer = h.store.tx_alloc();
      if (buffer == transport::kNoBuffer) return false;
      const size_t n = std::min<size_t>(bytes.size() - at, h.store.buffer_size());
      memcpy(h.store.tx_buffer(buffer).data(), bytes.data() + at, n);
      at += n;
      h.store.tx_submitted(buffer);
      if (h.transport.send(now, handle[i], buffer, static_cast<uint16_t>(n), at == bytes.size()) !=
          RequestStatus::kOk) {
        h.store.tx_refused(buffer);
        return false;
      }
    }
    h.transport.check_invariants();
    return true;
  }

  void open() {
    assert_true(hosts[0]->transport.open(now, flow_tuple, &hosts[0]->store, 99, 5, &handle[0]) ==
                RequestStatus::kOk);
  }
  void connect() {
    assert_true(hosts[1]->transport.listen(0, flow_tuple.remote_port, &hosts[1]->store) ==
                RequestStatus::kOk);
    open();
    settle();
    now = now + microseconds(10);
    assert_true(hosts[0]->events.size() == 1 &&
                hosts[0]->events[0].kind == TransportEvent::Kind::kConnected);
    assert_true(hosts[1]->opened != 0);
    handle[1] = hosts[1]->store.handle(hosts[1]->opened);
    hosts[0]->events.clear();
  }
  // Nothing may be left of any flow.
  void check_empty() {
    for (auto& h : hosts) {
      h->transport.check_invariants();
      h->store.check();
      assert_int_equal(h->transport.flow_count(), 0);
      assert_int_equal(h->store.tx_owned_by_transport(), 0);
      assert_int_equal(h->store.rx_owned_by_transport(), 0);
    }
  }
  transport::FlowSnapshot stats(int i) {
    transport::FlowSnapshot s{};
    assert_true(hosts[i]->transport.snapshot(handle[i], &s));
    return s;
  }

  Instant now{1'000'000'000};
  FourTuple flow_tuple = kTuple;
  FourTuple tuples[2];
  std::unique_ptr<Host> hosts[2];
  FlowHandle handle[2] = {};
  std::unique_ptr<transport::TransmitView> view;
};

inline TwoHosts* two_hosts(void** state) { return static_cast<TwoHosts*>(*state); }
inline int make_two_hosts(void** state) {
  *state = new TwoHosts;
  return 0;
}
inline int make_connected(void** state) {
  auto* hosts = new TwoHosts;
  *state = hosts;
  hosts->connect();
  return 0;
}
inline int free_two_hosts(void** state) {
  delete two_hosts(state);
  return 0;
}

#define MN_CONNECTED_TEST(f) \
  cmocka_unit_test_setup_teardown(f, ::mn::test::make_connected, ::mn::test::free_two_hosts)
#define MN_HOSTS_TEST(f) \
  cmocka_unit_test_setup_teardown(f, ::mn::test::make_two_hosts, ::mn::test::free_two_hosts)

}  // namespace mn::test
