// SPDX-License-Identifier: MIT
// IndexList: a doubly linked list through elements of one array, by index: no memory of its own,
// constant time everywhere, an element is in at most one list for each IndexLink it has. The array
// is an argument of each call (anything with operator[]). One thread.
#pragma once

#include <cstdint>

#include "base/assert.h"

namespace mn {

// Member of an element; written by IndexList only.
struct IndexLink {
  static constexpr uint32_t kEnd = UINT32_MAX;           // no neighbour on this side
  static constexpr uint32_t kUnlinked = UINT32_MAX - 1;  // in no list

  uint32_t previous = kUnlinked;
  uint32_t next = kUnlinked;
  bool linked() const { return next != kUnlinked; }
};

template <typename T, IndexLink T::*kLink>
class IndexList {
 public:
  static constexpr uint32_t kEnd = IndexLink::kEnd;

  bool empty() const { return head_ == kEnd; }
  uint32_t size() const { return size_; }
  uint32_t front() const { return head_; }  // kEnd: empty
  uint32_t back() const { return tail_; }

  template <typename Array>
  uint32_t next(const Array& items, uint32_t index) const {
    return (items[index].*kLink).next;
  }

  template <typename Array>
  void push_back(Array& items, uint32_t index) {
    insert_between(items, index, tail_, kEnd);
  }

  template <typename Array>
  void push_front(Array& items, uint32_t index) {
    insert_between(items, index, kEnd, head_);
  }

  // `before` is in this list.
  template <typename Array>
  void insert_before(Array& items, uint32_t index, uint32_t before) {
    insert_between(items, index, (items[before].*kLink).previous, before);
  }

  // `index` is in this list.
  template <typename Array>
  void remove(Array& items, uint32_t index) {
    IndexLink& link = items[index].*kLink;
    MN_ASSERT(link.linked() && size_ > 0);
    set_next(items, link.previous, link.next);
    set_previous(items, link.next, link.previous);
    link = IndexLink{};
    size_--;
  }

  // kEnd: empty.
  template <typename Array>
  uint32_t pop_front(Array& items) {
    const uint32_t index = head_;
    if (index != kEnd) remove(items, index);
    return index;
  }

  template <typename Array>
  void move_to_back(Array& items, uint32_t index) {
    if (tail_ == index) return;
    remove(items, index);
    push_back(items, index);
  }

 private:
  template <typename Array>
  void insert_between(Array& items, uint32_t index, uint32_t previous, uint32_t next) {
    IndexLink& link = items[index].*kLink;
    MN_ASSERT(!link.linked());
    link.previous = previous;
    link.next = next;
    set_next(items, previous, index);
    set_previous(items, next, index);
    size_++;
  }
  template <typename Array>
  void set_next(Array& items, uint32_t index, uint32_t next) {
    if (index == kEnd) {
      head_ = next;
    } else {
      (items[index].*kLink).next = next;
    }
  }
  template <typename Array>
  void set_previous(Array& items, uint32_t index, uint32_t previous) {
    if (index == kEnd) {
      tail_ = previous;
    } else {
      (items[index].*kLink).previous = previous;
    }
  }

  uint32_t head_ = kEnd;
  uint32_t tail_ = kEnd;
  uint32_t size_ = 0;
};

}  // namespace mn
