// SPDX-License-Identifier: MIT
#include "support/faulty_port.h"

#include <algorithm>

namespace mn::test {

void FaultyPort::forget() {
  held_.clear();
  free_.clear();
  refused_ = false;
  for (Copy& copy : copies_) {
    copy.lent = false;
    free_.push_back(&copy);
  }
}

void FaultyPort::take(const RxFrame& frame) {
  if (random_.chance(faults_.rx_drop)) {
    injected_++;
    return;
  }
  const int copies = random_.chance(faults_.rx_duplicate) ? 2 : 1;
  injected_ += static_cast<uint64_t>(copies - 1);
  for (int i = 0; i < copies; i++) {
    if (free_.empty()) free_.push_back(&copies_.emplace_back());
    Copy* copy = free_.back();
    free_.pop_back();
    copy->bytes.assign(frame.data, frame.data + frame.length);
    copy->checksum_ok = frame.udp_checksum_ok;
    // ARP has no checksum that could show the damage.
    if (frame.length > 60 && random_.chance(faults_.rx_corrupt)) {
      copy->bytes[random_.between(14, frame.length - 1)] ^=
          static_cast<uint8_t>(1u << random_.below(8));
      copy->checksum_ok = false;
      injected_++;
    }
    held_.push_back(copy);
  }
  if (held_.size() >= 2 && random_.chance(faults_.rx_swap)) {
    injected_++;
    std::swap(held_[random_.below(held_.size())], held_.back());
  }
}

size_t FaultyPort::rx_burst(std::span<RxFrame> frames) {
  refused_ = false;  // the engine's next look begins
  std::array<RxFrame, kBurstMax> got;
  const size_t n = port_->rx_burst(std::span(got).first(std::min(frames.size(), kBurstMax)));
  for (size_t i = 0; i < n; i++) take(got[i]);
  port_->rx_release(std::span(got).first(n));
  if (random_.chance(faults_.rx_delay)) {
    injected_++;
    return 0;
  }
  const size_t out = std::min(frames.size(), held_.size());
  for (size_t i = 0; i < out; i++) {
    held_[i]->lent = true;
    frames[i] = RxFrame{held_[i]->bytes.data(), static_cast<uint32_t>(held_[i]->bytes.size()),
                        held_[i]->checksum_ok, held_[i]};
  }
  held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(out));
  return out;
}

void FaultyPort::rx_release(std::span<const RxFrame> frames) {
  for (const RxFrame& frame : frames) {
    Copy* copy = static_cast<Copy*>(frame.handle);
    MN_ASSERT(copy->lent);
    copy->lent = false;
    free_.push_back(copy);
  }
}

size_t FaultyPort::tx_alloc(std::span<TxFrame> frames) {
  size_t wanted = frames.size();
  if (random_.chance(faults_.tx_alloc_short)) {
    wanted = random_.below(wanted + 1);
    refused_ = true;
    injected_++;
  }
  return port_->tx_alloc(frames.first(wanted));
}

size_t FaultyPort::tx_burst(std::span<TxFrame> frames) {
  size_t wanted = frames.size();
  if (random_.chance(faults_.tx_burst_short)) {
    wanted = random_.below(wanted + 1);
    refused_ = true;
    injected_++;
  }
  return port_->tx_burst(frames.first(wanted));
}

}  // namespace mn::test
