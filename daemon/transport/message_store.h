// SPDX-License-Identifier: MIT
// MessageStore: where message bytes live, as the transport sees it. In production a lane of a
// channel (channel/lane.h), in tests an array. Owned by the engine's side, called from the engine
// thread only; no call blocks or allocates. The transport never keeps a pointer from tx_bytes
// beyond the transmit view it fills, so a store may hand out memory that an application writes to.
#pragma once

#include <cstdint>
#include <span>

#include "base/address.h"
#include "ipc/shm_layout.h"
#include "transport/intrusive_list.h"

namespace mn::transport {

using BufferIndex = uint32_t;
using FlowRef = uint32_t;  // ipc::flow_ref: how the store names a flow of its own
constexpr FlowRef kNoFlow = 0;
constexpr BufferIndex kNoBuffer = UINT32_MAX;

// What the transport writes for each tx buffer it holds: its place in the flow's queue.
struct TxChunk {
  BufferIndex next = kNoBuffer;
  uint16_t length = 0;
  bool last_segment = false;
};

// What is delivered: bytes in an rx buffer, in order for each flow.
struct RxSegment {
  BufferIndex buffer = kNoBuffer;
  uint16_t length = 0;
  uint8_t flags = 0;          // ipc::kFirstSegment, ipc::kLastSegment
  uint8_t message_count = 0;  // > 0: a bundle
};

// What the transport remembers about a store; a store has no business with it.
struct StoreState {
  // Two packets of 1,500 bytes: what many stores send in a turn each is what a message waits for.
  static constexpr int32_t kTurnBytes = 3000;

  List flows;        // all flows of the store that are not over
  List ready_flows;  // those that may have something to send, in the order of their turns
  List starved;      // those whose peer was last offered no window
  List listeners;
  Link ready_link;  // in one of the transport's two lists of stores with ready flows
  uint32_t flow_count = 0;
  uint32_t starved_count = 0;
  int32_t credit = kTurnBytes;  // that the store may still send in this turn; below 0: a debt
  uint32_t early_buffers = 0;   // of the pool, with packets that wait for earlier ones
  // How many flows received data in this period and the one before: the pool's free buffers are
  // shared between that many.
  uint32_t receivers_now = 0;
  uint32_t receivers_before = 0;
  uint32_t period = 1;
  int64_t period_start_ns = 0;
};

class MessageStore {
 public:
  MessageStore() = default;
  virtual ~MessageStore() = default;
  MessageStore(const MessageStore&) = delete;
  MessageStore& operator=(const MessageStore&) = delete;

  // ---- Flows. `handle` is the transport's (Transport::FlowHandle), so that requests name it back.
  // A flow slot for a new flow; kNoFlow: the store has none free. For an accepted flow the
  // application hears of it by flow_accepted, when the handshake is complete.
  virtual FlowRef flow_reserve(uint32_t handle, const FourTuple& tuple) = 0;
  virtual uint32_t flow_room() const = 0;      // free slots
  virtual uint32_t flow_capacity() const = 0;  // all slots
  virtual void flow_accepted(FlowRef flow) = 0;
  // The flow is over: no call for it follows. `reason` 0: it never was the application's (handshake
  // failed): the slot is free at once and nothing is told.
  virtual void flow_ended(FlowRef flow, uint32_t reason /* ipc::EndReason or 0 */) = 0;

  // ---- Sending. The transport owns a tx buffer from Transport::send until tx_done.
  virtual TxChunk* tx_chunks() = 0;  // one for each tx buffer, index = BufferIndex
  virtual std::span<const uint8_t> tx_bytes(BufferIndex buffer) = 0;
  virtual void tx_done(BufferIndex buffer) = 0;  // acknowledged by the peer, or its flow is over

  // ---- Receiving. rx_put copies a payload into a free buffer (kNoBuffer: none free).
  virtual uint32_t rx_free() const = 0;
  virtual uint32_t rx_capacity() const = 0;
  virtual uint32_t buffer_size() const = 0;
  virtual BufferIndex rx_put(std::span<const uint8_t> payload) = 0;
  virtual void rx_deliver(FlowRef flow,
                          const RxSegment& segment) = 0;  // the application's from now on
  virtual void rx_discard(BufferIndex buffer) = 0;        // free again, never delivered

 private:
  friend StoreState& state_of(MessageStore* store);
  StoreState transport_state_;
};

// For the transport only.
inline StoreState& state_of(MessageStore* store) { return store->transport_state_; }

}  // namespace mn::transport
