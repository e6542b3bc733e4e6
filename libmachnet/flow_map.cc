// SPDX-License-Identifier: MIT
#include "libmachnet/flow_map.h"

#include <stdlib.h>

#include "libmachnet/channel_state.h"

namespace mn::client {

bool FlowMap::init(FlowState* flows, uint32_t flows_max) {
  uint64_t capacity = 16;
  while (capacity < 2 * uint64_t{flows_max}) capacity *= 2;
  flows_ = flows;
  entries_ = static_cast<Entry*>(calloc(capacity, sizeof(Entry)));
  mask_ = static_cast<uint32_t>(capacity - 1);
  return entries_ != nullptr;
}

void FlowMap::destroy() {
  free(entries_);
  entries_ = nullptr;
}

uint32_t FlowMap::hash_of(const MachnetFlow_t& flow) {
  // Two multiplications that mix every input bit into the upper half. Tuples come from peers, but
  // only those with a flow of this program: flooding one bucket costs the attacker a flow for each
  // entry.
  const uint64_t ips = (uint64_t{flow.src_ip} << 32) | flow.dst_ip;
  const uint64_t ports = (uint64_t{flow.src_port} << 16) | flow.dst_port;
  const uint64_t mixed = (ips * 0x9e3779b97f4a7c15u) ^ (ports * 0xc2b2ae3d27d4eb4fu);
  return static_cast<uint32_t>((mixed ^ (mixed >> 29)) * 0xbf58476d1ce4e5b9u >> 32);
}

uint32_t FlowMap::locate(const MachnetFlow_t& flow, uint32_t hash) const {
  for (uint32_t at = hash & mask_;; at = (at + 1) & mask_) {
    const Entry entry = entries_[at];
    if (entry.number == 0) return at;
    if (entry.hash == hash && same_flow(flows_[entry.number - 1].local, flow)) return at;
  }
}

FlowState* FlowMap::find(const MachnetFlow_t& flow) const {
  const uint32_t number = entries_[locate(flow, hash_of(flow))].number;
  return number == 0 ? nullptr : &flows_[number - 1];
}

void FlowMap::prefetch(const MachnetFlow_t& flow) const {
  const uint32_t number = entries_[hash_of(flow) & mask_].number;
  if (number != 0) __builtin_prefetch(&flows_[number - 1]);
}

void FlowMap::insert(FlowState* state) {
  const uint32_t hash = hash_of(state->local);
  entries_[locate(state->local, hash)] = Entry{hash, static_cast<uint32_t>(state - flows_) + 1};
}

void FlowMap::erase(const MachnetFlow_t& flow, const FlowState* state) {
  uint32_t hole = locate(flow, hash_of(flow));
  if (entries_[hole].number != static_cast<uint32_t>(state - flows_) + 1) return;
  // Close the gap: move back each later entry of the run whose home is not after the hole.
  for (uint32_t at = (hole + 1) & mask_; entries_[at].number != 0; at = (at + 1) & mask_) {
    const uint32_t distance_home = (at - (entries_[at].hash & mask_)) & mask_;
    if (distance_home >= ((at - hole) & mask_)) {
      entries_[hole] = entries_[at];
      hole = at;
    }
  }
  entries_[hole].number = 0;
}

}  // namespace mn::client
