// SPDX-License-Identifier: MIT
// LinkWatch: tells the log when the link of a NIC goes down or comes back and when the NIC was
// reset, and the status line which are down now. Control thread, on the control plane's event loop:
// it looks once a second, since not every driver calls when something happens; so a link that flaps
// writes a line a second at most. Without a NIC it arms no timer.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "control/engine_link.h"
#include "control/event_source.h"

namespace mn::control {

class LinkWatch {
 public:
  static constexpr Duration kPeriod = seconds(1);

  // `on_change`: after the log has it.
  LinkWatch(std::span<const std::unique_ptr<EngineLink>> engines, std::function<void()> on_change)
      : engines_(engines),
        is_down_(engines.size(), false),
        resets_(engines.size(), 0),
        on_change_(std::move(on_change)) {}
  LinkWatch(const LinkWatch&) = delete;
  LinkWatch& operator=(const LinkWatch&) = delete;

  // Looks at once, and from now on.
  Result<void> start(sd_event* loop);
  void stop() { timer_.reset(); }
  bool is_down(size_t engine) const { return is_down_[engine]; }  // as of the last look

 private:
  static int on_timer(sd_event_source*, uint64_t, void* self);
  void look();
  void look_for_reset(size_t engine);
  int arm();

  std::span<const std::unique_ptr<EngineLink>> engines_;
  std::vector<bool> is_down_;     // as engines_
  std::vector<uint64_t> resets_;  // as engines_
  const std::function<void()> on_change_;
  sd_event* loop_ = nullptr;
  EventSource timer_;
};

}  // namespace mn::control
