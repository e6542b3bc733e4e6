// SPDX-License-Identifier: MIT
#include "channel/lane.h"

#include <sys/socket.h>

#include <cstring>

#include "base/assert.h"

namespace mn {

Lane::Lane(const ipc::LaneShape& shape, uint8_t* base, int bell_fd, int engine_fd,
           std::atomic<uint32_t>* openings)
    : shape_(shape),
      header_(reinterpret_cast<ipc::LaneHeader*>(base)),
      chunks_(shape.tx_buffers),
      tx_owner_(shape.tx_buffers),
      rx_owner_(shape.rx_buffers),
      rx_free_(shape.rx_buffers),
      slot_free_(shape.flow_slots),
      slots_(shape.flow_slots),
      tuples_(shape.flow_slots),
      bell_fd_(bell_fd),
      engine_fd_(engine_fd) {
  MN_ASSERT(ipc::lane_shape_ok(shape));
  const ipc::LaneOffsets at = ipc::lane_offsets(shape);
  submit_ = {reinterpret_cast<ipc::Entry16*>(base + at.submit), ipc::submit_capacity(shape)};
  complete_ = {reinterpret_cast<ipc::Entry4*>(base + at.complete), ipc::complete_capacity(shape)};
  deliver_ = {reinterpret_cast<ipc::Entry16*>(base + at.deliver), ipc::deliver_capacity(shape)};
  release_ = {reinterpret_cast<ipc::Entry4*>(base + at.release), ipc::release_capacity(shape)};
  flows_ = reinterpret_cast<ipc::FlowSlot*>(base + at.flows);
  openings_ = openings;
  tx_data_ = base + at.tx_data;
  rx_data_ = base + at.rx_data;
  for (uint32_t i = 0; i < shape.rx_buffers; i++) rx_free_[i] = shape.rx_buffers - 1 - i;
  for (uint32_t i = 0; i < shape.flow_slots; i++) slot_free_[i] = shape.flow_slots - 1 - i;
  rx_free_count_ = shape.rx_buffers;
  slot_free_count_ = shape.flow_slots;
}

// The slot of a flow that still takes sends; nullptr for anything else.
Lane::Slot* Lane::live_slot(transport::FlowRef flow) {
  const uint32_t index = ipc::flow_ref_slot(flow);
  if (index >= shape_.flow_slots) return nullptr;
  Slot& slot = slots_[index];
  if (slot.state != SlotState::kOpen || slot.generation != ipc::flow_ref_generation(flow)) {
    return nullptr;
  }
  return &slot;
}

uint32_t Lane::handle_of(transport::FlowRef flow) const {
  const Slot* slot = const_cast<Lane*>(this)->live_slot(flow);
  return slot == nullptr ? 0 : slot->handle;
}

bool Lane::next_submission(Submission* ret_submission) {
  ipc::Item16 item;
  while (stale_skipped_ < kStaleMax && violation_ == nullptr && submit_.pop(&item)) {
    switch (ipc::entry_type(item.word)) {
      case ipc::kSubmitSegment:
        if (check_segment(item, ret_submission)) return true;
        break;
      case ipc::kSubmitClose:
        if (check_close(item, ret_submission)) return true;
        break;
      default:
        return violate("submit entry of an unknown type");
    }
    stale_skipped_++;
  }
  stale_skipped_ = 0;
  return false;
}

// True: a valid segment. False: a violation, or a segment of an ended flow, which goes straight
// back.
bool Lane::check_segment(const ipc::Item16& item, Submission* ret_submission) {
  const uint32_t buffer = item.b;
  const uint32_t length = ipc::entry_length(item.word);
  const bool last = (ipc::entry_flags(item.word) & ipc::kLastSegment) != 0;
  if (buffer >= shape_.tx_buffers)
    return violate("submit entry names a buffer that does not exist");
  if (tx_owner_[buffer] != TxOwner::kApplication) {
    return violate("submit entry names a buffer that is being sent already");
  }
  if (length == 0 || length > shape_.buffer_size) {
    return violate("submit entry with a length outside its buffer");
  }
  if (!last && length != shape_.buffer_size) {
    return violate("submit entry: only a message's last segment may be short");
  }
  tx_owner_[buffer] = TxOwner::kDaemon;
  Slot* slot = live_slot(item.a);
  if (slot == nullptr) {
    stale_submits_++;
    tx_done(buffer);
    return false;
  }
  slot->message_bytes += length;
  if (slot->message_bytes > ipc::kMessageBytesMax)
    return violate("message longer than the maximum");
  if (last) slot->message_bytes = 0;
  ret_submission->kind = Submission::Kind::kSend;
  ret_submission->handle = slot->handle;
  ret_submission->buffer = buffer;
  ret_submission->length = static_cast<uint16_t>(length);
  ret_submission->last_segment = last;
  return true;
}

bool Lane::check_close(const ipc::Item16& item, Submission* ret_submission) {
  Slot* slot = live_slot(item.a);
  if (slot == nullptr) return false;  // it ended while the application was closing it
  if (slot->message_bytes != 0) return violate("close in the middle of a message");
  slot->state = SlotState::kClosing;
  const bool abort = (ipc::entry_flags(item.word) & ipc::kAbort) != 0;
  ret_submission->kind = abort ? Submission::Kind::kAbort : Submission::Kind::kClose;
  ret_submission->handle = slot->handle;
  return true;
}

uint32_t Lane::take_releases(uint32_t budget) {
  uint32_t taken = 0;
  uint32_t value = 0;
  while (taken < budget && violation_ == nullptr && release_.pop(&value)) {
    taken++;
    if ((value & ipc::kReleaseSlot) != 0) {
      release_slot(value & ~ipc::kReleaseSlot);
      continue;
    }
    if (value >= shape_.rx_buffers || rx_owner_[value] != RxOwner::kApplication) {
      violate("release entry names a buffer that was not delivered");
      break;
    }
    rx_discard(value);
  }
  return taken;
}

void Lane::release_slot(uint32_t slot) {
  if (slot >= shape_.flow_slots || slots_[slot].state != SlotState::kEnded) {
    violate("release entry names a flow that has not ended");
    return;
  }
  if (slots_[slot].accepted) {
    free_slot(slot);
    return;
  }
  slots_[slot].state = SlotState::kReleased;
  slots_[slot].message_bytes = released_;
  released_ = slot;
}

FourTuple Lane::take_released() {
  MN_ASSERT(has_released());
  const uint32_t slot = released_;
  released_ = slots_[slot].message_bytes;
  free_slot(slot);
  return tuples_[slot];
}

void Lane::free_slot(uint32_t slot) {
  Slot& s = slots_[slot];
  s.state = SlotState::kFree;
  s.generation = s.generation == ipc::kFlowGenerationMax ? 1 : s.generation + 1;
  slot_free_[slot_free_count_++] = slot;
  publish_flows();
}

inline void Lane::note(uint32_t pushed, uint32_t useful) {
  if (news_ == 0 && news_head_ != nullptr) {
    news_next_ = *news_head_;
    *news_head_ = this;
  }
  news_ |= pushed;
  useful_ |= useful;
}

Lane* Lane::next_news(Lane** head) {
  Lane* lane = *head;
  if (lane != nullptr) *head = lane->news_next_;
  return lane;
}

uint32_t Lane::ring_application() {
  const uint32_t pushed = news_;
  const uint32_t useful = useful_;
  news_ = useful_ = 0;
  if (!ipc::wake_needed(&header_->application, pushed)) return useful;
  const uint64_t one = 1;
  // EAGAIN: the application has not read what was rung before, so it is awake or about to be.
  [[maybe_unused]] const ssize_t sent =
      send(bell_fd_, &one, sizeof one, MSG_DONTWAIT | MSG_NOSIGNAL);
  return useful;
}

transport::FlowRef Lane::flow_reserve(uint32_t handle, const FourTuple& tuple) {
  if (slot_free_count_ == 0 || violation_ != nullptr) return transport::kNoFlow;
  const uint32_t index = slot_free_[--slot_free_count_];
  publish_flows();
  Slot& slot = slots_[index];
  slot.handle = handle;
  slot.message_bytes = 0;
  slot.state = SlotState::kOpen;
  slot.accepted = false;
  tuples_[index] = tuple;
  flows_[index] = {tuple.local_ip, tuple.remote_ip, tuple.local_port, tuple.remote_port, 0};
  return ipc::flow_ref(index, slot.generation);
}

void Lane::flow_accepted(transport::FlowRef flow) {
  slots_[ipc::flow_ref_slot(flow)].accepted = true;
  // Engines count with one counter, so their openings are in the order of its changes.
  const uint32_t number = openings_->fetch_add(1, std::memory_order_relaxed);
  deliver_.push({.a = flow, .c = number, .word = ipc::entry_word(ipc::kDeliverOpened, 0, 0)});
  note(ipc::kWakeEntries);
}

void Lane::flow_ended(transport::FlowRef flow, uint32_t reason) {
  const uint32_t index = ipc::flow_ref_slot(flow);
  MN_ASSERT(index < shape_.flow_slots && slots_[index].state != SlotState::kFree);
  if (reason == 0) {
    free_slot(index);
    return;
  }
  slots_[index].state = SlotState::kEnded;
  deliver_.push({.a = flow, .c = reason, .word = ipc::entry_word(ipc::kDeliverEnded, 0, 0)});
  note(ipc::kWakeAny);  // a sender that waits for space must hear of it too
}

void Lane::tx_done(transport::BufferIndex buffer) {
  MN_ASSERT(tx_owner_[buffer] == TxOwner::kDaemon);
  tx_owner_[buffer] = TxOwner::kApplication;
  complete_.push(buffer);
  note(ipc::kWakeSpace);
}

transport::BufferIndex Lane::rx_put(std::span<const uint8_t> payload) {
  if (rx_free_count_ == 0 || violation_ != nullptr) return transport::kNoBuffer;
  MN_ASSERT(payload.size() <= shape_.buffer_size);
  const uint32_t buffer = rx_free_[--rx_free_count_];
  memcpy(rx_data_ + static_cast<size_t>(buffer) * shape_.buffer_size, payload.data(),
         payload.size());
  return buffer;
}

void Lane::rx_deliver(transport::FlowRef flow, const transport::RxSegment& segment) {
  rx_owner_[segment.buffer] = RxOwner::kApplication;
  const bool bundle = segment.message_count > 0;
  deliver_.push({.a = flow,
                 .b = segment.buffer,
                 .c = bundle ? uint32_t{segment.message_count} << 16 : 0,
                 .word = ipc::entry_word(bundle ? ipc::kDeliverBundle : ipc::kDeliverSegment,
                                         segment.flags, segment.length)});
  note(ipc::kWakeEntries, (segment.flags & ipc::kLastSegment) != 0 ? ipc::kWakeEntries : 0);
}

void Lane::rx_discard(transport::BufferIndex buffer) {
  rx_owner_[buffer] = RxOwner::kDaemon;
  rx_free_[rx_free_count_++] = buffer;
}

}  // namespace mn
