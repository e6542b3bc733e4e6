// SPDX-License-Identifier: MIT
#include <algorithm>
#include <memory>
#include <vector>

#include "ipc/shm_layout.h"
#include "sim/scenario.h"
#include "sim/scenario_util.h"

namespace mn::test {
namespace {

using wire::PacketType;
using Ull = unsigned long long;

std::vector<uint8_t> forge(const FourTuple& from, const wire::PacketHeader& header,
                           std::span<const uint8_t> payload = {}) {
  std::vector<uint8_t> packet(wire::kHeaderSize + payload.size());
  wire::encode_packet_header(header, {}, packet);
  std::copy(payload.begin(), payload.end(), packet.begin() + wire::kHeaderSize);
  return make_datagram(from.local_ip, from.local_port, from.remote_ip, from.remote_port, packet);
}

std::vector<uint8_t> forge_open(const FourTuple& from, SimRandom* random) {
  wire::Options options;
  options.mss = 1440;
  options.tag = static_cast<uint32_t>(random->next()) | 1;
  options.first_sequence = static_cast<uint32_t>(random->next());
  options.window = 64;
  std::array<uint8_t, wire::kOptionsSize> bytes;
  wire::encode_options(options, bytes);
  wire::PacketHeader header;
  header.type = PacketType::kOpen;
  header.payload_length = wire::kOptionsSize;
  return forge(from, header, bytes);
}

// Resets of every kind with guessed tags on the right tuple: nobody notices.
void forged_resets(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.tuples = 1;
  profile.open_spread = microseconds(1);
  profile.plan = send_plan(400, 500, true, EndAction::kNone, microseconds(20));
  uint64_t forged = 0;
  const RunResult result = run_profile(profile, trace, [&forged](TransportRun* run) {
    auto random = std::make_shared<SimRandom>(99);
    for (int i = 0; i < 500; i++) {
      run->clock().after(microseconds(5 + 15 * i), [run, random, &forged] {
        const int host = static_cast<int>(random->below(2));
        const Port ports[2] = {40000, kListenPort};
        wire::PacketHeader header;
        header.type = random->chance(0.8) ? PacketType::kReset
                                          : static_cast<PacketType>(random->between(4, 7));
        if (header.type == PacketType::kReset && random->chance(0.5))
          header.flags = wire::kFlagReflected;
        header.tag = random->chance(0.1) ? 0 : static_cast<uint32_t>(random->next());
        header.sequence = static_cast<uint32_t>(random->next());
        header.ack = static_cast<uint32_t>(random->next());
        header.window = static_cast<uint16_t>(random->next());
        run->inject(
            host, forge({host_address(1 - host), host_address(host), ports[1 - host], ports[host]},
                        header));
        forged++;
      });
    }
  });
  SIM_CHECK(forged >= 400, "forged_resets: only %llu", static_cast<Ull>(forged));
  SIM_CHECK(result.messages == 800, "forged_resets: %llu messages",
            static_cast<Ull>(result.messages));
  SIM_CHECK(result.transports[0].flows_reset == 0 && result.transports[1].flows_reset == 0,
            "forged_resets: a flow was reset");
}

void replayed_packets(uint64_t seed, FILE* trace) {
  for (uint64_t i = 0; i < 5; i++) {
    Profile profile = plain_profile(seed + i);
    profile.opens[0] = 3;
    profile.tuples = 1;
    profile.open_spread = milliseconds(30);
    profile.plan = send_plan(60, 800, true, EndAction::kClose, microseconds(100));
    for (auto& link : profile.link) {
      link.replay = 0.5;
      link.reorder_delay = milliseconds(20);
    }
    const RunResult result = run_profile(profile, trace);
    SIM_CHECK(result.links[0].replayed > 50, "replayed_packets: only %llu",
              static_cast<Ull>(result.links[0].replayed));
  }
}

// Opens that are never confirmed: memory of them is bounded, no application hears of them, flows
// that live go on, and soon after the flood new ones come through again.
void handshake_flood(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.opens[0] = 2;
  profile.open_spread = microseconds(100);
  profile.plan = send_plan(2000, 300, true, EndAction::kNone, milliseconds(1));
  profile.run_min = seconds(2);
  TransportRun run(profile, trace);
  uint32_t most = 0;
  run.on_start = [&](TransportRun* r) {
    auto random = std::make_shared<SimRandom>(7);
    for (int i = 0; i < 4000; i++) {
      r->clock().after(milliseconds(2) + microseconds(10 * i), [r, random, &most] {
        const FourTuple from{0x0b000000 + static_cast<uint32_t>(random->below(5000)),
                             host_address(1), static_cast<Port>(random->between(1, 65535)),
                             kListenPort};
        r->inject(1, forge_open(from, random.get()));
        most = std::max(most, r->host(1).transport().flow_count());
      });
    }
    r->clock().after(milliseconds(1500),
                     [r] { r->host(0).open(0, 42000, kListenPort, FlowPlan{}); });
    r->clock().after(milliseconds(100), [r] {
      for (const Life& life : r->oracle().lives()) {
        SIM_CHECK(life.state == Life::State::kLive, "handshake_flood: life %u is no longer live",
                  life.uid);
      }
    });
  };
  run.run();
  uint32_t accepted = 0;
  for (const Life& life : run.oracle().lives()) {
    SIM_CHECK(life.state != Life::State::kFailed, "handshake_flood: life %u could not connect",
              life.uid);
    if (life.host == 1) accepted++;
  }
  SIM_CHECK(most > 16 && most <= 32 + 3, "handshake_flood: %u flows at once", most);
  SIM_CHECK(accepted <= 3, "handshake_flood: the application heard of %u flows", accepted);
}

struct FloodOutcome {
  Duration done{};       // when every message had arrived
  Duration connected{};  // how long a connect in the midst of it took
  RunResult result;
};

// Two flows that fill the link both ways; `forged` handshakes a millisecond at one end.
FloodOutcome run_under_flood(uint64_t seed, FILE* trace, int forged) {
  Profile profile = plain_profile(seed);
  profile.transport[1].half_open_max = 16;
  profile.opens[0] = 2;
  profile.open_spread = microseconds(10);
  profile.plan = send_plan(4000, 1400, true);
  for (auto& link : profile.link) link.delay = microseconds(20);
  TransportRun run(profile, trace);
  FloodOutcome outcome;
  const Instant start = run.clock().now();
  const Instant connect_at = start + milliseconds(4);
  run.on_start = [&](TransportRun* r) {
    auto random = std::make_shared<SimRandom>(7);
    for (int i = 0; i < forged * 12; i++) {
      r->clock().after(microseconds(500) + nanoseconds(1'000'000 / forged * i), [r, random] {
        const FourTuple from{0x0b000000 + static_cast<uint32_t>(random->below(1 << 24)),
                             host_address(1), static_cast<Port>(random->between(1, 65535)),
                             kListenPort};
        r->inject(1, forge_open(from, random.get()));
      });
    }
    r->clock().at(connect_at, [r] { r->host(0).open(0, 42000, kListenPort, FlowPlan{}); });
  };
  run.on_step = [&] {
    if (outcome.done.ns == 0 && run.oracle().messages_received() == 4 * 4000) {
      outcome.done = run.clock().now() - start;
    }
    if (outcome.connected.ns > 0 || run.clock().now() <= connect_at) return;
    for (const Life& life : run.oracle().lives()) {
      if (life.host == 0 && life.tuple.local_port == 42000 && life.state == Life::State::kLive) {
        outcome.connected = run.clock().now() - connect_at;
      }
    }
  };
  outcome.result = run.run();
  return outcome;
}

// 400,000 forged handshakes a second cost established flows nothing, and who can be heard gets in
// within two round trips.
void handshake_flood_disturbs_nobody(uint64_t seed, FILE* trace) {
  const FloodOutcome calm = run_under_flood(seed, trace, 0);
  const FloodOutcome flood = run_under_flood(seed, trace, 400);
  SIM_CHECK(calm.done.ns > 0 && flood.done.ns > 0, "flood: messages are missing");
  SIM_CHECK(flood.done.ns * 100 <= calm.done.ns * 105, "flood: %lld us instead of %lld us",
            static_cast<long long>(flood.done.ns / 1000),
            static_cast<long long>(calm.done.ns / 1000));
  uint64_t again = 0;  // tail probes: a few of 16,000 packets
  for (const transport::TransportCounters& counters : flood.result.transports) {
    SIM_CHECK(counters.flows_reset == 0 && counters.timeouts == 0, "flood: flows were disturbed");
    again += counters.retransmitted_packets;
  }
  SIM_CHECK(again <= 8, "flood: %llu packets were sent again", static_cast<Ull>(again));
  // A round trip of 40 us, and the queues of a full link.
  SIM_CHECK(flood.connected.ns > 0 && flood.connected <= calm.connected * 2 + microseconds(100),
            "flood: a connect took %lld us, %lld us without",
            static_cast<long long>(flood.connected.ns / 1000),
            static_cast<long long>(calm.connected.ns / 1000));
}

// Packets of a live flow with changed fields and good checksums: content may suffer, the hosts may
// not.
void hostile_packets(uint64_t seed, FILE* trace) {
  for (uint64_t i = 0; i < 20; i++) {
    Profile profile = plain_profile(seed + i);
    profile.contents_checked = false;
    profile.timeouts_allowed = true;
    profile.opens[0] = 3;
    profile.run_max = seconds(3);
    profile.plan = [](SimRandom* random, bool) {
      FlowPlan plan;
      plan.messages = 200;
      plan.size_max = random->chance(0.5) ? 100 : 5000;
      plan.gap = microseconds(30);
      return plan;
    };
    uint64_t changed = 0;
    run_profile(profile, trace, [&](TransportRun* run) {
      auto random = std::make_shared<SimRandom>(seed * 31 + i);
      for (int direction = 0; direction < 2; direction++) {
        run->link(direction).drop_if([=, &changed](uint64_t, std::span<const uint8_t> bytes) {
          if (!random->chance(0.1)) return false;
          changed++;
          std::vector<uint8_t> payload(bytes.begin() + kDatagramHeaderSize, bytes.end());
          const uint64_t flips = random->between(1, 3);
          for (uint64_t f = 0; f < flips; f++) {
            const size_t reach =
                random->chance(0.8) ? std::min<size_t>(payload.size(), 48) : payload.size();
            payload[random->below(reach)] ^=
                static_cast<uint8_t>(random->chance(0.5) ? 1 << random->below(8) : random->next());
          }
          if (random->chance(0.1)) payload.resize(random->below(payload.size() + 1));
          const FourTuple tuple{host_address(direction), host_address(1 - direction),
                                static_cast<Port>(bytes[8] << 8 | bytes[9]),
                                static_cast<Port>(bytes[10] << 8 | bytes[11])};
          run->inject(1 - direction, make_datagram(tuple.local_ip, tuple.local_port,
                                                   tuple.remote_ip, tuple.remote_port, payload));
          return random->chance(0.5);
        });
      }
    });
    SIM_CHECK(changed > 10, "hostile_packets: only %llu", static_cast<Ull>(changed));
  }
}

// Two transports that know nothing, and bytes without any sense.
void garbage(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.plan = send_plan(300, 300, true, EndAction::kNone, microseconds(30));
  profile.tuples = 1;
  const RunResult result = run_profile(profile, trace, [seed](TransportRun* run) {
    auto random = std::make_shared<SimRandom>(seed);
    for (int i = 0; i < 3000; i++) {
      run->clock().after(microseconds(3 * i), [run, random] {
        std::vector<uint8_t> payload(random->below(120));
        for (uint8_t& byte : payload) byte = static_cast<uint8_t>(random->next());
        if (!payload.empty() && random->chance(0.7))
          payload[0] = static_cast<uint8_t>(0x10 | random->between(1, 7));
        const int host = static_cast<int>(random->below(2));
        const Port ports[2] = {40000, kListenPort};
        const Port from = random->chance(0.5) ? ports[1 - host] : static_cast<Port>(random->next());
        run->inject(host, make_datagram(host_address(1 - host), from, host_address(host),
                                        ports[host], payload));
      });
    }
  });
  SIM_CHECK(result.messages == 600, "garbage: %llu messages", static_cast<Ull>(result.messages));
}

constexpr Scenario kScenarios[] = {
    {"forged_resets", forged_resets},
    {"replayed_packets", replayed_packets},
    {"handshake_flood", handshake_flood},
    {"handshake_flood_disturbs_nobody", handshake_flood_disturbs_nobody},
    {"hostile_packets", hostile_packets},
    {"garbage", garbage},
};

}  // namespace

std::span<const Scenario> hostile_scenarios() { return kScenarios; }

}  // namespace mn::test
