// SPDX-License-Identifier: MIT
// EngineWatch: whether every engine still goes round its loop, by the counters that they keep. An
// engine may sleep for EngineThread::kSleepMax; one whose counter stands still for longer than
// kStandMax is stuck. Control thread; the time is an argument, nothing is done about what it finds.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/time.h"
#include "control/engine_link.h"

namespace mn::control {

class EngineWatch {
 public:
  // Twice the longest sleep: a thread that is ready may have to wait for a processor.
  static constexpr Duration kStandMax = seconds(2);

  explicit EngineWatch(std::span<const std::unique_ptr<EngineLink>> engines) : engines_(engines) {}

  // Looks at all engines; the first that is stuck, nullptr if none is. How long it stands still is
  // known from one look to the next, so look more than once.
  const EngineLink* find_stuck(Instant now) {
    if (seen_.empty()) seen_.resize(engines_.size(), Seen{.count = 0, .since = now});
    const EngineLink* stuck = nullptr;
    for (size_t i = 0; i < engines_.size(); i++) {
      const uint64_t count = engines_[i]->heartbeat();
      if (count != seen_[i].count) {
        seen_[i] = {count, now};
      } else if (stuck == nullptr && now - seen_[i].since > kStandMax) {
        stuck = engines_[i].get();
      }
    }
    return stuck;
  }

 private:
  struct Seen {
    uint64_t count = 0;
    Instant since{};
  };

  std::span<const std::unique_ptr<EngineLink>> engines_;
  std::vector<Seen> seen_;  // as engines_
};

}  // namespace mn::control
