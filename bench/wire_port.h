// SPDX-License-Identifier: MIT
// Wire and WirePort: two NicPorts joined by a lossless wire, for one thread. A frame is handed over
// without a copy and comes back to its sender's pool when the receiver releases it, as if a NIC
// moved it for nothing: what stage_cost measures is the stack's cost and nothing of a driver.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/assert.h"
#include "nic/nic_port.h"

namespace mn::bench {

class WirePort final : public NicPort {
 public:
  static constexpr size_t kFrames = 4096;  // both rings hold all of them: nothing is ever refused

  WirePort(uint8_t number, uint16_t mtu, bool checksum_offload)
      : frame_bytes_((size_t{mtu} + 14 + 127) / 64 * 64), memory_(kFrames * frame_bytes_) {
    facts_.mac = Mac{{2, 0, 0, 0, 0, number}};
    facts_.mtu = mtu;
    facts_.tx_queue_depth = facts_.rx_queue_depth = kFrames;
    facts_.tx_checksum_offload = facts_.rx_checksum_offload = checksum_offload;
    for (size_t i = 0; i < kFrames; i++) free_.push_back(memory_.data() + i * frame_bytes_);
    arrived_.resize(kFrames);
  }

  void join(WirePort* peer) {
    peer_ = peer;
    peer->peer_ = this;
  }
  uint64_t frames_sent() const { return frames_sent_; }

  const NicFacts& facts() const override { return facts_; }

  size_t rx_burst(std::span<RxFrame> frames) override {
    size_t n = 0;
    for (; n < frames.size() && n < kBurstMax && head_ != tail_; n++) {
      const Arrived& frame = arrived_[head_++ % kFrames];
      frames[n] = {frame.data, frame.length, facts_.rx_checksum_offload, frame.data};
    }
    return n;
  }
  void rx_release(std::span<const RxFrame> frames) override {
    for (const RxFrame& frame : frames) peer_->free_.push_back(static_cast<uint8_t*>(frame.handle));
  }
  size_t tx_alloc(std::span<TxFrame> frames) override {
    size_t n = 0;
    for (; n < frames.size() && !free_.empty(); n++) {
      frames[n] = {};
      frames[n].data = free_.back();
      frames[n].handle = free_.back();
      free_.pop_back();
    }
    return n;
  }
  size_t tx_burst(std::span<TxFrame> frames) override {
    for (const TxFrame& frame : frames) {
      MN_ASSERT(peer_->tail_ - peer_->head_ < kFrames && frame.length <= frame_bytes_);
      peer_->arrived_[peer_->tail_++ % kFrames] = {static_cast<uint8_t*>(frame.handle),
                                                   frame.length};
    }
    frames_sent_ += frames.size();
    return frames.size();
  }
  void tx_free(std::span<const TxFrame> frames) override {
    for (const TxFrame& frame : frames) free_.push_back(static_cast<uint8_t*>(frame.handle));
  }
  bool arm_wake() override { return head_ == tail_; }
  void disarm_wake() override {}
  void service(NicCounters*) override {}

 private:
  struct Arrived {
    uint8_t* data;
    uint32_t length;
  };
  NicFacts facts_;
  size_t frame_bytes_;
  std::vector<uint8_t> memory_;
  std::vector<uint8_t*> free_;  // LIFO: the frame used last is in the cache
  std::vector<Arrived> arrived_;
  size_t head_ = 0, tail_ = 0;
  uint64_t frames_sent_ = 0;
  WirePort* peer_ = nullptr;
};

}  // namespace mn::bench
