// SPDX-License-Identifier: MIT
// StaticVector: up to kCapacity elements inside the object itself, for small lists with a known
// bound. Never allocates; going past the bound is a programmer error, so callers ask full() first.
// One thread.
#pragma once

#include <array>
#include <cstddef>

#include "base/assert.h"

namespace mn {

template <typename T, size_t kCapacity>
class StaticVector {
 public:
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  bool full() const { return size_ == kCapacity; }
  static constexpr size_t capacity() { return kCapacity; }

  void push_back(const T& value) {
    MN_ASSERT(size_ < kCapacity);
    elements_[size_++] = value;
  }
  void pop_back() {
    MN_ASSERT(size_ > 0);
    size_--;
  }
  // Takes one out without keeping the order.
  void swap_remove(size_t index) {
    MN_ASSERT(index < size_);
    size_--;
    if (index != size_) elements_[index] = elements_[size_];
  }
  void clear() { size_ = 0; }

  T& operator[](size_t index) {
    MN_ASSERT(index < size_);
    return elements_[index];
  }
  const T& operator[](size_t index) const {
    MN_ASSERT(index < size_);
    return elements_[index];
  }
  T* begin() { return elements_.data(); }
  T* end() { return elements_.data() + size_; }
  const T* begin() const { return elements_.data(); }
  const T* end() const { return elements_.data() + size_; }

 private:
  std::array<T, kCapacity> elements_{};
  size_t size_ = 0;
};

}  // namespace mn
