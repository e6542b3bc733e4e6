// SPDX-License-Identifier: MIT
// Inbox: received messages of one channel, oldest first. Short ones are copied into memory of its
// own, which costs less than the two calls of a view; long ones stay where the service put them
// until they are dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "machnet.h"

namespace mn::tools {

// From here on a message is not copied, neither by the Inbox nor by a client that sends.
constexpr size_t kInPlaceSize = 2048;

struct Received {
  MachnetFlow_t flow{};  // src is the sender
  size_t size = 0;
  const MachnetIovec_t* pieces = nullptr;
  size_t piece_count = 0;

  std::span<const MachnetIovec_t> iov() const { return {pieces, piece_count}; }
};

class Inbox {
 public:
  static constexpr size_t kMessagesMax = 64;  // a power of two

  explicit Inbox(void* channel);

  // Takes at most `messages` more, and stops when the Inbox holds `bytes` or more. Returns how
  // many; -1 with errno: the channel is dead.
  int receive(size_t messages, size_t bytes);

  size_t count() const { return last_ - first_; }
  const Received& at(size_t index) const {
    return entries_[(first_ + index) % kMessagesMax].message;
  }
  void drop_first();

 private:
  struct Entry {
    Received message;
    MachnetIovec_t copied{};  // the copy, as a piece
    MachnetView_t view{};
    bool is_view = false;
  };
  int receive_one(Entry* entry);

  void* channel_;
  std::vector<uint8_t> copies_;
  std::vector<Entry> entries_;
  size_t first_ = 0;
  size_t last_ = 0;
  size_t bytes_ = 0;
};

}  // namespace mn::tools
