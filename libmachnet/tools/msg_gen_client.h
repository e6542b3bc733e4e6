// SPDX-License-Identifier: MIT
// ClientWorker: one thread of msg_gen's client: a channel, its flows, and msg_window messages
// outstanding on each. connect is called by the main thread before run is by the worker's own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "libmachnet/tools/message_pattern.h"
#include "libmachnet/tools/inbox.h"
#include "libmachnet/tools/msg_gen_options.h"
#include "libmachnet/tools/msg_gen_worker.h"
#include "libmachnet/tools/reporter.h"
#include "libmachnet/tools/run_loop.h"

namespace mn::tools {

class ClientWorker {
 public:
  // Serves flows index, index + threads, index + 2 * threads, ... of options.flows.
  ClientWorker(const MsgGenOptions& options, uint64_t index, RunLoop* loop);

  bool connect(std::string* ret_error);
  void run();
  WorkerStats* stats() { return &stats_; }

 private:
  struct Flow {
    MachnetFlow_t name{};
    uint64_t next_sequence = 0;     // of the next message to send
    uint64_t answered = 0;          // answers come in order: this many of them
    uint64_t quota = 0;             // messages to send
    bool is_ready = false;          // stands in ready_
    std::vector<uint64_t> sent_ns;  // by sequence % window, for messages too short for a stamp
  };

  uint64_t outstanding(const Flow& flow) const { return flow.next_sequence - flow.answered; }
  uint64_t credit(const Flow& flow) const;
  void make_ready(Flow* flow);
  void pop_spent();

  bool finished() const;
  size_t receive();
  void complete(const Received& answer, uint64_t now_ns);
  size_t send();
  int send_batch();     // short messages, copied into the channel
  int send_in_place();  // a long one, written where the service reads it
  void write_message(Flow* flow, uint64_t sequence, uint64_t now_ns, void* front,
                     std::span<const MachnetIovec_t> pieces);
  bool check_events();
  void fail(const std::string& message);

  const MsgGenOptions& options_;
  RunLoop* loop_;
  WorkerStats stats_;
  ChannelHandle channel_;
  std::optional<Inbox> inbox_;
  std::vector<Flow> flows_;
  std::vector<uint32_t> flow_by_port_;  // local port -> index into flows_
  std::vector<uint32_t> ready_;         // a ring of flows that may send
  uint64_t ready_head_ = 0, ready_tail_ = 0;
  uint64_t unfinished_flows_ = 0;  // with something to send or outstanding
  uint64_t outstanding_total_ = 0;
  bool failed_ = false;

  // send_batch: messages, their pieces and headers, built once.
  std::vector<uint8_t> slots_;
  std::vector<MachnetIovec_t> slot_pieces_;
  std::vector<MachnetMsgHdr_t> headers_;
  std::vector<Flow*> batch_flows_;
  std::vector<MachnetIovec_t> pieces_;  // send_in_place
};

}  // namespace mn::tools
