// SPDX-License-Identifier: MIT
// EngineThread: runs an Engine on a thread of its own. With IdleMode::kAdaptive it polls while
// there is work and for kSpin after, then sleeps until a doorbell, a packet, a command or a
// deadline. It gives the processor away when applications have something to do that it gave them,
// and keeps it for a moment when the network's answer is what everybody waits for. With
// IdleMode::kSpin it never sleeps. Owns the thread; the engine belongs to the caller and must
// outlive it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace mn {

enum class IdleMode : uint8_t { kSpin, kAdaptive };

struct EngineThreadConfig {
  IdleMode idle = IdleMode::kAdaptive;
  std::vector<int> cpus;     // allowed processors; empty: any
  std::string name;          // of the thread, at most 15 characters are used
  bool use_counter = false;  // as time, the processor's (base/engine_clock.h)
  // Called on the thread before the first and after the last poll (registration with DPDK).
  std::function<void()> enter, leave;
};

class EngineThread {
 public:
  EngineThread(Engine* engine, EngineThreadConfig config);
  ~EngineThread();  // stops and joins

  Result<void> start();
  void stop();  // asks the loop to end and joins; idempotent
  void set_idle(IdleMode idle) { idle_.store(idle, std::memory_order_relaxed); }
  // Grows with every round of the loop; a watchdog that sees it stand still for longer than the
  // longest sleep (kSleepMax) knows that the engine is stuck.
  uint64_t heartbeat() const { return heartbeat_.load(std::memory_order_relaxed); }

  static constexpr Duration kSleepMax = seconds(1);

 private:
  void run();

  Engine* engine_;
  EngineThreadConfig config_;
  std::atomic<IdleMode> idle_;
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> heartbeat_{0};
  std::thread thread_;
};

}  // namespace mn
