// SPDX-License-Identifier: MIT
// Flow: everything the transport knows about one connection, as plain data; what it means is in the
// .cc of each concept (handshake, sender, scoreboard, loss_detection, receiver, lifecycle). Owned
// by Core, one thread. Records of packets in flight and out of order live in borrowed blocks, so an
// idle flow is this struct.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/address.h"
#include "base/time.h"
#include "transport/block_pool.h"
#include "transport/congestion.h"
#include "transport/intrusive_list.h"
#include "transport/message_store.h"
#include "transport/rtt_estimator.h"
#include "transport/seqno.h"
#include "transport/timer_wheel.h"

namespace mn::transport {

enum class FlowState : uint8_t {
  kFree,
  kOpening,      // we sent kOpen
  kHalfOpen,     // we answered a kOpen; the application has not heard of it
  kEstablished,  // until both the application and the peer are done with it
  kDead,         // over for the application; a reset, late acks or an event are still due
};

enum class LossTimer : uint8_t { kNone, kReorder, kTailProbe, kRetransmit, kPersist, kHandshake };

// What is known of the path's MTU (path_mtu.h).
enum class PathState : uint8_t { kTrusted, kSuspected, kSearching, kReduced };
// What must go out for it: a padded probe; an ack that says that the peer's has come.
enum PathDue : uint8_t { kPaddedDue = 1, kCamePadded = 2 };

// A packet that was sent and is not yet acknowledged cumulatively.
struct SentPacket {
  enum Place : uint8_t { kFresh, kLost, kResent, kAcked };
  enum Flag : uint8_t {
    kFirst = 1,
    kLast = 2,
    kClose = 4,
    kJudgedLost = 8,
    kPartsCame = 16,  // Flow::tx_part_came of its bytes
  };

  int64_t sent_ns;    // the last time
  BufferIndex first;  // its first byte, or its first message
  uint16_t offset;    // of that byte in `first`
  uint16_t length;    // payload bytes, the bundle's table not counted
  uint16_t previous;  // window slots of neighbours in the list of its place, for kLost and kResent
  uint16_t next;
  uint8_t message_count;  // 0: no bundle
  uint8_t flags;
  Place place;
  uint8_t transmissions;
};
static_assert(sizeof(SentPacket) == 24);

struct TxBlock {
  uint64_t acked;  // bit i: packets[i] is acknowledged selectively
  SentPacket packets[kBlockRecords];
};

// A packet that arrived before its turn.
struct EarlyPacket {
  BufferIndex buffer;
  uint16_t length;
  uint8_t flags;  // ipc::EntryFlag, or kEarlyClose
  uint8_t message_count;
};
constexpr uint8_t kEarlyClose = 0x80;
static_assert(sizeof(EarlyPacket) == 8);

struct RxBlock {
  uint64_t present;
  EarlyPacket packets[kBlockRecords];
};

// A list through the sent packets of a flow, by window slot.
struct SlotList {
  static constexpr uint16_t kEnd = UINT16_MAX;
  uint16_t head = kEnd;
  uint16_t tail = kEnd;
  bool empty() const { return head == kEnd; }
};

struct alignas(64) Flow {
  TimerNode timer{{}, INT64_MAX, 0};  // first: Core finds the flow from it

  // ---- Identity and receiving: what a packet of data touches
  FourTuple tuple;
  uint32_t path = 0;
  uint32_t handle = 0;
  uint32_t tag_local = 0;  // what the peer must put into its packets
  uint32_t tag_remote = 0;
  FlowState state = FlowState::kFree;
  bool ack_now : 1 = false;        // an ack must go out
  bool rx_in_message : 1 = false;  // the last packet delivered did not end its message
  bool has_waited : 1 = false;     // waiting_since is set
  bool may_move : 1 = false;       // opening: another engine may do it
  bool accepted : 1 = false;       // the store's application knows of it
  bool proven : 1 = false;         // its opener returned a cookie: the address is no forged one
  bool unconfirmed : 1 =
      false;  // nothing heard since kOpenAck: the acceptor may not have our answer
  bool in_table : 1 = false;
  bool probe_due : 1 = false;
  bool tail_probe_due : 1 = false;
  bool tail_probed : 1 = false;  // one probe for each flight
  bool open_due : 1 = false;     // kOpen or kOpenAck must go out
  bool reset_due : 1 = false;
  bool close_requested : 1 = false;
  bool close_sent : 1 = false;
  bool challenged : 1 = false;     // has answered an earlier life's packet while opening
  bool tx_in_message : 1 = false;  // send_next continues a message
  bool connected_event : 1 = false;
  bool failed_event : 1 = false;
  bool ended_event : 1 = false;
  bool lingering : 1 = false;
  bool starved : 1 = false;      // offered no window: in group->starved
  bool resend_due : 1 = false;   // after a timeout: one packet, whatever the congestion window says
  bool tx_cut : 1 = false;       // the last segment queued did not end its message
  bool takes_parts : 1 = false;  // the peer has kFeatureParts
  bool path_asked : 1 = false;   // a padded probe is under way
  bool path_heard : 1 = false;   // something that left after it was answered
  bool coalesces : 1 = false;    // the peer has kFeatureCoalescing
  bool rack_ahead : 1 = false;   // rack_sent_ns is of an ack that named less than had come
  uint8_t ack_every = 16;        // packets
  uint8_t backoff = 0;           // of the loss timer
  LossTimer loss_timer : 4 = LossTimer::kNone;
  uint8_t peer_engine : 4 = 0;  // that has the flow there
  uint16_t turn_bytes = 0;      // sent in this turn
  uint16_t rx_part = 0;         // bytes of rx_next delivered already, by parts
  uint8_t rx_parts = 0;         // that brought them
  uint8_t unasked : 4 = 0;      // packets sent since one asked for an ack at once
  uint8_t path_due : 4 = 0;     // PathDue
  uint16_t tx_part = 0;         // bytes of tx_part_of that have left
  FlowRef store_flow = kNoFlow;
  MessageStore* store = nullptr;
  StoreState* group = nullptr;  // the store's, or Core::orphans when kDead
  Seqno rx_next;                // the next in order
  Seqno rx_limit;               // the furthest we ever offered to take
  Seqno rx_end;                 // one after the furthest that came
  uint32_t rx_early = 0;        // packets in rx_blocks
  uint16_t rx_unacked = 0;      // received since the last ack went out
  uint16_t rx_mss = 0;
  uint32_t rx_period = 0;  // of the store, in which data came last
  uint32_t echo = 0;
  uint16_t rx_padded = 0;   // payload of the padded probe that came
  uint16_t mss_agreed = 0;  // in the handshake: mss is that or less
  Instant echo_at;
  Instant heard_at;
  Instant probed_at;  // keep-alive
  Instant ack_deadline = Instant::never();
  uint32_t rx_message_bytes = 0;  // of the message that is being delivered
  uint16_t rx_offered = 0;        // the window in our last packet
  uint16_t mss = 0;               // payload bytes of our packets

