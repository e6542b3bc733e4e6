// SPDX-License-Identifier: MIT
// Paths that take smaller packets than both hosts, and say nothing about the others.
#include <algorithm>

#include "sim/scenario.h"
#include "sim/scenario_util.h"

namespace mn::test {
namespace {

using wire::PacketType;

constexpr uint16_t kMssJumbo = 8940;

Profile path_profile(uint64_t seed, uint16_t mss) {
  Profile profile = plain_profile(seed);
  profile.run_min = milliseconds(800);  // the network is not healed before all has arrived
  for (int i = 0; i < 2; i++) {
    profile.transport[i].mss = mss;
    profile.shape[i].buffer_size = (mss + 63u) / 64 * 64;
  }
  return profile;
}

// From then on the path takes packets of so many bytes and no larger.
void narrow(Profile* profile, int direction, Duration at, uint32_t bytes_max) {
  profile->changes.push_back(
      {at, direction, [bytes_max](SimLink* link) { link->config().bytes_max = bytes_max; }});
}

// When the last of `messages` arrived.
std::function<void(TransportRun*)> time_of(uint64_t messages, Instant* ret_at) {
  return [messages, ret_at](TransportRun* run) {
    run->on_step = [run, messages, ret_at] {
      if (ret_at->ns == 0 && run->oracle().messages_received() == messages)
        *ret_at = run->clock().now();
    };
  };
}

// From the start or from some moment on: found soon, counted once, lived with; bundles, long
// messages and what was cut before arrive.
void path_eats_large_packets(uint64_t seed, FILE* trace) {
  for (const uint32_t size : {100u, 700u, 5000u, 60'000u}) {
    for (const uint16_t mss : {uint16_t{1440}, kMssJumbo}) {
      for (const Duration at : {Duration{}, microseconds(60), microseconds(300)}) {
        const uint32_t count = 3'000'000 / size;
        Profile profile = path_profile(seed, mss);
        profile.plan = send_plan(count, size, false);
        narrow(&profile, 0, at, 1400);
        Instant delivered{};
        const RunResult result = run_profile(profile, trace, time_of(count, &delivered));
        SIM_CHECK(result.links[0].blackholed > 0, "eats_large: ate nothing of %u with %u from %lld",
                  size, mss, static_cast<long long>(at.ns));
        SIM_CHECK(delivered.ns != 0 && since_start(delivered) < milliseconds(60),
                  "eats_large: %llu messages of %u with %u from %lld took %lld us",
                  static_cast<unsigned long long>(result.messages), size, mss,
                  static_cast<long long>(at.ns),
                  static_cast<long long>(since_start(delivered).ns / 1000));
        SIM_CHECK(result.transports[0].path_mtu_reduced == 1 &&
                      result.transports[1].path_mtu_reduced == 0,
                  "eats_large: counted %llu times",
                  static_cast<unsigned long long>(result.transports[0].path_mtu_reduced));
      }
    }
  }
}

// Both directions, many flows, less than what the flows fall back to first.
void path_takes_576(uint64_t seed, FILE* trace) {
  Profile profile = path_profile(seed, kMssJumbo);
  profile.opens[0] = profile.opens[1] = 4;
  profile.plan = send_plan(200, 3000, true);
  for (int d = 0; d < 2; d++) narrow(&profile, d, {}, 14 + 516 + 32);
  Instant delivered{};
  const RunResult result = run_profile(profile, trace, time_of(8 * 2 * 200, &delivered));
  SIM_CHECK(delivered.ns != 0 && since_start(delivered) < milliseconds(400),
            "takes_576: %llu messages", static_cast<unsigned long long>(result.messages));
  for (const auto& counters : result.transports) {
    SIM_CHECK(counters.path_mtu_reduced >= 2 * 8, "takes_576: stepped down %llu times",
              static_cast<unsigned long long>(counters.path_mtu_reduced));
  }
}

// Loss of packets of every size is not taken for it.
void path_loss_is_no_mtu(uint64_t seed, FILE* trace) {
  Profile profile = path_profile(seed, kMssJumbo);
  profile.opens[0] = 8;
  profile.plan = send_plan(300, 20'000, false);
  for (LinkConfig& link : profile.link) link.loss = 0.03;
  const RunResult result = run_profile(profile, trace);
  SIM_CHECK(result.messages == 8 * 300 && result.links[0].losses > 100,
            "loss_is_no_mtu: %llu messages", static_cast<unsigned long long>(result.messages));
  SIM_CHECK(result.transports[0].path_mtu_reduced == 0, "loss_is_no_mtu: stepped down %llu times",
            static_cast<unsigned long long>(result.transports[0].path_mtu_reduced));
}

// A path that is dead for a while is not smaller afterwards, also when what the other side asks
// still arrives.
void path_dead_is_no_mtu(uint64_t seed, FILE* trace) {
  for (const bool both : {false, true}) {
    Profile profile = path_profile(seed, kMssJumbo);
    profile.opens[0] = 8;
    profile.plan = send_plan(300, 20'000, both);
    profile.bytes_budget = 256 << 20;
    profile.run_min = seconds(3);
    cut(&profile, 0, milliseconds(20), milliseconds(700));
    cut(&profile, 1, milliseconds(400), milliseconds(1200));
    const RunResult result = run_profile(profile, trace);
    SIM_CHECK(result.links[0].blackholed > 0, "dead_is_no_mtu: it was not");
    SIM_CHECK(result.messages == 8 * 300 * (both ? 2u : 1u), "dead_is_no_mtu: %llu messages",
              static_cast<unsigned long long>(result.messages));
    for (const auto& counters : result.transports) {
      SIM_CHECK(counters.path_mtu_reduced == 0, "dead_is_no_mtu: stepped down %llu times",
                static_cast<unsigned long long>(counters.path_mtu_reduced));
    }
  }
}

// The parts of one packet are more than the path's queue holds, and those of a window many more.
void path_narrow_with_short_queue(uint64_t seed, FILE* trace) {
  for (const uint32_t size : {8u, 60u, 1400u, 30'000u}) {
    const uint32_t count = std::min(5000u, 400'000 / size);
    Profile profile = path_profile(seed, kMssJumbo);
    profile.run_min = seconds(4);
    profile.plan = send_plan(count, size, true);
    for (int d = 0; d < 2; d++) {
      profile.link[d].bits_per_second = 100'000'000;
      profile.link[d].queue_packets = 8;
      profile.link[d].loss = 0.02;
      narrow(&profile, d, microseconds(100), 14 + 576);
    }
    Instant delivered{};
    const RunResult result = run_profile(profile, trace, time_of(2 * count, &delivered));
    SIM_CHECK(
        delivered.ns != 0 && since_start(delivered) < seconds(2) && result.links[0].queue_drops > 0,
        "narrow_with_short_queue: %llu messages of %u, %llu drops, %lld us",
        static_cast<unsigned long long>(result.messages), size,
        static_cast<unsigned long long>(result.links[0].queue_drops),
        static_cast<long long>(since_start(delivered).ns / 1000));
  }
}

// Large packets are eaten, and of those that pass many are lost: what is sent in parts arrives.
void path_narrow_and_lossy(uint64_t seed, FILE* trace) {
  for (const uint32_t size : {60u, 1400u, 50'000u}) {
    const uint32_t count = 1'000'000 / size;
    Profile profile = path_profile(seed, kMssJumbo);
    profile.plan = send_plan(count, size, true);
    for (int d = 0; d < 2; d++) {
      profile.link[d].loss = 0.05;
      profile.link[d].reorder = 0.05;
      profile.link[d].duplicate = 0.05;
      narrow(&profile, d, microseconds(100), 1500);
    }
    Instant delivered{};
    const RunResult result = run_profile(profile, trace, time_of(2 * count, &delivered));
    SIM_CHECK(delivered.ns != 0 && result.links[0].blackholed > 0,
              "narrow_and_lossy: %llu messages of %u",
              static_cast<unsigned long long>(result.messages), size);
    SIM_CHECK(result.transports[0].path_mtu_reduced > 0, "narrow_and_lossy: not found out");
  }
}

constexpr Scenario kScenarios[] = {
    {"path_eats_large_packets", path_eats_large_packets},
    {"path_takes_576", path_takes_576},
    {"path_loss_is_no_mtu", path_loss_is_no_mtu},
    {"path_dead_is_no_mtu", path_dead_is_no_mtu},
    {"path_narrow_and_lossy", path_narrow_and_lossy},
    {"path_narrow_with_short_queue", path_narrow_with_short_queue},
};

}  // namespace

std::span<const Scenario> path_mtu_scenarios() { return kScenarios; }

}  // namespace mn::test
