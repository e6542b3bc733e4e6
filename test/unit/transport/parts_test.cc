// SPDX-License-Identifier: MIT
// What a receiver makes of parts and padded probes.
#include "transport/path_mtu.h"
#include "two_hosts.h"

using namespace mn;
using namespace mn::test;

namespace {

constexpr uint8_t kBegin = wire::kFlagFirst | wire::kFlagMore;
constexpr uint8_t kWhole = wire::kFlagFirst | wire::kFlagLast;

struct Crafted {
  PacketType type = PacketType::kPart;
  uint8_t flags = 0;
  uint16_t extra = 0;
  uint32_t sequence = 0;  // after the one that is expected
  uint8_t message_count = 0;
  uint32_t timestamp = 0;  // since that of `real`
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
  header.timestamp += c.timestamp;
  header.payload_length = static_cast<uint16_t>(payload.size());
  Bytes bytes(wire::kHeaderSize);
  wire::encode_packet_header(header, {}, bytes);
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return t->arrive(0, bytes);
}

// A part after which the packet goes on.
PacketVerdict part_from(TwoHosts* t, uint32_t extra, const Bytes& payload) {
  const uint8_t flags = extra == 0 ? kBegin : uint8_t{wire::kFlagMore};
  return craft(t, {.flags = flags, .extra = static_cast<uint16_t>(extra)}, payload);
}

// The packet after the one that is expected arrives.
void craft_next(TwoHosts* t) {
  craft(t, {.type = PacketType::kData, .flags = kWhole, .sequence = 1}, {3});
}

// What host 1 has to say is lost.
void ignore_answers(TwoHosts* t) {
  t->poll(1);
  t->lose_all(1);
}

// Others have the buffers of host 1, but for so many.
std::vector<transport::BufferIndex> take_buffers(TwoHosts* t, uint32_t left) {
  std::vector<transport::BufferIndex> taken;
  auto& store = t->hosts[1]->store;
  while (store.rx_free() > left) taken.push_back(store.rx_put(Bytes{7}));
  return taken;
}

Bytes slice(const Bytes& bytes, size_t from, size_t to) {
  return {bytes.begin() + static_cast<long>(from), bytes.begin() + static_cast<long>(to)};
}

void part__in_turn_only(void** state) {
  TwoHosts& t = *two_hosts(state);
  const Bytes text = TwoHosts::message(300, 4);
  assert_true(craft(&t, {.flags = kBegin, .sequence = 1}, slice(text, 0, 100)) ==
              PacketVerdict::kOutsideWindow);
  assert_true(part_from(&t, 100, slice(text, 100, 200)) == PacketVerdict::kDuplicate);
  assert_true(part_from(&t, 0, slice(text, 0, 100)) == PacketVerdict::kAccepted);
  assert_true(part_from(&t, 0, slice(text, 0, 100)) == PacketVerdict::kDuplicate);
  assert_true(craft(&t, {.flags = wire::kFlagLast, .extra = 101}, slice(text, 101, 300)) ==
              PacketVerdict::kDuplicate);
  // Cut elsewhere than before.
  assert_true(part_from(&t, 0, slice(text, 0, 150)) == PacketVerdict::kAccepted);
  assert_true(craft(&t, {.flags = wire::kFlagLast, .extra = 120}, slice(text, 120, 300)) ==
              PacketVerdict::kAccepted);
  assert_true(part_from(&t, 0, slice(text, 0, 100)) == PacketVerdict::kDuplicate);
  assert_int_equal(t.stats(1).rx_packets, 1);
  t.read_all();
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_true(t.hosts[1]->messages[0] == text);
}

void part__then_the_whole_packet(void** state) {
  TwoHosts& t = *two_hosts(state);
  const Bytes text = TwoHosts::message(300, 4);
  part_from(&t, 0, slice(text, 0, 100));
  // What it has no room to name is no place in it.
  const Crafted whole{.type = PacketType::kData, .flags = kWhole, .extra = 3};
  assert_true(craft(&t, whole, text) == PacketVerdict::kAccepted);
  assert_true(craft(&t, whole, text) == PacketVerdict::kDuplicate);
  t.read_all();
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_true(t.hosts[1]->messages[0] == text);
}

void part__of_a_bundle(void** state) {
  TwoHosts& t = *two_hosts(state);
  const Bytes bundle{0, 8, 0, 2, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9};
  const Crafted all{.type = PacketType::kData, .flags = kWhole, .message_count = 2};
  assert_true(craft(&t, {.flags = kWhole | wire::kFlagMore}, slice(bundle, 8, 16)) ==
              PacketVerdict::kAccepted);
  // Whole and late, it has what was missing.
  assert_true(craft(&t, all, bundle) == PacketVerdict::kAccepted);
  assert_true(craft(&t, {.flags = kWhole, .extra = 8}, {9, 9}) == PacketVerdict::kDuplicate);
  assert_true(craft(&t, all, bundle) == PacketVerdict::kDuplicate);
  t.read_all();
  assert_int_equal(t.hosts[1]->messages.size(), 2);
  assert_true(t.hosts[1]->messages[0] == slice(bundle, 8, 16));
  assert_true(t.hosts[1]->messages[1] == (Bytes{9, 9}));
}

Bytes bundle_of(const std::vector<Bytes>& messages) {
  Bytes bytes(wire::bundle_table_size(messages.size()));
  size_t i = 0;
  for (const Bytes& one : messages) {
    bytes[2 * i] = static_cast<uint8_t>(one.size() >> 8);
    bytes[2 * i++ + 1] = static_cast<uint8_t>(one.size());
    bytes.resize(wire::bundle_align(bytes.size()));
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  return bytes;
}

// Bundles that begin within what has come: the path got wider or narrower since.
void part__bundles_that_overlap(void** state) {
  TwoHosts& t = *two_hosts(state);
  const Bytes a = TwoHosts::message(20, 1), b = TwoHosts::message(100, 2);
  const Bytes c = TwoHosts::message(9, 3), d = TwoHosts::message(40, 4);
  const Crafted first{.flags = kWhole | wire::kFlagMore, .message_count = 2};
  assert_true(craft(&t, first, bundle_of({a, c})) == PacketVerdict::kAccepted);
  // Another cut, in the middle of a message: it is the same 29 bytes, and the message goes on.
  assert_true(craft(&t, {.flags = kBegin, .extra = 29}, slice(b, 0, 50)) ==
              PacketVerdict::kAccepted);
  assert_true(craft(&t, {.flags = kWhole | wire::kFlagMore, .extra = 130, .message_count = 2},
                    bundle_of({c, d})) == PacketVerdict::kDuplicate);
  assert_true(craft(&t, {.flags = kWhole, .extra = 20, .message_count = 3}, bundle_of({c, b, d})) ==
              PacketVerdict::kAccepted);
  t.read_all();
  assert_int_equal(t.hosts[1]->segments, 4);  // a and c, b in two, d
  assert_int_equal(t.hosts[1]->messages.size(), 4);
  assert_true(t.hosts[1]->messages[0] == a && t.hosts[1]->messages[1] == c);
  assert_true(t.hosts[1]->messages[2] == b && t.hosts[1]->messages[3] == d);
}

// Without buffers for all of it: what was taken stays taken, the rest comes again.
void part__bundle_without_buffers(void** state) {
  TwoHosts& t = *two_hosts(state);
  craft(&t, {.flags = kWhole | wire::kFlagMore}, {1});
  const auto taken = take_buffers(&t, t.hosts[1]->store.rx_capacity() / 8 + 1);
  const Bytes rest = bundle_of({{1}, {2, 2}, {3, 3, 3}});
  const Crafted all{.type = PacketType::kData, .flags = kWhole, .message_count = 3};
  assert_true(craft(&t, all, rest) == PacketVerdict::kNoBuffer);
  for (const auto buffer : taken) t.hosts[1]->store.rx_discard(buffer);
  assert_true(craft(&t, all, rest) == PacketVerdict::kAccepted);
  t.read_all();
  assert_int_equal(t.hosts[1]->messages.size(), 3);
  assert_true(t.hosts[1]->messages[2] == (Bytes{3, 3, 3}));
}

// The window counts packets: what comes in many parts takes no more than their share either.
void part__leaves_a_reserve(void** state) {
  TwoHosts& t = *two_hosts(state);
  const auto& store = t.hosts[1]->store;
  const uint32_t reserve = store.rx_capacity() / 8;
  assert_true(reserve > 0);
  take_buffers(&t, reserve + 5);
  uint16_t came = 0;
  const auto next = [&] { return part_from(&t, came, {1}); };
  while (next() == PacketVerdict::kAccepted) came++;
  assert_true(next() == PacketVerdict::kNoBuffer);
  assert_int_equal(store.rx_free(), reserve);
  t.read_all();
  assert_true(next() == PacketVerdict::kAccepted);
}

// How many messages of one flow arrive while another one's peer sends all the time what its host
// takes, in parts of a byte or in packets of a byte; the application reads as much as `reads`
// buffers a millisecond.
size_t beside_a_flood(TwoHosts* t, uint32_t parts_of_packet, int reads) {
  const FourTuple hostile = t->flow_tuple;
  FourTuple honest = hostile;
  honest.local_port++;
  t->flow_tuple = honest;
  t->open();
  t->settle();
  t->take_events(0);
  const transport::FlowRef flow = t->hosts[1]->opened;
  auto& store = t->hosts[1]->store;
  auto& transport = t->hosts[1]->transport;
  size_t arrived = 0;
  uint32_t came = 0;
  for (int ms = 0; ms < 1000; ms++) {
    t->now = t->now + milliseconds(1);
    for (auto& h : t->hosts) h->transport.on_deadline(t->now);
    t->flow_tuple = hostile;
    for (PacketVerdict verdict = PacketVerdict::kAccepted; verdict == PacketVerdict::kAccepted;) {
      const uint32_t at = came % parts_of_packet;
      const bool ends = at + 1 == parts_of_packet;
      const auto flags = static_cast<uint8_t>((at == 0 ? wire::kFlagFirst : 0) |
                                              (ends ? wire::kFlagLast : wire::kFlagMore));
      verdict = craft(t,
                      {.type = parts_of_packet > 1 ? PacketType::kPart : PacketType::kData,
                       .flags = flags,
                       .extra = static_cast<uint16_t>(at),
                       .sequence = came / parts_of_packet},
                      {1});
      came += verdict == PacketVerdict::kAccepted;
    }
    t->flow_tuple = honest;
    while (t->stats(0).tx_queued_bytes < 20000) assert_true(t->send(0, TwoHosts::message(1000, 1)));
    t->poll(0);
    t->deliver_all(0);
    Delivery d;
    for (int i = 0; i < reads && store.next_delivery(&d); i++) {
      if (d.kind != Delivery::Kind::kSegment) continue;
      if (d.flow == flow) arrived += d.segment.message_count > 0 ? d.segment.message_count : 1;
      store.rx_release(d.segment.buffer);
    }
    transport.on_store_space(t->now, &store);
    t->poll(1);
    t->deliver_all(1);
  }
  return arrived;
}

// A peer that sends its packets in very many parts is held back like others: it takes no more than
// its share of the buffers.
void part__many_leave_others_their_share(void** state) {
  const size_t beside_packets = beside_a_flood(two_hosts(state), 1, 32);
  void* other = nullptr;
  make_crafting(&other);
  const size_t beside_parts = beside_a_flood(two_hosts(&other), 60000, 32);
  free_two_hosts(&other);
  assert_true(beside_parts * 4 > beside_packets);
}

// The window says that there is room, and so there is, for whole packets.
void part__without_buffers_for_long(void** state) {
  TwoHosts& t = *two_hosts(state);
  part_from(&t, 0, {1});
  craft_next(&t);
  const auto taken = take_buffers(&t, t.hosts[1]->store.rx_capacity() / 8);
  const Crafted rest{.flags = wire::kFlagLast, .extra = 1};
  for (int i = 0; i < 200; i++) {
    t.now = t.now + milliseconds(100);
    assert_true(craft(&t, rest, {2}) == PacketVerdict::kNoBuffer);
    t.hosts[1]->transport.on_deadline(t.now);
    t.poll(1);
    assert_true(header_of(t.hosts[1]->wire.back()).window > 0);
    t.lose_all(1);
  }
  for (auto buffer : taken) t.hosts[1]->store.rx_discard(buffer);
  assert_true(craft(&t, rest, {2}) == PacketVerdict::kAccepted);
  t.read_all();
  assert_int_equal(t.hosts[1]->messages.size(), 2);
}

// Each part is answered with how far they have come, whatever else there is to say.
void part__is_answered(void** state) {
  TwoHosts& t = *two_hosts(state);
  ignore_answers(&t);
  part_from(&t, 0, Bytes(100));
  t.send(1, TwoHosts::message(100, 1));
  assert_int_equal(t.poll(1), 2);
  const wire::PacketHeader answer = header_of(t.hosts[1]->wire[0]);
  assert_true(answer.type == PacketType::kAck && answer.flags == wire::kFlagMore);
  assert_int_equal(answer.extra, 100);
  t.lose_all(1);
  craft(&t, {.flags = kBegin, .timestamp = 5}, Bytes(100));  // again
  t.poll(1);
  assert_int_equal(header_of(t.hosts[1]->wire[0]).extra, 100);
  assert_int_equal(header_of(t.hosts[1]->wire[0]).echo, real.timestamp + 5);
  t.lose_all(1);
  craft(&t, {.flags = wire::kFlagLast, .extra = 100}, Bytes(1));
  t.poll(1);
  assert_int_equal(header_of(t.hosts[1]->wire[0]).flags, 0);
  assert_int_equal(header_of(t.hosts[1]->wire[0]).extra, 0);
}

// Also while later packets wait: with their ranges.
void part__has_one_answer(void** state) {
  TwoHosts& t = *two_hosts(state);
  craft_next(&t);
  ignore_answers(&t);
  part_from(&t, 0, Bytes(100));
  assert_int_equal(t.poll(1), 1);
  const wire::PacketHeader answer = header_of(t.hosts[1]->wire[0]);
  assert_true(answer.type == PacketType::kAck && answer.flags == wire::kFlagMore);
  assert_int_equal(answer.extra, 100);
  assert_int_equal(answer.sack_count, 1);
  assert_int_equal(answer.echo, real.timestamp);
  t.lose_all(1);
  t.pass(milliseconds(5), false);
  assert_int_equal(t.poll(1), 0);
}

// A hole that parts fill is not one that the peer leaves open, however slowly they come.
void part__each_keeps_the_flow(void** state) {
  TwoHosts& t = *two_hosts(state);
  craft_next(&t);
  const auto after = [&t](Duration pause) {
    t.now = t.now + pause;
    t.hosts[1]->transport.on_deadline(t.now);
    t.take_events(1);
    ignore_answers(&t);
    t.read(1);
  };
  const Duration patience = TwoHosts::config(1).dead_timeout;
  for (uint16_t i = 0; i < 4; i++) {
    assert_true(part_from(&t, i, {9}) == PacketVerdict::kAccepted);
    after(patience - milliseconds(1));
    assert_int_equal(t.hosts[1]->end_reason, 0);
  }
  part_from(&t, 0, {9});  // nothing new
  after(milliseconds(2));
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndTimeout);
}

void part__beyond_the_window(void** state) {
  TwoHosts& t = *two_hosts(state);
  ignore_answers(&t);
  const uint32_t offered = TwoHosts::config(1).window_packets_max;
  for (uint32_t i = 0; i < offered; i++) {
    assert_true(craft(&t, {.type = PacketType::kData, .flags = kWhole, .sequence = i}, {1}) ==
                PacketVerdict::kAccepted);
    t.read_all();
  }
  const Crafted part{.flags = kBegin, .sequence = offered};
  assert_true(craft(&t, part, {1}) == PacketVerdict::kOutsideWindow);
  t.poll(1);
  assert_true(craft(&t, part, {1}) == PacketVerdict::kAccepted);
}

void part__larger_than_a_packet(void** state) {
  TwoHosts& t = *two_hosts(state);
  assert_true(part_from(&t, 0, Bytes(1441)) == PacketVerdict::kMalformed);
  assert_true(part_from(&t, 0, Bytes(1440)) == PacketVerdict::kAccepted);
}

void part__beyond_the_largest_packet(void** state) {
  TwoHosts& t = *two_hosts(state);
  assert_true(part_from(&t, 0, Bytes(1000)) == PacketVerdict::kAccepted);
  assert_true(part_from(&t, 1000, Bytes(440)) == PacketVerdict::kAccepted);
  assert_true(part_from(&t, 1440, {1}) == PacketVerdict::kMalformed);
  t.read_all();
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndReset);
}

