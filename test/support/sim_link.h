// SPDX-License-Identifier: MIT
// SimLink: one direction of a cable in virtual time: rate, propagation delay with jitter, a finite
// queue, a policer, and the faults of networks: random and bursty loss (Gilbert-Elliott),
// duplication, reordering, bit flips, replay of old packets, exact drops, black holes. Everything
// is drawn from the link's seed. It carries bytes and does not know what they mean, except that bit
// flips start at `corrupt_from` (what an Ethernet FCS would have caught is no business of ours).
// Bytes that were damaged are marked, so that a test can say what must have been refused.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "support/sim_clock.h"

namespace mn::test {

struct LinkConfig {
  uint64_t bits_per_second = 10'000'000'000;
  Duration delay = microseconds(5);
  Duration jitter{};  // up to this much more, without reordering
  uint32_t queue_packets = 1024;
  uint64_t policed_bits_per_second = 0;  // > 0: a token bucket drops what exceeds it
  uint64_t policed_burst_bytes = 64 * 1024;
  double loss = 0;           // of each packet
  double burst_enter = 0;    // good -> bad, tried for each packet (Gilbert-Elliott)
  double burst_leave = 0.2;  // bad -> good
  double burst_loss = 0.9;   // in the bad state
  double duplicate = 0;
  double reorder = 0;  // delayed by up to reorder_delay, others overtake
  Duration reorder_delay = microseconds(200);
  double corrupt = 0;             // up to 15 bits in a row change: a checksum must catch it
  uint32_t corrupt_from = 0;      // first byte that may be damaged
  uint32_t corrupt_size_min = 0;  // shorter packets are spared (ARP has no checksum of its own)
  double replay = 0;              // a packet of the past is sent once more
  bool blackhole = false;         // nothing arrives
  uint32_t bytes_max = 0;         // longer packets do not arrive; 0: all may
};

struct LinkCounters {
  uint64_t sent = 0, delivered = 0, queue_drops = 0, losses = 0, exact_drops = 0, blackholed = 0;
  uint64_t duplicates = 0, reordered = 0, corrupted = 0, replayed = 0, policed = 0;
};

class SimLink {
 public:
  using Deliver = std::function<void(std::span<const uint8_t> bytes, bool damaged)>;
  // Sees each packet before any fault; true: it is dropped. `index` counts packets from 0.
  using DropIf = std::function<bool(uint64_t index, std::span<const uint8_t> bytes)>;

  SimLink(SimClock* clock, SimTrace* trace, uint64_t seed, const LinkConfig& config,
          Deliver deliver);

  void send(std::span<const uint8_t> bytes);
  // Packets waiting for the wire.
  size_t queued();
  // When the queue is down to `packets`.
  Instant drained_to(size_t packets);

  LinkConfig& config() { return config_; }  // may change while packets fly
  // Turns every fault off; what flies keeps its fate.
  void heal();
  void drop_if(DropIf drop_if) { drop_if_ = std::move(drop_if); }
  const LinkCounters& counters() const { return counters_; }

 private:
  struct Flight {
    std::vector<uint8_t> bytes;
    bool damaged = false;
  };
  bool lost(std::span<const uint8_t> bytes);
  bool policed(size_t bytes);
  void fly(std::span<const uint8_t> bytes, Instant arrival);
  void damage(Flight* flight);
  void arrive(uint32_t slot);
  void remember(std::span<const uint8_t> bytes);

  SimClock* clock_;
  SimTrace* trace_;
  SimRandom random_;
  LinkConfig config_;
  Deliver deliver_;
  DropIf drop_if_;
  LinkCounters counters_;
  bool burst_ = false;
  Instant busy_until_{};
  double tokens_ = 0;  // bytes
  Instant tokens_at_{};
  Instant last_arrival_{};
  std::deque<Instant> departures_;
  std::deque<Flight>
      flights_;  // slots; a deque so that references stay good while a delivery sends
  std::vector<uint32_t> free_flights_;
  std::vector<std::vector<uint8_t>> past_;
  size_t past_next_ = 0;
};

}  // namespace mn::test
