// SPDX-License-Identifier: MIT
#include "support/array_store.h"

#include <algorithm>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "ipc/shm_layout.h"

namespace mn::test {

using transport::BufferIndex;
using transport::FlowRef;
using transport::kNoBuffer;
using transport::kNoFlow;

namespace {
char replay_hint[512];
}

void set_replay_hint(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(replay_hint, sizeof(replay_hint), format, arguments);
  va_end(arguments);
}

void sim_fail(const char* format, ...) {
  std::fflush(stdout);
  std::fprintf(stderr, "FAILED: ");
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "\nreplay: %s\n", replay_hint);
  std::fflush(stderr);
  std::_Exit(1);
}

ArrayStore::ArrayStore(const StoreShape& shape)
    : shape_(shape),
      tx_data_(size_t{shape.tx_buffers} * shape.buffer_size),
      rx_data_(size_t{shape.rx_buffers} * shape.buffer_size),
      chunks_(shape.tx_buffers),
      tx_owner_(shape.tx_buffers, Owner::kFree),
      rx_owner_(shape.rx_buffers, Owner::kFree),
      rx_length_(shape.rx_buffers),
      slots_(shape.flow_slots) {
  for (uint32_t i = 0; i < shape.tx_buffers; i++) tx_free_.push_back(i);
  for (uint32_t i = 0; i < shape.rx_buffers; i++) rx_free_.push_back(i);
}

uint32_t ArrayStore::count(const std::vector<Owner>& owners, Owner owner) {
  return static_cast<uint32_t>(std::count(owners.begin(), owners.end(), owner));
}

const ArrayStore::Slot& ArrayStore::slot(FlowRef flow) const {
  const uint32_t index = ipc::flow_ref_slot(flow);
  SIM_CHECK(index < slots_.size(), "store: flow slot %u does not exist", index);
  const Slot& slot = slots_[index];
  SIM_CHECK(slot.generation == ipc::flow_ref_generation(flow) && slot.state != SlotState::kFree,
            "store: flow %08x is not alive (slot %u is at generation %u)", flow, index,
            slot.generation);
  return slot;
}

void ArrayStore::free_slot(Slot* slot) {
  slot->state = SlotState::kFree;
  slot->generation = slot->generation % ipc::kFlowGenerationMax + 1;
}

uint32_t ArrayStore::flow_room() const {
  return static_cast<uint32_t>(std::count_if(
      slots_.begin(), slots_.end(), [](const Slot& s) { return s.state == SlotState::kFree; }));
}

FlowRef ArrayStore::flow_reserve(uint32_t handle, const FourTuple& tuple) {
  for (uint32_t i = 0; i < slots_.size(); i++) {
    Slot& slot = slots_[i];
    if (slot.state != SlotState::kFree) continue;
    slot.state = SlotState::kReserved;
    slot.handle = handle;
    slot.tuple = tuple;
    return ipc::flow_ref(i, slot.generation);
  }
  return kNoFlow;
}

void ArrayStore::flow_accepted(FlowRef flow) {
  Slot& s = slot(flow);
  SIM_CHECK(s.state == SlotState::kReserved, "store: flow %08x accepted twice or after its end",
            flow);
  s.state = SlotState::kTold;
  deliveries_.push_back({Delivery::Kind::kOpened, flow, {}, 0});
}

void ArrayStore::flow_ended(FlowRef flow, uint32_t reason) {
  Slot& s = slot(flow);
  SIM_CHECK(s.state != SlotState::kEnded, "store: flow %08x ended twice", flow);
  if (reason == 0) {
    SIM_CHECK(s.state == SlotState::kReserved,
              "store: flow %08x ended without a reason, but was told", flow);
    free_slot(&s);
    return;
  }
  s.state = SlotState::kEnded;
  if (on_flow_ended) on_flow_ended(s.tuple, reason);
  deliveries_.push_back({Delivery::Kind::kEnded, flow, {}, reason});
}

std::span<const uint8_t> ArrayStore::tx_bytes(BufferIndex buffer) {
  SIM_CHECK(buffer < shape_.tx_buffers && tx_owner_[buffer] == Owner::kTransport,
            "store: tx_bytes of buffer %u, which the transport does not own", buffer);
  return {tx_data_.data() + size_t{buffer} * shape_.buffer_size, shape_.buffer_size};
}

void ArrayStore::tx_done(BufferIndex buffer) {
  SIM_CHECK(buffer < shape_.tx_buffers && tx_owner_[buffer] == Owner::kTransport,
            "store: tx_done of buffer %u, which the transport does not own", buffer);
  tx_owner_[buffer] = Owner::kFree;
  // Bytes sent from here on would be wrong and be seen.
  std::memset(tx_data_.data() + size_t{buffer} * shape_.buffer_size, 0xdd,
              std::min(shape_.buffer_size, 256u));
  tx_free_.push_back(buffer);
}

