// SPDX-License-Identifier: MIT
// ServerWorker: one thread of msg_gen's server: a channel that listens and answers each message
// with the same bytes, whoever sent it. Clients that leave or die are forgotten; the server goes
// on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "libmachnet/tools/inbox.h"
#include "libmachnet/tools/msg_gen_options.h"
#include "libmachnet/tools/msg_gen_worker.h"
#include "libmachnet/tools/reporter.h"
#include "libmachnet/tools/run_loop.h"

namespace mn::tools {

class ServerWorker {
 public:
  ServerWorker(const MsgGenOptions& options, uint64_t index, RunLoop* loop);

  bool listen(std::string* ret_error);
  void run();
  WorkerStats* stats() { return &stats_; }

 private:
  int receive();
  size_t answer();
  bool check_events();
  void fail(const std::string& message);

  const MsgGenOptions& options_;
  uint16_t port_;
  RunLoop* loop_;
  WorkerStats stats_;
  ChannelHandle channel_;
  std::optional<Inbox> inbox_;  // received and not yet answered
  bool failed_ = false;
};

}  // namespace mn::tools
