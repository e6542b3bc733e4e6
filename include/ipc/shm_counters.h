// SPDX-License-Identifier: MIT
// Layout of the counters page: one memfd for the whole service, written by the engines (each its
// own block, one writer), mapped read-only by anyone who may open the control socket. Values only
// grow; a reader takes each with a relaxed load, so a set of them is no snapshot.
#pragma once

#include <stdint.h>

#include <atomic>

namespace mn::ipc {

constexpr uint32_t kCountersMagic = 0x4d4e4e54;
constexpr uint32_t kCountersVersion = 1;
constexpr uint32_t kCounterEnginesMax = 16;

// name, what it counts
#define MN_COUNTERS(X)                                                                    \
  X(rx_packets, "frames received")                                                        \
  X(rx_bytes, "bytes of frames received")                                                 \
  X(tx_packets, "frames sent")                                                            \
  X(tx_bytes, "bytes of frames sent")                                                     \
  X(rx_messages, "messages delivered to applications")                                    \
  X(tx_messages, "messages accepted from applications")                                   \
  X(retransmitted_packets, "data packets sent again")                                     \
  X(timeouts, "retransmission timeouts")                                                  \
  X(tail_probes, "tail loss probes sent")                                                 \
  X(drop_not_for_us, "frames for another host or protocol")                               \
  X(drop_malformed, "frames that failed a length, version or format check")               \
  X(drop_checksum, "frames with a wrong IPv4 or UDP checksum")                            \
  X(drop_no_flow, "packets for no flow, or of an earlier incarnation")                    \
  X(drop_duplicate, "data packets received a second time")                                \
  X(drop_window, "data packets outside the receive window")                               \
  X(drop_no_buffer, "data packets refused because the application's buffers were in use") \
  X(drop_handshake_limit, "handshakes put off: too many half open, or slots run short")   \
  X(tx_no_buffer, "sends postponed because the NIC's packet pool or queue was full")      \
  X(arp_received, "ARP packets received")                                                 \
  X(icmp_received, "ICMP echo requests answered")                                         \
  X(flows_opened, "flows opened, both directions")                                        \
  X(flows_ended, "flows ended for any reason")                                            \
  X(flows_reset, "flows reset by peer")                                                   \
  X(flows_timed_out, "flows given up because the peer was silent")                        \
  X(channels_violated, "channels closed because the application broke the protocol")      \
  X(stale_submits, "sends on a flow that had already ended")                              \
  X(polls, "poll iterations")                                                             \
  X(polls_busy, "poll iterations that found work")                                        \
  X(sleeps, "times the engine slept")                                                     \
  X(nic_rx_missed, "frames that the NIC dropped because its ring was full")               \
  X(nic_rx_no_mbuf, "frames that the NIC dropped for lack of packet buffers")             \
  X(nic_tx_errors, "frames that the NIC failed to send")                                  \
  X(clock_steps, "times the processor's counter and the kernel's clock came apart")       \
  X(absences, "times the engine did not run for 100 ms or more")                          \
  X(nic_resets, "times the NIC was reset because its driver asked for it")                \
  X(handed_over, "packets of another engine's flows, handed to it")                       \
  X(handed_lost, "packets lost because another engine's queue was full")                  \
  X(rx_coalesced, "packets received in a frame after the first one")                      \
  X(tx_coalesced, "packets sent in a frame after the first one")                          \
  X(path_mtu_probes_lost, "padded probes lost on paths that took smaller packets")        \
  X(path_mtu_reduced,                                                                     \
    "times a flow went over to smaller packets because its path eats large "              \
    "ones")

struct alignas(128) EngineCounters {
#define MN_COUNTER_FIELD(name, help) std::atomic<uint64_t> name;
  MN_COUNTERS(MN_COUNTER_FIELD)
#undef MN_COUNTER_FIELD
};

struct CountersPage {
  uint32_t magic;
  uint32_t version;
  uint32_t engine_count;
  uint32_t counters_per_engine;
  EngineCounters engines[kCounterEnginesMax];
};

// Single writer: no read-modify-write instruction needed.
inline void counter_add(std::atomic<uint64_t>& counter, uint64_t n) {
  counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

}  // namespace mn::ipc
