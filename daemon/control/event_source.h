// SPDX-License-Identifier: MIT
// Owners of libsystemd's event loop and of its sources, so that each is released once.
#pragma once

#include <systemd/sd-event.h>

#include <utility>

namespace mn::control {

class EventSource {
 public:
  EventSource() = default;
  ~EventSource() { reset(); }
  EventSource(EventSource&& other) noexcept : source_(std::exchange(other.source_, nullptr)) {}
  EventSource& operator=(EventSource&& other) noexcept {
    reset();
    source_ = std::exchange(other.source_, nullptr);
    return *this;
  }
  EventSource(const EventSource&) = delete;
  EventSource& operator=(const EventSource&) = delete;

  sd_event_source* get() const { return source_; }
  sd_event_source** put() {  // for sd_event_add_x
    reset();
    return &source_;
  }
  void reset() { source_ = sd_event_source_disable_unref(source_); }

 private:
  sd_event_source* source_ = nullptr;
};

class EventLoop {
 public:
  EventLoop() = default;
  ~EventLoop() { sd_event_unref(event_); }
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  int open() { return sd_event_new(&event_); }
  sd_event* get() const { return event_; }

 private:
  sd_event* event_ = nullptr;
};

}  // namespace mn::control
