// SPDX-License-Identifier: MIT
// Transport: every flow of one engine. Reliable, ordered messages over unreliable packets:
// handshake with incarnation tags, cumulative and selective acks, time-based loss detection with
// tail probes (RFC 8985), RTO (RFC 6298), receive windows, close, reset, keep-alive. Pure: no DPDK,
// no clock, no system call, no allocation after construction. One thread. Inputs never transmit:
// they change state; poll_transmit gives one packet at a time, poll_event what the control plane
// must hear.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/address.h"
#include "base/fixed_array.h"
#include "base/time.h"
#include "ipc/trace.h"
#include "transport/congestion_kind.h"
#include "transport/message_store.h"
#include "wire/packet_header.h"

namespace mn::transport {

// Names a flow inside a Transport: index and generation, so that a name of an ended flow is
// recognised.
using FlowHandle = uint32_t;
constexpr FlowHandle kNoHandle = 0;
constexpr uint32_t kFlowIndexBits = 17;  // the rest is the generation
constexpr uint32_t kFlowsMax = (1u << kFlowIndexBits) - 1;

struct TransportConfig {
  uint32_t flows_max = 16384;  // at most kFlowsMax
  uint32_t listeners_max = 1024;
  // Accepted handshakes not yet confirmed by the peer before openers must return a cookie first.
  uint32_t half_open_max = 64;
  uint16_t mss = 1440;  // payload bytes in a packet, from the NIC's MTU
  uint32_t window_packets_max =
      256;  // receive window offered and congestion window, at most kWindowMax
  CongestionKind congestion = CongestionKind::kFixed;
  uint64_t seed = 0;  // of the tags and first sequence numbers
  // The low bits of every tag are the engine's number among those of its NIC, so that any of them
  // knows from a packet whose flow it is for (as connection ids of QUIC may, RFC 9000 section 5.1).
  uint32_t engine = 0;
  uint32_t engine_bits = 0;
  Duration open_timeout = seconds(2);
  Duration dead_timeout = seconds(5);  // nothing heard while something is outstanding
  Duration keepalive_interval = seconds(1);
};

// What to do with a packet that was handed in; for counters and nothing else.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"  // an enum class hides nothing
enum class PacketVerdict : uint8_t {
  kAccepted,
  kNoFlow,
  kMalformed,
  kDuplicate,
  kOutsideWindow,
  kNoBuffer,
  kHandshakeLimit,
};
#pragma GCC diagnostic pop

enum class RequestStatus : uint8_t { kOk, kNoResources, kInUse, kNoSuchFlow };

// One packet to send: header bytes by value, payload as references into message stores, valid until
// the next call of the transport or the store.
struct TransmitView {
  FourTuple tuple{};
  uint32_t path =
      0;  // the caller's word for the flow's next hop (set_path / request), 0: look it up
  bool path_in_doubt = false;   // nothing was heard on it for long: is the next hop still there?
  FlowHandle flow = kNoHandle;  // kNoHandle for packets without a flow (resets)
  // Most bytes of a datagram that this packet may share with others for the same engine of the same
  // host (wire/datagram.h); 0: it travels alone.
  uint16_t datagram_max = 0;
  uint8_t peer_engine = 0;
  size_t header_size = 0;
  std::array<uint8_t,
             wire::kHeaderSize + wire::kSackRangesMax * wire::kSackRangeSize + wire::kOptionsSize>
      header;
  // Payload pieces in order; zeros between pieces (`pad` after the piece) keep bundle alignment. A
  // bundle's table is in `table` and comes first.
  struct Piece {
    const uint8_t* data;
    uint16_t length;
    uint16_t pad;
  };
  size_t payload_length = 0;  // as the header says it
  size_t table_size = 0;
  std::array<uint8_t, 512> table;
  size_t piece_count = 0;
  std::array<Piece, 255> pieces;

