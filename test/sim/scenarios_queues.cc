// SPDX-License-Identifier: MIT
// NICs with several queues, each host with as many engines: nobody knows the key by which packets
// are spread, and the table may change at any moment.
#include <cstring>
#include <vector>

#include "sim/engine_profile.h"
#include "sim/scenario.h"
#include "sim/scenario_util.h"
#include "wire/bytes.h"
#include "wire/checksum.h"
#include "wire/frame.h"

namespace mn::test {
namespace {

using Ull = unsigned long long;
using Counter = std::atomic<uint64_t> ipc::EngineCounters::*;

// Of all engines of a host.
uint64_t sum_of(const EngineHost& host, Counter counter) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < host.engines(); i++) {
    sum += (host.counters(i).*counter).load(std::memory_order_relaxed);
  }
  return sum;
}
uint64_t sum_of(EngineRun* run, Counter counter) {
  return sum_of(run->host(0), counter) + sum_of(run->host(1), counter);
}

EngineProfile queues_profile(uint64_t seed, uint32_t engines_0, uint32_t engines_1) {
  EngineProfile engines = plain_engine_profile(seed);
  engines.setup[0].engines = engines_0;
  engines.setup[1].engines = engines_1;
  // As the control plane does it: a flow stays where it was asked for only if it moved there.
  for (EngineSetup& setup : engines.setup) setup.settles = 0;
  engines.profile.opens[0] = engines.profile.opens[1] = 12;
  engines.profile.open_spread = milliseconds(1);
  return engines;
}

// No connect failed, nothing was lost on the way between engines.
void check_nothing_lost(EngineRun* run, const char* name, uint64_t flows) {
  SIM_CHECK(sum_of(run, &ipc::EngineCounters::flows_opened) == 2 * flows, "%s: %llu of %llu", name,
            static_cast<Ull>(sum_of(run, &ipc::EngineCounters::flows_opened)),
            static_cast<Ull>(2 * flows));
  for (const Counter counter :
       {&ipc::EngineCounters::handed_lost, &ipc::EngineCounters::flows_reset,
        &ipc::EngineCounters::flows_timed_out, &ipc::EngineCounters::drop_malformed,
        &ipc::EngineCounters::drop_checksum, &ipc::EngineCounters::nic_rx_missed}) {
    SIM_CHECK(sum_of(run, counter) == 0, "%s: %llu lost, reset, timed out or dropped", name,
              static_cast<Ull>(sum_of(run, counter)));
  }
}

// Every number of queues on each side: every connect succeeds, nothing is lost, and
// every engine has learned the way from the one queue that ARP comes to.
void queues_every_number(uint64_t seed, FILE* trace) {
  uint64_t handed = 0;
  for (uint32_t n = 1; n <= 16; n++) {
    for (const uint32_t other : {n, 17 - n, 1u}) {
      EngineProfile engines = queues_profile(seed + 100 * n + other, n, other);
      engines.profile.plan = send_plan(20, 2000, true);
      EngineRun run(engines.profile, trace, engines.setup[0], engines.setup[1]);
      const RunResult result = run.run();
      SIM_CHECK(result.messages == 24 * 2 * 20, "every_number: %llu messages with %u and %u",
                static_cast<Ull>(result.messages), n, other);
      check_nothing_lost(&run, "every_number", 24);
      // A probe asks too early when many flows begin at once; nothing is lost.
      const uint64_t again = sum_of(&run, &ipc::EngineCounters::retransmitted_packets);
      SIM_CHECK(again <= sum_of(&run, &ipc::EngineCounters::tail_probes) &&
                    sum_of(&run, &ipc::EngineCounters::timeouts) == 0,
                "every_number: %llu packets were sent again with %u and %u, %llu of them probes",
                static_cast<Ull>(again), n, other,
                static_cast<Ull>(sum_of(&run, &ipc::EngineCounters::tail_probes)));
      handed += sum_of(&run, &ipc::EngineCounters::handed_over);
    }
  }
  SIM_CHECK(handed > 100, "every_number: every packet came to its engine by chance");
}

