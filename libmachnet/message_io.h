// SPDX-License-Identifier: MIT
// Sending and receiving on a channel: buffers out of the lane's free list and back, entries in and
// out of the rings. What comes off a ring is checked here and nowhere else. On the channel's
// thread; nothing blocks but machnet_wait's own file (wait.h).
#pragma once

#include <errno.h>

#include "libmachnet/channel_state.h"

namespace mn::client {

// ---- Sending (send.cc)

// Look at completed buffers once for so many buffers used: a cache line of the complete ring
// carries 16, and the buffers used last stay in the cache.
constexpr uint32_t kDrainStep = 32;

// Takes back the buffers that the daemon has completed. False: the channel is dead.
bool tx_drain(Channel* c, Lane* lane);

// Makes sure of `count` free buffers. 0, or -1 with EAGAIN, EMSGSIZE or the channel's error.
int tx_reserve(Channel* c, Lane* lane, uint32_t count);

// The flow to send on; nullptr with errno.
FlowState* send_flow(Channel* c, const MachnetFlow_t& flow);

// These push the message; *ret_lane is then to be signalled (lane_signal), once for a batch.
int send_bytes(Channel* c, const MachnetFlow_t& flow, const void* data, size_t length,
               Lane** ret_lane);
int send_pieces(Channel* c, const MachnetMsgHdr_t& message, Lane** ret_lane);

// ---- Receiving (receive.cc)

// Takes entries from the rings until a message is ready. True: c->ready is set. False: none waits,
// or the channel is dead (c->dead_errno).
bool receive_advance(Channel* c);

// Done with the message in c->ready: its buffer goes back, or the bundle's next message comes up.
void ready_consume(Channel* c);
// Gives up c->ready with all that is left of the bundle.
void ready_drop(Channel* c);

// 1: c->ready is set, 0: no message waits, -1. Prepares for a poll on machnet_fd when it returns 0.
int receive_next(Channel* c);

int end_errno(uint32_t end_reason);  // what sends on an ended flow fail with

int next_event(Channel* c, MachnetEvent_t* event);

// ---- Without a copy (zero_copy.cc)
int view_take(Channel* c, MachnetView_t* view);  // of c->ready
int view_release(Channel* c, MachnetView_t* view);
void views_free(Channel* c);
int buffer_alloc(Channel* c, size_t length, MachnetIovec_t* iov, size_t* iovlen);
int buffer_send(Channel* c, const MachnetFlow_t& flow, const MachnetIovec_t* iov, size_t iovlen);
int buffer_free(Channel* c, const MachnetIovec_t* iov, size_t iovlen);

}  // namespace mn::client
