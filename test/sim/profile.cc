// SPDX-License-Identifier: MIT
#include "sim/profile.h"

#include <algorithm>

namespace mn::test {
namespace {

template <typename T>
T pick(SimRandom* random, std::initializer_list<T> choices) {
  return choices.begin()[random->below(choices.size())];
}

// A link of some kind of network, without faults.
LinkConfig clean_link(SimRandom* random) {
  LinkConfig link;
  switch (random->below(6)) {
    case 0:  // a cloud VM
      link.bits_per_second = 5'000'000'000;
      link.delay = microseconds(40);
      link.jitter = microseconds(60);
      break;
    case 1:  // far away
      link.bits_per_second = 1'000'000'000;
      link.delay = milliseconds(static_cast<int64_t>(random->between(1, 20)));
      link.jitter = microseconds(300);
      break;
    case 2:  // slow, with a short queue
      link.bits_per_second = 100'000'000;
      link.delay = microseconds(50);
      link.queue_packets = static_cast<uint32_t>(random->between(8, 64));
      break;
    default:  // a rack
      link.bits_per_second =
          pick<uint64_t>(random, {10'000'000'000, 25'000'000'000, 100'000'000'000});
      link.delay = microseconds(static_cast<int64_t>(random->between(1, 10)));
      link.jitter = microseconds(static_cast<int64_t>(random->below(5)));
      break;
  }
  return link;
}

void add_faults(SimRandom* random, LinkConfig* link) {
  const double strength = pick<double>(random, {0.0005, 0.005, 0.02, 0.1});
  if (random->chance(0.5)) link->loss = strength * random->unit();
  if (random->chance(0.25)) {
    link->burst_enter = strength / 5;
    link->burst_leave = 0.05 + 0.5 * random->unit();
    link->burst_loss = 0.3 + 0.7 * random->unit();
  }
  if (random->chance(0.3)) link->duplicate = strength;
  if (random->chance(0.3)) {
    link->reorder = strength * 2;
    link->reorder_delay = microseconds(static_cast<int64_t>(random->between(1, 2000)));
  }
  if (random->chance(0.25)) link->corrupt = strength / 2;
  if (random->chance(0.2)) link->replay = strength;
}

FlowPlan random_plan(SimRandom* random, bool opener, uint32_t style) {
  FlowPlan plan;
  const uint64_t kind = style < 4 ? style : random->below(4);
  switch (kind) {
    case 0:  // requests and responses
      plan.messages = opener ? static_cast<uint32_t>(random->between(1, 60)) : 1000;
      plan.echo = !opener;
      plan.size_max = pick<uint32_t>(random, {1, 64, 200, 1500});
      plan.gap = opener ? microseconds(static_cast<int64_t>(random->below(300))) : Duration{};
      break;
    case 1:  // many small ones at once
      plan.messages = static_cast<uint32_t>(random->between(1, 600));
      plan.size_max = pick<uint32_t>(random, {8, 100, 700, 3000});
      break;
    case 2:  // long ones
      plan.messages = static_cast<uint32_t>(random->between(1, 5));
      plan.size_min = 1000;
      plan.size_max = pick<uint32_t>(random, {5000, 50'000, 300'000});
      break;
    default:  // now and then
      plan.messages = static_cast<uint32_t>(random->between(0, 6));
      plan.size_max = 5000;
      plan.gap = milliseconds(static_cast<int64_t>(random->between(1, 700)));
      break;
  }
  const uint64_t end = random->below(20);
  plan.end = end < 9 ? EndAction::kClose : end < 11 ? EndAction::kAbort : EndAction::kNone;
  plan.end_delay = random->chance(0.5) ? Duration{} : random->duration({}, milliseconds(5));
  return plan;
}

void random_applications(SimRandom* random, Profile* profile) {
  profile->stores = random->chance(0.3) ? 2 : 1;
  for (int host = 0; host < 2; host++) {
    StoreShape& shape = profile->shape[host];
    const bool small = random->chance(0.3);
    shape.tx_buffers =
        static_cast<uint32_t>(small ? random->between(1, 24) : random->between(64, 1024));
    shape.rx_buffers = static_cast<uint32_t>(random->chance(0.3) ? random->between(4, 32)
                                                                 : random->between(64, 1024));
    const uint32_t mss = profile->transport[host].mss;
    shape.buffer_size = (mss + 63) / 64 * 64;
    if (random->chance(0.2)) shape.buffer_size *= 2;
    shape.flow_slots = static_cast<uint32_t>(random->between(16, 64));
    for (uint32_t i = 0; i < profile->stores; i++) {
      Appetite appetite;
      if (random->chance(0.2)) appetite.gap = random->duration(microseconds(1), microseconds(300));
      if (random->chance(0.15)) {
        appetite.stopped_from = Instant{1'000'000'000} + random->duration({}, milliseconds(3));
        appetite.stopped_to = appetite.stopped_from + random->duration(milliseconds(1), seconds(8));
      }
      profile->appetite[host].push_back(appetite);
    }
  }
}

void random_cuts(SimRandom* random, Profile* profile) {
  Duration at = random->duration({}, milliseconds(5));
  const uint64_t cuts = random->between(1, 3);
  for (uint64_t i = 0; i < cuts; i++) {
    const bool both = random->chance(0.6);
    const int direction = static_cast<int>(random->below(2));
    const Duration length = random->chance(0.25)
                                ? random->duration(seconds(4), seconds(9))
                                : random->duration(microseconds(100), milliseconds(900));
    if (length >= seconds(2)) profile->timeouts_allowed = true;
    for (int d = 0; d < 2; d++) {
      if (!both && d != direction) continue;
      profile->changes.push_back({at, d, [](SimLink* link) { link->config().blackhole = true; }});
      profile->changes.push_back(
          {at + length, d, [](SimLink* link) { link->config().blackhole = false; }});
    }
    at = at + length + random->duration(milliseconds(1), milliseconds(200));
  }
}

// A path that takes smaller packets than the hosts, from the start or from some moment on, perhaps
// for a while; never so small that handshakes or the smallest data packets are eaten: those of 536
// bytes are frames of 610.
void random_path_mtu(SimRandom* random, Profile* profile) {
  const auto bytes_max = static_cast<uint32_t>(random->chance(0.2) ? random->between(640, 1280)
                                                                   : random->between(1280, 4000));
  const Duration at = random->chance(0.4) ? Duration{} : random->duration({}, milliseconds(5));
  const Duration length = random->duration(milliseconds(1), milliseconds(300));
  const bool for_good = random->chance(0.6);
  const bool both = random->chance(0.5);
  const int direction = static_cast<int>(random->below(2));
  for (int d = 0; d < 2; d++) {
    if (!both && d != direction) continue;
    profile->changes.push_back(
        {at, d, [bytes_max](SimLink* link) { link->config().bytes_max = bytes_max; }});
    if (for_good) continue;
    profile->changes.push_back(
        {at + length, d, [](SimLink* link) { link->config().bytes_max = 0; }});
  }
}

}  // namespace

Profile random_profile(uint64_t seed) {
  SimRandom random(seed);
  // Their own, so that the rest of a seed stays what it was.
  SimRandom controls(seed ^ 0x636f6e67);
  SimRandom paths(seed ^ 0x70617468);
  Profile profile;
  profile.seed = seed;
  const LinkConfig base = clean_link(&random);
  const bool faults = random.chance(0.75);
  for (int i = 0; i < 2; i++) {
    profile.link[i] = random.chance(0.85) ? base : clean_link(&random);
    if (faults && random.chance(0.9)) add_faults(&random, &profile.link[i]);
    transport::TransportConfig& transport = profile.transport[i];
    transport.flows_max = 64;
    transport.listeners_max = 16;
    transport.half_open_max = 32;
    transport.mss = pick<uint16_t>(&random, {536, 1400, 1440, 1440, 8940});
    transport.window_packets_max = pick<uint32_t>(&random, {4, 32, 256, 256, 1024});
    transport.congestion = pick<transport::CongestionKind>(
        &controls, {transport::CongestionKind::kFixed, transport::CongestionKind::kFixed,
                    transport::CongestionKind::kSwift, transport::CongestionKind::kCubic});
    transport.seed = random.next();
  }
  random_applications(&random, &profile);
  profile.opens[0] = static_cast<uint32_t>(random.between(1, random.chance(0.2) ? 14 : 5));
  profile.opens[1] = static_cast<uint32_t>(random.below(5));
  if (random.chance(0.3)) profile.tuples = static_cast<uint32_t>(random.between(1, 3));
  profile.open_spread = random.duration(microseconds(1), milliseconds(random.chance(0.5) ? 2 : 50));
  profile.bytes_budget = random.chance(0.02) ? 20 << 20 : random.between(10'000, 600'000);
  const uint32_t style = static_cast<uint32_t>(random.below(6));
  const bool huge = profile.bytes_budget > (10 << 20);
  profile.plan = [style, huge](SimRandom* r, bool opener) {
    FlowPlan plan = random_plan(r, opener, style);
    if (huge && r->chance(0.3)) plan.size_max = 8 << 20;
    return plan;
  };
  if (random.chance(0.2)) random_cuts(&random, &profile);
  if (paths.chance(0.15)) random_path_mtu(&paths, &profile);
  profile.poll_delay_max =
      pick<Duration>(&random, {{}, microseconds(2), microseconds(20), microseconds(500)});
  profile.rx_burst = pick<uint32_t>(&random, {1, 8, 32});
  profile.tx_burst = pick<uint32_t>(&random, {1, 8, 32, 64});
  profile.nic_depth = pick<uint32_t>(&random, {16, 64, 512, 4096});
  if (random.chance(0.06)) {
    profile.crash_application_at[random.below(2)] =
        random.duration(microseconds(1), milliseconds(10));
  }
  if (random.chance(0.06)) {
    profile.restart_host_at[random.below(2)] = random.duration(microseconds(1), milliseconds(10));
  }
  return profile;
}

}  // namespace mn::test