// More than an honest sender makes of a packet, however the path changes. What brings nothing new
// does not count.
void part__more_than_any_path_makes_of_a_packet(void** state) {
  TwoHosts& t = *two_hosts(state);
  constexpr uint32_t kMost = 4 * 1440 / 516 + 8;
  for (uint32_t i = 0; i < kMost; i++) {
    assert_true(part_from(&t, i, {1}) == PacketVerdict::kAccepted);
    if (i + 1 < kMost) assert_true(part_from(&t, i, {1}) == PacketVerdict::kDuplicate);
  }
  assert_true(part_from(&t, kMost, {1}) == PacketVerdict::kMalformed);
  t.read_all();
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndReset);
}

// The packets after it may come in parts, too.
void part__as_many_of_each_packet(void** state) {
  TwoHosts& t = *two_hosts(state);
  for (uint32_t packet = 0; packet < 10; packet++) {
    for (uint16_t i = 0; i < 10; i++) {
      const auto flags = static_cast<uint8_t>((i == 0 ? wire::kFlagFirst : 0) |
                                              (i == 9 ? wire::kFlagLast : wire::kFlagMore));
      assert_true(craft(&t, {.flags = flags, .extra = i, .sequence = packet}, {1}) ==
                  PacketVerdict::kAccepted);
    }
  }
  t.read_all();
  assert_int_equal(t.hosts[1]->messages.size(), 10);
}

