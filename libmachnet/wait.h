// SPDX-License-Identifier: MIT
// Sleeping until the daemon has something for the program: machnet_wait, and the descriptor of
// machnet_fd. The only place where the library blocks on the data path. The handshake with the
// engines is the one of ipc/shm_ring.h: announce, look again, sleep.
#pragma once

#include "libmachnet/channel_state.h"

namespace mn::client {

// machnet_wait: 1, 0 (time is up), -1.
int wait_for_work(Channel* c, int timeout_ms);

// machnet_fd: the descriptor, -1 with errno.
int fd_open(Channel* c);

// Called when a receive found nothing and machnet_fd is in use: silences the descriptor, announces
// sleep and looks again. Afterwards c->ready or c->events may be set.
void fd_prepare(Channel* c);

// Makes the descriptor readable if something that the caller does not return waits.
void fd_keep_raised(Channel* c);

}  // namespace mn::client
