// SPDX-License-Identifier: MIT
#include "libmachnet/tools/inbox.h"

#include <cerrno>

namespace mn::tools {

Inbox::Inbox(void* channel)
    : channel_(channel), copies_(kMessagesMax * kInPlaceSize), entries_(kMessagesMax) {
  for (size_t i = 0; i < kMessagesMax; i++) {
    entries_[i].copied.base = copies_.data() + i * kInPlaceSize;
  }
}

int Inbox::receive_one(Entry* entry) {
  Received& message = entry->message;
  const ssize_t size = machnet_recv(channel_, entry->copied.base, kInPlaceSize, &message.flow);
  if (size > 0) {
    entry->copied.len = static_cast<size_t>(size);
    entry->is_view = false;
    message.size = static_cast<size_t>(size);
    message.pieces = &entry->copied;
    message.piece_count = 1;
    return 1;
  }
  if (size == 0) return 0;
  if (errno != EMSGSIZE) return -1;
  const int result = machnet_recv_view(channel_, &entry->view);
  if (result != 1) return result;
  entry->is_view = true;
  message = {entry->view.flow, entry->view.size, entry->view.iov, entry->view.iovlen};
  return 1;
}

int Inbox::receive(size_t messages, size_t bytes) {
  int taken = 0;
  while (static_cast<size_t>(taken) < messages && bytes_ < bytes && count() < kMessagesMax) {
    Entry& entry = entries_[last_ % kMessagesMax];
    const int result = receive_one(&entry);
    if (result < 0) return -1;
    if (result == 0) break;
    bytes_ += entry.message.size;
    last_++;
    taken++;
  }
  return taken;
}

void Inbox::drop_first() {
  Entry& entry = entries_[first_ % kMessagesMax];
  bytes_ -= entry.message.size;
  if (entry.is_view) machnet_view_release(channel_, &entry.view);
  first_++;
}

}  // namespace mn::tools
