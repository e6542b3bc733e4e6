// SPDX-License-Identifier: MIT
// SimClock: virtual time and the queue of what happens next. The clock jumps from event to event;
// events of the same instant run in the order in which they were added, so a run depends on its
// seed alone. SimTrace keeps a hash of everything that happened: two runs of a seed must have the
// same. One thread.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <queue>
#include <span>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/time.h"
#include "support/sim_random.h"

namespace mn::test {

class SimClock {
 public:
  using Action = std::function<void()>;

  Instant now() const { return now_; }

  void at(Instant when, Action action) {
    events_.push(Event{when < now_ ? now_ : when, sequence_++, std::move(action)});
  }
  void after(Duration delay, Action action) { at(now_ + delay, std::move(action)); }

  bool empty() const { return events_.empty(); }
  Instant next_event() const { return events_.empty() ? Instant::never() : events_.top().when; }
  uint64_t events_run() const { return events_run_; }

  // Jumps to the next event and runs it; false if there is none.
  bool step() {
    if (events_.empty()) return false;
    Event event = std::move(const_cast<Event&>(events_.top()));
    events_.pop();
    MN_ASSERT(event.when >= now_);
    now_ = event.when;
    events_run_++;
    event.action();
    return true;
  }

 private:
  struct Event {
    Instant when;
    uint64_t sequence;
    Action action;
    bool operator<(const Event& other) const {  // the queue's top is the largest: the earliest
      return when != other.when ? when > other.when : sequence > other.sequence;
    }
  };
  Instant now_{1'000'000'000};  // not 0: a zero timestamp must not look special
  uint64_t sequence_ = 0;
  uint64_t events_run_ = 0;
  std::priority_queue<Event> events_;
};

class SimTrace {
 public:
  void add(uint64_t value) { hash_ = mix64(hash_ ^ value); }
  void add_bytes(std::span<const uint8_t> bytes) {
    uint64_t h = 0xcbf29ce484222325 ^ bytes.size();
    for (uint8_t b : bytes.first(bytes.size() < 64 ? bytes.size() : 64))
      h = (h ^ b) * 0x100000001b3;
    add(h);
  }
  uint64_t hash() const { return hash_; }

  void print_to(FILE* out) { out_ = out; }
  bool printing() const { return out_ != nullptr; }
  // Only prints; what must be the same in two runs is added with add.
  __attribute__((format(printf, 3, 4))) void note(Instant now, const char* format, ...) {
    if (out_ == nullptr) return;
    std::fprintf(out_, "%12.3f us  ", static_cast<double>(now.ns - 1'000'000'000) / 1e3);
    va_list arguments;
    va_start(arguments, format);
    std::vfprintf(out_, format, arguments);
    va_end(arguments);
    std::fputc('\n', out_);
  }

 private:
  uint64_t hash_ = 0;
  FILE* out_ = nullptr;
};

}  // namespace mn::test
