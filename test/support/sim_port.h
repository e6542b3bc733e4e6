// SPDX-License-Identifier: MIT
// SimPort: a NicPort on a SimLink: a NIC with a frame pool, a receive ring and a transmit queue
// that is as full as the link is slow. It completes checksums and verifies them as offloads do, if
// told to, and fails the test when the engine breaks the port's contract (a frame released twice,
// too long, too short, unpadded). One thread, as an engine's.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "nic/nic_port.h"
#include "support/sim_link.h"

namespace mn::test {

class SimPort final : public NicPort {
 public:
  SimPort(const NicFacts& facts, uint32_t tx_frames);

  void connect_to(SimLink* out) { out_ = out; }
  void frame_arrived(std::span<const uint8_t> bytes);
  bool rx_waiting() const { return !rx_ring_.empty(); }
  bool tx_blocked() { return out_->queued() >= facts_.tx_queue_depth; }
  Instant tx_unblocked() { return out_->drained_to(facts_.tx_queue_depth / 2); }
  uint64_t rx_missed() const { return rx_missed_; }
  uint32_t tx_frames_out() const { return tx_out_; }
  // Down: what is sent is lost, nothing comes in.
  void set_link(bool is_up) { link_is_up_ = is_up; }
  // As when a device is set up anew: its rings are empty.
  void reset();
  void power_cycle();  // the engine died: frames it held are ours again

  const NicFacts& facts() const override { return facts_; }
  size_t rx_burst(std::span<RxFrame> frames) override;
  void rx_release(std::span<const RxFrame> frames) override;
  size_t tx_alloc(std::span<TxFrame> frames) override;
  size_t tx_burst(std::span<TxFrame> frames) override;
  void tx_free(std::span<const TxFrame> frames) override;
  bool arm_wake() override { return rx_ring_.empty(); }
  void disarm_wake() override {}
  bool link_is_up() const override { return link_is_up_; }
  uint64_t resets() const override { return resets_; }
  void service(NicCounters* counters) override {
    counters->rx_missed = rx_missed_;
    counters->resets = resets_;
  }

 private:
  struct RxSlot {
    std::vector<uint8_t> bytes;
    bool lent = false;
  };
  struct TxSlot {
    std::vector<uint8_t> bytes;
    bool lent = false;
  };
  TxSlot* take_back(const TxFrame& frame);
  void put_on_wire(const TxFrame& frame);

  NicFacts facts_;
  SimLink* out_ = nullptr;
  std::deque<RxSlot*> rx_ring_;
  std::deque<RxSlot> rx_slots_;
  std::vector<RxSlot*> rx_free_;
  std::deque<TxSlot> tx_slots_;
  std::vector<TxSlot*> tx_free_;
  uint32_t tx_out_ = 0;
  uint64_t rx_missed_ = 0;
  bool link_is_up_ = true;
  uint64_t resets_ = 0;
};

// True if the IPv4 header's and the UDP checksum of a frame are right (a frame that is no IPv4 UDP:
// false).
bool frame_checksums_ok(std::span<const uint8_t> frame);

}  // namespace mn::test