// Once flows are open and the hash is stable, nothing is handed over, to the end of the last flow.
void queues_stable_hash(uint64_t seed, FILE* trace) {
  for (const uint32_t n : {2u, 3u, 5u, 8u, 16u}) {
    EngineProfile engines = queues_profile(seed + n, n, 18 - n);
    engines.profile.plan = send_plan(300, 3000, true, EndAction::kNone, microseconds(100));
    EngineRun run(engines.profile, trace, engines.setup[0], engines.setup[1]);
    uint64_t handed_then = 0;
    uint64_t messages_then = 0;
    run.on_start = [&](EngineRun* started) {
      started->clock().after(milliseconds(3), [&, started] {
        handed_then = sum_of(started, &ipc::EngineCounters::handed_over);
        messages_then = started->oracle().messages_received();
      });
    };
    const RunResult result = run.run();
    SIM_CHECK(result.messages == 24 * 2 * 300 && messages_then < result.messages / 5,
              "stable_hash: %llu messages, %llu of them early", static_cast<Ull>(result.messages),
              static_cast<Ull>(messages_then));
    check_nothing_lost(&run, "stable_hash", 24);
    SIM_CHECK(handed_then > 0, "stable_hash: no flow moved");
    const uint64_t later = sum_of(&run, &ipc::EngineCounters::handed_over) - handed_then;
    SIM_CHECK(later == 0, "stable_hash: %llu packets handed over although the hash is stable",
              static_cast<Ull>(later));
  }
}

// A table written anew in each moment of handshakes, of traffic, of closes.
void queues_table_changes(uint64_t seed, FILE* trace) {
  uint64_t handed = 0;
  for (uint32_t i = 0; i < 60; i++) {
    EngineProfile engines = queues_profile(seed + i, 1 + i % 16, 1 + (i * 7 + 3) % 16);
    engines.profile.opens[0] = engines.profile.opens[1] = 6;
    engines.profile.open_spread = microseconds(60);
    engines.profile.plan =
        send_plan(60, 3000, true, i % 2 == 0 ? EndAction::kNone : EndAction::kClose);
    for (uint32_t k = 0; k < 40; k++) {
      const Duration at =
          k < 10 ? microseconds(2 * i + 12 * k) : microseconds(120 + 5 * i + 97 * (k - 10));
      engines.resteers.push_back({.host = static_cast<int>(k % 2), .at = at});
    }
    EngineRun run(engines.profile, trace, engines.setup[0], engines.setup[1]);
    run.on_start = [&](EngineRun* started) { schedule_resteers(started, engines); };
    const RunResult result = run.run();
    // Who closes does not wait for what the peer still says.
    SIM_CHECK(i % 2 == 1 || result.messages == 12 * 2 * 60, "table_changes: %llu messages",
              static_cast<Ull>(result.messages));
    check_nothing_lost(&run, "table_changes", 12);
    handed += sum_of(&run, &ipc::EngineCounters::handed_over);
  }
  SIM_CHECK(handed > 10'000, "table_changes: only %llu packets came to another queue",
            static_cast<Ull>(handed));
}

std::vector<uint8_t> arp_request(const EngineSetup& from) {
  std::vector<uint8_t> frame(60);
  wire::encode_arp({.is_request = true,
                    .sender_mac = from.facts.mac,
                    .sender_ip = host_address(1),
                    .target_ip = host_address(0)},
                   from.facts.mac, kBroadcastMac, frame);
  return frame;
}

std::vector<uint8_t> ping(const EngineSetup& from, const EngineSetup& to) {
  std::vector<uint8_t> frame(98);
  wire::encode_udp_headers({.source = from.facts.mac,
                            .destination = to.facts.mac,
                            .source_ip = host_address(1),
                            .destination_ip = host_address(0),
                            .payload_length = frame.size() - wire::kUdpPayloadOffset},
                           false, frame);
  const auto sum_into = [&frame](size_t from_byte, size_t length, size_t at) {
    wire::store_be16(&frame[at], 0);
    wire::InternetSum sum;
    sum.add({&frame[from_byte], length});
    wire::store_be16(&frame[at], sum.checksum());
  };
  frame[23] = 1;  // ICMP
  sum_into(14, 20, 24);
  memset(&frame[34], 0, 8);
  frame[34] = 8;  // echo request
  sum_into(34, frame.size() - 34, 36);
  return frame;
}

// A question at any queue is answered once.
void queues_arp_and_ping(uint64_t seed, FILE* trace) {
  EngineProfile engines = queues_profile(seed, 16, 1);
  engines.profile.opens[0] = engines.profile.opens[1] = 0;
  engines.profile.run_min = milliseconds(40);
  EngineRun run(engines.profile, trace, engines.setup[0], engines.setup[1]);
  uint32_t arp_answers = 0;
  uint32_t ping_answers = 0;
  run.on_start = [&](EngineRun* started) {
    started->link(0).drop_if([&](uint64_t, std::span<const uint8_t> frame) {
      const wire::FrameView view = wire::parse_frame(frame, false);
      const bool is_answer = view.kind == wire::FrameKind::kArp && !view.arp.is_request;
      arp_answers += is_answer && view.arp.sender_ip == host_address(0);
      ping_answers += frame[12] == 8 && frame[13] == 0 && frame[23] == 1 && frame[34] == 0;
      return false;
    });
    for (uint32_t queue = 0; queue < 16; queue++) {
      started->clock().after(milliseconds(1 + queue), [started, queue, &engines] {
        EngineHost& host = started->host(0);
        host.frame_arrived_at(queue, arp_request(engines.setup[1]));
        host.frame_arrived_at(queue, ping(engines.setup[1], engines.setup[0]));
      });
    }
  };
  run.run();
  SIM_CHECK(arp_answers == 16 && ping_answers == 16, "arp_and_ping: %u and %u answers of 16",
            arp_answers, ping_answers);
}

