// SPDX-License-Identifier: MIT
#include "transport/timer_wheel.h"

#include <algorithm>
#include <bit>

#include "base/assert.h"

namespace mn::transport {

namespace {

TimerNode* node_of(Link* link) {
  static_assert(offsetof(TimerNode, link) == 0);
  return reinterpret_cast<TimerNode*>(link);
}

}  // namespace

void TimerWheel::set(TimerNode* node, Instant at) {
  if (node->link.linked()) remove(node);
  node->at_ns = at.ns;
  // Round up: a timer must not fire before its time.
  const int64_t tick = at.ns > INT64_MAX - (int64_t{1} << kTickBits)
                           ? INT64_MAX >> kTickBits
                           : (at.ns + (int64_t{1} << kTickBits) - 1) >> kTickBits;
  insert(node, std::max(tick, current_ + 1));
  size_++;
}

void TimerWheel::clear(TimerNode* node) {
  if (node->link.linked()) remove(node);
  node->at_ns = INT64_MAX;
}

// `due_tick` >= current_.
void TimerWheel::insert(TimerNode* node, int64_t due_tick) {
  const int64_t reach = (int64_t{1} << (kLevelBits * kLevels)) - (int64_t{1} << (kLevelBits * 2));
  due_tick = std::min(due_tick, current_ + reach);
  const int64_t delta = due_tick - current_;
  int level = 0;
  if (delta >= kSlots) level = delta >= int64_t{kSlots} * kSlots ? 2 : 1;
  const auto slot = static_cast<uint32_t>(due_tick >> (kLevelBits * level)) & (kSlots - 1);
  node->slot = static_cast<uint32_t>(level) * kSlots + slot;
  slots_[level][slot].push_back(&node->link);
  used_[level][slot / 64] |= uint64_t{1} << (slot % 64);
  // A slot of a higher level has work when its first tick comes.
  const int64_t work_tick = due_tick >> (kLevelBits * level) << (kLevelBits * level);
  next_tick_ = std::min(next_tick_, work_tick);
}

void TimerWheel::remove(TimerNode* node) {
  node->link.unlink();
  size_--;
  if (node->slot == kSlotDue) return;
  const uint32_t level = node->slot / kSlots;
  const uint32_t slot = node->slot % kSlots;
  if (slots_[level][slot].empty()) used_[level][slot / 64] &= ~(uint64_t{1} << (slot % 64));
}

uint32_t TimerWheel::distance(int level, uint32_t from) const {
  const auto& words = used_[level];
  for (uint32_t step = 0; step <= kSlots / 64; step++) {
    const uint32_t start = from + 1;  // the first slot looked at
    const uint32_t word = ((start / 64) + step) % (kSlots / 64);
    uint64_t bits = words[word];
    if (step == 0) bits &= ~uint64_t{0} << (start % 64);
    if (step == kSlots / 64) bits &= ~(~uint64_t{0} << (start % 64));
    if (bits == 0) continue;
    const uint32_t slot = word * 64 + static_cast<uint32_t>(std::countr_zero(bits));
    return ((slot - from - 1) & (kSlots - 1)) + 1;
  }
  return 0;
}

int64_t TimerWheel::find_next_tick() const {
  int64_t next = kNever;
  for (int level = 0; level < kLevels; level++) {
    const int64_t position = current_ >> (kLevelBits * level);
    const uint32_t away = distance(level, static_cast<uint32_t>(position) & (kSlots - 1));
    if (away != 0) next = std::min(next, (position + away) << (kLevelBits * level));
  }
  return next;
}

// Spreads the slot of `level` that begins at the current tick over the levels below.
void TimerWheel::cascade(int level) {
  const auto slot = static_cast<uint32_t>(current_ >> (kLevelBits * level)) & (kSlots - 1);
  List moving;
  moving.take(&slots_[level][slot]);
  used_[level][slot / 64] &= ~(uint64_t{1} << (slot % 64));
  while (Link* link = moving.front()) {
    link->unlink();
    TimerNode* node = node_of(link);
    const int64_t tick = node->at_ns > INT64_MAX - (int64_t{1} << kTickBits)
                             ? INT64_MAX >> kTickBits
                             : (node->at_ns + (int64_t{1} << kTickBits) - 1) >> kTickBits;
    insert(node, std::max(tick, current_));
  }
}

TimerNode* TimerWheel::pop_slow(int64_t now_tick) {
  while (due_.empty()) {
    const int64_t tick = find_next_tick();
    next_tick_ = tick;
    if (tick > now_tick) {
      if (now_tick > current_) current_ = now_tick;
      return nullptr;
    }
    current_ = tick;
    if ((tick & (int64_t{kSlots} * kSlots - 1)) == 0) cascade(2);
    if ((tick & (kSlots - 1)) == 0) cascade(1);
    const auto slot = static_cast<uint32_t>(tick) & (kSlots - 1);
    due_.take(&slots_[0][slot]);
    used_[0][slot / 64] &= ~(uint64_t{1} << (slot % 64));
    for (Link* link = due_.front(); link != nullptr; link = due_.next(link)) {
      node_of(link)->slot = kSlotDue;
    }
  }
  TimerNode* node = node_of(due_.front());
  remove(node);
  node->at_ns = INT64_MAX;
  return node;
}

}  // namespace mn::transport
