// SPDX-License-Identifier: MIT
// NullPort: the port of an engine without a NIC, which serves the applications of this host only.
// Receives nothing; what is sent to it is dropped and counted. Owned by main, used by one engine
// thread. No DPDK.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/unique_fd.h"
#include "nic/nic_port.h"

namespace mn::nic {

class NullPort final : public NicPort {
 public:
  explicit NullPort(uint16_t mtu = 9000);

  const NicFacts& facts() const override { return facts_; }
  size_t rx_burst(std::span<RxFrame> frames) override;
  void rx_release(std::span<const RxFrame> frames) override;
  size_t tx_alloc(std::span<TxFrame> frames) override;
  size_t tx_burst(std::span<TxFrame> frames) override;
  void tx_free(std::span<const TxFrame> frames) override;
  bool arm_wake() override { return true; }  // no packet will ever come
  void disarm_wake() override {}
  void service(NicCounters* counters) override;

 private:
  static constexpr size_t kFrames = 2 * kBurstMax;

  NicFacts facts_;
  UniqueFd wake_;  // never readable: an engine may sleep on it for as long as nobody else wakes it
  size_t frame_bytes_;
  std::vector<uint8_t> memory_;  // kFrames frames
  std::vector<uint8_t*> free_;   // those nobody holds
  uint64_t dropped_ = 0;
};

}  // namespace mn::nic
