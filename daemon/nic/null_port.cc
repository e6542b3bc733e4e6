// SPDX-License-Identifier: MIT
#include "nic/null_port.h"

#include <sys/eventfd.h>

#include "base/assert.h"

namespace mn::nic {

namespace {
constexpr size_t kEthernetHeader = 14;
constexpr size_t kCacheLine = 64;
}  // namespace

NullPort::NullPort(uint16_t mtu)
    : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      frame_bytes_((mtu + kEthernetHeader + kCacheLine - 1) / kCacheLine * kCacheLine),
      memory_(kFrames * frame_bytes_) {
  facts_.mac = Mac{{0x02, 0, 0, 0, 0, 0}};  // locally administered: it never meets a cable
  facts_.mtu = mtu;
  facts_.tx_queue_depth = kFrames;
  facts_.rx_queue_depth = kFrames;
  facts_.wake_fd = wake_.get();
  free_.reserve(kFrames);
  for (size_t i = 0; i < kFrames; ++i) free_.push_back(memory_.data() + i * frame_bytes_);
}

size_t NullPort::rx_burst(std::span<RxFrame>) { return 0; }

void NullPort::rx_release(std::span<const RxFrame> frames) { MN_ASSERT(frames.empty()); }

size_t NullPort::tx_alloc(std::span<TxFrame> frames) {
  size_t n = 0;
  for (; n < frames.size() && !free_.empty(); ++n) {
    frames[n] = TxFrame{};
    frames[n].data = free_.back();
    frames[n].handle = free_.back();
    free_.pop_back();
  }
  return n;
}

size_t NullPort::tx_burst(std::span<TxFrame> frames) {
  dropped_ += frames.size();
  tx_free(frames);
  return frames.size();
}

void NullPort::tx_free(std::span<const TxFrame> frames) {
  for (const TxFrame& frame : frames) {
    MN_ASSERT(free_.size() < kFrames);
    free_.push_back(static_cast<uint8_t*>(frame.handle));  // within the reserved capacity
  }
}

void NullPort::service(NicCounters* counters) { counters->tx_errors = dropped_; }

}  // namespace mn::nic
