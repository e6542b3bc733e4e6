// SPDX-License-Identifier: MIT
#include "host/port_table.h"

#include <utility>

#include "base/assert.h"
#include "base/prng.h"

namespace mn::host {

PortTable::PortTable(const PortTableConfig& config) : config_(config), entries_(65536) {
  MN_ASSERT(config.dynamic_first > 0 && config.dynamic_first <= config.dynamic_last);
  const uint32_t count = uint32_t{config.dynamic_last} - config.dynamic_first + 1;
  FixedArray<Port> order(count);
  Prng random(config.seed);
  for (uint32_t i = 0; i < count; i++) {
    order[i] = static_cast<Port>(config.dynamic_first + i);
    std::swap(order[i], order[random.below(i + 1)]);
  }
  for (const Port port : order) free_.push_back(entries_, port);
}

PortStatus PortTable::listen(Port port, PortOwner owner) {
  MN_ASSERT(owner != 0);
  if (port == 0) return PortStatus::kInvalid;
  Entry& entry = entries_[port];
  if (entry.state != State::kFree) return PortStatus::kInUse;
  if (entry.free_link.linked()) free_.remove(entries_, port);
  entry.state = State::kListening;
  entry.owner = owner;
  return PortStatus::kOk;
}

bool PortTable::unlisten(Port port, PortOwner owner) {
  Entry& entry = entries_[port];
  if (entry.state != State::kListening || entry.owner != owner) return false;
  // It rests no shorter for having been listened on.
  entry.state = State::kFree;
  entry.owner = 0;
  if (is_dynamic(port)) free_.push_back(entries_, port);
  return true;
}

PortOwner PortTable::listener(Port port) const {
  const Entry& entry = entries_[port];
  return entry.state == State::kListening ? entry.owner : 0;
}

Port PortTable::allocate(Instant now, PortOwner owner) {
  MN_ASSERT(owner != 0);
  if (free_.empty()) return 0;
  const uint32_t port = free_.front();
  // All others were freed later, or have been listened on since.
  if (now - entries_[port].free_since < config_.linger) return 0;
  give(port, owner);
  return static_cast<Port>(port);
}

bool PortTable::take(Instant now, Port port, PortOwner owner) {
  MN_ASSERT(owner != 0);
  const Entry& entry = entries_[port];
  if (!is_dynamic(port) || entry.state != State::kFree || now - entry.free_since < config_.rest) {
    return false;
  }
  give(port, owner);
  return true;
}

void PortTable::give(uint32_t port, PortOwner owner) {
  free_.remove(entries_, port);
  entries_[port].state = State::kFlow;
  entries_[port].owner = owner;
  allocated_count_++;
}

bool PortTable::release(Instant now, Port port) {
  Entry& entry = entries_[port];
  if (entry.state != State::kFlow) return false;
  entry = Entry{};
  entry.free_since = now;
  free_.push_back(entries_, port);
  allocated_count_--;
  return true;
}

}  // namespace mn::host
