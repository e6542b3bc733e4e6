// SPDX-License-Identifier: MIT
// RunLoop: the main thread of a measuring program: prints a line a second, ends the run when its
// time is over, when every worker is done or on SIGINT and SIGTERM (a second one ends the process
// at once). Create it before the worker threads: they inherit the blocked signals.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "libmachnet/tools/reporter.h"

namespace mn::tools {

uint64_t clock_ns();  // CLOCK_MONOTONIC

// How workers are told to end.
enum class RunPhase : int {
  kRunning,
  kDraining,  // send nothing new, wait for what is outstanding
  kStopping,  // leave now
};

class RunLoop {
 public:
  RunLoop();
  ~RunLoop();
  RunLoop(const RunLoop&) = delete;
  RunLoop& operator=(const RunLoop&) = delete;

  // ---- Worker threads
  RunPhase phase() const { return phase_.load(std::memory_order_relaxed); }
  void worker_done();
  // Prints one line, and the run ends with exit code 1.
  void worker_failed(const std::string& message);

  // ---- Main thread
  // `duration_s` 0: no limit. What happened in the first `warmup_s` is not in the summary. Returns
  // the exit code; the summary is printed by then.
  int run(Reporter* reporter, const std::vector<WorkerStats*>& workers, double duration_s,
          double warmup_s);

 private:
  void wait_until(uint64_t at_ns);
  void on_signal();
  bool signalled_ = false;
  int signal_fd_ = -1;
  int done_fd_ = -1;
  std::atomic<RunPhase> phase_{RunPhase::kRunning};
  std::atomic<uint32_t> workers_done_{0};
  std::atomic<bool> failed_{false};
};

}  // namespace mn::tools
