// SPDX-License-Identifier: MIT
// CongestionLab: many sending hosts and one receiver behind one bottleneck in virtual time, for
// what can only be seen with several flows: queues, fairness, incast, policers. Hosts are real
// Transports over ArrayStores with an engine's order of work around them; nobody checks contents
// here, SimRun does that. One thread; the same configuration gives the same numbers.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "support/array_store.h"
#include "support/sim_link.h"
#include "transport/transport.h"

namespace mn::test {

struct LabConfig {
  transport::CongestionKind congestion = transport::CongestionKind::kSwift;
  uint32_t senders = 1;
  LinkConfig bottleneck;  // the last hop to the receiver
  uint64_t access_bits_per_second = 25'000'000'000;
  uint32_t window_max = 256;
  uint16_t mss = 1440;
  Duration poll_delay_max{};  // hosts that look late
  uint64_t seed = 1;
};

class LabHost;

// One flow, from a sender to the receiver.
struct LabFlow {
  uint32_t id = 0;
  LabHost* sender = nullptr;
  uint32_t request_bytes = 0;  // 0: bulk, as much as goes; else one request after another
  Instant stop = Instant::never();
  transport::FlowHandle handle = transport::kNoHandle;
  bool connected = false;
  uint64_t received_bytes = 0;
  Instant request_sent{};
  bool request_out = false;
  std::vector<Duration> latencies;
};

class CongestionLab {
 public:
  explicit CongestionLab(const LabConfig& config);
  ~CongestionLab();

  // Flow numbers. Times count from the start.
  uint32_t add_bulk(uint32_t sender, Duration start, Duration stop = seconds(1000));
  uint32_t add_requests(uint32_t sender, Duration start, uint32_t bytes);
  void run_until(Duration time);

  const LabFlow& flow(uint32_t id) const { return *flows_[id]; }
  std::vector<Duration>& latencies(uint32_t id) { return flows_[id]->latencies; }
  uint64_t received_bytes() const;
  SimLink& bottleneck() { return *bottleneck_; }
  SimClock& clock() { return clock_; }
  transport::FlowSnapshot snapshot(uint32_t id) const;
  // Of the receiving direction at the bottleneck, since the last call: dropped of sent packets.
  double loss_share();

 private:
  friend class LabHost;
  uint32_t add(uint32_t sender, Duration start, Duration stop, uint32_t request_bytes);
  LabHost* host_of(Ipv4 address);

  LabConfig config_;
  SimClock clock_;
  SimTrace trace_;
  SimRandom random_;
  Instant begin_;
  std::unique_ptr<SimLink> bottleneck_;
  std::unique_ptr<SimLink> back_;
  std::vector<std::unique_ptr<LabHost>> hosts_;  // the receiver is the first
  std::vector<std::unique_ptr<LabFlow>> flows_;
  LinkCounters before_;
};

// Jain's index of fairness: 1 when all are equal, 1/n when one has all.
double jain_index(const std::vector<double>& shares);

}  // namespace mn::test
