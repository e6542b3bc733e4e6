// SPDX-License-Identifier: MIT
#include "nic/ethdev_port.h"

#include <linux/if_packet.h>
#include <poll.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_prefetch.h>
#include <rte_timer.h>
#include <rte_udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "device/interface.h"

namespace mn::nic {

namespace {

constexpr uint64_t kChecksumMask = RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK;
constexpr uint64_t kChecksumGood = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;

rte_mbuf* mbuf_of(void* handle) { return static_cast<rte_mbuf*>(handle); }

// What a device wants to find before it completes the checksums: lengths, flags, the pseudo
// header's sum in the UDP header and nothing in the IP header.
void prepare_checksum_offload(rte_mbuf* mbuf) {
  mbuf->l2_len = sizeof(rte_ether_hdr);
  mbuf->l3_len = sizeof(rte_ipv4_hdr);
  mbuf->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_UDP_CKSUM;
  auto* const ip = rte_pktmbuf_mtod_offset(mbuf, rte_ipv4_hdr*, sizeof(rte_ether_hdr));
  auto* const udp = reinterpret_cast<rte_udp_hdr*>(ip + 1);
  ip->hdr_checksum = 0;
  udp->dgram_cksum = rte_ipv4_phdr_cksum(ip, mbuf->ol_flags);
}

void run_timer(rte_timer* timer) { timer->f(timer, timer->arg); }

}  // namespace

EthdevPort::EthdevPort(const EthdevPortSetup& setup) : setup_(setup) {}

EthdevPort::~EthdevPort() {
  if (stashed_ > 0) rte_pktmbuf_free_bulk(stash_, static_cast<unsigned>(stashed_));
}

// Chains that fit one buffer are made flat; the rest, which our own peers never send, is dropped.
size_t EthdevPort::keep_linear(rte_mbuf** mbufs, size_t count) {
  size_t kept = 0;
  for (size_t i = 0; i < count; ++i) {
    if (__builtin_expect(mbufs[i]->nb_segs != 1, 0) && rte_pktmbuf_linearize(mbufs[i]) != 0) {
      rte_pktmbuf_free(mbufs[i]);
      ++own_rx_dropped_;
      continue;
    }
    mbufs[kept++] = mbufs[i];
  }
  return kept;
}

size_t EthdevPort::rx_burst(std::span<RxFrame> frames) {
  rte_mbuf* mbufs[kBurstMax];
  size_t count;
  if (__builtin_expect(stashed_ > 0, 0)) {
    count = std::min(stashed_, frames.size());
    std::copy_n(stash_, count, mbufs);
    std::copy(stash_ + count, stash_ + stashed_, stash_);
    stashed_ -= count;
  } else if (__builtin_expect(!is_started_, 0)) {
    return 0;
  } else {
    const auto room = static_cast<uint16_t>(std::min(frames.size(), kBurstMax));
    count = rte_eth_rx_burst(setup_.port_id, setup_.queue, mbufs, room);
    wake_trust_.on_received(count);
    if (count == 0) return 0;
  }
  for (size_t i = 0; i < count; ++i) rte_prefetch0(rte_pktmbuf_mtod(mbufs[i], void*));
  count = keep_linear(mbufs, count);
  for (size_t i = 0; i < count; ++i) {
    frames[i].data = rte_pktmbuf_mtod(mbufs[i], const uint8_t*);
    frames[i].length = mbufs[i]->data_len;
    frames[i].udp_checksum_ok = (mbufs[i]->ol_flags & kChecksumMask) == kChecksumGood;
    frames[i].handle = mbufs[i];
  }
  return count;
}

void EthdevPort::rx_release(std::span<const RxFrame> frames) {
  rte_mbuf* mbufs[kBurstMax];
  for (size_t done = 0; done < frames.size();) {
    const size_t count = std::min(frames.size() - done, kBurstMax);
    for (size_t i = 0; i < count; ++i) mbufs[i] = mbuf_of(frames[done + i].handle);
    rte_pktmbuf_free_bulk(mbufs, static_cast<unsigned>(count));
    done += count;
  }
}

size_t EthdevPort::tx_alloc(std::span<TxFrame> frames) {
  rte_mbuf* mbufs[kBurstMax];
  size_t count = std::min(frames.size(), kBurstMax);
  // All or nothing, so ask for less when the pool runs low.
  while (count > 0 &&
         rte_pktmbuf_alloc_bulk(setup_.pool, mbufs, static_cast<unsigned>(count)) != 0) {
    count /= 2;
  }
  for (size_t i = 0; i < count; ++i) {
    frames[i].data = rte_pktmbuf_mtod(mbufs[i], uint8_t*);
    frames[i].length = 0;
    frames[i].offload_checksum = false;
    frames[i].handle = mbufs[i];
  }
  return count;
}

size_t EthdevPort::tx_burst(std::span<TxFrame> frames) {
  rte_mbuf* mbufs[kBurstMax];
  const size_t count = std::min(frames.size(), kBurstMax);
  if (__builtin_expect(!is_started_, 0)) return drop(frames.first(count));
  bool offloads = false;
  for (size_t i = 0; i < count; ++i) {
    mbufs[i] = mbuf_of(frames[i].handle);
    mbufs[i]->data_len = static_cast<uint16_t>(frames[i].length);
    mbufs[i]->pkt_len = frames[i].length;
    if (frames[i].offload_checksum) {
      prepare_checksum_offload(mbufs[i]);
      offloads = true;
    }
  }
  auto ready = static_cast<uint16_t>(count);
  if (offloads) {
    // Stops at a frame the device cannot take; the rest is offered again, the bad one too: it will
    // be dropped below when nothing else is left in front of it.
    ready = rte_eth_tx_prepare(setup_.port_id, setup_.queue, mbufs, ready);
    if (ready == 0 && count > 0) {
      rte_pktmbuf_free(mbufs[0]);
      ++own_tx_dropped_;
      return 1;
    }
  }
  const size_t sent = rte_eth_tx_burst(setup_.port_id, setup_.queue, mbufs, ready);
  if (__builtin_expect(sent == 0 && count > 0, 0)) return drop_unsent(frames.first(count));
  return sent;
}

// A queue that takes nothing is either full for a moment or leads nowhere. In the second case
// frames are dropped as a cable would, or the engine would try for ever.
size_t EthdevPort::drop_unsent(std::span<TxFrame> frames) {
  if (link_up_.load(std::memory_order_relaxed)) set_link(read_link());
  if (link_up_.load(std::memory_order_relaxed)) return 0;
  return drop(frames);
}

size_t EthdevPort::drop(std::span<TxFrame> frames) {
  tx_free(frames);
  own_tx_dropped_ += frames.size();
  return frames.size();
}

void EthdevPort::tx_free(std::span<const TxFrame> frames) {
  rte_mbuf* mbufs[kBurstMax];
  for (size_t done = 0; done < frames.size();) {
    const size_t count = std::min(frames.size() - done, kBurstMax);
    for (size_t i = 0; i < count; ++i) mbufs[i] = mbuf_of(frames[done + i].handle);
    rte_pktmbuf_free_bulk(mbufs, static_cast<unsigned>(count));
    done += count;
  }
}

bool EthdevPort::arm_wake() {
  if (stashed_ > 0) return false;
  if (wake_lost_) return true;
  if (setup_.has_rx_interrupt) {
    rte_eth_dev_rx_intr_enable(setup_.port_id, setup_.queue);
    // Drivers differ in what they do with a packet that came before; so look, and keep what is
    // found.
    stashed_ = rte_eth_rx_burst(setup_.port_id, setup_.queue, stash_, kBurstMax);
    return stashed_ == 0;
  }
  if (setup_.facts.wake_fd < 0) return true;
  pollfd waiting{setup_.facts.wake_fd, POLLIN, 0};
  return poll(&waiting, 1, 0) <= 0;  // the socket is readable as long as the ring holds a frame
}

void EthdevPort::disarm_wake() {
  if (wake_lost_) return;
  if (setup_.has_rx_interrupt) {
    rte_eth_dev_rx_intr_disable(setup_.port_id, setup_.queue);
    if (stashed_ == 0) {  // else nobody slept
      pollfd waiting{setup_.facts.wake_fd, POLLIN, 0};
      wake_trust_.on_slept(poll(&waiting, 1, 0) > 0);
    }
    if (setup_.wake_is_eventfd) {
      uint64_t count;
      [[maybe_unused]] const ssize_t ignored = read(setup_.facts.wake_fd, &count, sizeof(count));
    }
  } else if (setup_.wake_is_socket) {
    // An interface that went down leaves an error, which would wake us for ever; reading clears it.
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(setup_.facts.wake_fd, SOL_SOCKET, SO_ERROR, &error, &size);
  }
}

// DPDK's drivers want one caller at a time, which is the engine; and those on kernel interfaces do
// not tell the link.
bool EthdevPort::link_is_up() const {
  if (!setup_.interface.empty()) return device::interface_is_running(setup_.interface);
  return link_up_.load(std::memory_order_relaxed);
}

bool EthdevPort::read_link() const {
  if (!is_started_) return false;
  rte_eth_link link{};
  return rte_eth_link_get_nowait(setup_.port_id, &link) != 0 || link.link_status == RTE_ETH_LINK_UP;
}

// Drivers start their timers on the lcore that starts the device, which is not the one that polls
// it.
void EthdevPort::run_driver_timers() {
  if (rte_lcore_id() == LCORE_ID_ANY)
    return;  // a thread without nic_thread_enter has no timer list
  rte_timer_manage();
  unsigned main_lcore = rte_get_main_lcore();
  rte_timer_alt_manage(0, &main_lcore, 1, run_timer);
}

// A link that is down for the first time may be about to come: the driver joins its peer on a
// thread of its own, and a restart meanwhile would take the queues away under it.
void EthdevPort::restart_if_down() {
  const bool was_down = was_down_;
  was_down_ = !link_up_.load(std::memory_order_relaxed);
  if (!was_down || !was_down_) return;
  if (is_started_) rte_eth_dev_stop(setup_.port_id);
  is_started_ = rte_eth_dev_start(setup_.port_id) == 0;
  set_link(read_link());
}

// Hypervisors and firmware do this to a device (ENA's watchdog, a VF whose host was serviced). One
// that was removed keeps its name in vain: the service has to be started again.
void EthdevPort::visit_reset_gate() {
  if (setup_.removed->load(std::memory_order_relaxed)) {
    is_started_ = false;
    return;
  }
  const bool was_away = reset_visitor_.away;
  switch (setup_.reset_gate->visit(&reset_visitor_, setup_.keeps_device)) {
    case ResetGate::Turn::kUse:
      if (was_away) is_started_ = true;
      return;
    case ResetGate::Turn::kLeave:
      return leave_device();
    case ResetGate::Turn::kReset:
      leave_device();
      reset_failed_ = !setup_.reset();
      if (reset_failed_) return;  // tried again in a second
      setup_.reset_gate->done(&reset_visitor_);
      is_started_ = true;
      resets_.fetch_add(1, std::memory_order_relaxed);
      return;
  }
}

void EthdevPort::leave_device() {
  if (stashed_ > 0) rte_pktmbuf_free_bulk(stash_, static_cast<unsigned>(stashed_));
  stashed_ = 0;
  wake_lost_ = setup_.has_rx_interrupt;  // by timer from now on
  is_started_ = false;
}

void EthdevPort::service(NicCounters* counters) {
  NicCounters now;
  visit_reset_gate();
  set_link(read_link());
  now.resets = resets();
  if (setup_.keeps_device && (is_started_ || setup_.restarts_when_down)) {
    run_driver_timers();
    if (setup_.restarts_when_down && setup_.is_only_queue) restart_if_down();
    rte_eth_stats stats;
    if (rte_eth_stats_get(setup_.port_id, &stats) == 0) {
      now.rx_missed = stats.imissed;
      now.rx_no_mbuf = stats.rx_nombuf;
      now.tx_errors = stats.oerrors;
    }
  }
  if (setup_.counts_socket_drops) {
    tpacket_stats since_last{};
    socklen_t size = sizeof(since_last);
    if (getsockopt(setup_.facts.wake_fd, SOL_PACKET, PACKET_STATISTICS, &since_last, &size) == 0) {
      socket_drops_ += since_last.tp_drops;
    }
  }
  now.rx_missed += socket_drops_ + own_rx_dropped_;
  now.tx_errors += own_tx_dropped_;
  *counters = now;
}

}  // namespace mn::nic