// Its messages are taken apart only where a part came before; each takes a buffer of its own.
void part__late_bundle_of_many(void** state) {
  TwoHosts& t = *two_hosts(state);
  assert_true(craft(&t, {.flags = kWhole | wire::kFlagMore}, {1}) == PacketVerdict::kAccepted);
  const std::vector<Bytes> messages(40, {1});
  const Crafted whole{.type = PacketType::kData, .flags = kWhole, .message_count = 40};
  const auto arrived = [&](PacketVerdict wanted) {
    assert_true(craft(&t, whole, bundle_of(messages)) == wanted);
    t.read_all();
    return t.hosts[1]->messages.size();
  };
  assert_int_equal(arrived(PacketVerdict::kNoBuffer), 17);
  assert_int_equal(arrived(PacketVerdict::kNoBuffer), 33);
  assert_int_equal(arrived(PacketVerdict::kAccepted), 40);
  assert_int_equal(arrived(PacketVerdict::kDuplicate), 40);
}

void part__then_a_close_in_its_place(void** state) {
  TwoHosts& t = *two_hosts(state);
  craft(&t, {.flags = kWhole | wire::kFlagMore}, {1, 2, 3});
  assert_true(craft(&t, {.type = PacketType::kClose}, {}) == PacketVerdict::kMalformed);
  t.read_all();
  assert_int_equal(t.hosts[1]->end_reason, ipc::kEndReset);
}

