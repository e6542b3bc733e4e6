// SPDX-License-Identifier: MIT
#include "libmachnet/flow_map.h"

#include <stdlib.h>

namespace mn::client {

bool FlowMap::init(uint32_t flows_max) {
  uint64_t capacity = 16;
  while (capacity < 2 * uint64_t{flows_max}) capacity *= 2;
  entries_ = static_cast<Entry*>(calloc(capacity, sizeof(Entry)));
  mask_ = static_cast<uint32_t>(capacity - 1);
  return entries_ != nullptr;
}

void FlowMap::destroy() {
  free(entries_);
  entries_ = nullptr;
}

uint32_t FlowMap::home(const MachnetFlow_t& flow) const {
  // Two multiplications that mix every input bit into the upper half. Tuples come from peers, but
  // only those with a flow of this program: flooding one bucket costs the attacker a flow for each
  // entry.
  const uint64_t ips = (uint64_t{flow.src_ip} << 32) | flow.dst_ip;
  const uint64_t ports = (uint64_t{flow.src_port} << 16) | flow.dst_port;
  const uint64_t mixed = (ips * 0x9e3779b97f4a7c15u) ^ (ports * 0xc2b2ae3d27d4eb4fu);
  return static_cast<uint32_t>((mixed ^ (mixed >> 29)) * 0xbf58476d1ce4e5b9u >> 32) & mask_;
}

uint32_t FlowMap::locate(const MachnetFlow_t& flow) const {
  uint32_t at = home(flow);
  while (entries_[at].state != nullptr && !same_flow(entries_[at].flow, flow))
    at = (at + 1) & mask_;
  return at;
}

FlowState* FlowMap::find(const MachnetFlow_t& flow) const { return entries_[locate(flow)].state; }

void FlowMap::insert(const MachnetFlow_t& flow, FlowState* state) {
  entries_[locate(flow)] = Entry{flow, state};
}

void FlowMap::erase(const MachnetFlow_t& flow, const FlowState* state) {
  uint32_t hole = locate(flow);
  if (entries_[hole].state == nullptr || entries_[hole].state != state) return;
  // Close the gap: move back each later entry of the run whose home is not after the hole.
  for (uint32_t at = (hole + 1) & mask_; entries_[at].state != nullptr; at = (at + 1) & mask_) {
    const uint32_t distance_home = (at - home(entries_[at].flow)) & mask_;
    if (distance_home >= ((at - hole) & mask_)) {
      entries_[hole] = entries_[at];
      hole = at;
    }
  }
  entries_[hole].state = nullptr;
}

}  // namespace mn::client
