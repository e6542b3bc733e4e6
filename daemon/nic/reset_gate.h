// SPDX-License-Identifier: MIT
// ResetGate: how the threads at the queues of one device leave it alone while one of them resets
// it. Each port comes by when it is served, and nobody waits: who finds that a reset is wanted
// stays away from its queue until a later visit says otherwise; the keeper resets once all are
// away. Owned by the device; any number of threads, each with its own Visitor.
#pragma once

#include <atomic>
#include <cstdint>

namespace mn::nic {

class ResetGate {
 public:
  // What a port may do until its next visit.
  enum class Turn : uint8_t {
    kUse,    // as ever
    kLeave,  // leave its queue, and the device, alone
    kReset,  // reset it, and call `done` when that worked: all others are away
  };
  // A port's own; its engine's thread.
  struct Visitor {
    bool away = false;
    uint64_t resets_seen = 0;
  };

  explicit ResetGate(uint32_t ports) : ports_(ports) {}
  ResetGate(const ResetGate&) = delete;
  ResetGate& operator=(const ResetGate&) = delete;

  // True: a reset is wanted. For any thread, a driver's too.
  std::atomic<bool>* wanted() { return &wanted_; }

  // Only one of the ports `keeps` the device.
  Turn visit(Visitor* visitor, bool keeps) {
    if (!visitor->away) {
      if (!wanted_.load(std::memory_order_relaxed)) return Turn::kUse;
      visitor->away = true;
      // No reset happens without this port, so it has seen them all.
      visitor->resets_seen = resets_.load(std::memory_order_relaxed);
      // What it did to its queue happened before: pairs with the acquire below.
      away_.fetch_add(1, std::memory_order_release);
    } else if (resets_.load(std::memory_order_acquire) != visitor->resets_seen) {  // see done
      visitor->away = false;
      return Turn::kUse;
    }
    if (!keeps || away_.load(std::memory_order_acquire) != ports_) return Turn::kLeave;
    // Who wants another one from here on gets it.
    wanted_.store(false, std::memory_order_relaxed);
    return Turn::kReset;
  }

  // The keeper, after its turn to reset: everybody comes back, itself at once.
  void done(Visitor* keeper) {
    keeper->away = false;
    away_.store(0, std::memory_order_relaxed);
    // The device as it is now, and `away_`: pairs with the acquire in visit.
    resets_.fetch_add(1, std::memory_order_release);
  }

 private:
  const uint32_t ports_;
  std::atomic<bool> wanted_{false};
  std::atomic<uint32_t> away_{0};
  std::atomic<uint64_t> resets_{0};
};

}  // namespace mn::nic