  size_t payload_size() const;  // table, pieces and pads
};

// What the control plane must hear.
struct TransportEvent {
  enum class Kind : uint8_t {
    kConnected,      // an open we started succeeded
    kConnectFailed,  // `error`: ECONNREFUSED, ETIMEDOUT
    kEnded,          // a flow is gone
  } kind;
  FlowHandle flow = kNoHandle;
  uint64_t cookie = 0;  // the request's
  FourTuple tuple{};
  FlowRef store_flow = kNoFlow;
  MessageStore* store = nullptr;
  int error = 0;
};

struct FlowSnapshot {  // for machnet_flow_stats
  uint64_t tx_messages, tx_bytes, rx_messages, rx_bytes;
  uint64_t tx_packets, rx_packets, retransmitted_packets, timeouts;
  Duration rtt_smoothed, rtt_min, rto;
  uint32_t window_packets, packets_in_flight;
  uint64_t tx_queued_bytes;
  uint32_t mss;
};

struct TransportCounters {
  uint64_t retransmitted_packets = 0, timeouts = 0, tail_probes = 0;
  uint64_t path_mtu_reduced = 0, path_mtu_probes_lost = 0;
  uint64_t tx_messages = 0, rx_messages = 0;
  uint64_t flows_opened = 0, flows_ended = 0, flows_reset = 0, flows_timed_out = 0;
};

class Transport {
 public:
  explicit Transport(const TransportConfig& config);
  ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  // ---- Requests
  // `ip` 0: any address. A listener's accepted flows go to `store`.
  RequestStatus listen(Ipv4 ip, Port port, MessageStore* store);
  void unlisten(Ipv4 ip, Port port);  // accepted flows live on
  // Starts a handshake; `cookie` comes back in the event; `path` goes into every TransmitView of
  // the flow.
  RequestStatus open(Instant now, const FourTuple& tuple, MessageStore* store, uint64_t cookie,
                     uint32_t path, FlowHandle* ret_flow);
  // The flow just opened may be opened by another engine instead, if that one's queue gets the
  // answer.
  void let_move(FlowHandle flow);
  // The answer to an open came to another engine's queue. True: the handshake is given up here, and
  // the peer is told; `cookie` and `store` are the request's. No event follows.
  bool move_open(Instant now, const FourTuple& tuple, std::span<const uint8_t> udp_payload,
                 uint64_t* ret_cookie, MessageStore** ret_store);
  // Queues one segment of 1 to the store's buffer_size bytes. On kOk the buffer is the transport's
  // until tx_done. kNoSuchFlow: the flow is over or closing: the buffer stays with the caller.
  RequestStatus send(Instant now, FlowHandle flow, BufferIndex buffer, uint16_t length,
                     bool last_segment);
  // Orderly: everything queued is delivered, then the peer is told. flow_ended(kEndClosed) follows.
  RequestStatus close(Instant now, FlowHandle flow);
  // At once: the peer gets a reset, buffers come back; flow_ended is called with `reason` before it
  // returns.
  RequestStatus abort(Instant now, FlowHandle flow, uint32_t reason);
  // Every flow and listener of a store that goes away: as abort for each. The store is not called
  // any more when it returns; events may still name it. Cost: the flows of that store.
  void abort_store(Instant now, MessageStore* store, uint32_t reason);
  // Every flow and listener of every store: the service stops.
  void abort_all(Instant now, uint32_t reason);
  void close_store(Instant now,
                   MessageStore* store);  // orderly close of all its flows, listeners removed
  uint32_t store_flow_count(const MessageStore* store) const;
  // A store's application gave buffers back: flows whose offered window had been small may announce
  // a larger one.
  void on_store_space(Instant now, MessageStore* store);

  // ---- Ahead of time: asks for the memory that a call for the same flow will touch. For bursts:
  // first for each of the next packets or sends, then the calls. No effect on anything else.
  uint32_t prefetch_table(const FourTuple& tuple) const;  // returns what prefetch_of wants
  void prefetch_of(uint32_t table_hash) const;            // the flow; a while after prefetch_table
  void prefetch_flow(FlowHandle flow) const;

  // ---- Inputs
  // `tuple` as this host sees it (local = the packet's destination). `path`: the caller's word for
  // where it came from, becomes the path of a flow that it opens.
  PacketVerdict on_packet(Instant now, const FourTuple& tuple, std::span<const uint8_t> udp_payload,
                          uint32_t path);
  void on_deadline(Instant now);  // everything due at `now`
  // The NIC's link, when it changes and about once a second while it is down: flows of other hosts
  // wait, for as long as that takes.
  void on_link(Instant now, bool up);
  // The caller did not run for a while, and left that time out of `now`: who waited in the
  // meantime, and for how long, is not known.
  void on_stall(Instant now);

  // ---- Outputs
  Instant next_deadline() const;
  bool poll_transmit(Instant now, TransmitView* ret_view);
  bool has_event() const;
  bool poll_event(TransportEvent* ret_event);

  bool snapshot(FlowHandle flow, FlowSnapshot* ret_snapshot) const;
  const TransportCounters& counters() const;
  uint32_t flow_count() const;
  // From now on events of the flows that fit `only` (fields that are 0 fit everything) are written
  // to `ring`, of so many records (a power of two); nullptr: no longer. The ring is the caller's
  // and outlives this.
  void trace_to(Instant now, ipc::TraceRing* ring, uint32_t capacity, uint16_t engine,
                const FourTuple& only);
  // Tests: aborts if an invariant does not hold (lists, counts, buffers).
  void check_invariants() const;

 private:
  FixedArray<std::byte> memory_;  // of *core_
  struct Core* core_;
};

}  // namespace mn::transport
