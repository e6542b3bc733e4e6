// SPDX-License-Identifier: MIT
// Core: what the flows of one engine share: slots, tables, block pools, timers, lists of who has
// something to send or to say. The concepts of the protocol (handshake.h, sender.h, scoreboard.h,
// loss_detection.h, receiver.h, lifecycle.h) are functions on a Core and one of its Flows. One
// thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/fixed_array.h"
#include "base/index_pool.h"
#include "base/keyed_hash.h"
#include "ipc/trace.h"
#include "transport/block_pool.h"
#include "transport/flow.h"
#include "transport/flow_table.h"
#include "transport/listener_table.h"
#include "transport/stray_answers.h"
#include "transport/timer_wheel.h"
#include "transport/transport.h"

namespace mn::transport {

constexpr uint16_t kFlowTurnBytes = 3000;  // of one flow before the next flow of its store

constexpr uint32_t kDeadlinesPerCall = 512;

// Who reads what happens, see trace.h.
struct Tracer {
  ipc::TraceRing* ring = nullptr;  // nullptr: nobody
  uint32_t capacity = 0;
  FourTuple only{};  // fields that are 0 fit everything
  Instant now;       // of the last event that brought a time
  uint16_t engine = 0;
};

struct Core {
  explicit Core(const TransportConfig& config);

  TransportConfig config;
  TransportCounters counters;
  bool link_down = false;
  Instant silence_from;  // who was silent before is not to blame: the link was down
  Instant samples_from;  // what was sent or arrived before tells nothing about round trips
  Tracer tracer;

  // Slots are constructed when first used: a table for many flows costs no memory before there are
  // many.
  struct alignas(alignof(Flow)) FlowMemory {
    std::byte bytes[sizeof(Flow)];
  };
  FixedArray<FlowMemory> flow_memory;
  FixedArray<uint16_t> generations;  // of each slot, as in a handle; never 0
  IndexPool flow_pool;
  uint32_t flows_touched = 0;
  uint32_t half_open = 0;  // of openers that may be forged: not `proven`

  FlowTable table;
  BlockPool<TxBlock> tx_blocks;
  BlockPool<RxBlock> rx_blocks;
  TimerWheel wheel;
  ListenerTable listeners;
  List new_stores;  // with something to send after a pause, first
  List ready_stores;
  StoreState orphans;  // flows without a store: resets and late acks
  List lingering;      // kDead flows that may go when slots are short, oldest first, by store_link
  List events;
  StrayAnswers strays;
  bool stray_sent = false;  // the last packet was one: flows come first now
  KeyedHash secret;
  uint64_t secrets_used = 0;

  Flow* flow_at(uint32_t index) { return reinterpret_cast<Flow*>(&flow_memory.data()[index]); }
  const Flow* flow_at(uint32_t index) const {
    return reinterpret_cast<const Flow*>(&flow_memory.data()[index]);
  }
  static constexpr uint32_t index_of(FlowHandle handle) { return handle & kFlowsMax; }
  // nullptr: no such flow, or a later one in its slot.
  Flow* find(FlowHandle handle) {
    const uint32_t index = index_of(handle);
    if (index >= flows_touched || handle == kNoHandle) return nullptr;  // a free slot has kNoHandle
    Flow* flow = flow_at(index);
    return flow->handle == handle ? flow : nullptr;
  }

  Flow* take_flow();                 // nullptr: all in use. State is the caller's to set
  void release_if_done(Flow* flow);  // frees the slot of a kDead flow with nothing left to do
  uint32_t random();                 // unpredictable for a peer
  uint32_t random_tag();

  void attach(Flow* flow, MessageStore* store);
  void post_event(Flow* flow);
};

// Memory of the service that an idle flow takes: itself, its generation and place in the pool, four
// entries of the hash table (which is a power of two and at most half full), a slot of a lane with
// its four-tuple and its place among the free ones (channel/lane.h), and, if it was opened here, a
// local port (host/port_table.h). Blocks of records are borrowed only for packets that are under
// way.
constexpr size_t kIdleFlowBytes = sizeof(Flow) + sizeof(uint16_t) + sizeof(uint32_t) +
                                  4 * FlowTable::kEntryBytes + 16 + sizeof(FourTuple) + 4 + 32;
static_assert(kIdleFlowBytes <= 1024);

inline Flow* flow_of_timer(TimerNode* node) {
  static_assert(offsetof(Flow, timer) == 0);
  return reinterpret_cast<Flow*>(node);
}
#define MN_FLOW_OF(link, member) \
  (reinterpret_cast<Flow*>(reinterpret_cast<std::byte*>(link) - offsetof(Flow, member)))
#define MN_STORE_STATE_OF(link)                                       \
  (reinterpret_cast<StoreState*>(reinterpret_cast<std::byte*>(link) - \
                                 offsetof(StoreState, ready_link)))

// The flow may have something to send: poll_transmit will ask it.
inline void mark_ready(Core& core, Flow& flow) {
  if (flow.ready_link.linked()) return;
  flow.group->ready_flows.push_back(&flow.ready_link);
  if (!flow.group->ready_link.linked()) core.new_stores.push_back(&flow.group->ready_link);
}

// Makes sure that the flow's timer fires at `at` or before. Later deadlines are found when it
// fires, so that deadlines that move on with each packet do not touch the wheel.
inline void need_timer(Core& core, Flow& flow, Instant at) {
  if (at.ns < flow.timer.at_ns) core.wheel.set(&flow.timer, at);
}

inline SentPacket& sent_packet(Core& core, Flow& flow, Seqno s) {
  return core.tx_blocks[flow.tx_blocks[block_slot(s)]].packets[record_slot(s)];
}

}  // namespace mn::transport
