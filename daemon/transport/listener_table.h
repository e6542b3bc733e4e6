// SPDX-License-Identifier: MIT
// ListenerTable: which store takes new flows for an address and port. A listener on one address
// comes before one on any address (0). Fixed capacity, chained hash. Looked up for handshakes only.
// One thread.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/fixed_array.h"
#include "base/index_pool.h"
#include "transport/intrusive_list.h"
#include "transport/message_store.h"

namespace mn::transport {

class ListenerTable {
 public:
  explicit ListenerTable(uint32_t listeners_max);

  enum class AddStatus : uint8_t { kAdded, kTaken, kFull };
  AddStatus add(Ipv4 ip, Port port, MessageStore* store);
  void remove(Ipv4 ip, Port port);  // no effect if there is none
  void remove_all(StoreState* store);
  void clear();
  MessageStore* find(Ipv4 ip, Port port) const;
  uint32_t size() const { return pool_.used_count(); }

 private:
  struct Listener {
    Link store_link;  // in StoreState::listeners
    MessageStore* store = nullptr;
    Ipv4 ip = 0;
    Port port = 0;
    uint32_t next = 0;  // in the bucket: index + 1; 0: the last
  };

  uint32_t bucket_of(Ipv4 ip, Port port) const;
  uint32_t lookup(Ipv4 ip, Port port) const;

  FixedArray<Listener> listeners_;
  FixedArray<uint32_t> buckets_;  // index + 1 of the first
  IndexPool pool_;
};

}  // namespace mn::transport
