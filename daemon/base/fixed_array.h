// SPDX-License-Identifier: MIT
// FixedArray: n elements, all constructed when the array is and destroyed with it. The only
// container with memory of its own that the pure folders may use: it takes memory once
// (base/memory.h), never grows and checks every index. Belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include "base/assert.h"
#include "base/memory.h"

namespace mn {

template <typename T>
class FixedArray {
  static_assert(alignof(T) <= 4096, "start_allocate gives page alignment");

 public:
  FixedArray() = default;
  // Aborts when there is no memory: sizes come from the configuration, which is checked before.
  explicit FixedArray(size_t size) : size_(size) {
    if (size == 0) return;
    MN_ASSERT(size <= SIZE_MAX / sizeof(T));
    void* memory = start_allocate(size * sizeof(T));
    MN_ASSERT(memory != nullptr);
    elements_ = static_cast<T*>(memory);
    // Trivial types are zeros already; not touching their pages keeps big tables cheap until used.
    if constexpr (!std::is_trivially_default_constructible_v<T>) {
      for (size_t i = 0; i < size; i++) new (elements_ + i) T();
    }
  }
  ~FixedArray() {
    if constexpr (!std::is_trivially_destructible_v<T>) {
      for (size_t i = 0; i < size_; i++) elements_[i].~T();
    }
    start_free(elements_, size_ * sizeof(T));
  }
  FixedArray(FixedArray&& other) noexcept { swap(other); }
  FixedArray& operator=(FixedArray&& other) noexcept {
    FixedArray(std::move(other)).swap(*this);
    return *this;
  }
  FixedArray(const FixedArray&) = delete;
  FixedArray& operator=(const FixedArray&) = delete;

  T& operator[](size_t index) {
    MN_ASSERT(index < size_);
    return elements_[index];
  }
  const T& operator[](size_t index) const {
    MN_ASSERT(index < size_);
    return elements_[index];
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* data() { return elements_; }
  const T* data() const { return elements_; }
  T* begin() { return elements_; }
  T* end() { return elements_ + size_; }
  const T* begin() const { return elements_; }
  const T* end() const { return elements_ + size_; }
  std::span<T> span() { return {elements_, size_}; }
  std::span<const T> span() const { return {elements_, size_}; }

  void swap(FixedArray& other) noexcept {
    std::swap(elements_, other.elements_);
    std::swap(size_, other.size_);
  }

 private:
  T* elements_ = nullptr;
  size_t size_ = 0;
};

}  // namespace mn
