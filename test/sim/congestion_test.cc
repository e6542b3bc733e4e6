// SPDX-License-Identifier: MIT
// What congestion control promises, on simulated bottlenecks: the numbers of the promises are the
// numbers of the assertions. Virtual time: the same everywhere.
#include <algorithm>
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>
extern "C" {
#include <cmocka.h>
}

#include "sim/congestion_lab.h"

using namespace mn;
using namespace mn::test;
using transport::CongestionKind;

namespace {

std::unique_ptr<CongestionLab> lab;  // outside of the test bodies, which end by longjmp
std::vector<double> shares;

int tear_down(void**) {
  lab.reset();
  shares = {};
  return 0;
}

// 10 Gbit/s, 50 us there and back.
LabConfig rack() {
  LabConfig config;
  config.bottleneck.bits_per_second = 10'000'000'000;
  config.bottleneck.delay = microseconds(25);
  config.bottleneck.queue_packets = 512;
  return config;
}

// Of what the link can carry, between two times.
double goodput(const LabConfig& config, Duration from, Duration to) {
  lab->run_until(from);
  const uint64_t before = lab->received_bytes();
  lab->run_until(to);
  const double bits = static_cast<double>(lab->received_bytes() - before) * 8;
  const double frame = config.mss + 32 + 18 + 24;
  const double most = static_cast<double>(config.bottleneck.bits_per_second) * config.mss / frame;
  return bits / (static_cast<double>((to - from).ns) * 1e-9 * most);
}

double fairness(uint32_t flows, Duration from, Duration to) {
  lab->run_until(from);
  shares.clear();
  for (uint32_t i = 0; i < flows; i++) {
    shares.push_back(-static_cast<double>(lab->flow(i).received_bytes));
  }
  lab->run_until(to);
  for (uint32_t i = 0; i < flows; i++) {
    shares[i] += static_cast<double>(lab->flow(i).received_bytes);
  }
  return jain_index(shares);
}

void swift__fills_the_link_and_not_its_queue(void**) {
  const LabConfig config = rack();
  lab = std::make_unique<CongestionLab>(config);
  lab->add_bulk(0, {});
  assert_true(goodput(config, milliseconds(3), milliseconds(30)) > 0.95);
  assert_true(lab->snapshot(0).rtt_smoothed < microseconds(115));
  assert_true(lab->loss_share() == 0);
}

void cubic__fills_the_link_and_its_queue(void**) {
  LabConfig config = rack();
  config.congestion = CongestionKind::kCubic;
  config.bottleneck.queue_packets = 128;
  lab = std::make_unique<CongestionLab>(config);
  lab->add_bulk(0, {});
  assert_true(goodput(config, milliseconds(10), milliseconds(60)) > 0.9);
  assert_true(lab->snapshot(0).rtt_smoothed > microseconds(115));
  assert_true(lab->loss_share() > 0);
}

// Slow start overshoots a short queue by far: many packets lost at once, some of which only look so
// because the peer cannot name all that it has. The window follows.
void cubic__finds_back_from_an_overshoot(void**) {
  for (const uint32_t senders : {1u, 2u, 4u}) {
    LabConfig config = rack();
    config.congestion = CongestionKind::kCubic;
    config.senders = senders;
    config.bottleneck.delay = microseconds(10);
    config.bottleneck.queue_packets = 64;
    lab = std::make_unique<CongestionLab>(config);
    for (uint32_t i = 0; i < senders; i++) lab->add_bulk(i, nanoseconds(500 * i));
    assert_true(goodput(config, milliseconds(5), milliseconds(20)) > 0.95);
    assert_true(lab->loss_share() < 0.1);  // from the start on
  }
}

// A queue of 64 packets, half as many as there are senders.
void swift__incast_does_not_collapse(void**) {
  for (const uint32_t senders : {1u, 2u, 8u, 32u, 64u, 128u}) {
    LabConfig config = rack();
    config.senders = senders;
    config.bottleneck.delay = microseconds(10);
    config.bottleneck.queue_packets = 64;
    lab = std::make_unique<CongestionLab>(config);
    for (uint32_t i = 0; i < senders; i++) lab->add_bulk(i, nanoseconds(500 * i));
    assert_true(goodput(config, milliseconds(3), milliseconds(18)) > 0.9);
  }
}

// Flows that start within 100 us have equal shares 100 round trips later. The window of 64 is less
// than a packet each without a queue.
void swift__is_fair_within_100_round_trips(void**) {
  for (const uint32_t flows : {2u, 4u, 8u, 16u, 32u, 64u}) {
    LabConfig config = rack();
    config.senders = flows;
    lab = std::make_unique<CongestionLab>(config);
    for (uint32_t i = 0; i < flows; i++) lab->add_bulk(i, nanoseconds(100'000 / flows * i));
    lab->run_until(milliseconds(8));  // the queue of the start is gone
    const Duration begin = lab->snapshot(0).rtt_smoothed * 100;
    assert_true(fairness(flows, begin, begin + milliseconds(6)) >= 0.95);
  }
}

// One that comes late finds a queue, and takes it for the path's delay until all drain it together.
void swift__is_fair_to_those_who_were_there(void**) {
  for (const uint32_t flows : {2u, 8u}) {
    LabConfig config = rack();
    config.senders = flows;
    lab = std::make_unique<CongestionLab>(config);
    for (uint32_t i = 0; i < flows; i++) {
      lab->add_bulk(i, i + 1 < flows ? Duration{} : milliseconds(4));
    }
    assert_true(fairness(flows, milliseconds(20), milliseconds(36)) >= 0.95);
  }
}

// Up to 2.5 % change nothing; more is found to be the same with a much smaller window.
void swift__random_loss_is_no_congestion(void**) {
  for (const double loss : {0.01, 0.05}) {
    LabConfig config = rack();
    config.bottleneck.loss = loss;
    lab = std::make_unique<CongestionLab>(config);
    lab->add_bulk(0, {});
    assert_true(goodput(config, milliseconds(20), milliseconds(60)) > 0.85);
  }
}

// A token bucket of 64 KB loses without delaying: four flows find what it lets through.
void swift__policer_is_found(void**) {
  for (const uint64_t gbits : {1u, 3u, 5u}) {
    LabConfig config = rack();
    config.senders = 4;
    config.bottleneck.queue_packets = 256;
    config.bottleneck.policed_bits_per_second = gbits * 1'000'000'000;
    lab = std::make_unique<CongestionLab>(config);
    for (uint32_t i = 0; i < 4; i++) lab->add_bulk(i, {});
    lab->run_until(milliseconds(100));
    lab->loss_share();
    config.bottleneck.bits_per_second = config.bottleneck.policed_bits_per_second;
    assert_true(goodput(config, milliseconds(100), milliseconds(300)) > 0.9);
    assert_true(lab->loss_share() < 0.01);
  }
}

void swift__small_messages_pass_bulk(void**) {
  LabConfig config = rack();
  config.senders = 5;
  lab = std::make_unique<CongestionLab>(config);
  const uint32_t small = lab->add_requests(0, {}, 64);
  for (uint32_t i = 1; i < 5; i++) lab->add_bulk(i, milliseconds(2));
  lab->run_until(milliseconds(5));
  const size_t before = lab->flow(small).latencies.size();
  lab->run_until(milliseconds(40));
  std::vector<Duration>& latencies = lab->latencies(small);
  std::sort(latencies.begin() + static_cast<long>(before), latencies.end());
  const size_t count = latencies.size() - before;
  assert_true(count > 200);
  assert_true(latencies[before + count * 99 / 100] < microseconds(160));
}

// Hosts that look up to 200 us late: round trips of 50 to 450 us without any queue.
void swift__late_hosts_are_no_congestion(void**) {
  for (const int64_t late : {40, 100, 200}) {
    LabConfig config = rack();
    config.poll_delay_max = microseconds(late);
    lab = std::make_unique<CongestionLab>(config);
    lab->add_bulk(0, {});
    assert_true(goodput(config, milliseconds(10), milliseconds(60)) > (late < 200 ? 0.85 : 0.6));
  }
}

// 10 ms without a packet: sent again with the retransmission timeout's back-off, and soon at the
// full rate.
void swift__recovers_from_a_black_hole(void**) {
  const LabConfig config = rack();
  lab = std::make_unique<CongestionLab>(config);
  lab->add_bulk(0, {});
  lab->run_until(milliseconds(5));
  lab->bottleneck().config().blackhole = true;
  lab->run_until(milliseconds(15));
  lab->bottleneck().config().blackhole = false;
  assert_true(goodput(config, milliseconds(25), milliseconds(27)) > 0.9);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test_teardown(swift__fills_the_link_and_not_its_queue, tear_down),
      cmocka_unit_test_teardown(cubic__fills_the_link_and_its_queue, tear_down),
      cmocka_unit_test_teardown(cubic__finds_back_from_an_overshoot, tear_down),
      cmocka_unit_test_teardown(swift__incast_does_not_collapse, tear_down),
      cmocka_unit_test_teardown(swift__is_fair_within_100_round_trips, tear_down),
      cmocka_unit_test_teardown(swift__is_fair_to_those_who_were_there, tear_down),
      cmocka_unit_test_teardown(swift__random_loss_is_no_congestion, tear_down),
      cmocka_unit_test_teardown(swift__policer_is_found, tear_down),
      cmocka_unit_test_teardown(swift__small_messages_pass_bulk, tear_down),
      cmocka_unit_test_teardown(swift__late_hosts_are_no_congestion, tear_down),
      cmocka_unit_test_teardown(swift__recovers_from_a_black_hole, tear_down),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
