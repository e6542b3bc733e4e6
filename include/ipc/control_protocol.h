// SPDX-License-Identifier: MIT
// The control socket: SOCK_SEQPACKET, one session per channel, fixed-size messages, one request at
// a time, one reply to each request, in order. Host byte order (one machine). The first request is
// Hello. A reply carries an errno (0: done) and, when refused, a sentence that a person can read.
// The session's end (either side closes or dies) is the channel's end.
#pragma once

#include <stdint.h>

#include "ipc/shm_layout.h"

namespace mn::ipc {

constexpr uint32_t kControlMagic = 0x4d4e4354;  // "MNCT"
constexpr uint16_t kControlVersionMin = 1;
constexpr uint16_t kControlVersionMax = 1;
constexpr char kDefaultSocketPath[] = "/run/machnet/machnet.sock";
constexpr char kSocketEnvironment[] = "MACHNET_SOCKET";

enum ControlType : uint16_t {
  kControlHello = 1,      // negotiates the version; no descriptors
  kControlAttach = 2,     // reply: ChannelInfo; descriptors: memfd, application's doorbell (a
                          // stream socket: 8 bytes for each ring), engine's eventfd of each lane
  kControlListen = 3,     // Endpoint
  kControlUnlisten = 4,   // Endpoint
  kControlConnect = 5,    // ConnectRequest; reply: FlowInfo
  kControlDetach = 6,     // closes all flows in order; the reply comes when they are gone, or after
                          // kDetachLingerMs with ETIMEDOUT
  kControlFlowStats = 7,  // FlowQuery; reply: FlowStats
  kControlNicInfo = 8,    // IndexQuery; reply: NicInfo; ENOENT past the last one
  kControlCounters = 9,   // reply: CountersInfo; descriptor: counters page, read-only
  kControlChannelInfo =
      10,              // IndexQuery (for machnetctl); reply: ChannelStatus; ENOENT past the last
  kControlTrace = 11,  // TraceRequest; reply: TraceInfo; descriptor: the ring (trace.h), read-only.
                       // Root's only; one for each session and engine, until the session ends
};

constexpr uint32_t kDetachLingerMs = 1000;
constexpr uint32_t kConnectTimeoutMs = 3000;  // the daemon answers a connect within this

struct ControlHeader {
  uint32_t magic;
  uint16_t type;      // ControlType; a reply repeats it
  uint16_t reserved;  // 0
  uint32_t sequence;  // chosen by the client, repeated in the reply
  int32_t error;      // replies: 0 or an errno; requests: 0
};
static_assert(sizeof(ControlHeader) == 16);

struct Hello {  // both ways: request the range, reply the choice in both fields
  uint16_t version_min;
  uint16_t version_max;
  uint32_t reserved;
};

struct Endpoint {  // local_ip 0: every address of the host. Host byte order.
  uint32_t local_ip;
  uint16_t local_port;
  uint16_t reserved;
};

struct ConnectRequest {  // local_ip 0: the daemon chooses the NIC. Host byte order.
  uint32_t local_ip;
  uint32_t remote_ip;
  uint16_t remote_port;
  uint16_t reserved;
};

struct FlowInfo {
  uint32_t lane;
  uint32_t flow;  // FlowRef
  uint32_t local_ip, remote_ip;
  uint16_t local_port, remote_port;
};

struct ChannelInfo {
  uint32_t lane_count;
  uint32_t reserved;
  uint64_t memory_size;
  LaneShape lanes[kLanesMax];
};

struct FlowQuery {
  uint32_t lane;
  uint32_t flow;
};

struct FlowStats {
  uint64_t tx_messages, tx_bytes, rx_messages, rx_bytes;
  uint64_t tx_packets, rx_packets, retransmitted_packets, timeouts;
  uint64_t rtt_smoothed_ns, rtt_min_ns, rto_ns;
  uint32_t window_packets;  // what the peer allows in flight
  uint32_t packets_in_flight;
  uint64_t tx_queued_bytes;  // accepted, not yet sent
  uint32_t mss;              // payload bytes in a packet
  uint32_t reserved;
};

struct IndexQuery {
  uint32_t index;
  uint32_t reserved;
};

enum NicLink : uint16_t { kLinkUnknown = 0, kLinkUp = 1, kLinkDown = 2 };

struct NicInfo {
  char name[32];
  char driver[32];
  uint32_t address;
  uint32_t prefix_length;
  uint32_t gateway;
  uint32_t mtu;
  uint8_t mac[6];
  uint16_t engines;
  uint16_t link;  // NicLink; a service that does not tell has 0 here
  uint16_t reserved;
};

struct ChannelStatus {
  int32_t pid;
  uint32_t uid;
  uint32_t flows;
  uint32_t listeners;
  uint64_t memory_size;
};

struct CountersInfo {
  uint64_t memory_size;  // of the page; layout in shm_counters.h
};

struct TraceRequest {  // fields that are 0 fit every flow. Host byte order.
  uint32_t engine;
  uint32_t local_ip, remote_ip;
  uint16_t local_port, remote_port;
};

struct TraceInfo {
  uint64_t memory_size;
  uint32_t capacity;  // records
  uint32_t reserved;
  int64_t clock_ns;  // the clock of the records, and the wall clock at the same time
  int64_t wall_clock_ns;
};

constexpr uint32_t kReasonMax = 160;

struct ControlMessage {
  ControlHeader header;
  union {
    // First, so that {} clears all of it: what a reply does not fill must not tell what lay there.
    uint8_t bytes[336];
    Hello hello;
    Endpoint endpoint;
    ConnectRequest connect;
    FlowInfo flow;
    ChannelInfo channel;
    FlowQuery flow_query;
    FlowStats flow_stats;
    IndexQuery index;
    NicInfo nic;
    ChannelStatus channel_status;
    CountersInfo counters;
    TraceRequest trace;
    TraceInfo trace_info;
  };
  char reason[kReasonMax];  // replies with error != 0: why, zero-terminated
};
static_assert(sizeof(ControlMessage) == 512);

// Most descriptors a reply carries: memfd, application's doorbell, one per lane.
constexpr uint32_t kDescriptorsMax = 2 + kLanesMax;

}  // namespace mn::ipc
