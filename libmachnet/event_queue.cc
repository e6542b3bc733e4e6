// SPDX-License-Identifier: MIT
#include "libmachnet/event_queue.h"

#include <stdlib.h>

namespace mn::client {

bool EventQueue::init(uint32_t flows_max) {
  uint64_t capacity = 16;
  while (capacity < 2 * uint64_t{flows_max}) capacity *= 2;
  entries_ = static_cast<FlowEvent*>(calloc(capacity, sizeof(FlowEvent)));
  mask_ = static_cast<uint32_t>(capacity - 1);
  return entries_ != nullptr;
}

void EventQueue::destroy() {
  free(entries_);
  entries_ = nullptr;
}

}  // namespace mn::client
