// SPDX-License-Identifier: MIT
// ServiceManager: what the service tells systemd (sd_notify(3)): ready, reloading, stopping, one
// live line of status, and that it lives, while every engine does. Control thread, on the control
// plane's event loop. Without a service manager that listens it does nothing and arms no timer.
#pragma once

#include <systemd/sd-event.h>

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "control/engine_watch.h"
#include "control/event_source.h"

namespace mn::control {

// The line that `systemctl status` shows, before there is an event loop: what a slow start does.
void tell_status(const std::string& text);

class ServiceManager {
 public:
  struct Status {
    std::string text;
    bool is_live = false;  // may change without anybody calling status_changed
  };

  ServiceManager(EngineWatch engines, std::function<Status()> status)
      : engines_(std::move(engines)), status_(std::move(status)) {}
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  // READY=1, and from now on the status and, if WatchdogSec= is set, the watchdog's food.
  Result<void> start(sd_event* loop);
  // Something that the status shows may be different. Cheap; the line goes out at most once in
  // kStatusPeriod, and only if it changed.
  void status_changed();
  // Runs `apply` between RELOADING=1 and READY=1.
  void reload(const std::function<void()>& apply);
  void stop();  // STOPPING=1

  static constexpr Duration kStatusPeriod = seconds(1);

 private:
  static int on_watchdog(sd_event_source*, uint64_t, void* self);
  static int on_status(sd_event_source*, uint64_t, void* self);

  int arm(EventSource* timer, Duration delay, sd_event_time_handler_t handler);
  Duration feed();
  void send_status();
  void tell_ready() const;

  EngineWatch engines_;
  const std::function<Status()> status_;
  sd_event* loop_ = nullptr;
  bool is_heard_ = false;  // a service manager listens
  Duration watchdog_period_{};
  bool is_starving_ = false;  // the watchdog is not fed
  EventSource watchdog_timer_;
  EventSource status_timer_;
  bool status_is_due_ = false;
  Instant status_sent_{};
  std::string status_text_;  // as sent
};

}  // namespace mn::control
