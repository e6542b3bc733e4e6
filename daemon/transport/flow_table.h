// SPDX-License-Identifier: MIT
// FlowTable: which flow has a four-tuple. Fixed capacity, at most half full, open addressing with
// linear probing and no tombstones; an entry is a hash and an index, eight to a cache line. The
// hash is keyed: who opens flows cannot aim at one chain. Owns no flow; one thread.
#pragma once

#include <bit>
#include <cstdint>

#include "base/address.h"
#include "base/fixed_array.h"
#include "transport/flow.h"

namespace mn::transport {

class FlowTable {
 public:
  static constexpr size_t kEntryBytes = 8;

  // Of elements of the array at `flows`.
  FlowTable(Flow* flows, uint32_t flows_max, uint64_t key0, uint64_t key1)
      : flows_(flows),
        slots_(std::bit_ceil(size_t{flows_max} * 2)),
        mask_(static_cast<uint32_t>(slots_.size() - 1)),
        key0_(key0 | 1),
        key1_(key1) {}

  uint32_t hash(const FourTuple& t) const {
    __extension__ using Wide = unsigned __int128;
    const uint64_t ips = (uint64_t{t.local_ip} << 32) | t.remote_ip;
    const uint64_t ports = (uint64_t{t.local_port} << 16) | t.remote_port;
    const Wide a = Wide{ips ^ key1_} * (key0_ ^ (ports * 0x9e3779b97f4a7c15));
    const Wide b =
        Wide{(static_cast<uint64_t>(a) ^ static_cast<uint64_t>(a >> 64)) ^ key0_} * (key1_ | 1);
    return static_cast<uint32_t>(static_cast<uint64_t>(b) ^ static_cast<uint64_t>(b >> 64));
  }
  void prefetch(uint32_t hash) const { __builtin_prefetch(&slots_.data()[hash & mask_]); }

  Flow* find(const FourTuple& tuple, uint32_t hash) const {
    for (uint32_t i = hash & mask_;; i = (i + 1) & mask_) {
      const Slot slot = slots_.data()[i];
      if (slot.number == 0) return nullptr;
      if (slot.hash != hash) continue;
      Flow* flow = flow_of(slot);
      if (flow != last_found_) transport::prefetch(flow);
      last_found_ = flow;
      if (flow->tuple == tuple) return flow;
    }
  }
  // The flow that `hash` most likely leads to, without touching it; nullptr: none.
  const Flow* guess(uint32_t hash) const {
    const Slot slot = slots_.data()[hash & mask_];
    return slot.number == 0 ? nullptr : flow_of(slot);
  }
  Flow* find(const FourTuple& tuple) const { return find(tuple, hash(tuple)); }

  void insert(Flow* flow) {
    MN_ASSERT(size_ < slots_.size() / 2);
    const uint32_t h = hash(flow->tuple);
    uint32_t i = h & mask_;
    while (slots_[i].number != 0) i = (i + 1) & mask_;
    slots_[i] = {h, static_cast<uint32_t>(flow - flows_) + 1};
    size_++;
  }

  void remove(Flow* flow) {
    uint32_t hole = hash(flow->tuple) & mask_;
    while (flow_of(slots_[hole]) != flow) {
      MN_ASSERT(slots_[hole].number != 0);
      hole = (hole + 1) & mask_;
    }
    // Close the gap: an entry moves back if its own place is not between the hole and itself.
    for (uint32_t i = (hole + 1) & mask_; slots_[i].number != 0; i = (i + 1) & mask_) {
      const uint32_t home = slots_[i].hash & mask_;
      if (((i - home) & mask_) < ((i - hole) & mask_)) continue;
      slots_[hole] = slots_[i];
      hole = i;
    }
    slots_[hole].number = 0;
    size_--;
  }

  uint32_t size() const { return size_; }

 private:
  struct Slot {
    uint32_t hash;
    uint32_t number;  // of the flow, from 1; 0: empty
  };
  static_assert(sizeof(Slot) == kEntryBytes);
  Flow* flow_of(Slot slot) const { return flows_ + (slot.number - 1); }

  Flow* flows_;
  mutable const Flow* last_found_ = nullptr;
  FixedArray<Slot> slots_;
  uint32_t mask_;
  uint32_t size_ = 0;
  uint64_t key0_, key1_;
};

}  // namespace mn::transport
