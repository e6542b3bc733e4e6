// SPDX-License-Identifier: MIT
#include "transport/trace.h"

#include <algorithm>

#include "two_hosts.h"

using namespace mn;
using namespace mn::test;

namespace {

constexpr uint32_t kCapacity = 256;

struct Ring {
  alignas(64) std::byte memory[sizeof(ipc::TraceRing) + kCapacity * sizeof(ipc::TraceRecord)] = {};
  uint64_t next = 0;
  uint64_t lost = 0;
  std::vector<ipc::TraceRecord> records;

  ipc::TraceRing* ring() { return reinterpret_cast<ipc::TraceRing*>(memory); }
  void read() {
    ipc::TraceRecord some[7];
    uint64_t lost_now = 0;
    while (const uint32_t n = ipc::trace_read(ring(), kCapacity, &next, some, 7, &lost_now)) {
      records.insert(records.end(), some, some + n);
      lost += lost_now;
    }
  }
  size_t count(ipc::TraceKind kind) const {
    return static_cast<size_t>(std::count_if(records.begin(), records.end(),
                                             [kind](const auto& r) { return r.kind == kind; }));
  }
  // Of the first record of this kind from `from` on; the number of records: none.
  size_t find(ipc::TraceKind kind, size_t from = 0) const {
    while (from < records.size() && records[from].kind != kind) from++;
    return from;
  }
};

Ring ring;  // no owner in a test's body, which may be left by longjmp

void begin(TwoHosts& t, int host, const FourTuple& only) {
  ring = {};
  t.hosts[host]->transport.trace_to(t.now, ring.ring(), kCapacity, 3, only);
}

void trace__loss_is_followed_to_its_repair(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(8, 1));
  t.pass(milliseconds(5));  // with its ack
  begin(t, 0, {});
  t.send(0, TwoHosts::message(700, 1));
  t.poll(0);
  t.lose_all(0);
  t.pass(milliseconds(20), true);
  t.settle();
  ring.read();
  assert_int_equal(ring.lost, 0);
  const size_t queued = ring.find(ipc::kTraceQueued);
  const size_t sent = ring.find(ipc::kTraceSent, queued);
  const size_t fired = ring.find(ipc::kTraceFired, sent);
  const size_t resent = ring.find(ipc::kTraceResent, fired);
  const size_t received = ring.find(ipc::kTraceReceived, resent);
  const size_t acked = ring.find(ipc::kTraceAcked, received);
  assert_true(acked < ring.records.size());
  const ipc::TraceRecord& first = ring.records[sent];
  assert_int_equal(ring.records[queued].value, 700);
  assert_int_equal(ring.records[queued].detail, 1);
  assert_int_equal(first.value, 700);
  assert_int_equal(first.detail, static_cast<int>(PacketType::kData));
  assert_int_equal(first.in_flight, 1);
  assert_int_equal(first.engine, 3);
  assert_int_equal(first.flow, t.handle[0]);
  assert_int_equal(ring.records[resent].seq, first.seq);
  assert_int_equal(ring.records[acked].value, 1);
  assert_int_equal(ring.records[acked].in_flight, 0);
  assert_true(ring.records[resent].time_ns > first.time_ns);
  for (size_t i = 1; i < ring.records.size(); i++) {
    assert_true(ring.records[i].time_ns >= ring.records[i - 1].time_ns);
  }
}

void trace__a_lost_packet_and_its_round_trip(void** state) {
  TwoHosts& t = *two_hosts(state);
  t.settle();
  begin(t, 0, {});
  for (int i = 0; i < 10; i++) {
    t.send(0, TwoHosts::message(1440, 1));
    t.poll(0);
    t.now = t.now + microseconds(30);
  }
  t.hosts[0]->wire.erase(t.hosts[0]->wire.begin() + 2);
  t.settle();
  t.pass(milliseconds(5));
  ring.read();
  const size_t lost = ring.find(ipc::kTraceLost);
  assert_true(lost < ring.records.size());
  assert_true(ring.records[lost].value >= 200);  // us since it left
  assert_true(ring.find(ipc::kTraceResent, lost) < ring.records.size());
  assert_true(ring.count(ipc::kTraceRtt) > 0 && ring.count(ipc::kTraceArmed) > 0);
}

void trace__the_receiver_and_the_end(void** state) {
  TwoHosts& t = *two_hosts(state);
  begin(t, 1, TwoHosts::reversed(TwoHosts::kTuple));
  t.send(0, TwoHosts::message(100, 1));
  t.settle();
  t.hosts[0]->transport.close(t.now, t.handle[0]);
  t.settle();
  ring.read();
  assert_int_equal(ring.count(ipc::kTraceDelivered), 1);
  const size_t named = ring.find(ipc::kTraceFlow);
  assert_int_equal(named, 0);  // it was there before
  assert_int_equal(ring.records[named].seq, TwoHosts::kTuple.remote_ip);
  assert_int_equal(ring.records[named].value,
                   TwoHosts::kTuple.remote_port << 16 | TwoHosts::kTuple.local_port);
  const size_t ended = ring.find(ipc::kTraceState);
  assert_int_equal(ring.records[ended].detail, static_cast<int>(transport::FlowState::kDead));
  assert_int_equal(ring.records[ended].value, ipc::kEndClosedByPeer);
}

void trace__only_what_was_asked_for(void** state) {
  TwoHosts& t = *two_hosts(state);
  begin(t, 0, {.local_ip = 0, .remote_ip = 0, .local_port = 1, .remote_port = 0});
  t.send(0, TwoHosts::message(100, 1));
  t.settle();
  ring.read();
  assert_int_equal(ring.records.size(), 0);
  begin(t, 0, {.local_ip = 0, .remote_ip = 0, .local_port = 0, .remote_port = 7000});
  t.send(0, TwoHosts::message(100, 1));
  t.settle();
  ring.read();
  assert_true(ring.records.size() >= 3);
  t.hosts[0]->transport.trace_to(t.now, nullptr, 0, 0, {});
  const uint64_t before = ring.ring()->position.load();
  t.send(0, TwoHosts::message(100, 1));
  t.settle();
  assert_int_equal(ring.ring()->position.load(), before);
}

// A reader that comes late gets the newest records, and is told how many it missed.
void trace_read__what_was_overwritten_is_counted(void**) {
  ring = {};
  for (uint32_t i = 0; i < 1000; i++) {
    ipc::TraceRecord record;
    record.seq = i;
    ipc::trace_append(ring.ring(), kCapacity, record);
  }
  ring.read();
  assert_int_equal(ring.lost, 1000 - (kCapacity - 1));
  assert_int_equal(ring.records.size(), kCapacity - 1);
  for (size_t i = 0; i < ring.records.size(); i++) {
    assert_int_equal(ring.records[i].seq, ring.lost + i);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      MN_CONNECTED_TEST(trace__loss_is_followed_to_its_repair),
      MN_CONNECTED_TEST(trace__a_lost_packet_and_its_round_trip),
      MN_CONNECTED_TEST(trace__the_receiver_and_the_end),
      MN_CONNECTED_TEST(trace__only_what_was_asked_for),
      cmocka_unit_test(trace_read__what_was_overwritten_is_counted),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
