// SPDX-License-Identifier: MIT
// ControlClient: the library's end of a session on the control socket. One request at a time, each
// with a deadline; every reply is checked before it is used. Owned by one Channel (or by
// machnet_init for its duration), used on its thread. Blocks only inside request and open; never
// prints.
#pragma once

#include <stdint.h>

#include "ipc/control_protocol.h"

namespace mn::client {

constexpr int kRequestTimeoutMs = static_cast<int>(ipc::kConnectTimeoutMs) + 1000;

// Descriptors that came with a reply; close_all gives up those that nobody took.
struct Descriptors {
  int fd[ipc::kDescriptorsMax];
  uint32_t count = 0;
  void close_all();
};

// What to do with the reply to a request that was given up at its deadline.
using StaleReply = void (*)(void* context, const ipc::ControlMessage& reply);

class ControlClient {
 public:
  // Connects to the service and agrees on the version. -1 with errno: what connect(2) says (ENOENT,
  // ECONNREFUSED, EACCES), EPROTONOSUPPORT (versions), ETIMEDOUT, EPROTO.
  int open();
  // Takes a connected socket; -1: none (in-process channels).
  void adopt(int fd) { fd_ = fd; }
  // Takes over the sequence numbers of the client that opened the session which adopt was given.
  void continue_from(const ControlClient& other) { sequence_ = other.sequence_; }
  void close();
  int fd() const { return fd_; }
  void on_stale_reply(StaleReply handler, void* context) {
    stale_reply_ = handler;
    stale_context_ = context;
  }

  // Sends message->header.type with its body, and overwrites `message` with the reply. 0; or -1
  // with errno: the daemon's refusal; ESHUTDOWN (the session is over), ETIMEDOUT, EPROTO (a reply
  // that is none), EMFILE (this process may not have the descriptors), ENOTSUP (no session).
  int request(ipc::ControlMessage* message, int timeout_ms, Descriptors* ret_descriptors = nullptr);

  // Looks at the socket without blocking. -1 with ESHUTDOWN: the session is over.
  int poll_alive();

 private:
  int hello();
  int receive(ipc::ControlMessage* message, Descriptors* descriptors);  // 1, 0: nothing waits, -1
  int wait_reply(uint16_t type, uint32_t sequence, int64_t deadline_ms,
                 ipc::ControlMessage* message, Descriptors* descriptors);

  int fd_ = -1;
  uint32_t sequence_ = 0;
  StaleReply stale_reply_ = nullptr;
  void* stale_context_ = nullptr;
};

}  // namespace mn::client
