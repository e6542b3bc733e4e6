// SPDX-License-Identifier: MIT
// The private state behind a channel: lanes, flows, the message to be received next. Lives in the
// application's own memory; of the shared memory only ring entries, flow tuples and message bytes
// are read, and what they say is checked against this state before it is used. Included by the
// library's sources and by its tests only.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc/shm_layout.h"
#include "libmachnet/channel.h"
#include "libmachnet/control_client.h"
#include "libmachnet/event_queue.h"
#include "libmachnet/flow_map.h"

namespace mn::client {

constexpr uint32_t kNone = UINT32_MAX;

// Who has a tx buffer; guards against a buffer completed twice or sent twice.
enum TxOwner : uint8_t { kTxFree = 0, kTxProgram = 1, kTxDaemon = 2 };

struct Lane;

// A message that arrives in several segments: bytes moved to the heap (when buffers ran short),
// then a chain of rx buffers, linked by Lane::pieces.
struct Gathering {
  uint8_t* heap;
  uint32_t heap_size, heap_capacity;
  uint32_t head, tail;  // rx buffers
  uint32_t pieces;      // length of the chain
  uint32_t size;        // bytes of the message so far, heap included
};

// A flow, at the place of its slot. `ref` 0: the slot was never used. A message in one segment,
// sent or received, touches its first cache line only.
struct alignas(64) FlowState {
  Lane* lane;
  uint32_t ref;
  MachnetFlow_t local;  // src is this host: what machnet_send takes
  bool active;          // kDeliverEnded has not been taken from the ring
  bool closed;          // the program closed it: messages and events are dropped
  bool broken;          // what came is no sequence of messages: dropped, reported as reset
  bool superseded;      // the peer started anew on another lane: broken, and its end is no news
  bool close_pushed;    // kSubmitClose, once for each flow
  bool gathering_open;  // `gathering` holds the beginning of a message (or a whole one: Ready)
  int send_errno;       // 0: may send
  uint32_t opening;     // number of an accepted flow (kDeliverOpened)
  Gathering gathering;
  FlowState *gather_next, *gather_prev;  // flows with an open gathering, oldest first
};
static_assert(offsetof(FlowState, gathering) <= 40 && sizeof(FlowState) == 128);

// Where a segment of a gathered message lies; one for each rx buffer.
struct Piece {
  uint32_t next;
  uint16_t offset, length;
};

// One lane. Fields used by sends first, then those used by receives.
struct Lane {
  ipc::Producer16 submit;
  uint8_t* tx_data;
  uint32_t* tx_free;  // stack: the buffer freed last is used first, it is in the cache
  uint8_t* tx_owner;  // TxOwner of each buffer
  uint32_t buffer_size;
  uint32_t tx_free_count;
  uint32_t tx_drain_at;  // look at the complete ring when tx_free_count falls to this
  uint32_t tx_buffers;
  ipc::Consumer4 complete;
  ipc::LaneHeader* header;
  int engine_fd;
  uint32_t index;