  // ---- Sending
  Seqno tx_first;  // the oldest not acknowledged
  Seqno tx_next;   // of the next new packet
  Seqno tx_limit;  // the peer takes packets before this
  Seqno tx_judge;  // no fresh packet before this one awaits the judgement of loss detection
  uint32_t in_flight = 0;
  uint32_t sacked = 0;
  BufferIndex queue_head = kNoBuffer;  // oldest buffer not given back
  BufferIndex queue_tail = kNoBuffer;
  BufferIndex send_next = kNoBuffer;  // the first with bytes not yet in a packet
  uint32_t send_offset = 0;
  TxChunk* chunks = nullptr;
  SlotList lost;                     // waiting to be sent again
  SlotList resent;                   // sent again, in the order of sending
  uint32_t limit_timestamp = 0;      // of the packet that set tx_limit
  uint8_t reorder_steps = 1;         // reordering window in quarters of the smallest round trip
  uint8_t path_probes_lost : 4 = 0;  // of path_probe_size
  PathState path_state : 4 = PathState::kTrusted;
  uint16_t tx_part_came = 0;  // bytes of tx_first that the peer has, if it is kPartsCame
  Instant loss_deadline = Instant::never();
  Instant path_deadline = Instant::never();
  Instant waiting_since;  // when the first thing that asks for an answer left, since we heard last
  int64_t rack_sent_ns = 0;  // of the packet sent last among those that arrived
  Seqno rack_end;
  uint16_t path_refused = 0;  // the least payload that is not known to pass (path_mtu.h)
  uint16_t path_probe_size = 0;
  int64_t rack_rtt_ns = 0;
  RttEstimator rtt;
  Instant pace_at = Instant::never();  // the congestion window's next packet
  Link ready_link;                     // in group->ready_flows

  // ---- Statistics
  uint64_t tx_queued_bytes = 0;
  uint64_t tx_messages = 0, tx_bytes = 0, rx_messages = 0, rx_bytes = 0;
  uint64_t tx_packets = 0, rx_packets = 0, retransmitted_packets = 0, timeouts = 0;

  // Last: a fixed window uses only its beginning.
  Congestion congestion;

  // ---- Cold
  Link store_link;
  Link starved_link;
  Link event_link;
  uint64_t cookie = 0;       // of the request that opened it
  uint64_t open_cookie = 0;  // the acceptor wants it back in kOpen
  Instant hole_since;        // rx_next waits for a packet while later ones are here
  Instant born_at;
  Instant progress_at;  // closing: an ack moved tx_first, or the close was asked for
  Instant linger_until;
  uint32_t path_asked_at = 0;  // timestamp of the padded probe
  Seqno tx_part_of;            // the packet of which parts are being sent
  BlockIndex tx_blocks[kWindowBlocks] = {};
  BlockIndex rx_blocks[kWindowBlocks] = {};

  uint32_t outstanding() const { return static_cast<uint32_t>(tx_next - tx_first); }
  bool limit_shut() const { return tx_limit - tx_first <= 0; }
};
static_assert(sizeof(Flow) < 1024, "memory of an idle flow");

// What a message, sent or received, touches: everything up to the congestion control. Asked for
// together, the lines come in the time of one, wherever among thousands of flows this one was.
inline void prefetch(const Flow* flow) {
  const auto* bytes = reinterpret_cast<const char*>(flow);
  for (size_t at = 0; at < offsetof(Flow, congestion) + 16; at += 64)
    __builtin_prefetch(bytes + at);
}

constexpr uint16_t window_slot(Seqno s) { return s.value & (kWindowSlots - 1); }
constexpr uint32_t block_slot(Seqno s) { return (s.value / kBlockRecords) & (kWindowBlocks - 1); }
constexpr uint32_t record_slot(Seqno s) { return s.value & (kBlockRecords - 1); }

constexpr uint32_t timestamp_of(Instant t) { return static_cast<uint32_t>(t.ns >> 5); }  // 32 ns

}  // namespace mn::transport
