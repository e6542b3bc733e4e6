// SPDX-License-Identifier: MIT
// SpscQueue: a bounded queue between two threads of the daemon, one pushing, one popping. Used for
// commands from the control plane to an engine and for events back. Never blocks.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>

namespace mn {

template <typename T, size_t kCapacity>
class SpscQueue {
  static_assert((kCapacity & (kCapacity - 1)) == 0, "a power of two");

 public:
  bool try_push(const T& value) {
    const size_t tail = tail_.load(std::memory_order_relaxed);
    // Pairs with the release in try_pop.
    if (tail - head_.load(std::memory_order_acquire) == kCapacity) return false;
    slots_[tail % kCapacity] = value;
    tail_.store(tail + 1, std::memory_order_release);  // pairs with try_pop and empty
    return true;
  }

  bool try_pop(T* ret_value) {
    const size_t head = head_.load(std::memory_order_relaxed);
    if (tail_.load(std::memory_order_acquire) == head) return false;
    *ret_value = slots_[head % kCapacity];
    head_.store(head + 1, std::memory_order_release);  // pairs with the acquire in try_push
    return true;
  }

  static constexpr size_t capacity() { return kCapacity; }

  // For the pusher: will the next `n` pushes succeed?
  bool has_room(size_t n) const {
    return tail_.load(std::memory_order_relaxed) - head_.load(std::memory_order_acquire) + n <=
           kCapacity;
  }

  // For the pusher: how many the popper has not taken yet.
  size_t size() const {
    return tail_.load(std::memory_order_relaxed) - head_.load(std::memory_order_acquire);
  }

  bool empty() const {
    return tail_.load(std::memory_order_acquire) == head_.load(std::memory_order_relaxed);
  }

 private:
  alignas(64) std::atomic<size_t> tail_{0};  // written by the pusher
  alignas(64) std::atomic<size_t> head_{0};  // written by the popper
  alignas(64) std::array<T, kCapacity> slots_{};
};

}  // namespace mn