BufferIndex ArrayStore::rx_put(std::span<const uint8_t> payload) {
  SIM_CHECK(payload.size() <= shape_.buffer_size, "store: rx_put of %zu bytes, buffers have %u",
            payload.size(), shape_.buffer_size);
  if (rx_free_.empty()) return kNoBuffer;
  const BufferIndex buffer = rx_free_.back();
  rx_free_.pop_back();
  SIM_CHECK(rx_owner_[buffer] == Owner::kFree, "store: rx buffer %u is not free", buffer);
  rx_owner_[buffer] = Owner::kTransport;
  rx_length_[buffer] = static_cast<uint32_t>(payload.size());
  std::memcpy(rx_data_.data() + size_t{buffer} * shape_.buffer_size, payload.data(),
              payload.size());
  return buffer;
}

void ArrayStore::rx_deliver(FlowRef flow, const transport::RxSegment& segment) {
  const Slot& s = slot(flow);
  SIM_CHECK(s.state != SlotState::kEnded, "store: delivery on flow %08x after its end", flow);
  SIM_CHECK(segment.buffer < shape_.rx_buffers && rx_owner_[segment.buffer] == Owner::kTransport,
            "store: delivery of buffer %u, which the transport does not own", segment.buffer);
  SIM_CHECK(segment.length == rx_length_[segment.buffer],
            "store: delivery of %u bytes, the packet had %u", segment.length,
            rx_length_[segment.buffer]);
  rx_owner_[segment.buffer] = Owner::kApplication;
  deliveries_.push_back({Delivery::Kind::kSegment, flow, segment, 0});
}

void ArrayStore::rx_discard(BufferIndex buffer) {
  SIM_CHECK(buffer < shape_.rx_buffers && rx_owner_[buffer] == Owner::kTransport,
            "store: rx_discard of buffer %u, which the transport does not own", buffer);
  rx_owner_[buffer] = Owner::kFree;
  rx_free_.push_back(buffer);
}

BufferIndex ArrayStore::tx_alloc() {
  if (tx_free_.empty()) return kNoBuffer;
  const BufferIndex buffer = tx_free_.back();
  tx_free_.pop_back();
  tx_owner_[buffer] = Owner::kApplication;
  return buffer;
}

std::span<uint8_t> ArrayStore::tx_buffer(BufferIndex buffer) {
  SIM_CHECK(tx_owner_[buffer] == Owner::kApplication, "test: tx buffer %u is not the application's",
            buffer);
  return {tx_data_.data() + size_t{buffer} * shape_.buffer_size, shape_.buffer_size};
}

void ArrayStore::tx_submitted(BufferIndex buffer) {
  SIM_CHECK(tx_owner_[buffer] == Owner::kApplication, "test: tx buffer %u is not the application's",
            buffer);
  tx_owner_[buffer] = Owner::kTransport;
}

void ArrayStore::tx_refused(BufferIndex buffer) {
  SIM_CHECK(tx_owner_[buffer] == Owner::kTransport,
            "store: refused tx buffer %u was given back as well", buffer);
  tx_owner_[buffer] = Owner::kFree;
  tx_free_.push_back(buffer);
}

bool ArrayStore::next_delivery(Delivery* ret_delivery) {
  if (deliveries_.empty()) return false;
  *ret_delivery = deliveries_.front();
  deliveries_.pop_front();
  return true;
}

std::span<const uint8_t> ArrayStore::rx_buffer(const transport::RxSegment& segment) const {
  SIM_CHECK(rx_owner_[segment.buffer] == Owner::kApplication,
            "test: rx buffer %u is not the application's", segment.buffer);
  return {rx_data_.data() + size_t{segment.buffer} * shape_.buffer_size, segment.length};
}

void ArrayStore::rx_release(BufferIndex buffer) {
  SIM_CHECK(rx_owner_[buffer] == Owner::kApplication, "test: rx buffer %u released twice", buffer);
  rx_owner_[buffer] = Owner::kFree;
  std::memset(rx_data_.data() + size_t{buffer} * shape_.buffer_size, 0xee,
              std::min(shape_.buffer_size, 256u));
  rx_free_.push_back(buffer);
}

void ArrayStore::slot_release(FlowRef flow) {
  Slot& s = slot(flow);
  SIM_CHECK(s.state == SlotState::kEnded, "test: slot of flow %08x released before its end", flow);
  free_slot(&s);
}

uint32_t ArrayStore::flows_live() const {
  return static_cast<uint32_t>(std::count_if(slots_.begin(), slots_.end(), [](const Slot& s) {
    return s.state == SlotState::kReserved || s.state == SlotState::kTold;
  }));
}

void ArrayStore::check() const {
  SIM_CHECK(count(tx_owner_, Owner::kFree) == tx_free_.size(),
            "store: %u tx buffers free, %zu listed", count(tx_owner_, Owner::kFree),
            tx_free_.size());
  SIM_CHECK(count(rx_owner_, Owner::kFree) == rx_free_.size(),
            "store: %u rx buffers free, %zu listed", count(rx_owner_, Owner::kFree),
            rx_free_.size());
}

}  // namespace mn::test
