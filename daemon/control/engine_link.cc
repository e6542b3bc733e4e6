// SPDX-License-Identifier: MIT
#include "control/engine_link.h"

#include <unistd.h>

#include <utility>

namespace mn::control {

void EngineLink::send(EngineCommand command, Answer on_answer) {
  command.cookie = next_cookie_++;
  answers_.emplace(command.cookie, std::move(on_answer));
  waiting_.push_back(command);
  flush();
}

void EngineLink::flush() {
  bool pushed = false;
  while (!waiting_.empty() && door_.commands->try_push(waiting_.front())) {
    waiting_.pop_front();
    pushed = true;
  }
  if (pushed) door_.wake();
}

void EngineLink::drain() {
  // First the descriptor, then the queue: an event pushed in between rings again.
  uint64_t rings = 0;
  if (door_.notify_fd >= 0) (void)!read(door_.notify_fd, &rings, sizeof(rings));
  EngineEvent event;
  size_t taken = 0;
  for (; door_.events->try_pop(&event); taken++) {
    // These answer nothing, whatever their cookie says.
    const bool is_news = event.kind == EngineEvent::Kind::kFlowEnded ||
                         event.kind == EngineEvent::Kind::kPortFree ||
                         event.kind == EngineEvent::Kind::kLaneViolated;
    const auto it = is_news ? answers_.end() : answers_.find(event.cookie);
    if (it != answers_.end()) {
      // Out of the table first: the answer may send the next command.
      const Answer answer = std::move(it->second);
      answers_.erase(it);
      answer(event);
    } else if (is_news && on_event) {
      on_event(event);
    }
  }
  flush();
  // An engine that found no room sleeps on what it has still to tell.
  if (taken >= EngineEventQueue::capacity() / 4) door_.wake();
}

}  // namespace mn::control
