// SPDX-License-Identifier: MIT
// FlowMap: from the 4-tuple that a program knows a flow by to the FlowState of the channel. Open
// addressing with linear probing, at most half full. An entry is a hash and an index, eight to a
// cache line, so that the map of ten thousand flows stays in a core's own cache; the tuple itself
// is where the caller looks next. Owned by one Channel, used on its thread. Its memory is taken
// once and touched only where flows are.
#pragma once

#include <stdint.h>

#include "machnet.h"

namespace mn::client {

struct FlowState;

inline bool same_flow(const MachnetFlow_t& a, const MachnetFlow_t& b) {
  return ((a.src_ip ^ b.src_ip) | (a.dst_ip ^ b.dst_ip) |
          static_cast<uint32_t>((a.src_port ^ b.src_port) | (a.dst_port ^ b.dst_port))) == 0;
}

class FlowMap {
 public:
  // Room for `flows_max` entries, of which each is an element of `flows`. False: no memory.
  bool init(FlowState* flows, uint32_t flows_max);
  void destroy();

  FlowState* find(const MachnetFlow_t& flow) const;
  // Starts loading what find is likely to find.
  void prefetch(const MachnetFlow_t& flow) const;
  // By state->local. Replaces an entry of the same tuple (an ended flow that nobody has forgotten
  // yet).
  void insert(FlowState* state);
  // Removes the tuple if it still leads to `state`.
  void erase(const MachnetFlow_t& flow, const FlowState* state);

 private:
  struct Entry {
    uint32_t hash;
    uint32_t number;  // of the state, from 1; 0: empty
  };
  static uint32_t hash_of(const MachnetFlow_t& flow);
  // Its entry, or the empty one where it belongs.
  uint32_t locate(const MachnetFlow_t& flow, uint32_t hash) const;

  FlowState* flows_ = nullptr;
  Entry* entries_ = nullptr;
  uint32_t mask_ = 0;
};

}  // namespace mn::client
