// SPDX-License-Identifier: MIT
#include <memory>

#include "ipc/shm_layout.h"
#include "sim/scenario.h"
#include "sim/scenario_util.h"

namespace mn::test {
namespace {

using wire::PacketType;

void clean(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.opens[0] = profile.opens[1] = 4;
  profile.plan = send_plan(300, 3000, true);
  const RunResult result = run_profile(profile, trace);
  SIM_CHECK(result.messages == 8 * 2 * 300, "clean: %llu messages",
            static_cast<unsigned long long>(result.messages));
  for (const auto& counters : result.transports) {
    // A tail probe may go out when the first window waits in the NIC's queue for longer than a
    // guess.
    SIM_CHECK(counters.retransmitted_packets == counters.tail_probes && counters.timeouts == 0,
              "clean: %llu retransmissions, %llu timeouts without loss",
              static_cast<unsigned long long>(counters.retransmitted_packets),
              static_cast<unsigned long long>(counters.timeouts));
  }
}

// The last packet of a burst is lost: nothing later shows the gap, a tail probe must.
void lost_tail(uint64_t seed, FILE* trace) {
  for (uint64_t drops = 1; drops <= 2; drops++) {
    Profile profile = plain_profile(seed);
    profile.plan = send_plan(10, 1400, false);
    profile.run_min = milliseconds(60);
    Instant delivered{};
    const RunResult result = run_profile(profile, trace, [&delivered, drops](TransportRun* run) {
      auto data = std::make_shared<uint64_t>(0);
      run->link(0).drop_if([data, drops](uint64_t, std::span<const uint8_t> bytes) {
        if (packet_type(bytes) != PacketType::kData) return false;
        (*data)++;
        return *data >= 10 && *data < 10 + drops;
      });
      run->on_step = [run, &delivered] {
        if (delivered.ns == 0 && run->oracle().messages_received() == 10)
          delivered = run->clock().now();
      };
    });
    SIM_CHECK(result.links[0].exact_drops == drops, "lost_tail: dropped nothing");
    SIM_CHECK(result.transports[0].tail_probes > 0, "lost_tail: no tail probe");
    SIM_CHECK(delivered.ns != 0 &&
                  since_start(delivered) < (drops == 1 ? microseconds(900) : milliseconds(25)),
              "lost_tail: %llu lost, took %lld us", static_cast<unsigned long long>(drops),
              static_cast<long long>(since_start(delivered).ns / 1000));
  }
}

// Some packets in the middle are lost: what arrives after them shows it, and no timeout is needed.
void lost_middle(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.plan = send_plan(300, 1400, false);
  const RunResult result = run_profile(profile, trace, [](TransportRun* run) {
    run->link(0).drop_if([data = 0](uint64_t, std::span<const uint8_t> bytes) mutable {
      if (packet_type(bytes) != PacketType::kData) return false;
      data++;
      return data == 50 || data == 52 || (data >= 100 && data < 110);
    });
  });
  SIM_CHECK(result.links[0].exact_drops == 12 && result.messages == 300,
            "lost_middle: %llu drops, %llu messages",
            static_cast<unsigned long long>(result.links[0].exact_drops),
            static_cast<unsigned long long>(result.messages));
  const auto& counters = result.transports[0];
  SIM_CHECK(counters.timeouts == 0, "lost_middle: %llu timeouts",
            static_cast<unsigned long long>(counters.timeouts));
  SIM_CHECK(counters.retransmitted_packets >= 12 &&
                counters.retransmitted_packets <= 12 + counters.tail_probes,
            "lost_middle: %llu retransmissions of 12 lost packets",
            static_cast<unsigned long long>(counters.retransmitted_packets));
}

// Each of the first packets of either direction is lost once.
void lost_handshake_each_packet(uint64_t seed, FILE* trace) {
  for (int direction = 0; direction < 2; direction++) {
    for (uint64_t index = 0; index < 4; index++) {
      for (bool acceptor_talks : {false, true}) {
        Profile profile = plain_profile(seed + index);
        profile.plan = [acceptor_talks](SimRandom*, bool opener) {
          FlowPlan plan;
          plan.messages = opener != acceptor_talks ? 3 : 0;
          return plan;
        };
        const RunResult result = run_profile(profile, trace, [=](TransportRun* run) {
          run->link(direction).drop_if(
              [index](uint64_t i, std::span<const uint8_t>) { return i == index; });
        });
        SIM_CHECK(result.messages == 3,
                  "lost_handshake: packet %llu of direction %d lost: %llu messages arrive",
                  static_cast<unsigned long long>(index), direction,
                  static_cast<unsigned long long>(result.messages));
      }
    }
  }
}

// Cut in the middle of a transfer, for less than the dead time: flows live on and move soon after.
void blackhole_then_heal(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.opens[0] = 3;
  profile.plan = send_plan(4000, 1000, true);
  profile.run_min = milliseconds(2500);
  cut(&profile, 0, microseconds(300), milliseconds(1800));
  cut(&profile, 1, microseconds(300), milliseconds(1800));
  uint64_t at_heal = 0, later = 0;
  const RunResult result = run_profile(profile, trace, [&](TransportRun* run) {
    run->clock().after(milliseconds(1800),
                       [&at_heal, run] { at_heal = run->oracle().messages_received(); });
    run->clock().after(milliseconds(2400),
                       [&later, run] { later = run->oracle().messages_received(); });
  });
  SIM_CHECK(result.links[0].blackholed > 0 && at_heal < 24000, "blackhole: came too late");
  SIM_CHECK(later > at_heal, "blackhole: no progress 600 ms after it ended");
  SIM_CHECK(result.messages == 24000, "blackhole: %llu messages",
            static_cast<unsigned long long>(result.messages));
}

// Cut for longer than the dead time: both ends are told, within the dead time and a little.
void blackhole_kills(uint64_t seed, FILE* trace) {
  for (bool idle : {false, true}) {
    Profile profile = plain_profile(seed);
    profile.opens[0] = 3;
    profile.plan = send_plan(4000, 1000, true);
    profile.timeouts_allowed = true;
    profile.run_min = seconds(8);
    profile.run_max = seconds(9);
    cut(&profile, 0, microseconds(500), seconds(20));
    cut(&profile, 1, microseconds(500), seconds(20));
    // Idle flows with something left to do, so that the run goes on until they are dead.
    if (idle) {
      profile.plan = [](SimRandom*, bool) {
        FlowPlan plan;
        plan.messages = 2;
        plan.gap = seconds(30);
        return plan;
      };
    }
    TransportRun run(profile, trace);
    const RunResult result = run.run();
    SIM_CHECK(
        result.transports[0].flows_timed_out == 3 && result.transports[1].flows_timed_out == 3,
        "blackhole_kills: %llu and %llu flows given up",
        static_cast<unsigned long long>(result.transports[0].flows_timed_out),
        static_cast<unsigned long long>(result.transports[1].flows_timed_out));
    for (const Life& life : run.oracle().lives()) {
      SIM_CHECK(life.reason == ipc::kEndTimeout, "blackhole_kills: life %u ended for reason %u",
                life.uid, life.reason);
      const Duration after = since_start(life.ended);
      SIM_CHECK(after > seconds(4) && after < seconds(8), "blackhole_kills: given up after %lld ms",
                static_cast<long long>(after.ns / 1'000'000));
    }
  }
}

void one_way_loss(uint64_t seed, FILE* trace) {
  for (int direction = 0; direction < 2; direction++) {
    Profile profile = plain_profile(seed);
    profile.opens[0] = 2;
    profile.plan = send_plan(3000, 1000, true);
    profile.run_min = seconds(3);
    cut(&profile, direction, microseconds(400), milliseconds(2500));
    const RunResult result = run_profile(profile, trace);
    SIM_CHECK(result.links[direction].blackholed > 0, "one_way_loss: came too late");
    SIM_CHECK(result.messages == 12000, "one_way_loss: %llu messages",
              static_cast<unsigned long long>(result.messages));
  }
}

void faulty(uint64_t seed, FILE* trace, const char* name, void (*make)(LinkConfig*),
            uint64_t LinkCounters::*count) {
  Profile profile = plain_profile(seed);
  profile.opens[0] = 2;
  profile.opens[1] = 2;
  profile.plan = send_plan(400, 2500, true, EndAction::kClose);
  for (auto& link : profile.link) make(&link);
  const RunResult result = run_profile(profile, trace);
  SIM_CHECK(result.links[0].*count > 10 && result.links[1].*count > 10,
            "%s: the fault did not happen", name);
}

void reorder_heavy(uint64_t seed, FILE* trace) {
  faulty(
      seed, trace, "reorder_heavy",
      [](LinkConfig* link) {
        link->reorder = 0.3;
        link->reorder_delay = microseconds(500);
      },
      &LinkCounters::reordered);
}

void duplicate_everything(uint64_t seed, FILE* trace) {
  faulty(
      seed, trace, "duplicate_everything", [](LinkConfig* link) { link->duplicate = 1; },
      &LinkCounters::duplicates);
}

void corrupt_everything_10pct(uint64_t seed, FILE* trace) {
  faulty(
      seed, trace, "corrupt", [](LinkConfig* link) { link->corrupt = 0.1; },
      &LinkCounters::corrupted);
}

void burst_loss(uint64_t seed, FILE* trace) {
  faulty(
      seed, trace, "burst_loss",
      [](LinkConfig* link) {
        link->burst_enter = 0.01;
        link->burst_leave = 0.1;
        link->burst_loss = 1;
      },
      &LinkCounters::losses);
}

void loss_30pct(uint64_t seed, FILE* trace) {
  faulty(
      seed, trace, "loss_30pct", [](LinkConfig* link) { link->loss = 0.3; }, &LinkCounters::losses);
}

// Only acknowledgements are lost: cumulative acks must make up for it.
void ack_loss(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.plan = send_plan(3000, 1400, false);
  profile.link[1].loss = 0.5;
  const RunResult result = run_profile(profile, trace);
  SIM_CHECK(result.messages == 3000 && result.links[1].losses > 10, "ack_loss: %llu messages",
            static_cast<unsigned long long>(result.messages));
}

// A queue much shorter than the window: the overflow is lost again and again.
void short_queue(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.opens[0] = 4;
  profile.plan = send_plan(500, 1400, false);
  for (auto& link : profile.link) {
    link.bits_per_second = 200'000'000;
    link.queue_packets = 16;
  }
  const RunResult result = run_profile(profile, trace);
  SIM_CHECK(result.messages == 2000 && result.links[0].queue_drops > 0,
            "short_queue: %llu messages, %llu drops",
            static_cast<unsigned long long>(result.messages),
            static_cast<unsigned long long>(result.links[0].queue_drops));
}

// Nothing to send on a network that loses every third packet: in half an hour nobody is taken for
// dead.
void idle_35pct(uint64_t seed, FILE* trace) {
  Profile profile = plain_profile(seed);
  profile.opens[0] = 8;
  profile.plan = send_plan(1, 100, true);
  profile.run_min = seconds(1800);
  profile.run_max = seconds(1900);
  for (LinkConfig& link : profile.link) link.loss = 0.35;
  const RunResult result = run_profile(profile, trace);
  for (const auto& transport : result.transports) {
    SIM_CHECK(transport.flows_opened == 8 && transport.flows_timed_out + transport.flows_reset == 0,
              "idle_35pct: %llu of %llu flows given up, %llu reset",
              static_cast<unsigned long long>(transport.flows_timed_out),
              static_cast<unsigned long long>(transport.flows_opened),
              static_cast<unsigned long long>(transport.flows_reset));
  }
  SIM_CHECK(result.links[0].losses > 1000, "idle_35pct: the network lost only %llu packets",
            static_cast<unsigned long long>(result.links[0].losses));
}

// A flow with a hole, on a network that is dead until flows are given up; its peer starts anew
// meanwhile, and owes nothing any more.
void hole_then_restart(uint64_t seed, FILE* trace) {
  for (uint64_t i = 0; i < 20; i++) {
    Profile profile = plain_profile(seed + i);
    profile.opens[0] = 4;
    profile.plan = send_plan(400, 1400, true);
    profile.link[1].loss = 0.2;
    const Duration at = microseconds(150 + 10 * static_cast<int64_t>(i));
    for (int d = 0; d < 2; d++) cut(&profile, d, at, seconds(7));
    profile.restart_host_at[1] = at + microseconds(300);
    profile.timeouts_allowed = true;
    profile.run_min = seconds(8);
    run_profile(profile, trace);
  }
}

// A flow with a hole, of which the sender hears only shortly before the receiver gives up.
void hole_told_late(uint64_t seed, FILE* trace) {
  for (int64_t us = 4'990'000; us < 5'003'000; us += 500) {
    Profile profile = plain_profile(seed + static_cast<uint64_t>(us));
    profile.opens[0] = 4;
    profile.plan = send_plan(400, 1400, false);
    for (LinkConfig& link : profile.link) link.delay = microseconds(400);
    profile.link[0].loss = 0.2;
    cut(&profile, 1, microseconds(1900), microseconds(us));
    profile.timeouts_allowed = true;
    profile.run_min = seconds(6);
    run_profile(profile, trace);
  }
}

// A flow with a hole and a closed window: that the window is open again gets lost on a network that
// dies, so that the sender may not send what is missing.
void hole_and_no_room(uint64_t seed, FILE* trace) {
  for (uint64_t i = 0; i < 50; i++) {
    Profile profile = plain_profile(seed + i);
    profile.opens[0] = profile.opens[1] = 2;
    profile.plan = send_plan(100, 1400, true);
    profile.appetite[0] = {{.gap = microseconds(40)}};
    profile.shape[0].rx_buffers = 32;
    for (LinkConfig& link : profile.link) {
      link.delay = microseconds(60);
      link.loss = 0.05;
    }
    const Duration at = microseconds(600 + 17 * static_cast<int64_t>(i));
    for (int d = 0; d < 2; d++) cut(&profile, d, at, seconds(7));
    profile.timeouts_allowed = true;
    profile.run_min = seconds(8);
    run_profile(profile, trace);
  }
}

// Large messages both ways, as fast as the NICs take them: packets are full, so the acks that they
// carry have no room for ranges, and what has arrived must not be taken for lost because of that.
void loss_both_ways(uint64_t seed, FILE* trace) {
  using enum transport::CongestionKind;
  for (transport::CongestionKind kind : {kFixed, kSwift, kCubic}) {
    for (uint32_t size : {64u << 10, 8u << 20}) {
      Profile profile = plain_profile(seed);
      profile.plan = send_plan((24 << 20) / size, size, true);
      profile.contents_checked = false;
      profile.nic_depth = 32;
      profile.tx_burst = 4;
      for (int i = 0; i < 2; i++) {
        profile.transport[i].window_packets_max = 1024;
        profile.transport[i].congestion = kind;
        profile.shape[i].tx_buffers = profile.shape[i].rx_buffers = 4096;
      }
      uint64_t lost = 0;
      const RunResult result = run_profile(profile, trace, [&lost, seed](TransportRun* run) {
        for (uint64_t direction = 0; direction < 2; direction++) {
          run->link(static_cast<int>(direction))
              .drop_if([&lost, random = SimRandom(2 * seed + direction)](
                           uint64_t, std::span<const uint8_t> bytes) mutable {
                if (!random.chance(0.01)) return false;
                lost += packet_type(bytes) == PacketType::kData;
                return true;
              });
        }
      });
      const uint64_t again =
          result.transports[0].retransmitted_packets + result.transports[1].retransmitted_packets;
      SIM_CHECK(lost > 200 && 10 * again <= 13 * lost,
                "loss_both_ways: %llu packets lost, %llu sent again",
                static_cast<unsigned long long>(lost), static_cast<unsigned long long>(again));
    }
  }
}

constexpr Scenario kScenarios[] = {
    {"clean", clean},
    {"lost_tail", lost_tail},
    {"lost_middle", lost_middle},
    {"lost_handshake_each_packet", lost_handshake_each_packet},
    {"blackhole_then_heal", blackhole_then_heal},
    {"blackhole_kills", blackhole_kills},
    {"one_way_loss", one_way_loss},
    {"reorder_heavy", reorder_heavy},
    {"duplicate_everything", duplicate_everything},
    {"corrupt_everything_10pct", corrupt_everything_10pct},
    {"burst_loss", burst_loss},
    {"loss_30pct", loss_30pct},
    {"loss_both_ways", loss_both_ways},
    {"ack_loss", ack_loss},
    {"idle_35pct", idle_35pct},
    {"short_queue", short_queue},
    {"hole_then_restart", hole_then_restart},
    {"hole_told_late", hole_told_late},
    {"hole_and_no_room", hole_and_no_room},
};

}  // namespace

std::span<const Scenario> loss_scenarios() { return kScenarios; }

}  // namespace mn::test
