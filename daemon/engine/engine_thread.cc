// SPDX-License-Identifier: MIT
#include "engine/engine_thread.h"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cstring>

#include "base/engine_clock.h"

namespace mn {

namespace {

// How long an adaptive engine polls on after its last work: longer than the think time of a peer
// that answers at once, so that a conversation never pays for a wake-up.
constexpr Duration kSpin = microseconds(60);
// And so many empty polls at least: on a shared processor most of that time belongs to others.
constexpr uint32_t kSpinPolls = 100;
// What was sent is answered by the network within this time or soon after: a round trip between two
// services whose packets pass a kernel or a switch. Applications have nothing to do until then, so
// the processor is kept. A shorter time costs two switches just before the answer comes.
constexpr Duration kAnswer = microseconds(25);
// A yield that takes longer went to a program that does not sleep, and that keeps the processor for
// a time slice (milliseconds) each time, while who sleeps is woken at once. So the engine sleeps
// instead, for a while, and tries again: after a single long yield soon, where each try ends in one
// later and later.
constexpr Duration kCrowdedYield = microseconds(500);
constexpr Duration kCrowdedMin = milliseconds(1);
constexpr Duration kCrowdedMax = seconds(1);
constexpr uint32_t kShortYields = 16;  // in a row: nobody is in the way
// A NIC that cannot wake us is polled by timer: at first often, then up to this long apart.
constexpr Duration kBlindSleepMin = microseconds(50);
constexpr Duration kBlindSleepMax = milliseconds(1);

// Whether yields cost time slices.
class Crowd {
 public:
  void yield(Instant now) {
    yielded_at_ = now;
    sched_yield();
  }
  // After a yield, too. True: sleep instead of the next one.
  bool look(Instant now) {
    if (yielded_at_ != Instant::never()) note(now);
    return now < until_;
  }

 private:
  void note(Instant now) {
    const bool is_long = now - yielded_at_ > kCrowdedYield;
    yielded_at_ = Instant::never();
    if (__builtin_expect(is_long, 0)) {
      short_yields_ = 0;
      until_ = now + next_;
      next_ = std::min(next_ * 2, kCrowdedMax);
    } else if (++short_yields_ == kShortYields) {
      next_ = kCrowdedMin;
    }
  }

  Instant yielded_at_ = Instant::never();
  Instant until_{};
  Duration next_ = kCrowdedMin;
  uint32_t short_yields_ = 0;
};

}  // namespace

EngineThread::EngineThread(Engine* engine, EngineThreadConfig config)
    : engine_(engine), config_(std::move(config)), idle_(config_.idle) {}

EngineThread::~EngineThread() { stop(); }

Result<void> EngineThread::start() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  for (const int cpu : config_.cpus) CPU_SET(cpu, &cpus);
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), config_.name.substr(0, 15).c_str());
  if (config_.cpus.empty()) return {};
  const int error = pthread_setaffinity_np(thread_.native_handle(), sizeof cpus, &cpus);
  if (error == 0) return {};
  stop();
  return Error{"engine " + config_.name + ": cannot run on the processors that 'cpus' names: " +
               strerror(error) + "; name processors that are online and allowed"};
}

void EngineThread::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true, std::memory_order_relaxed);
  engine_->wake();
  thread_.join();
}

void EngineThread::run() {
  prctl(PR_SET_TIMERSLACK, 1UL);  // sleep as long as asked, not 50 us longer
  if (config_.enter) config_.enter();
  EngineClock clock(config_.use_counter);
  Instant last_work = clock.now();
  Duration blind_sleep = kBlindSleepMin;
  uint32_t empty_polls = 0;
  uint64_t rounds = 0;
  uint64_t clock_steps = 0;
  Crowd crowd;
  while (!stopping_.load(std::memory_order_relaxed)) {
    heartbeat_.store(++rounds, std::memory_order_relaxed);
    const bool adaptive = idle_.load(std::memory_order_relaxed) == IdleMode::kAdaptive;
    const Instant now = clock.now();
    if (__builtin_expect(clock.steps() != clock_steps, 0)) {
      engine_->note_clock_steps(clock_steps = clock.steps());
    }
    const bool is_crowded = crowd.look(now);
    if (engine_->poll_once(now) > 0) {
      last_work = now;
      empty_polls = 0;
      blind_sleep = kBlindSleepMin;
      // An application on this processor has what it waited for: it goes first.
      if (adaptive && !is_crowded && engine_->applications_turn()) crowd.yield(clock.now());
      continue;
    }
    if (!adaptive) {
      __builtin_ia32_pause();
      continue;
    }
    const Duration quiet = now - last_work;
    if (!is_crowded && (quiet < kSpin || ++empty_polls < kSpinPolls)) {
      if (engine_->applications_turn() || quiet >= kAnswer) crowd.yield(now);
      continue;
    }
    if (engine_->has_wake_for_nic()) {
      engine_->sleep(now, kSleepMax);
    } else {
      engine_->sleep(now, blind_sleep);
      blind_sleep = std::min(blind_sleep * 2, kBlindSleepMax);
    }
  }
  if (config_.leave) config_.leave();
}

}  // namespace mn
