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

// ---- Receiving

struct Crafted {
  PacketType type = PacketType::kPart;
  uint8_t flags = 0;
  uint16_t extra = 0;
  uint32_t sequence = 0;  // after the one that is expected
  uint8_t message_count = 0;
};

wire::PacketHeader real;  // the next of host 0, which never leaves

int make_crafting(void** state) {
  make_connected(state);
  TwoHosts& t = *two_hosts(state);
  t.send(0, TwoHosts::message(1, 1));
  t.poll(0);
  real = header_of(t.hosts[0]->wire.front());
  t.lose_all(0);
  return 0;
}

// A packet of host 0 that its transport did not send.
PacketVerdict craft(TwoHosts* t, const Crafted& c, const Bytes& payload) {
  wire::PacketHeader header = real;
  header.type = c.type;
  header.flags = c.flags;
  header.extra = c.extra;
  header.sequence += c.sequence;
  header.message_count = c.message_count;
  header.payload_length = static_cast<uint16_t>(payload.size());
  Bytes bytes(wire::kHeaderSize);
  wire::encode_packet_header(header, {}, bytes);
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return t->arrive(0, bytes);
}

Bytes slice(const Bytes& bytes, size_t from, size_t to) {
  return {bytes.begin() + static_cast<long>(from), bytes.begin() + static_cast<long>(to)};
}

void part__in_turn_only(void** state) {
  TwoHosts& t = *two_hosts(state);
  const Bytes text = TwoHosts::message(300, 4);
  const uint8_t begin = wire::kFlagFirst | wire::kFlagMore;
  assert_true(craft(&t, {.flags = begin, .sequence = 1}, slice(text, 0, 100)) ==
              PacketVerdict::kOutsideWindow);
  assert_true(craft(&t, {.flags = wire::kFlagMore, .extra = 100}, slice(text, 100, 200)) ==
              PacketVerdict::kDuplicate);
  assert_true(craft(&t, {.flags = begin}, slice(text, 0, 100)) == PacketVerdict::kAccepted);
  assert_true(craft(&t, {.flags = begin}, slice(text, 0, 100)) == PacketVerdict::kDuplicate);
  assert_true(craft(&t, {.flags = wire::kFlagLast, .extra = 101}, slice(text, 101, 300)) ==
              PacketVerdict::kDuplicate);
  // Cut elsewhere than before.
  assert_true(craft(&t, {.flags = begin}, slice(text, 0, 150)) == PacketVerdict::kAccepted);
  assert_true(craft(&t, {.flags = wire::kFlagLast, .extra = 120}, slice(text, 120, 300)) ==
              PacketVerdict::kAccepted);
  assert_true(craft(&t, {.flags = begin}, slice(text, 0, 100)) == PacketVerdict::kDuplicate);
  t.read_all();
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_true(t.hosts[1]->messages[0] == text);
}

void part__then_the_whole_packet(void** state) {
  TwoHosts& t = *two_hosts(state);
  const Bytes text = TwoHosts::message(300, 4);
  craft(&t, {.flags = wire::kFlagFirst | wire::kFlagMore}, slice(text, 0, 100));
  const Crafted whole{.type = PacketType::kData, .flags = wire::kFlagFirst | wire::kFlagLast};
  assert_true(craft(&t, whole, text) == PacketVerdict::kAccepted);
  assert_true(craft(&t, whole, text) == PacketVerdict::kDuplicate);
  t.read_all();
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_true(t.hosts[1]->messages[0] == text);
}

void part__of_a_bundle(void** state) {
  TwoHosts& t = *two_hosts(state);
  const uint8_t whole = wire::kFlagFirst | wire::kFlagLast;
  const Bytes bundle{0, 8, 0, 2, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9};
  const Crafted all{.type = PacketType::kData, .flags = whole, .message_count = 2};
  assert_true(craft(&t, {.flags = whole | wire::kFlagMore}, slice(bundle, 8, 16)) ==
              PacketVerdict::kAccepted);
  // Late, and of no use any more.
  assert_true(craft(&t, all, bundle) == PacketVerdict::kDuplicate);
  assert_true(craft(&t, {.flags = whole, .extra = 8}, {9, 9}) == PacketVerdict::kAccepted);
  assert_true(craft(&t, all, bundle) == PacketVerdict::kDuplicate);
  t.read_all();
  assert_int_equal(t.hosts[1]->messages.size(), 2);
  assert_true(t.hosts[1]->messages[0] == slice(bundle, 8, 16));
  assert_true(t.hosts[1]->messages[1] == (Bytes{9, 9}));
}

void part__then_a_close_in_its_place(void** state) {
  TwoHosts& t = *two_hosts(state);
  craft(&t, {.flags = wire::kFlagFirst | wire::kFlagLast | wire::kFlagMore}, {1, 2, 3});
  assert_true(craft(&t, {.type = PacketType::kClose}, {}) == PacketVerdict::kMalformed);
  t.read_all();
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndReset);
}

void part__that_does_not_continue_the_message(void** state) {
  TwoHosts& t = *two_hosts(state);
  assert_true(craft(&t, {.flags = wire::kFlagMore}, {1, 2, 3}) == PacketVerdict::kMalformed);
  t.read_all();
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndReset);
}

void probe__a_padded_one_is_answered_with_its_size(void** state) {
  TwoHosts& t = *two_hosts(state);
  assert_true(craft(&t, {.type = PacketType::kProbe}, Bytes(1441)) == PacketVerdict::kMalformed);
  assert_true(craft(&t, {.type = PacketType::kProbe}, Bytes(700)) == PacketVerdict::kAccepted);
  // The answer is a packet of its own, whatever else there is to say.
  t.send(1, TwoHosts::message(100, 1));
  assert_int_equal(t.poll(1), 2);
  assert_true(header_of(t.hosts[1]->wire[0]).type == PacketType::kAck);
  assert_int_equal(header_of(t.hosts[1]->wire[0]).extra, 700);
  assert_int_equal(header_of(t.hosts[1]->wire[1]).extra, 0);
}

#define MN_CRAFTING_TEST(f) cmocka_unit_test_setup_teardown(f, make_crafting, free_two_hosts)

}  // namespace

int main() {
  const struct CMUnitTest tests[] = {
      MN_CONNECTED_TEST(path__large_packets_are_eaten),
      MN_CONNECTED_TEST(path__a_path_that_recovers),
      MN_CONNECTED_TEST(path__a_path_that_stays_narrow),
      MN_CONNECTED_TEST(path__nothing_arrives),
      MN_CONNECTED_TEST(path__false_alarm),
      MN_CRAFTING_TEST(part__in_turn_only),
      MN_CRAFTING_TEST(part__then_the_whole_packet),
      MN_CRAFTING_TEST(part__of_a_bundle),
      MN_CRAFTING_TEST(part__then_a_close_in_its_place),
      MN_CRAFTING_TEST(part__that_does_not_continue_the_message),
      MN_CRAFTING_TEST(probe__a_padded_one_is_answered_with_its_size),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