  alignas(64) ipc::Consumer16 deliver;
  ipc::Producer4 release;
  const uint8_t* rx_data;
  uint16_t*
      rx_holds;  // 0: the daemon's; else who keeps the buffer: the message cursor, views, a chain
  uint32_t rx_buffers;
  uint32_t released_unsignalled;  // buffers released since the engine was last looked at
  uint32_t release_signal_at;     // look when it reaches this
  uint32_t deliver_count;         // entries taken
  uint32_t scan_count;            // entries looked at ahead for ends of flows
  ipc::Consumer16 scan;
  uint32_t gathered_buffers;  // in chains of open gatherings
  uint32_t view_buffers;      // kept by views
  FlowState *gather_first, *gather_last;
  Piece* pieces;
  FlowState* flows;  // a part of Channel::flows
  uint32_t flow_slots;
  const ipc::FlowSlot* flow_table;
  uint32_t
      announced;  // what we announced to sleep for (ipc::kWakeX) and have not taken back; 0: awake
};

// The message that the next receive returns. `flow` nullptr: none. A bundle stays here until its
// last message is taken; `data` and `size` are the message at hand.
struct Ready {
  FlowState* flow;
  const uint8_t* data;  // nullptr: the flow's gathering
  uint32_t size;
  uint32_t remaining;    // further messages of the bundle
  uint32_t buffer;       // rx buffer
  const uint8_t* table;  // bundle: where the next length stands
  const uint8_t* end;    // bundle: end of its bytes
};

struct View;

struct Channel {
  Ready ready;
  uint32_t lane_count;
  uint32_t next_lane;  // where to look first for the next message
  int dead_errno;      // 0: alive; else what every call fails with
  bool fd_mode;        // machnet_fd was called
  bool fd_raised;      // we made the descriptor readable ourselves
  bool events_used;    // machnet_next_event was called once
  uint32_t fd_rings;   // doorbells that engines rang or are about to
  uint32_t fd_idle_polls;
  uint64_t checked_at;   // ticks when the session was last looked at
  uint64_t check_ticks;  // how long one look lasts; simulations, which have no clock, say for ever
  MachnetFlow_t last_flow;  // of the last send
  FlowState* last_state;    // nullptr: none
  uint32_t room_wanted;     // buffers that a refused send needs; 0: none was refused
  uint32_t room_lane;
  uint32_t events_told;  // EventQueue::pushed when machnet_wait last returned for an event
  View* views;           // outstanding, to free with the channel
  View* view_spare;
  void* flow_memory;  // of `flows`, as it was allocated
  FlowState* flows;   // of all lanes
  FlowMap map;
  EventQueue events;
  ControlClient control;
  int application_fd;
  int wait_fd;  // epoll of machnet_wait, -1 until it is needed
  int poll_fd;  // epoll of machnet_fd, -1 until it is needed
  void* memory;
  uint64_t memory_size;
  bool owned;
  Lane lanes[ipc::kLanesMax];
};

// ---- channel.cc ----

// The service or the channel is gone: every call fails with `error` from now on. Returns -1 with
// errno.
int channel_fail(Channel* c, int error);

// Looks at the session if the last look is long ago. -1: the channel is dead (errno set).
int channel_check(Channel* c);
int channel_check_now(Channel* c);

// Rings the lane's engine if it sleeps. One full fence.
void lane_signal(Lane* lane);

// From now on sends on the flow fail with `error`.
void flow_stop_sending(Channel* c, FlowState* flow, int error);

// The state of a slot's new flow, which cannot be found by its tuple before enter_flow. nullptr:
// the daemon named a slot that does not exist or is in use.
FlowState* claim_flow(Channel* c, uint32_t lane, uint32_t ref, const MachnetFlow_t& tuple);
void enter_flow(Channel* c, FlowState* flow);

// Tells the daemon to close the flow, unless it was told or the flow is over. `flags`: kAbort or 0.
void flow_push_close(FlowState* flow, uint32_t flags);

// The flow's bytes are no messages (or there is no memory for them): drops what it holds and resets
// it.
void flow_break(Channel* c, FlowState* flow);

// The program forgets the flow: closes it, drops what is left of it. -1: ENOTCONN.
int channel_close_flow(Channel* c, const MachnetFlow_t& flow);

// Gives the slot of an ended flow back to the daemon.
void lane_release_slot(Lane* lane, uint32_t ref);

// The flow that an entry names; nullptr: none that this side knows.
inline FlowState* lane_flow(const Lane& lane, uint32_t ref) {
  const uint32_t slot = ipc::flow_ref_slot(ref);
  if (slot >= lane.flow_slots) return nullptr;
  FlowState* flow = &lane.flows[slot];
  return flow->ref == ref && flow->active ? flow : nullptr;
}

// One holder less of an rx buffer; the last one gives it back.
inline void rx_unhold(Lane* lane, uint32_t buffer) {
  if (--lane->rx_holds[buffer] != 0) return;
  lane->release.push(buffer);
  // An engine that has the memory of a whole window left needs no bell for single buffers: it finds
  // them when it wakes. An eighth of the pool is what can open a window that was closed.
  if (++lane->released_unsignalled >= lane->release_signal_at) lane_signal(lane);
}

inline MachnetFlow_t swapped(const MachnetFlow_t& f) {
  return MachnetFlow_t{f.dst_ip, f.src_ip, f.dst_port, f.src_port};
}

// A clock for "is it time to look": a cycle or system counter, at least a third of a millisecond a
// tick budget of kCheckTicks on any machine in use.
#if defined(__x86_64__)
constexpr uint64_t kCheckTicks = 1000000;
inline uint64_t ticks_now() { return __builtin_ia32_rdtsc(); }
#elif defined(__aarch64__)
constexpr uint64_t kCheckTicks = 25000;  // 1 ms at 25 MHz, the slowest counter in servers
inline uint64_t ticks_now() {
  uint64_t value;
  asm volatile("mrs %0, cntvct_el0" : "=r"(value));
  return value;
}
#else
constexpr uint64_t kCheckTicks = 1000;
uint64_t ticks_now();  // microseconds
#endif

}  // namespace mn::client
