// SPDX-License-Identifier: MIT
#include "sim/engine_profile.h"

#include <algorithm>

namespace mn::test {
namespace {

constexpr uint16_t kHeaders = 20 + 8 + 32;  // IPv4, UDP, Machnet

void make_setup(int host, EngineProfile* run) {
  EngineSetup& setup = run->setup[host];
  Profile& profile = run->profile;
  setup.facts.mac = Mac{{0x02, 0, 0, 0, 0, static_cast<uint8_t>(host + 1)}};
  setup.facts.mtu = static_cast<uint16_t>(profile.transport[host].mss + kHeaders);
  // ARP is not protected by a checksum: damage starts behind the Ethernet header, in frames longer
  // than ARP's.
  profile.link[host].corrupt_from = 14;
  profile.link[host].corrupt_size_min = 61;
}

void random_absences(SimRandom* random, EngineProfile* run) {
  for (uint64_t left = random->between(1, 3); left > 0; left--) {
    Absence absence;
    absence.host = static_cast<int>(random->below(2));
    absence.at = random->duration({}, milliseconds(random->chance(0.5) ? 5 : 500));
    absence.kind = static_cast<Absence::Kind>(random->below(4));
    if (absence.kind == Absence::Kind::kClock) {
      absence.length = random->duration(milliseconds(1), seconds(random->chance(0.5) ? 2 : 3600));
    } else if (random->chance(0.2)) {
      absence.length = random->duration(seconds(3), seconds(12));
      run->profile.timeouts_allowed = true;
    } else {
      absence.length = random->duration(milliseconds(1), milliseconds(900));
    }
    run->absences.push_back(absence);
    if (absence.kind != Absence::Kind::kLink || random->chance(0.5)) continue;
    // A cable between two NICs: both see it, and wait for each other as long as it takes.
    run->absences.back().length = random->duration(milliseconds(1), seconds(20));
    absence = run->absences.back();
    absence.host = 1 - absence.host;
    run->absences.push_back(absence);
  }
}

// Each side has its own number of queues, its own key, and a table that changes now and then.
void random_queues(SimRandom* random, EngineProfile* run) {
  for (EngineSetup& setup : run->setup) {
    setup.engines = static_cast<uint32_t>(random->chance(0.2) ? 16 : random->between(1, 4));
  }
  run->profile.tuples = 0;  // a port rests before it is used again
  if (!random->chance(0.5)) return;
  for (uint64_t left = random->between(1, 4); left > 0; left--) {
    run->resteers.push_back(
        {.host = static_cast<int>(random->below(2)),
         .at = random->duration({}, milliseconds(random->chance(0.5) ? 2 : 50))});
  }
}

}  // namespace

void schedule_resteers(EngineRun* run, const EngineProfile& engines) {
  for (const Resteer& resteer : engines.resteers) {
    run->clock().after(resteer.at, [run, resteer] { run->host(resteer.host).resteer(); });
  }
}

void add_resets(uint64_t seed, int count, EngineProfile* engines) {
  SimRandom random(seed);
  for (int i = 0; i < count; i++) {
    engines->absences.push_back({static_cast<int>(random.below(2)),
                                 random.duration({}, milliseconds(80)) + milliseconds(200) * i,
                                 random.duration(milliseconds(1), milliseconds(400)),
                                 Absence::Kind::kReset});
  }
}

void schedule_absences(EngineRun* run, const EngineProfile& engines) {
  for (const Absence& absence : engines.absences) {
    run->clock().after(absence.at, [run, absence] {
      EngineHost& host = run->host(absence.host);
      switch (absence.kind) {
        case Absence::Kind::kStop:
          return host.stop(absence.length);
        case Absence::Kind::kClock:
          return host.jump_clock(absence.length);
        case Absence::Kind::kLink:
          return host.drop_link(absence.length);
        case Absence::Kind::kReset:
          return host.reset_nic(absence.length);
      }
    });
  }
}

EngineProfile random_engine_profile(uint64_t seed) {
  EngineProfile run;
  run.profile = random_profile(seed);
  SimRandom random(seed ^ 0x656e67696e65);
  Profile& profile = run.profile;
  profile.bytes_budget = std::min<uint64_t>(profile.bytes_budget, 4 << 20);
  const bool faulty = random.chance(0.4);
  for (int i = 0; i < 2; i++) {
    // A switch between hosts drops what is too long, so both agree on the MTU.
    profile.transport[i].mss = profile.transport[0].mss;
    profile.shape[i].buffer_size =
        std::max(profile.shape[i].buffer_size, profile.shape[0].buffer_size);
    make_setup(i, &run);
    EngineSetup& setup = run.setup[i];
    setup.facts.tx_checksum_offload = random.chance(0.5);
    setup.facts.rx_checksum_offload = random.chance(0.5);
    setup.facts.tx_queue_depth =
        static_cast<uint16_t>(random.chance(0.3) ? random.between(1, 32) : 512);
    setup.facts.rx_queue_depth =
        static_cast<uint16_t>(random.chance(0.3) ? random.between(32, 128) : 512);
    setup.tx_frames = static_cast<uint32_t>(random.chance(0.3) ? random.between(32, 64) : 512);
    if (!faulty) continue;
    setup.faults.rx_drop = 0.02 * random.unit();
    setup.faults.rx_duplicate = 0.02 * random.unit();
    setup.faults.rx_swap = 0.05 * random.unit();
    setup.faults.rx_delay = 0.1 * random.unit();
    setup.faults.rx_corrupt = 0.02 * random.unit();
    setup.faults.tx_alloc_short = 0.3 * random.unit();
    setup.faults.tx_burst_short = 0.3 * random.unit();
  }
  if (random.chance(0.2)) run.setup[0].prefix_length = run.setup[1].prefix_length = 32;
  if (random.chance(0.15)) random_absences(&random, &run);
  if (random.chance(0.3)) random_queues(&random, &run);
  return run;
}

EngineProfile plain_engine_profile(uint64_t seed) {
  SimRandom random(seed);
  EngineProfile run;
  Profile& profile = run.profile;
  profile.seed = seed;
  for (int i = 0; i < 2; i++) {
    profile.transport[i].flows_max = 64;
    profile.transport[i].listeners_max = 16;
    profile.transport[i].half_open_max = 32;
    profile.transport[i].seed = random.next();
    profile.shape[i].buffer_size = 1472;
    profile.shape[i].tx_buffers = 512;
    profile.shape[i].rx_buffers = 1024;
    make_setup(i, &run);
  }
  profile.opens[0] = 1;
  profile.open_spread = microseconds(20);
  profile.run_min = milliseconds(20);
  profile.bytes_budget = 64 << 20;
  profile.plan = [](SimRandom*, bool) { return FlowPlan{}; };
  return run;
}

}  // namespace mn::test
