// SPDX-License-Identifier: MIT
#include "engine/frame_sender.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "wire/frame.h"

namespace mn {

FrameSender::~FrameSender() {
  port_->tx_free(std::span(ready_).first(ready_count_));
  port_->tx_free(std::span(spare_).first(spare_count_));
}

uint8_t* FrameSender::begin(Instant now) {
  if (ready_count_ == kBurstMax || ready_bytes_ >= kBurstBytes) {
    flush(now);
    if (ready_count_ == kBurstMax) return nullptr;
  }
  if (spare_count_ == 0) {
    spare_count_ = port_->tx_alloc(std::span(spare_));
    if (spare_count_ == 0) return nullptr;
  }
  return spare_[spare_count_ - 1].data;
}

void FrameSender::commit(uint32_t length, bool offload_checksum) {
  MN_ASSERT(spare_count_ > 0 && ready_count_ < kBurstMax);
  TxFrame& frame = ready_[ready_count_++] = spare_[--spare_count_];
  if (length < wire::kFrameSizeMin) {
    memset(frame.data + length, 0, wire::kFrameSizeMin - length);
    length = wire::kFrameSizeMin;
  }
  frame.length = length;
  frame.offload_checksum = offload_checksum;
  ready_bytes_ += length;
}

void FrameSender::flush(Instant now) {
  ready_bytes_ = 0;
  if (ready_count_ == 0) return;
  // The port may forget lengths of frames it takes: count them first, take the refused ones back
  // out.
  uint64_t bytes = 0;
  for (size_t i = 0; i < ready_count_; i++) bytes += ready_[i].length;
  const size_t sent = port_->tx_burst(std::span(ready_).first(ready_count_));
  for (size_t i = sent; i < ready_count_; i++) bytes -= ready_[i].length;
  std::copy(ready_.begin() + static_cast<ptrdiff_t>(sent),
            ready_.begin() + static_cast<ptrdiff_t>(ready_count_), ready_.begin());
  ready_count_ -= sent;
  frames_ += sent;
  bytes_ += bytes;
  if (ready_count_ == 0 || sent > 0) {
    stalled_ = false;
    return;
  }
  if (!stalled_) {
    stalled_ = true;
    stalled_since_ = now;
  } else if (now - stalled_since_ > kStallLimit) {
    port_->tx_free(std::span(ready_).first(ready_count_));
    stalled_frames_ += ready_count_;
    ready_count_ = 0;
    stalled_ = false;
  }
}

}  // namespace mn
