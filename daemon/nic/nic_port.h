// SPDX-License-Identifier: MIT
// NicPort: one receive queue and one transmit queue of a NIC, as the engine sees them. One engine
// thread owns a NicPort; no call blocks or allocates. One virtual call per burst, never per packet.
// Implementations: EthdevPort (DPDK), NullPort (a host without a NIC), and in the tests SimPort and
// FaultyPort. This header knows nothing of DPDK.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/address.h"

namespace mn {

constexpr size_t kBurstMax = 32;  // frames in one call of rx_burst, tx_alloc or tx_burst

// A received frame. The bytes stay valid until rx_release. `data` starts at the Ethernet header.
struct RxFrame {
  const uint8_t* data = nullptr;
  uint32_t length = 0;
  bool udp_checksum_ok = false;  // the NIC verified IP and UDP checksum; false: software must
  void* handle = nullptr;        // the port's own
};

// A frame to be sent. tx_alloc gives `data` with room for the MTU plus the Ethernet header;
// the engine writes the bytes and sets `length` (at least 60: it pads).
struct TxFrame {
  uint8_t* data = nullptr;
  uint32_t length = 0;
  bool offload_checksum =
      false;               // only if facts().tx_checksum_offload: the port completes both checksums
  void* handle = nullptr;  // the port's own
};

struct NicFacts {
  Mac mac{};
  uint16_t mtu = 1500;            // IP packet bytes
  uint16_t queue = 0;             // which queue pair of the NIC this port is
  uint16_t tx_queue_depth = 512;  // descriptors
  uint16_t rx_queue_depth = 512;  // descriptors
  // Ask rx_burst for multiples of this: vector receive functions give nothing to who asks for less
  // than they take in one step, and nothing beyond the last multiple (notes of rte_eth_rx_burst).
  uint16_t rx_burst_step = 8;
  bool tx_checksum_offload = false;  // IPv4 header and UDP
  bool rx_checksum_offload = false;
  int wake_fd = -1;  // readable when a packet waits; -1: there is no such thing, poll
};

struct NicCounters {
  uint64_t rx_missed = 0;   // dropped by the NIC because the receive ring was full
  uint64_t rx_no_mbuf = 0;  // dropped because no packet buffer was free
  uint64_t tx_errors = 0;
  uint64_t resets = 0;  // the device was stopped and set up anew, and lost what was on its way
};

class NicPort {
 public:
  virtual ~NicPort() = default;

  virtual const NicFacts& facts() const = 0;

  // Fills `frames` from the front, returns how many (at most kBurstMax).
  virtual size_t rx_burst(std::span<RxFrame> frames) = 0;
  // Gives the frames of an rx_burst back, each exactly once.
  virtual void rx_release(std::span<const RxFrame> frames) = 0;

  // Takes frames for sending; returns how many it could give (fewer: the pool is empty).
  virtual size_t tx_alloc(std::span<TxFrame> frames) = 0;
  // Sends frames in order; returns how many the queue took. The port owns those; the rest stay with
  // the caller, to be sent again or freed.
  virtual size_t tx_burst(std::span<TxFrame> frames) = 0;
  virtual void tx_free(std::span<const TxFrame> frames) = 0;

  // Before the engine sleeps on wake_fd: arms a wake-up (device interrupt where there is one).
  // Returns false if a packet may already be waiting: poll once more.
  virtual bool arm_wake() = 0;
  // After the engine woke: stops the wake-ups.
  virtual void disarm_wake() = 0;

  // False: wake_fd may stay silent although packets wait, so do not sleep long on it.
  virtual bool wake_is_reliable() const { return facts().wake_fd >= 0; }

  // Whether frames can leave; true where nobody can tell. Unlike all else here, for any thread.
  virtual bool link_is_up() const { return true; }

  // How often the device was reset. For any thread, as link_is_up.
  virtual uint64_t resets() const { return 0; }

  // `service` is wanted within milliseconds: the device is about to be reset. Engine's thread.
  virtual bool wants_service_soon() const { return false; }

  // About once a second, from the engine's thread: timers that drivers need, link, statistics,
  // and the reset that a driver asked for, which may take a moment.
  virtual void service(NicCounters* counters) = 0;
};

}  // namespace mn
