// SPDX-License-Identifier: MIT
#include <stdlib.h>

#include "libmachnet/message_io.h"
#include "libmachnet/reassembly.h"

namespace mn::client {

// A message in the program's hands, with what it keeps from the daemon. Followed by its pieces.
struct View {
  View *next, *prev;
  Lane* lane;
  uint8_t* heap;
  uint32_t head;     // first rx buffer, linked by Lane::pieces if there are several
  uint32_t buffers;  // how many
  size_t capacity;   // pieces that fit
  MachnetIovec_t* pieces() { return reinterpret_cast<MachnetIovec_t*>(this + 1); }
};

namespace {

int fail(int error) {
  errno = error;
  return -1;
}

View* view_new(Channel* c, size_t pieces) {
  View* view = c->view_spare;
  if (view != nullptr && view->capacity >= pieces) {
    c->view_spare = nullptr;
  } else {
    view = static_cast<View*>(malloc(sizeof(View) + pieces * sizeof(MachnetIovec_t)));
    if (view == nullptr) return nullptr;
    view->capacity = pieces;
  }
  view->prev = nullptr;
  view->next = c->views;
  if (c->views != nullptr) c->views->prev = view;
  c->views = view;
  return view;
}

// The bytes of c->ready lie in one buffer, perhaps with others of its bundle.
void view_of_buffer(Channel* c, View* view) {
  const Ready& ready = c->ready;
  Lane* lane = ready.flow->lane;
  if (lane->rx_holds[ready.buffer]++ == 1) lane->view_buffers++;  // the first beside the cursor
  view->heap = nullptr;
  view->head = ready.buffer;
  view->buffers = 1;
  view->pieces()[0] = MachnetIovec_t{const_cast<uint8_t*>(ready.data), ready.size};
  ready_consume(c);
}

// The message was gathered: the view takes the chain over.
void view_of_gathering(Channel* c, View* view) {
  FlowState* flow = c->ready.flow;
  gather_views(*flow, view->pieces());
  Gathering* g = &flow->gathering;
  view->heap = g->heap;
  view->head = g->head;
  view->buffers = g->pieces;
  flow->lane->view_buffers += g->pieces;
  *g = Gathering{nullptr, 0, 0, kNone, kNone, 0, 0};
  c->ready.flow = nullptr;
}

// The tx buffer that starts at `base`, if the program has it; kNone if not.
uint32_t programs_buffer(const Lane& lane, const void* base) {
  const uintptr_t distance =
      reinterpret_cast<uintptr_t>(base) - reinterpret_cast<uintptr_t>(lane.tx_data);
  const uintptr_t buffer = distance / lane.buffer_size;
  if (buffer >= lane.tx_buffers || buffer * lane.buffer_size != distance) return kNone;
  return lane.tx_owner[buffer] == kTxProgram ? static_cast<uint32_t>(buffer) : kNone;
}

// All pieces are the program's buffers of one lane; nullptr if not.
Lane* lane_of_pieces(Channel* c, const MachnetIovec_t* iov, size_t iovlen) {
  for (uint32_t l = 0; l < c->lane_count; l++) {
    Lane* lane = &c->lanes[l];
    if (programs_buffer(*lane, iov[0].base) == kNone) continue;
    for (size_t i = 1; i < iovlen; i++) {
      if (programs_buffer(*lane, iov[i].base) == kNone) return nullptr;
    }
    return lane;
  }
  return nullptr;
}

// Message bytes in the pieces if they are what one message may be: full ones but the last; 0 if
// not.
size_t message_size(const Lane& lane, const MachnetIovec_t* iov, size_t iovlen) {
  size_t total = 0;
  for (size_t i = 0; i < iovlen; i++) {
    const bool last = i + 1 == iovlen;
    if (iov[i].len == 0 || iov[i].len > lane.buffer_size) return 0;
    if (!last && iov[i].len != lane.buffer_size) return 0;
    total += iov[i].len;
  }
  return total;
}

void give_back(Lane* lane, const MachnetIovec_t* iov, size_t iovlen) {
  for (size_t i = 0; i < iovlen; i++) {
    const uint32_t buffer = programs_buffer(*lane, iov[i].base);
    if (buffer == kNone) continue;  // named twice
    lane->tx_owner[buffer] = kTxFree;
    lane->tx_free[lane->tx_free_count++] = buffer;
  }
}

// The flow lives on another engine's lane than the buffers: the bytes have to move after all.
int send_by_copy(Channel* c, Lane* from, const MachnetFlow_t& flow, const MachnetIovec_t* iov,
                 size_t iovlen, size_t total) {
  MachnetMsgHdr_t message = {};
  message.msg_size = static_cast<uint32_t>(total);
  message.flow_info = flow;
  message.msg_iov = const_cast<MachnetIovec_t*>(iov);
  message.msg_iovlen = iovlen;
  Lane* lane;
  if (send_pieces(c, message, &lane) != 0) return -1;
  lane_signal(lane);
  give_back(from, iov, iovlen);
  return 0;
}

}  // namespace

int view_take(Channel* c, MachnetView_t* view) {
  const Ready& ready = c->ready;
  const bool gathered = ready.data == nullptr;
  const size_t pieces = gathered ? gather_pieces(*ready.flow) : 1;
  View* handle = view_new(c, pieces);
  if (handle == nullptr) return fail(ENOMEM);
  handle->lane = ready.flow->lane;
  view->flow = swapped(ready.flow->local);
  view->size = ready.size;
  view->iov = handle->pieces();
  view->iovlen = pieces;
  view->handle = handle;
  gathered ? view_of_gathering(c, handle) : view_of_buffer(c, handle);
  gather_yield(handle->lane);
  return 1;
}

int view_release(Channel* c, MachnetView_t* view) {
  View* handle = static_cast<View*>(view->handle);
  if (handle == nullptr) return fail(EINVAL);
  Lane* lane = handle->lane;
  uint32_t buffer = handle->head;
  for (uint32_t i = 0; i < handle->buffers; i++) {
    const uint32_t next = handle->buffers > 1 ? lane->pieces[buffer].next : kNone;
    const bool cursor =
        c->ready.flow != nullptr && c->ready.flow->lane == lane && c->ready.buffer == buffer;
    if (lane->rx_holds[buffer] == (cursor ? 2 : 1)) lane->view_buffers--;
    rx_unhold(lane, buffer);
    buffer = next;
  }
  free(handle->heap);
  (handle->prev != nullptr ? handle->prev->next : c->views) = handle->next;
  if (handle->next != nullptr) handle->next->prev = handle->prev;
  if (c->view_spare == nullptr) {
    c->view_spare = handle;
  } else {
    free(handle);
  }
  *view = MachnetView_t{};
  return 0;
}

void views_free(Channel* c) {
  for (View* view = c->views; view != nullptr;) {
    View* next = view->next;
    free(view->heap);
    free(view);
    view = next;
  }
  free(c->view_spare);
  c->views = c->view_spare = nullptr;
}

int buffer_alloc(Channel* c, size_t length, MachnetIovec_t* iov, size_t* iovlen) {
  if (c->dead_errno != 0) return channel_fail(c, c->dead_errno);
  if (length == 0) return fail(EINVAL);
  if (length > MACHNET_MSG_MAX_LEN) return fail(EMSGSIZE);
  if (channel_check(c) != 0) return -1;
  // The lane of the last send: most programs answer or go on where they are.
  Lane* lane = c->last_state != nullptr ? c->last_state->lane : &c->lanes[0];
  const uint32_t count =
      static_cast<uint32_t>((length + lane->buffer_size - 1) / lane->buffer_size);
  if (*iovlen < count) {
    *iovlen = count;
    return fail(EMSGSIZE);
  }
  if (iov == nullptr) return fail(EINVAL);
  if (tx_reserve(c, lane, count) != 0) return -1;
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t buffer = lane->tx_free[--lane->tx_free_count];
    lane->tx_owner[buffer] = kTxProgram;
    const size_t part = length < lane->buffer_size ? length : lane->buffer_size;
    iov[i] = MachnetIovec_t{lane->tx_data + size_t{buffer} * lane->buffer_size, part};
    length -= part;
  }
  *iovlen = count;
  return 0;
}

