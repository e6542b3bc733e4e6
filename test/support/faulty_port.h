// SPDX-License-Identifier: MIT
// FaultyPort: wraps any NicPort and makes it behave as bad as a NIC may: received frames dropped,
// duplicated, swapped, held back for a burst or damaged; a frame pool that is empty now and then; a
// transmit queue that takes only part of a burst. Between the engine and the real port, on the
// engine's thread; every chance comes from its seed.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "base/assert.h"
#include "nic/nic_port.h"
#include "support/sim_random.h"

namespace mn::test {

struct PortFaults {
  double rx_drop = 0, rx_duplicate = 0, rx_swap = 0, rx_delay = 0, rx_corrupt = 0;
  double tx_alloc_short = 0;  // of a tx_alloc: gives fewer than it could
  double tx_burst_short = 0;  // of a tx_burst: takes fewer than it could
};

class FaultyPort final : public NicPort {
 public:
  FaultyPort(NicPort* port, const PortFaults& faults, uint64_t seed)
      : port_(port), faults_(faults), random_(seed) {}

  void heal() { faults_ = PortFaults{}; }
  // Frames held back, or a queue that refused: poll again soon.
  bool wants_poll() const { return !held_.empty() || refused_; }
  uint64_t injected() const { return injected_; }
  void forget();  // the engine died: frames it held are ours again

  const NicFacts& facts() const override { return port_->facts(); }
  size_t rx_burst(std::span<RxFrame> frames) override;
  void rx_release(std::span<const RxFrame> frames) override;
  size_t tx_alloc(std::span<TxFrame> frames) override;
  size_t tx_burst(std::span<TxFrame> frames) override;
  void tx_free(std::span<const TxFrame> frames) override { port_->tx_free(frames); }
  bool arm_wake() override { return held_.empty() && port_->arm_wake(); }
  void disarm_wake() override { port_->disarm_wake(); }
  bool wake_is_reliable() const override { return port_->wake_is_reliable(); }
  bool link_is_up() const override { return port_->link_is_up(); }
  uint64_t resets() const override { return port_->resets(); }
  bool wants_service_soon() const override { return port_->wants_service_soon(); }
  void service(NicCounters* counters) override { port_->service(counters); }

 private:
  // A frame of our own: a copy of one of the port's, so that a duplicate has a life of its own.
  struct Copy {
    std::vector<uint8_t> bytes;
    bool checksum_ok = false;
    bool lent = false;
  };
  void take(const RxFrame& frame);

  NicPort* port_;
  PortFaults faults_;
  SimRandom random_;
  std::deque<Copy> copies_;
  std::vector<Copy*> held_;  // received, not yet given to the engine
  std::vector<Copy*> free_;
  bool refused_ = false;
  uint64_t injected_ = 0;
};

}  // namespace mn::test
