// SPDX-License-Identifier: MIT
#include "libmachnet/tools/run_loop.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace mn::tools {
namespace {

constexpr uint64_t kSecondNs = 1'000'000'000;
constexpr uint64_t kDrainNs = kSecondNs;  // how long outstanding messages are waited for

}  // namespace

uint64_t clock_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * kSecondNs + static_cast<uint64_t>(now.tv_nsec);
}

RunLoop::RunLoop() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  done_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

RunLoop::~RunLoop() {
  close(signal_fd_);
  close(done_fd_);
}

void RunLoop::worker_done() {
  workers_done_.fetch_add(1, std::memory_order_release);  // pairs with the acquire in run
  const uint64_t one = 1;
  if (write(done_fd_, &one, sizeof one) < 0) return;  // cannot fail but for a full counter
}

void RunLoop::worker_failed(const std::string& message) {
  // The first failure explains the run; the others follow from it.
  if (failed_.exchange(true)) return;
  std::fprintf(stderr, "%s\n", message.c_str());
  phase_.store(RunPhase::kStopping, std::memory_order_relaxed);
}

void RunLoop::on_signal() {
  signalfd_siginfo info{};
  if (read(signal_fd_, &info, sizeof info) != sizeof info) return;
  if (phase_.load(std::memory_order_relaxed) == RunPhase::kStopping) _exit(130);
  signalled_ = true;
  phase_.store(RunPhase::kStopping, std::memory_order_relaxed);
}

// Returns early when a signal came or a worker ended.
void RunLoop::wait_until(uint64_t at_ns) {
  const uint64_t now = clock_ns();
  const uint64_t left = at_ns > now ? at_ns - now : 0;
  timespec timeout{static_cast<time_t>(left / kSecondNs), static_cast<long>(left % kSecondNs)};
  pollfd fds[2] = {{signal_fd_, POLLIN, 0}, {done_fd_, POLLIN, 0}};
  if (ppoll(fds, 2, &timeout, nullptr) <= 0) return;
  if (fds[0].revents != 0) on_signal();
  uint64_t drained = 0;
  if (fds[1].revents != 0 && read(done_fd_, &drained, sizeof drained) < 0) return;
}

int RunLoop::run(Reporter* reporter, const std::vector<WorkerStats*>& workers, double duration_s,
                 double warmup_s) {
  const uint64_t start = clock_ns();
  const uint64_t warm = start + static_cast<uint64_t>(warmup_s * 1e9);
  const uint64_t end =
      duration_s > 0 ? warm + static_cast<uint64_t>(duration_s * 1e9) : UINT64_MAX - kDrainNs;
  uint64_t measured_from = start;
  bool is_warm = warm == start;
  Totals base = Totals::of(workers);
  Totals last = base;
  uint64_t last_at = start;
  uint64_t tick = start + kSecondNs;
  while (workers_done_.load(std::memory_order_acquire) <
         workers.size()) {  // pairs with worker_done
    uint64_t next = std::min(tick, phase() == RunPhase::kRunning ? end : end + kDrainNs);
    if (!is_warm) next = std::min(next, warm);
    wait_until(next);
    const uint64_t now = clock_ns();
    if (!is_warm && now >= warm) {
      base = Totals::of(workers);
      measured_from = now;
      is_warm = true;
    }
    if (now >= end && phase() == RunPhase::kRunning) {
      phase_.store(RunPhase::kDraining, std::memory_order_relaxed);
    } else if (now >= end + kDrainNs) {
      phase_.store(RunPhase::kStopping, std::memory_order_relaxed);
    }
    if (now >= tick) {
      const Totals totals = Totals::of(workers);
      reporter->interval(static_cast<double>(now - start) / 1e9,
                         static_cast<double>(now - last_at) / 1e9, totals.since(last));
      last = totals;
      last_at = now;
      tick = std::max(tick + kSecondNs, now);
    }
  }
  const Totals result = Totals::of(workers).since(base);
  reporter->summary(static_cast<double>(clock_ns() - measured_from) / 1e9, result);
  // Unanswered messages are expected only where the user cut the run short.
  const bool incomplete = result.unanswered > 0 && !signalled_;
  return failed_.load() || result.corrupt > 0 || incomplete ? 1 : 0;
}

}  // namespace mn::tools
