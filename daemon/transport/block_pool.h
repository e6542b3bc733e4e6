// SPDX-License-Identifier: MIT
// BlockPool: blocks of records that flows borrow while they have packets in flight or out of order,
// so that an idle flow has none. One pool for all flows of an engine, sized for the worst case:
// taking never fails; pages never used cost nothing. Last in, first out: the next block is likely
// still in the cache. One thread.
#pragma once

#include <cstdint>

#include "base/assert.h"
#include "base/fixed_array.h"
#include "base/index_pool.h"

namespace mn::transport {

constexpr uint32_t kBlockRecords = 64;  // a word of bits has one for each record
constexpr uint32_t kWindowMax =
    1024;  // packets of a flow in flight, and out of order at its receiver
// Slots for blocks in a flow. A window that starts inside a block touches one block more than fit
// in it, so a power of two above that.
constexpr uint32_t kWindowBlocks = 2 * kWindowMax / kBlockRecords;
constexpr uint32_t kWindowSlots = kWindowBlocks * kBlockRecords;

using BlockIndex = uint32_t;  // 0: none; block i of the pool is i + 1
constexpr uint32_t blocks_per_flow(uint32_t window_packets) {
  return (window_packets + kBlockRecords - 1) / kBlockRecords + 1;
}

template <typename Block>
class BlockPool {
 public:
  explicit BlockPool(uint32_t blocks) : blocks_(blocks), free_(blocks) {}

  BlockIndex take() {
    const uint32_t index = free_.take();
    MN_ASSERT(index != IndexPool::kNone);
    return index + 1;
  }
  void give_back(BlockIndex block) { free_.give_back(block - 1); }
  Block& operator[](BlockIndex block) { return blocks_.data()[block - 1]; }
  const Block& operator[](BlockIndex block) const { return blocks_.data()[block - 1]; }
  uint32_t used_count() const { return free_.used_count(); }

 private:
  FixedArray<Block> blocks_;
  IndexPool free_;
};

}  // namespace mn::transport