std::vector<uint8_t> forged_data(const EngineSetup& to, uint32_t tag) {
  std::vector<uint8_t> frame(wire::kUdpPayloadOffset + wire::kHeaderSize + 100);
  wire::encode_udp_headers({.source = Mac{{2, 0, 0, 0, 0, 9}},
                            .destination = to.facts.mac,
                            .source_ip = host_address(9),
                            .destination_ip = host_address(0),
                            .source_port = 5000,
                            .destination_port = 40000,
                            .payload_length = frame.size() - wire::kUdpPayloadOffset},
                           false, frame);
  wire::encode_packet_header(
      {.type = wire::PacketType::kData, .tag = tag, .sequence = 1, .payload_length = 100}, {},
      std::span(frame).subspan(wire::kUdpPayloadOffset));
  wire::finish_udp_checksum(frame);
  return frame;
}

// Far more packets than rings hold come to one queue, for flows that do not exist: with tags of one
// other engine, and of one that does not exist either (3 of 0 to 2). Flows of all engines go on.
void queues_flooded(uint64_t seed, FILE* trace) {
  for (const uint32_t victim : {1u, 2u, 3u}) {
    EngineProfile engines = queues_profile(seed + victim, 3, 3);
    engines.profile.plan = send_plan(200, 2000, true, EndAction::kNone, microseconds(100));
    engines.profile.run_min = milliseconds(30);
    EngineRun run(engines.profile, trace, engines.setup[0], engines.setup[1]);
    const std::vector<uint8_t> forged = forged_data(engines.setup[0], 0xabcd0000 | victim);
    run.on_start = [&](EngineRun* started) {
      for (int i = 0; i < 1500; i++) {
        started->clock().after(milliseconds(5) + microseconds(10 * i), [started, &forged] {
          for (int k = 0; k < 200; k++) started->host(0).frame_arrived_at(0, forged);
        });
      }
    };
    const RunResult result = run.run();
    SIM_CHECK(result.messages == 24 * 2 * 200, "flooded: %llu messages",
              static_cast<Ull>(result.messages));
    const EngineHost& host = run.host(0);
    SIM_CHECK(sum_of(host, &ipc::EngineCounters::drop_no_flow) > 100'000,
              "flooded: only %llu packets for no flow",
              static_cast<Ull>(sum_of(host, &ipc::EngineCounters::drop_no_flow)));
    const uint64_t handed = sum_of(host, &ipc::EngineCounters::handed_over);
    SIM_CHECK(victim == 3 ? handed < 1000 : handed > 100'000, "flooded: %llu handed over",
              static_cast<Ull>(handed));
    SIM_CHECK(sum_of(host, &ipc::EngineCounters::flows_reset) == 0 &&
                  sum_of(host, &ipc::EngineCounters::flows_timed_out) == 0,
              "flooded: a flow was lost");
  }
}

// All engines of a NIC pause while it is reset, and go on.
void queues_nic_resets(uint64_t seed, FILE* trace) {
  EngineProfile engines = queues_profile(seed, 4, 3);
  engines.profile.opens[0] = engines.profile.opens[1] = 6;
  engines.profile.plan = send_plan(300, 3000, true, EndAction::kNone, microseconds(200));
  engines.profile.run_min = seconds(4);
  add_resets(seed, 12, &engines);
  EngineRun run(engines.profile, trace, engines.setup[0], engines.setup[1]);
  run.on_start = [&](EngineRun* started) { schedule_absences(started, engines); };
  const RunResult result = run.run();
  SIM_CHECK(result.messages == 12 * 2 * 300, "queues_nic_resets: %llu messages",
            static_cast<Ull>(result.messages));
}

constexpr Scenario kScenarios[] = {
    {"queues_every_number", queues_every_number},
    {"queues_stable_hash", queues_stable_hash},
    {"queues_table_changes", queues_table_changes},
    {"queues_arp_and_ping", queues_arp_and_ping},
    {"queues_flooded", queues_flooded},
    {"queues_nic_resets", queues_nic_resets},
};

}  // namespace

std::span<const Scenario> queue_scenarios() { return kScenarios; }

}  // namespace mn::test
