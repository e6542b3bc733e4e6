// SPDX-License-Identifier: MIT
// Gathering of messages that arrive in several segments. The segments stay in their rx buffers,
// linked by Lane::pieces; when beginnings of messages (and views) keep more than half of a lane's
// buffers, the oldest are moved to the heap and their buffers go back, so the daemon can always
// receive what is missing. Works on the private state of one channel, on its thread.
#pragma once

#include "libmachnet/channel_state.h"

namespace mn::client {

// Where received bytes go: the program's pieces, one after another.
class Scatter {
 public:
  Scatter(const MachnetIovec_t* iov, size_t iovlen) : iov_(iov), left_(iovlen) {}
  void put(const uint8_t* data, size_t length);  // what does not fit the pieces is left out

 private:
  const MachnetIovec_t* iov_;
  size_t left_;
  size_t used_ = 0;  // of *iov_
};

// Adds a segment (the buffer is held by the caller and stays so). False: the message is too long or
// there is no memory; the caller breaks the flow.
bool gather_add(Lane* lane, FlowState* flow, uint32_t buffer, uint32_t offset, uint32_t length);

// After a view took buffers: the beginnings make room for it. A program that keeps it may wait for
// the very message whose end has no buffer.
void gather_yield(Lane* lane);

// The message is whole: it no longer counts among the beginnings.
void gather_finish(Lane* lane, FlowState* flow);

// Copies the whole message, and keeps it.
void gather_copy(const FlowState& flow, Scatter* to);

// Forgets the message, whole or not, and gives its buffers back.
void gather_drop(FlowState* flow);

// How many pieces the message lies in.
size_t gather_pieces(const FlowState& flow);
// Fills `iov`, which has room for gather_pieces, with them; returns how many.
size_t gather_views(const FlowState& flow, MachnetIovec_t* iov);

}  // namespace mn::client
