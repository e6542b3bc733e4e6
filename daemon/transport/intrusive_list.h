// SPDX-License-Identifier: MIT
// Link: member of an object that can stand in one list; List: a ring of links with itself as the
// sentinel. Taking an element out needs no list and no search. Neither owns anything. A list must
// not move in memory while it has elements. Pointers and not indices: these lists are on the path
// of every packet.
#pragma once

#include <cstddef>

#include "base/assert.h"

namespace mn::transport {

struct Link {
  Link* previous = nullptr;
  Link* next = nullptr;

  bool linked() const { return next != nullptr; }
  // No effect if it stands in no list.
  void unlink() {
    if (next == nullptr) return;
    previous->next = next;
    next->previous = previous;
    next = nullptr;
    previous = nullptr;
  }
};

class List {
 public:
  List() = default;
  List(const List&) = delete;
  List& operator=(const List&) = delete;

  bool empty() const { return ring_.next == nullptr || ring_.next == &ring_; }
  Link* front() { return empty() ? nullptr : ring_.next; }
  const Link* front() const { return empty() ? nullptr : ring_.next; }
  // The one after `link`; nullptr: it is the last.
  Link* next(Link* link) { return link->next == &ring_ ? nullptr : link->next; }
  const Link* next(const Link* link) const { return link->next == &ring_ ? nullptr : link->next; }

  void push_back(Link* link) {
    MN_ASSERT(!link->linked());
    if (ring_.next == nullptr) ring_.next = ring_.previous = &ring_;
    link->previous = ring_.previous;
    link->next = &ring_;
    ring_.previous->next = link;
    ring_.previous = link;
  }
  void move_to_back(Link* link) {
    link->unlink();
    push_back(link);
  }
  // Takes all elements of `other`; this one must be empty.
  void take(List* other) {
    MN_ASSERT(empty());
    if (other->empty()) return;
    ring_.next = other->ring_.next;
    ring_.previous = other->ring_.previous;
    ring_.next->previous = &ring_;
    ring_.previous->next = &ring_;
    other->ring_.next = other->ring_.previous = &other->ring_;
  }

 private:
  Link ring_;
};

}  // namespace mn::transport
