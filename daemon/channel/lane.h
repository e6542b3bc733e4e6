// SPDX-License-Identifier: MIT
// Lane: one engine's share of an application's channel, and every check on what the application
// writes there. Implements the transport's MessageStore over the shared buffers. Which buffer
// belongs to whom and which flow slot is in which state is kept in private memory: an entry that
// names what the application does not own is a violation, after which the lane hands out nothing
// more. Used by its engine thread only; never blocks or allocates after construction.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/fixed_array.h"
#include "ipc/shm_layout.h"
#include "transport/message_store.h"

namespace mn {

// A checked entry of the submit ring.
struct Submission {
  enum class Kind : uint8_t { kSend, kClose, kAbort } kind = Kind::kSend;
  uint32_t handle = 0;  // the transport's name of the flow
  transport::BufferIndex buffer = transport::kNoBuffer;
  uint16_t length = 0;
  bool last_segment = false;
};

class Lane final : public transport::MessageStore {
 public:
  static constexpr uint32_t kStaleMax = 64;

  // `base`: the lane's start in the mapping. `bell_fd`: our end of the application's doorbell. Both
  // descriptors stay the caller's, and so does `openings`, which counts those of all lanes of the
  // channel.
  Lane(const ipc::LaneShape& shape, uint8_t* base, int bell_fd, int engine_fd,
       std::atomic<uint32_t>* openings);

  const ipc::LaneShape& shape() const { return shape_; }
  int engine_fd() const { return engine_fd_; }

  // ---- What the application wrote
  // False: nothing more for now, or violation() says why the lane is dead. At most kStaleMax
  // entries of ended flows are skipped between two answers of false: an application that never
  // stops writing them, alone or between good ones, does not hold the engine.
  bool next_submission(Submission* ret_submission);
  // What the entry after the next one is likely to name; 0: it is not there. Nothing is checked or
  // taken: good for prefetching only.
  uint32_t handle_ahead() const {
    uint32_t flow = 0;
    if (!submit_.peek_second(&flow)) return 0;
    const uint32_t slot = ipc::flow_ref_slot(flow);
    return slot < shape_.flow_slots ? slots_.data()[slot].handle : 0;
  }
  // Takes back what the application released, at most `budget` entries; returns how many.
  uint32_t take_releases(uint32_t budget);
  bool has_input() const { return !submit_.empty() || !release_.empty() || has_released(); }
  // The local ports of flows that we opened are free once the application has given their slots
  // back: it names flows by their tuples, and another one with this name would be taken for it.
  bool has_released() const { return released_ != kNone; }
  // The tuple of one such flow; its slot is free from now on.
  FourTuple take_released();
  const char* violation() const { return violation_; }  // nullptr: none
  uint64_t stale_submits() const { return stale_submits_; }
  // A flow's handle for a reference that came over the control socket; 0: there is no such flow.
  uint32_t handle_of(transport::FlowRef flow) const;
  // Flow slots in use, ended ones that the application has not given back included. Any thread.
  uint32_t flows_in_use() const { return flows_in_use_.load(std::memory_order_relaxed); }

  // ---- Doorbells
  // From now on the lane puts itself on the list at `*head` when something is pushed to the
  // application; nullptr: no more.
  void link_news(Lane** head) { news_head_ = head; }
  // Takes the first lane off a news list; nullptr: none. Then call ring_application on it.
  static Lane* next_news(Lane** head);
  // Rings if the application sleeps and waits for what was pushed since the last time. Returns what
  // that was, ipc::kWakeX, but for entries that the program gets nothing from: parts of messages.
  uint32_t ring_application();
  void announce_sleep() { ipc::sleep_announce(&header_->engine); }
  void end_sleep() { ipc::sleep_end(&header_->engine); }

  // ---- MessageStore
  transport::FlowRef flow_reserve(uint32_t handle, const FourTuple& tuple) override;
  uint32_t flow_room() const override { return slot_free_count_; }
  uint32_t flow_capacity() const override { return shape_.flow_slots; }
  void flow_accepted(transport::FlowRef flow) override;
  void flow_ended(transport::FlowRef flow, uint32_t reason) override;
  transport::TxChunk* tx_chunks() override { return chunks_.data(); }
  std::span<const uint8_t> tx_bytes(transport::BufferIndex buffer) override {
    return {tx_data_ + static_cast<size_t>(buffer) * shape_.buffer_size, shape_.buffer_size};
  }
  void tx_done(transport::BufferIndex buffer) override;
  uint32_t rx_free() const override { return rx_free_count_; }
  uint32_t rx_capacity() const override { return shape_.rx_buffers; }
  uint32_t buffer_size() const override { return shape_.buffer_size; }
  transport::BufferIndex rx_put(std::span<const uint8_t> payload) override;
  void rx_deliver(transport::FlowRef flow, const transport::RxSegment& segment) override;
  void rx_discard(transport::BufferIndex buffer) override;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  enum class SlotState : uint8_t { kFree, kOpen, kClosing, kEnded, kReleased };
  struct Slot {
    uint32_t handle = 0;
    uint32_t generation = 1;
    // Of the message whose segments are being submitted. kReleased: the next slot of `released_`.
    uint32_t message_bytes = 0;
    SlotState state = SlotState::kFree;
    bool accepted = false;  // the peer opened it
  };
  static_assert(sizeof(Slot) == 16);
  enum class RxOwner : uint8_t { kDaemon, kApplication };
  enum class TxOwner : uint8_t { kApplication, kDaemon };

  Slot* live_slot(transport::FlowRef flow);
  bool check_segment(const ipc::Item16& item, Submission* ret_submission);
  bool check_close(const ipc::Item16& item, Submission* ret_submission);
  void release_slot(uint32_t slot);
  void free_slot(uint32_t slot);
  void publish_flows() {
    flows_in_use_.store(shape_.flow_slots - slot_free_count_, std::memory_order_relaxed);
  }
  bool violate(const char* what) {
    violation_ = what;
    return false;
  }

  const ipc::LaneShape shape_;
  ipc::LaneHeader* header_;
  ipc::Consumer16 submit_;
  ipc::Consumer4 release_;
  ipc::Producer16 deliver_;
  ipc::Producer4 complete_;
  uint8_t* tx_data_;
  uint8_t* rx_data_;
  ipc::FlowSlot* flows_;
  std::atomic<uint32_t>* openings_;
  void note(uint32_t pushed) { note(pushed, pushed); }
  void note(uint32_t pushed, uint32_t useful);
  uint32_t news_ = 0;    // ipc::kWakeX of what was pushed since ring_application
  uint32_t useful_ = 0;  // the same without parts of messages
  Lane* news_next_ = nullptr;
  Lane** news_head_ = nullptr;
  uint32_t rx_free_count_ = 0;
  uint32_t slot_free_count_ = 0;
  uint32_t released_ = kNone;              // the first kReleased slot
  std::atomic<uint32_t> flows_in_use_{0};  // written by the engine, read by the control plane
  const char* violation_ = nullptr;
  uint64_t stale_submits_ = 0;
  uint32_t stale_skipped_ = 0;  // by next_submission, since it last returned false

  FixedArray<transport::TxChunk> chunks_;
  FixedArray<TxOwner> tx_owner_;
  FixedArray<RxOwner> rx_owner_;
  FixedArray<uint32_t> rx_free_;    // stack of free rx buffers, the last one used on top
  FixedArray<uint32_t> slot_free_;  // stack of free flow slots
  FixedArray<Slot> slots_;
  FixedArray<FourTuple> tuples_;  // of the slots
  int bell_fd_;
  int engine_fd_;
};

}  // namespace mn
