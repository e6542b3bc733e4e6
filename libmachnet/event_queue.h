// SPDX-License-Identifier: MIT
// EventQueue: flow events that the program has not read. A ring in private memory with room for the
// two events (accepted, ended) that each flow slot can have; when a program that never reads events
// would overflow it, the oldest is given up. Owned by one Channel, used on its thread.
#pragma once

#include <stdint.h>

#include "machnet.h"

namespace mn::client {

struct FlowEvent {
  uint32_t type;  // MachnetEventType
  uint32_t ref;   // FlowRef
  uint32_t lane;
  bool holds_slot;  // the flow's slot goes back to the daemon when the event was read
  MachnetFlow_t flow;
};

class EventQueue {
 public:
  bool init(uint32_t flows_max);  // false: no memory
  void destroy();

  uint32_t size() const { return tail_ - head_; }
  uint32_t pushed() const { return tail_; }  // events so far
  bool full() const { return size() > mask_; }
  void push(const FlowEvent& event) { entries_[tail_++ & mask_] = event; }  // not when full
  bool pop(FlowEvent* ret_event) {
    if (size() == 0) return false;
    *ret_event = entries_[head_++ & mask_];
    return true;
  }

 private:
  FlowEvent* entries_ = nullptr;
  uint32_t mask_ = 0;
  uint32_t head_ = 0, tail_ = 0;
};

}  // namespace mn::client
