// SPDX-License-Identifier: MIT
// ArrayStore: a MessageStore over plain arrays, for tests. It is both the daemon's side (what the
// transport calls) and the application's (tx_alloc, next_delivery, rx_release, slot_release), and
// knows at every moment who owns each buffer and flow slot: a call that breaks the contract fails
// the test at once. One thread.
#pragma once

#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "transport/message_store.h"

namespace mn::test {

// Prints the reason, how to repeat the run, and ends the process. Tests set the second with
// set_replay_hint.
[[noreturn]] __attribute__((format(printf, 1, 2))) void sim_fail(const char* format, ...);
void set_replay_hint(const char* format, ...) __attribute__((format(printf, 1, 2)));

#define SIM_CHECK(condition, ...)                        \
  do {                                                   \
    if (!(condition)) ::mn::test::sim_fail(__VA_ARGS__); \
  } while (0)

struct StoreShape {
  uint32_t tx_buffers = 256;
  uint32_t rx_buffers = 256;
  uint32_t buffer_size = 1472;
  uint32_t flow_slots = 64;
};

// What the application finds in its queue.
struct Delivery {
  enum class Kind : uint8_t { kOpened, kSegment, kEnded } kind;
  transport::FlowRef flow = 0;
  transport::RxSegment segment{};
  uint32_t reason = 0;
};

class ArrayStore final : public transport::MessageStore {
 public:
  explicit ArrayStore(const StoreShape& shape);

  // ---- The transport's side
  transport::FlowRef flow_reserve(uint32_t handle, const FourTuple& tuple) override;
  uint32_t flow_room() const override;
  uint32_t flow_capacity() const override { return shape_.flow_slots; }
  void flow_accepted(transport::FlowRef flow) override;
  void flow_ended(transport::FlowRef flow, uint32_t reason) override;
  transport::TxChunk* tx_chunks() override { return chunks_.data(); }
  std::span<const uint8_t> tx_bytes(transport::BufferIndex buffer) override;
  void tx_done(transport::BufferIndex buffer) override;
  uint32_t rx_free() const override { return static_cast<uint32_t>(rx_free_.size()); }
  uint32_t rx_capacity() const override { return shape_.rx_buffers; }
  uint32_t buffer_size() const override { return shape_.buffer_size; }
  transport::BufferIndex rx_put(std::span<const uint8_t> payload) override;
  void rx_deliver(transport::FlowRef flow, const transport::RxSegment& segment) override;
  void rx_discard(transport::BufferIndex buffer) override;

  // ---- The application's side
  uint32_t tx_free() const { return static_cast<uint32_t>(tx_free_.size()); }
  transport::BufferIndex tx_alloc();
  std::span<uint8_t> tx_buffer(transport::BufferIndex buffer);
  void tx_submitted(transport::BufferIndex buffer);  // Transport::send said kOk
  void tx_refused(transport::BufferIndex buffer);    // it said something else
  bool next_delivery(Delivery* ret_delivery);
  bool has_delivery() const { return !deliveries_.empty(); }
  std::span<const uint8_t> rx_buffer(const transport::RxSegment& segment) const;
  void rx_release(transport::BufferIndex buffer);
  void slot_release(transport::FlowRef flow);

  const FourTuple& tuple(transport::FlowRef flow) const { return slot(flow).tuple; }
  uint32_t handle(transport::FlowRef flow) const { return slot(flow).handle; }
  uint32_t flows_live() const;
  uint32_t tx_owned_by_transport() const { return count(tx_owner_, Owner::kTransport); }
  uint32_t rx_owned_by_transport() const { return count(rx_owner_, Owner::kTransport); }
  // Buffers in and out equal the buffers there are.
  void check() const;
  const StoreShape& shape() const { return shape_; }

  // When the transport ends a flow that its application knows, at that moment.
  std::function<void(const FourTuple& tuple, uint32_t reason)> on_flow_ended;

 private:
  enum class Owner : uint8_t { kFree, kTransport, kApplication };
  enum class SlotState : uint8_t { kFree, kReserved, kTold, kEnded };
  struct Slot {
    uint32_t generation = 1;
    SlotState state = SlotState::kFree;
    uint32_t handle = 0;
    FourTuple tuple{};
  };
  static uint32_t count(const std::vector<Owner>& owners, Owner owner);
  const Slot& slot(transport::FlowRef flow) const;
  Slot& slot(transport::FlowRef flow) { return const_cast<Slot&>(std::as_const(*this).slot(flow)); }
  void free_slot(Slot* slot);

  StoreShape shape_;
  std::vector<uint8_t> tx_data_, rx_data_;
  std::vector<transport::TxChunk> chunks_;
  std::vector<Owner> tx_owner_, rx_owner_;
  std::vector<uint32_t> rx_length_;
  std::vector<transport::BufferIndex> tx_free_, rx_free_;
  std::vector<Slot> slots_;
  std::deque<Delivery> deliveries_;
};

}  // namespace mn::test
