// SPDX-License-Identifier: MIT
#include "transport/listener_table.h"

#include <bit>

namespace mn::transport {

ListenerTable::ListenerTable(uint32_t listeners_max)
    : listeners_(listeners_max),
      buckets_(std::bit_ceil(size_t{listeners_max} + 1)),
      pool_(listeners_max) {}

// Listeners are chosen by local applications, so the hash needs no key.
uint32_t ListenerTable::bucket_of(Ipv4 ip, Port port) const {
  const uint64_t key = (uint64_t{ip} << 16) | port;
  return static_cast<uint32_t>((key * 0x9e3779b97f4a7c15) >> 32) &
         static_cast<uint32_t>(buckets_.size() - 1);
}

uint32_t ListenerTable::lookup(Ipv4 ip, Port port) const {
  uint32_t at = buckets_[bucket_of(ip, port)];
  while (at != 0) {
    const Listener& listener = listeners_[at - 1];
    if (listener.ip == ip && listener.port == port) return at - 1;
    at = listener.next;
  }
  return IndexPool::kNone;
}

ListenerTable::AddStatus ListenerTable::add(Ipv4 ip, Port port, MessageStore* store) {
  if (lookup(ip, port) != IndexPool::kNone) return AddStatus::kTaken;
  const uint32_t index = pool_.take();
  if (index == IndexPool::kNone) return AddStatus::kFull;
  Listener& listener = listeners_[index];
  listener.store = store;
  listener.ip = ip;
  listener.port = port;
  uint32_t& head = buckets_[bucket_of(ip, port)];
  listener.next = head;
  head = index + 1;
  state_of(store).listeners.push_back(&listener.store_link);
  return AddStatus::kAdded;
}

void ListenerTable::remove(Ipv4 ip, Port port) {
  uint32_t* at = &buckets_[bucket_of(ip, port)];
  while (*at != 0) {
    const uint32_t index = *at - 1;
    Listener& listener = listeners_[index];
    if (listener.ip == ip && listener.port == port) {
      *at = listener.next;
      listener.store_link.unlink();
      listener.store = nullptr;
      pool_.give_back(index);
      return;
    }
    at = &listener.next;
  }
}

void ListenerTable::remove_all(StoreState* store) {
  static_assert(offsetof(Listener, store_link) == 0);
  while (Link* link = store->listeners.front()) {
    const auto* listener = reinterpret_cast<Listener*>(link);
    remove(listener->ip, listener->port);
  }
}

void ListenerTable::clear() {
  for (uint32_t i = 0; i < listeners_.size(); i++) {
    if (pool_.in_use(i)) remove(listeners_[i].ip, listeners_[i].port);
  }
}

MessageStore* ListenerTable::find(Ipv4 ip, Port port) const {
  uint32_t index = lookup(ip, port);
  if (index == IndexPool::kNone) index = lookup(0, port);
  return index == IndexPool::kNone ? nullptr : listeners_[index].store;
}

}  // namespace mn::transport
