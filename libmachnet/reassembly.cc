// SPDX-License-Identifier: MIT
#include "libmachnet/reassembly.h"

#include <stdlib.h>
#include <string.h>

namespace mn::client {

namespace {

const uint8_t* piece_data(const Lane& lane, uint32_t buffer) {
  return lane.rx_data + size_t{buffer} * lane.buffer_size + lane.pieces[buffer].offset;
}

void list_append(Lane* lane, FlowState* flow) {
  flow->gather_prev = lane->gather_last;
  flow->gather_next = nullptr;
  (lane->gather_last != nullptr ? lane->gather_last->gather_next : lane->gather_first) = flow;
  lane->gather_last = flow;
}

void list_remove(Lane* lane, FlowState* flow) {
  (flow->gather_prev != nullptr ? flow->gather_prev->gather_next : lane->gather_first) =
      flow->gather_next;
  (flow->gather_next != nullptr ? flow->gather_next->gather_prev : lane->gather_last) =
      flow->gather_prev;
}

void release_chain(Lane* lane, Gathering* g) {
  uint32_t buffer = g->head;
  for (uint32_t i = 0; i < g->pieces; i++) {
    const uint32_t next = lane->pieces[buffer].next;
    rx_unhold(lane, buffer);
    buffer = next;
  }
  g->pieces = 0;
  g->head = g->tail = kNone;
}

// Moves the chain of an open gathering to the heap. False: no memory.
bool move_to_heap(Lane* lane, Gathering* g) {
  const uint32_t chain_size = g->size - g->heap_size;
  if (g->heap_capacity - g->heap_size < chain_size) {
    uint32_t capacity = g->heap_capacity == 0 ? 65536 : g->heap_capacity;
    while (capacity < g->size) capacity *= 2;
    void* grown = realloc(g->heap, capacity);
    if (grown == nullptr) return false;
    g->heap = static_cast<uint8_t*>(grown);
    g->heap_capacity = capacity;
  }
  uint32_t buffer = g->head;
  for (uint32_t i = 0; i < g->pieces; i++) {
    memcpy(g->heap + g->heap_size, piece_data(*lane, buffer), lane->pieces[buffer].length);
    g->heap_size += lane->pieces[buffer].length;
    buffer = lane->pieces[buffer].next;
  }
  lane->gathered_buffers -= g->pieces;
  release_chain(lane, g);
  return true;
}

// False: the memory for `flow` itself could not be had. Others that cannot be moved stay as they
// are.
bool make_room(Lane* lane, const FlowState* flow) {
  const uint32_t limit = lane->rx_buffers / 2;
  FlowState* next = nullptr;
  for (FlowState* f = lane->gather_first; f != nullptr; f = next) {
    if (lane->gathered_buffers + lane->view_buffers <= limit) break;
    next = f->gather_next;
    if (f->gathering.pieces == 0) continue;
    if (!move_to_heap(lane, &f->gathering) && f == flow) return false;
  }
  return true;
}

}  // namespace

void Scatter::put(const uint8_t* data, size_t length) {
  while (length > 0) {
    if (left_ == 0) return;
    const size_t room = iov_->len - used_;
    const size_t part = length < room ? length : room;
    if (part > 0) memcpy(static_cast<uint8_t*>(iov_->base) + used_, data, part);
    data += part;
    length -= part;
    used_ += part;
    if (used_ == iov_->len) {
      iov_++;
      left_--;
      used_ = 0;
    }
  }
}

bool gather_add(Lane* lane, FlowState* flow, uint32_t buffer, uint32_t offset, uint32_t length) {
  Gathering* g = &flow->gathering;
  if (!flow->gathering_open) {
    *g = Gathering{nullptr, 0, 0, kNone, kNone, 0, 0};
    flow->gathering_open = true;
    list_append(lane, flow);
  }
  lane->pieces[buffer] = Piece{kNone, static_cast<uint16_t>(offset), static_cast<uint16_t>(length)};
  (g->pieces == 0 ? g->head : lane->pieces[g->tail].next) = buffer;
  g->tail = buffer;
  g->pieces++;
  g->size += length;
  lane->gathered_buffers++;
  if (g->size > ipc::kMessageBytesMax) return false;
  if (lane->gathered_buffers + lane->view_buffers > lane->rx_buffers / 2) {
    return make_room(lane, flow);
  }
  return true;
}

void gather_yield(Lane* lane) {
  if (lane->gathered_buffers == 0) return;
  if (lane->gathered_buffers + lane->view_buffers > lane->rx_buffers / 2) make_room(lane, nullptr);
}

void gather_finish(Lane* lane, FlowState* flow) {
  lane->gathered_buffers -= flow->gathering.pieces;
  list_remove(lane, flow);
  flow->gathering_open = false;
}

void gather_copy(const FlowState& flow, Scatter* to) {
  const Gathering& g = flow.gathering;
  const Lane& lane = *flow.lane;
  if (g.heap_size > 0) to->put(g.heap, g.heap_size);
  uint32_t buffer = g.head;
  for (uint32_t i = 0; i < g.pieces; i++) {
    const uint32_t next = lane.pieces[buffer].next;
    if (next != kNone) __builtin_prefetch(piece_data(lane, next));
    to->put(piece_data(lane, buffer), lane.pieces[buffer].length);
    buffer = next;
  }
}

void gather_drop(FlowState* flow) {
  if (flow->gathering_open) gather_finish(flow->lane, flow);
  Gathering* g = &flow->gathering;
  release_chain(flow->lane, g);
  free(g->heap);
  *g = Gathering{nullptr, 0, 0, kNone, kNone, 0, 0};
}

size_t gather_pieces(const FlowState& flow) {
  return flow.gathering.pieces + (flow.gathering.heap_size > 0 ? 1 : 0);
}

size_t gather_views(const FlowState& flow, MachnetIovec_t* iov) {
  const Gathering& g = flow.gathering;
  const Lane& lane = *flow.lane;
  size_t count = 0;
  if (g.heap_size > 0) iov[count++] = MachnetIovec_t{g.heap, g.heap_size};
  uint32_t buffer = g.head;
  for (uint32_t i = 0; i < g.pieces; i++) {
    iov[count++] =
        MachnetIovec_t{const_cast<uint8_t*>(piece_data(lane, buffer)), lane.pieces[buffer].length};
    buffer = lane.pieces[buffer].next;
  }
  return count;
}

}  // namespace mn::client
