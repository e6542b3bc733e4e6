// SPDX-License-Identifier: MIT
// EthdevPort: one queue pair of a DPDK device. Belongs to an EthdevDevice, which sets the queues up
// and starts them; used by one engine thread, which has called nic_thread_enter. Frames are
// single-segment mbufs of one pool, shared by both directions. Never allocates or logs; a driver
// may do system calls.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "nic/nic_port.h"
#include "nic/reset_gate.h"
#include "nic/wake_trust.h"

struct rte_mempool;
struct rte_mbuf;

namespace mn::nic {

// What the device tells its ports; filled in before the engine starts.
struct EthdevPortSetup {
  uint16_t port_id = 0;
  uint16_t queue = 0;
  rte_mempool* pool = nullptr;
  NicFacts facts;
  bool has_rx_interrupt = false;  // facts.wake_fd is the device's interrupt
  std::string interface;          // of a driver on a kernel interface, else empty
  bool wake_is_eventfd = false;   // ... which must be read to fall silent
  bool wake_is_socket = false;    // facts.wake_fd is the socket of a driver on a kernel interface
  bool counts_socket_drops = false;  // ... whose drops the driver does not report
  bool keeps_device = false;  // the first port: statistics, timers and link of the whole device
  bool restarts_when_down = false;             // memif's client does not reconnect by itself
  bool is_only_queue = true;                   // of its device
  ResetGate* reset_gate = nullptr;             // the driver asks there for a reset
  const std::atomic<bool>* removed = nullptr;  // the device is gone
  std::function<bool()> reset;  // stops the device and sets it up anew; false: it is stopped
};

class EthdevPort final : public NicPort {
 public:
  explicit EthdevPort(const EthdevPortSetup& setup);
  ~EthdevPort() override;
  EthdevPort(const EthdevPort&) = delete;
  EthdevPort& operator=(const EthdevPort&) = delete;

  const NicFacts& facts() const override { return setup_.facts; }
  size_t rx_burst(std::span<RxFrame> frames) override;
  void rx_release(std::span<const RxFrame> frames) override;
  size_t tx_alloc(std::span<TxFrame> frames) override;
  size_t tx_burst(std::span<TxFrame> frames) override;
  void tx_free(std::span<const TxFrame> frames) override;
  bool arm_wake() override;
  void disarm_wake() override;
  bool wake_is_reliable() const override {
    return setup_.facts.wake_fd >= 0 && !wake_lost_ &&
           (!setup_.has_rx_interrupt || wake_trust_.trusted());
  }
  bool link_is_up() const override;
  uint64_t resets() const override { return resets_.load(std::memory_order_relaxed); }
  bool wants_service_soon() const override { return reset_visitor_.away && !reset_failed_; }
  void service(NicCounters* counters) override;

 private:
  size_t keep_linear(rte_mbuf** mbufs, size_t count);
  size_t drop(std::span<TxFrame> frames);
  size_t drop_unsent(std::span<TxFrame> frames);
  bool read_link() const;
  void set_link(bool is_up) { link_up_.store(is_up, std::memory_order_relaxed); }
  void run_driver_timers();
  void restart_if_down();
  void visit_reset_gate();
  void leave_device();

  EthdevPortSetup setup_;
  rte_mbuf* stash_[kBurstMax] = {};  // received while arming an interrupt
  size_t stashed_ = 0;
  WakeTrust wake_trust_;
  // As of the last service or failed send. Relaxed: the news is all there is to it.
  std::atomic<bool> link_up_{true};
  bool was_down_ = false;  // at the last service
  bool is_started_ = true;
  bool wake_lost_ = false;  // the interrupt ended with the device that was reset
  ResetGate::Visitor reset_visitor_;
  bool reset_failed_ = false;        // the last one
  std::atomic<uint64_t> resets_{0};  // of the port that keeps the device
  uint64_t own_rx_dropped_ = 0;
  uint64_t own_tx_dropped_ = 0;
  uint64_t socket_drops_ = 0;
};

}  // namespace mn::nic