int buffer_send(Channel* c, const MachnetFlow_t& tuple, const MachnetIovec_t* iov, size_t iovlen) {
  if (c->dead_errno != 0) return channel_fail(c, c->dead_errno);
  if (iovlen == 0) return fail(EINVAL);
  Lane* lane = lane_of_pieces(c, iov, iovlen);
  if (lane == nullptr) return fail(EINVAL);
  const size_t total = message_size(*lane, iov, iovlen);
  if (total == 0) return fail(EINVAL);
  if (total > MACHNET_MSG_MAX_LEN) return fail(EMSGSIZE);
  if (channel_check(c) != 0) return -1;
  FlowState* flow = send_flow(c, tuple);
  if (flow == nullptr) return -1;
  if (flow->lane != lane) return send_by_copy(c, lane, tuple, iov, iovlen, total);
  for (size_t i = 0; i < iovlen; i++) {  // each once: the first mention makes it the daemon's
    const uint32_t buffer = programs_buffer(*lane, iov[i].base);
    if (buffer == kNone) {
      while (i-- > 0)
        lane->tx_owner[(static_cast<uint8_t*>(iov[i].base) - lane->tx_data) / lane->buffer_size] =
            kTxProgram;
      return fail(EINVAL);
    }
    lane->tx_owner[buffer] = kTxDaemon;
  }
  for (size_t i = 0; i < iovlen; i++) {
    const size_t buffer =
        static_cast<size_t>(static_cast<uint8_t*>(iov[i].base) - lane->tx_data) / lane->buffer_size;
    const uint32_t flags = i + 1 == iovlen ? uint32_t{ipc::kLastSegment} : 0;
    lane->submit.push(
        {.a = flow->ref,
         .b = static_cast<uint32_t>(buffer),
         .c = 0,
         .word = ipc::entry_word(ipc::kSubmitSegment, flags, static_cast<uint32_t>(iov[i].len))});
  }
  c->room_wanted = 0;
  lane_signal(lane);
  return 0;
}

int buffer_free(Channel* c, const MachnetIovec_t* iov, size_t iovlen) {
  if (iovlen == 0) return 0;
  Lane* lane = lane_of_pieces(c, iov, iovlen);
  if (lane == nullptr) return fail(EINVAL);
  give_back(lane, iov, iovlen);
  return 0;
}

}  // namespace mn::client
