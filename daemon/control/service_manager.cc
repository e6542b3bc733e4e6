// SPDX-License-Identifier: MIT
#include "control/service_manager.h"

#include <systemd/sd-daemon.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/clock.h"
#include "base/log.h"
#include "base/log_ids.h"

namespace mn::control {
namespace {

constexpr uint64_t kAccuracyUs = 10'000;
// A stuck engine may come back (a debugger let go of it): soon enough to be fed in time.
constexpr Duration kStarvingPeriod = milliseconds(100);

uint64_t monotonic_us() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

// One line that systemd takes: it drops a status that is no UTF-8, such as a word that a
// configuration file has in another encoding.
std::string one_line(std::string text) {
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text;
}

}  // namespace

void tell_status(const std::string& text) { sd_notifyf(0, "STATUS=%s", one_line(text).c_str()); }

Result<void> ServiceManager::start(sd_event* loop) {
  loop_ = loop;
  is_heard_ = getenv("NOTIFY_SOCKET") != nullptr;
  if (!is_heard_) return {};
  status_text_ = status_().text;
  status_sent_ = clock_now();
  tell_ready();
  status_changed();

  uint64_t watchdog_us = 0;
  if (sd_watchdog_enabled(0, &watchdog_us) <= 0) return {};
  // Half of what systemd allows, as sd_watchdog_enabled(3) advises.
  watchdog_period_ = microseconds(static_cast<int64_t>(watchdog_us / 2));
  const int result = arm(&watchdog_timer_, feed(), on_watchdog);
  if (result < 0) return Error{std::string("event loop: the watchdog: ") + strerror(-result)};
  return {};
}

void ServiceManager::tell_ready() const {
  sd_notifyf(0, "READY=1\nSTATUS=%s", one_line(status_text_).c_str());
}

int ServiceManager::arm(EventSource* timer, Duration delay, sd_event_time_handler_t handler) {
  return sd_event_add_time_relative(loop_, timer->put(), CLOCK_MONOTONIC,
                                    static_cast<uint64_t>(std::max<int64_t>(delay.ns, 0) / 1000),
                                    kAccuracyUs, handler, this);
}

int ServiceManager::on_watchdog(sd_event_source*, uint64_t, void* self_pointer) {
  auto* self = static_cast<ServiceManager*>(self_pointer);
  return self->arm(&self->watchdog_timer_, self->feed(), on_watchdog);
}

// When to look next.
Duration ServiceManager::feed() {
  const EngineLink* stuck = engines_.find_stuck(clock_now());
  if (stuck == nullptr) {
    if (std::exchange(is_starving_, false)) {
      log_event(LogLevel::kWarning, {.message_id = log_id::kEngineBack},
                "every engine advances again");
    }
    sd_notify(0, "WATCHDOG=1");
    return watchdog_period_;
  }
  if (!std::exchange(is_starving_, true)) {
    const std::string& nic = stuck->facts().nic;
    log_event(
        LogLevel::kError, {.message_id = log_id::kEngineStuck, .nic = nic.c_str()},
        "the engine of %s stands still: waiting for systemd's watchdog to restart the service",
        nic.c_str());
  }
  return std::min(watchdog_period_, kStarvingPeriod);
}

void ServiceManager::status_changed() {
  if (!is_heard_ || status_is_due_) return;
  status_is_due_ = true;
  arm(&status_timer_, status_sent_ + kStatusPeriod - clock_now(), on_status);
}

int ServiceManager::on_status(sd_event_source*, uint64_t, void* self_pointer) {
  auto* self = static_cast<ServiceManager*>(self_pointer);
  self->status_is_due_ = false;
  self->send_status();
  return 0;
}

void ServiceManager::send_status() {
  const Status status = status_();
  status_sent_ = clock_now();
  if (status.text != status_text_) {
    status_text_ = status.text;
    tell_status(status_text_);
  }
  if (status.is_live) status_changed();
}

void ServiceManager::reload(const std::function<void()>& apply) {
  sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reading the configuration again",
             static_cast<unsigned long long>(monotonic_us()));
  apply();
  status_text_ = status_().text;
  tell_ready();
}

void ServiceManager::stop() {
  status_timer_.reset();
  watchdog_timer_.reset();
  status_is_due_ = true;  // no further line
  sd_notify(0, "STOPPING=1\nSTATUS=stopping: telling peers and applications");
}

}  // namespace mn::control