// All arrived, and every ack of it was lost: what is sent again are parts.
void part__after_the_close(void** state) {
  TwoHosts& t = *two_hosts(state);
  craft(&t, {.type = PacketType::kData, .flags = kWhole}, {1, 2, 3});
  craft(&t, {.type = PacketType::kClose, .sequence = 1}, {});
  ignore_answers(&t);
  part_from(&t, 0, {1, 2});
  assert_int_equal(t.poll(1), 1);
  assert_int_equal(header_of(t.hosts[1]->wire[0]).ack, real.sequence + 2);
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
      MN_CRAFTING_TEST(part__in_turn_only),
      MN_CRAFTING_TEST(part__then_the_whole_packet),
      MN_CRAFTING_TEST(part__of_a_bundle),
      MN_CRAFTING_TEST(part__bundles_that_overlap),
      MN_CRAFTING_TEST(part__bundle_without_buffers),
      MN_CRAFTING_TEST(part__leaves_a_reserve),
      MN_CRAFTING_TEST(part__without_buffers_for_long),
      MN_CRAFTING_TEST(part__is_answered),
      MN_CRAFTING_TEST(part__has_one_answer),
      MN_CRAFTING_TEST(part__each_keeps_the_flow),
      MN_CRAFTING_TEST(part__beyond_the_window),
      MN_CRAFTING_TEST(part__larger_than_a_packet),
      MN_CRAFTING_TEST(part__beyond_the_largest_packet),
      MN_CRAFTING_TEST(part__more_than_any_path_makes_of_a_packet),
      MN_CRAFTING_TEST(part__as_many_of_each_packet),
      MN_CRAFTING_TEST(part__late_bundle_of_many),
      MN_CRAFTING_TEST(part__many_leave_others_their_share),
      MN_CRAFTING_TEST(part__then_a_close_in_its_place),
      MN_CRAFTING_TEST(part__after_the_close),
      MN_CRAFTING_TEST(part__that_does_not_continue_the_message),
      MN_CRAFTING_TEST(probe__a_padded_one_is_answered_with_its_size),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
