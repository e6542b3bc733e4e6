// SPDX-License-Identifier: MIT
#include "transport/path_mtu.h"

#include <string>

#include "narrow_path.h"

using namespace mn;
using namespace mn::test;

namespace {

void path__large_packets_are_eaten(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes(1300);
  t.fly(milliseconds(1));
  for (uint8_t i = 0; i < 3; i++) {
    assert_true(t.send(0, TwoHosts::message(20'000, i)));
    for (uint8_t j = 1; j < 10; j++) assert_true(t.send(0, TwoHosts::message(90u + j, j)));
  }
  t.fly(milliseconds(40));
  assert_int_equal(t.hosts[1]->messages.size(), 3 * 10);
  for (uint8_t i = 0; i < 3; i++) {
    assert_true(t.hosts[1]->messages[i * 10u] == TwoHosts::message(20'000, i));
    for (uint8_t j = 1; j < 10; j++) {
      assert_true(t.hosts[1]->messages[i * 10u + j] == TwoHosts::message(90u + j, j));
    }
  }
  assert_int_equal(t.reduced(), 1);
  assert_int_equal(t.reduced(1), 0);
  assert_true(t.probes_lost() >= 3);
  // The search has come near to what the path takes.
  assert_true(t.stats(0).mss <= 1300 - 32 && t.stats(0).mss > 1300 - 32 - 40);
  assert_int_equal(t.stats(1).mss, 1440);
  assert_int_equal(t.hosts[0]->store.tx_owned_by_transport(), 0);
}

// After ten minutes it tries again, and finds the path as it was before.
void path__a_path_that_recovers(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes(600);
  t.send(0, TwoHosts::message(20'000, 1));
  t.fly(milliseconds(100));
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_int_equal(t.reduced(), 2);
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
  NarrowPath& t = *narrow_path(state);
  t.takes(600);
  t.send(0, TwoHosts::message(20'000, 1));
  t.fly(milliseconds(100));
  const uint64_t lost = t.probes_lost();
  for (int i = 0; i < 650; i++) {
    t.pass(milliseconds(998), false);
    t.fly(milliseconds(2));
  }
  assert_int_equal(t.reduced(), 2);
  assert_true(t.stats(0).mss <= 600 - 32 && t.stats(0).mss >= transport::kMssFloor);
  const uint64_t more = t.probes_lost() - lost;
  assert_true(more >= 3 && more <= 40);
}

void path__nothing_arrives(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.send(0, TwoHosts::message(20'000, 1));
  t.pass_cut_off(seconds(3));
  t.pass(seconds(1));
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_int_equal(t.stats(0).mss, 1440);
  assert_int_equal(t.probes_lost(), 0);
}

// A queue in the path that holds two packets: of each burst of parts the third is lost.
void path__parts_that_came_are_not_sent_again(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.send(0, TwoHosts::message(1440, 1));
  t.path = [](NarrowPath::Wire& wire) {
    std::erase_if(wire, [](const Bytes& b) { return b.size() > 560; });
    if (wire.size() > 2) wire.resize(2);
  };
  t.fly_until([&t] { return !t.hosts[1]->messages.empty(); });
  assert_false(of_type(t.sent, PacketType::kPart).empty());
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_true(t.hosts[1]->messages[0] == TwoHosts::message(1440, 1));
}

// The peer goes on asking and is heard, but hears nothing: no size is to blame.
void path__only_the_way_back(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.send(0, TwoHosts::message(20'000, 1));
  t.takes(0);
  for (int i = 0; i < 40; i++) {
    t.send(1, TwoHosts::message(100, 1));
    t.fly(milliseconds(50));
  }
  assert_int_equal(t.reduced(), 0);
  assert_int_equal(t.probes_lost(), 0);
  t.takes(9000);
  t.fly(milliseconds(1000));
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_int_equal(t.stats(0).mss, 1440);
}

int make_unconnected(void** state) {
  *state = new NarrowPath(1440);
  return 0;
}

// One that knows neither padded probes nor parts looks like a path that eats them.
void path__a_peer_without_parts(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.hosts[1]->transport.listen(0, t.flow_tuple.remote_port, &t.hosts[1]->store);
  t.open();
  t.poll(0);
  t.deliver_all(0);
  t.poll(1);
  assert_true(header_of(t.hosts[1]->wire[0]).type == PacketType::kOpenAck);
  memset(t.hosts[1]->wire[0].data() + wire::kHeaderSize + 12, 0, 4);  // its features
  t.settle();
  t.takes(1300);
  t.send(0, TwoHosts::message(20'000, 1));
  t.fly(milliseconds(500));
  assert_int_equal(t.reduced(), 0);
  assert_int_equal(t.probes_lost(), 0);
  assert_int_equal(t.stats(0).mss, 1440);
}

// An unlucky packet: the probe of its size arrives, and all stays as it was.
void path__false_alarm(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes_no_data(1500);
  t.send(0, TwoHosts::message(1440, 1));
  t.fly_until([&t] { return t.stats(0).retransmitted_packets >= 4; });
  t.takes(1500);
  t.fly(milliseconds(100));
  assert_true(probe_sizes(t.sent) == Sizes{1440});
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  assert_int_equal(t.stats(0).mss, 1440);
  assert_int_equal(t.probes_lost(), 0);
}

// In the order of sending: data packets and padded probes.
std::string data_and_probes(const NarrowPath::Headers& headers) {
  std::string kinds;
  for (const PacketHeader& header : headers) {
    if (header.type == PacketType::kData) kinds += 'd';
    if (header.type == PacketType::kProbe && header.payload_length > 0) kinds += 'p';
  }
  return kinds;
}

// Each of these makes what was lost before it be sent again soon.
void send_small_ones(NarrowPath* t, int count) {
  for (int i = 0; i < count; i++) {
    t->send(0, TwoHosts::message(8, 1));
    t->fly(microseconds(100));
  }
}

// A packet that was sent three times, or six, is about to be sent again.
void suspect__after_each_third_loss(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes_no_data(1500);
  t.send(0, TwoHosts::message(1440, 1));
  t.fly(milliseconds(200));
  assert_string_equal(data_and_probes(t.sent).substr(0, 9).c_str(), "ddddpdddp");
}

// Nothing is to be gained where the least that is tried is about as large.
void suspect__not_for_small_packets(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes_no_data(1500);
  t.send(0, TwoHosts::message(transport::kMssFloor + 32, 1));
  t.fly(milliseconds(200));
  assert_string_equal(data_and_probes(t.sent).substr(0, 7).c_str(), "ddddddd");
  t.takes(1500);
  t.fly(milliseconds(200));
  assert_int_equal(t.hosts[1]->messages.size(), 1);
  t.takes_no_data(1500);
  t.sent.clear();
  t.send(0, TwoHosts::message(transport::kMssFloor + 33, 1));
  t.fly(milliseconds(200));
  assert_string_equal(data_and_probes(t.sent).substr(0, 5).c_str(), "ddddp");
}

// What is asked already is not asked again for the next packet.
void suspect__once(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes(1300);
  const Duration round = t.stats(0).rto * 2;
  t.send(0, TwoHosts::message(1440, 1));
  send_small_ones(&t, 2);
  t.send(0, TwoHosts::message(1440, 2));
  const uint32_t second = t.leave().back().sequence;
  t.fly_until([&t] { return !probe_sizes(t.sent).empty(); });
  const Instant asked = t.now;
  send_small_ones(&t, 4);
  assert_true(t.now - asked < round);
  size_t transmissions = 0;
  for (const PacketHeader& header : of_type(t.sent, PacketType::kData)) {
    transmissions += header.sequence == second;
  }
  assert_true(transmissions > 3);
  assert_true(probe_sizes(t.sent) == Sizes{1440});
}

// The first probe of a suspicion was lost, too: that counts only until one is answered.
void suspect__each_time_from_the_beginning(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes_no_data(1300);
  t.send(0, TwoHosts::message(1440, 1));
  t.fly_until([&t] { return t.probes_lost() == 1; });
  t.takes_no_data(1500);
  t.exchange();
  t.takes_no_data(1300);
  t.fly_until_reduced();
  assert_true((probe_sizes(t.sent) == Sizes{1440, 1440, 1440, 1440, 1440}));
}

// Halfway, each size three times, as long as it is worth it.
void search__sizes(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes(32 + 1240);
  t.send(0, TwoHosts::message(1440, 1));
  t.fly(milliseconds(100));
  assert_true((probe_sizes(t.sent) ==
               Sizes{1440, 1440, 1440, 1330, 1330, 1330, 1275, 1275, 1275, 1248, 1248, 1248}));
  assert_int_equal(t.stats(0).mss, 1220);
  // Now nothing is asked any more.
  t.answer(0, 1248);
  assert_int_equal(t.stats(0).mss, 1220);
  // After ten minutes it begins with all.
  t.sent.clear();
  t.takes(32 + 1368);
  t.fly(seconds(599), seconds(1));
  assert_true(probe_sizes(t.sent).empty());
  t.fly(seconds(2), milliseconds(1));
  assert_true((probe_sizes(t.sent) == Sizes{1440, 1440, 1440, 1330, 1385, 1385, 1385, 1358}));
  assert_int_equal(t.stats(0).mss, 1358);
}

// Also during a search packets are suspected, but not the least.
void search__not_below_the_least(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes(500);
  t.send(0, TwoHosts::message(1440, 1));
  t.fly(milliseconds(200));
  assert_true(
      (probe_sizes(t.sent) == Sizes{1440, 1440, 1440, 1330, 1220, 1220, 1220, 868, 868, 868, 692,
                                    692,  692,  604,  604,  604,  560,  560,  560, 538, 538, 538}));
  assert_int_equal(t.stats(0).mss, transport::kMssFloor);
}

void search__what_most_networks_take_first(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes(1300);
  t.send(0, TwoHosts::message(kMssJumbo, 1));
  t.fly(milliseconds(100));
  assert_true((probe_sizes(t.sent) == Sizes{8940, 8940, 8940, 1440, 1440, 1440, 1330, 1330, 1330,
                                            1275, 1275, 1275, 1248}));
}

void search__and_then_more(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes(1500);
  t.send(0, TwoHosts::message(kMssJumbo, 1));
  t.fly_until([&t] { return probe_sizes(t.sent).size() > 4; });
  assert_true((probe_sizes(t.sent) == Sizes{8940, 8940, 8940, 1440, 5190}));
}

void search__answers_of_another_size(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes(1300);
  t.send(0, TwoHosts::message(1440, 1));
  t.fly_until([&t] { return !probe_sizes(t.sent).empty(); });
  for (const uint16_t size : {1, 1439, 1441}) t.answer(0, size);
  assert_int_equal(t.stats(0).mss, 1440);
  t.fly_until_reduced();
  assert_true((probe_sizes(t.sent) == Sizes{1440, 1440, 1440}));
  assert_true(probe_sizes(t.leave()) == Sizes{1330});
  t.path(t.hosts[0]->wire);
  t.round_trip();
  for (const uint16_t size : {1220, 1329, 1331, 1440}) t.answer(0, size);
  assert_int_equal(t.stats(0).mss, 1220);
  assert_true(probe_sizes(t.leave()).empty());
  t.answer(0, 1330);
  assert_int_equal(t.stats(0).mss, 1330);
  // The next waits for its answer only from when it leaves.
  t.pass(t.stats(0).rto * 3, false);
  assert_int_equal(t.probes_lost(), 3);
}

// The second tells whether the path is there at all. What the peer asks is answered first.
void search__each_probe_is_two(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes(1300);
  t.send(0, TwoHosts::message(1440, 1));
  t.fly_until([&t] { return t.probes_lost() == 1; });
  t.craft(PacketType::kProbe, wire::kFlagAckNow, 0, Bytes(700));
  const auto packets = t.leave();
  assert_int_equal(packets.size(), 3);
  assert_true(packets[0].type == PacketType::kAck && packets[0].extra == 700);
  for (size_t i = 1; i < 3; i++) {
    assert_true(packets[i].type == PacketType::kProbe && packets[i].flags == wire::kFlagAckNow);
    assert_int_equal(packets[i].payload_length, i == 1 ? 1440 : 0);
    assert_int_equal(packets[i].sequence, t.sent[0].sequence + 1);
  }
}

void search__waits_for_two_timeouts(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes(1300);
  t.send(0, TwoHosts::message(1440, 1));
  t.fly_until_reduced();
  const Instant end = t.now + t.stats(0).rto * 2;
  t.exchange();
  t.pass(end - t.now - microseconds(100), false);
  assert_int_equal(t.probes_lost(), 3);
  t.pass(microseconds(200), false);
  assert_int_equal(t.probes_lost(), 3 + 1);
}

// The probe was taken for lost, and the next has not left.
void search__an_answer_that_is_late(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes(1300);
  t.send(0, TwoHosts::message(1440, 1));
  t.fly_until([&t] { return t.probes_lost() == 1; });
  t.answer(0, 1440);
  assert_true(probe_sizes(t.leave()).empty());
}

// Where nothing is heard at all no size is to blame: the search begins again after a second.
void search__into_silence(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes(1300);
  t.send(0, TwoHosts::message(1440, 1));
  t.fly_until_reduced();
  t.exchange();
  t.takes(0);
  t.fly(milliseconds(990));
  assert_true((probe_sizes(t.sent) == Sizes{1440, 1440, 1440, 1330, 1330}));
  assert_int_equal(t.probes_lost(), 3 + 1);
  t.sent.clear();
  t.takes(1300);
  t.fly(milliseconds(100));
  assert_true(
      (probe_sizes(t.sent) == Sizes{1440, 1440, 1440, 1330, 1330, 1330, 1275, 1275, 1275, 1248}));
}

// Its probe is not lost when that of the search would have been.
void search__gives_way_to_a_suspicion(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes(1300);
  t.send(0, TwoHosts::message(1440, 1));
  t.fly_until_reduced();
  t.exchange();
  t.eats_data_of(1220);
  t.send(0, TwoHosts::message(1220, 2));
  send_small_ones(&t, 2);
  t.send(0, TwoHosts::message(8, 1));
  t.leave();
  t.round_trip();
  t.pass(microseconds(100), false);
  assert_int_equal(t.leave_one().payload_length, 1220);
  t.pass(t.stats(0).rto * 3, false);
  assert_int_equal(t.probes_lost(), 3);
  assert_true(probe_sizes(t.leave()) == Sizes{1220});
}

// A suspicion in between, which is unfounded: all that was agreed on is still to be searched.
void search__goes_on_after_a_suspicion(void** state) {
  NarrowPath& t = *narrow_path(state);
  t.takes(32 + 1240);
  t.send(0, TwoHosts::message(1440, 1));
  t.fly(milliseconds(100));
  t.fly(milliseconds(599'900), milliseconds(100));
  t.sent.clear();
  t.fly_until([&t] { return !probe_sizes(t.sent).empty(); });
  t.eats_data_of(1220);
  t.send(0, TwoHosts::message(1220, 2));
  send_small_ones(&t, 5);
  assert_true((probe_sizes(t.sent) == Sizes{1440, 1220, 1440}));
}

}  // namespace

int main() {
  const struct CMUnitTest tests[] = {
      MN_PATH_TEST(path__large_packets_are_eaten),
      MN_PATH_TEST(path__a_path_that_recovers),
      MN_PATH_TEST(path__a_path_that_stays_narrow),
      MN_PATH_TEST(path__nothing_arrives),
      MN_PATH_TEST(path__parts_that_came_are_not_sent_again),
      MN_PATH_TEST(path__only_the_way_back),
      cmocka_unit_test_setup_teardown(path__a_peer_without_parts, make_unconnected,
                                      free_narrow_path),
      MN_PATH_TEST(path__false_alarm),
      MN_PATH_TEST(suspect__after_each_third_loss),
      MN_PATH_TEST(suspect__not_for_small_packets),
      MN_PATH_TEST(suspect__once),
      MN_PATH_TEST(suspect__each_time_from_the_beginning),
      MN_PATH_TEST(search__sizes),
      MN_PATH_TEST(search__not_below_the_least),
      MN_PATH_TEST(search__what_most_networks_take_first, kMssJumbo),
      MN_PATH_TEST(search__and_then_more, kMssJumbo),
      MN_PATH_TEST(search__answers_of_another_size),
      MN_PATH_TEST(search__each_probe_is_two),
      MN_PATH_TEST(search__waits_for_two_timeouts),
      MN_PATH_TEST(search__an_answer_that_is_late),
      MN_PATH_TEST(search__into_silence),
      MN_PATH_TEST(search__gives_way_to_a_suspicion),
      MN_PATH_TEST(search__goes_on_after_a_suspicion),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
