// SPDX-License-Identifier: MIT
// Reporter: what a measuring program prints: one line a second and a summary, for people or as JSON
// (one object a line). WorkerStats is what each measuring thread writes and the reporting one
// reads.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "libmachnet/tools/histogram.h"

namespace mn::tools {

// Written by one worker thread, read by the reporting thread while it runs.
struct WorkerStats {
  std::atomic<uint64_t> messages{0};    // request-responses finished (client), answered (server)
  std::atomic<uint64_t> bytes{0};       // of those, one direction
  std::atomic<uint64_t> lost{0};        // given up (datagram stacks only)
  std::atomic<uint64_t> corrupt{0};     // failed --verify
  std::atomic<uint64_t> unanswered{0};  // outstanding when the run ended
  Histogram rtt;

  static void add(std::atomic<uint64_t>& counter, uint64_t n) {  // single writer
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
};

// All workers at one moment.
struct Totals {
  uint64_t messages = 0, bytes = 0, lost = 0, corrupt = 0, unanswered = 0;
  HistogramSnapshot rtt;

  static Totals of(const std::vector<WorkerStats*>& workers);
  Totals since(const Totals& earlier) const;
};

struct RunDescription {
  std::string stack;  // "machnet", "tcp", "udp"
  std::string mode;   // "polling", "blocking", ...
  bool is_client = false;
  uint64_t msg_size = 0, msg_window = 0, flows = 0, threads = 0;
};

class Reporter {
 public:
  Reporter(const RunDescription& run, bool json) : run_(run), json_(json) {}

  void interval(double at_s, double length_s, const Totals& delta);
  void summary(double length_s, const Totals& delta);

 private:
  RunDescription run_;
  bool json_;
  bool was_idle_ = false;
};

}  // namespace mn::tools
