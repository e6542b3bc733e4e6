// SPDX-License-Identifier: MIT
// IndexPool: which of the indices 0..n-1 are free. Last in, first out, so that what is taken next
// is likely still in the cache. Constant time, fixed capacity; giving an index back twice is
// caught. One thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/assert.h"
#include "base/fixed_array.h"

namespace mn {

class IndexPool {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  IndexPool() = default;
  explicit IndexPool(uint32_t capacity) : next_(capacity), free_count_(capacity) {
    MN_ASSERT(capacity < kInUse);
    for (uint32_t i = 0; i < capacity; i++) next_[i] = i + 1 < capacity ? i + 1 : kNone;
    head_ = capacity > 0 ? 0 : kNone;
  }

  // kNone when all are in use. The first ones given are 0, 1, 2...
  uint32_t take() {
    const uint32_t index = head_;
    if (index == kNone) return kNone;
    head_ = next_[index];
    next_[index] = kInUse;
    free_count_--;
    return index;
  }

  void give_back(uint32_t index) {
    MN_ASSERT(in_use(index));
    next_[index] = head_;
    head_ = index;
    free_count_++;
  }

  bool in_use(uint32_t index) const { return next_[index] == kInUse; }
  uint32_t free_count() const { return free_count_; }
  uint32_t used_count() const { return capacity() - free_count_; }
  uint32_t capacity() const { return static_cast<uint32_t>(next_.size()); }

 private:
  static constexpr uint32_t kInUse = UINT32_MAX - 1;

  FixedArray<uint32_t> next_;  // of a free index: the next free one; else kInUse
  uint32_t head_ = kNone;
  uint32_t free_count_ = 0;
};

}  // namespace mn
