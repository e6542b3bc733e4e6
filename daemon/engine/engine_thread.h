// SPDX-License-Identifier: MIT
// EngineThread: runs an Engine on a thread of its own with an idle policy: spin while there is work and
// for a little after, then yield the processor, then sleep until a doorbell, a packet, a command or a
// deadline. Owns the thread; the engine belongs to the caller and must outlive it.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace mn {

enum class IdleMode : uint8_t { kSpin, kAdaptive };

class EngineThread {
 public:
  EngineThread(Engine* engine, IdleMode idle, std::vector<int> cpus, std::string name);
  ~EngineThread();  // stops and joins

  Result<void> start();
  void stop();  // asks the loop to end and joins; idempotent
  // A number that grows with every poll; read by the watchdog of the control plane.
  uint64_t heartbeat() const { return heartbeat_.load(std::memory_order_relaxed); }

 private:
  void run();
  Engine* engine_;
  IdleMode idle_;
  std::vector<int> cpus_;
  std::string name_;
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> heartbeat_{0};
  std::thread thread_;
};

}  // namespace mn
