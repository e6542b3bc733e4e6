// SPDX-License-Identifier: MIT
// Channel: the application's end of a channel: the mapping, its lanes and the flows on them. Made
// by machnet_attach, and in tests and benchmarks straight from memory (channel_from_memory). The
// `void*` of the public API is a Channel*, so every machnet_* call works on one made here (link
// mn_client). One thread at a time; different channels are independent. Nothing here prints or
// aborts.
#pragma once

#include <stdint.h>

#include "ipc/shm_layout.h"
#include "machnet.h"

namespace mn::client {

struct Channel;

// What a channel is made of. Descriptors of -1 are allowed (no doorbell: for single-threaded tests,
// where nobody sleeps). The Channel takes nothing over on failure.
struct ChannelParts {
  void* memory = nullptr;    // the mapping, starting with ChannelHeader
  uint64_t memory_size = 0;  // at least ipc::channel_size(shapes, lane_count)
  const ipc::LaneShape* shapes = nullptr;
  uint32_t lane_count = 0;
  int application_fd = -1;          // readable: wake up
  const int* engine_fds = nullptr;  // lane_count eventfds that wake the engines; nullptr: none
  // Channels of machnet_attach: memory is unmapped, descriptors are closed and the session ended by
  // channel_free. In-process channels (false) leave all of it to their maker.
  bool owned = false;
  int session_fd = -1;  // control socket; -1: in-process, requests fail with ENOTSUP
};

// nullptr with errno: EPROTO (a shape, the header or the size is wrong), ENOMEM.
// In-process use: the daemon's end (mn::Channel) must have written the ChannelHeader; pass its
// memory (or a second mapping of its memfd), its shapes and its descriptors.
Channel* channel_from_memory(const ChannelParts& parts);

// Frees the channel without telling the daemon (machnet_detach does that first, and calls this).
void channel_free(Channel* channel);

// What machnet_connect does when the daemon answered: from now on machnet_send(channel, flow, ...)
// goes to `ref` on `lane`, and deliveries for `ref` carry the swapped tuple. flow.src is the local
// end. Flows that a peer opened need no call: kDeliverOpened registers them. False: EPROTO, `ref`
// or `lane` out of range or in use.
bool register_flow(Channel* channel, uint32_t lane, uint32_t ref, const MachnetFlow_t& flow);

}  // namespace mn::client
