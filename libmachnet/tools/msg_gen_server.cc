// SPDX-License-Identifier: MIT
#include "libmachnet/tools/msg_gen_server.h"

#include <algorithm>
#include <array>

namespace mn::tools {
namespace {

constexpr size_t kBatchMax = 32;
constexpr uint64_t kEventPasses = 256;  // polling passes between two looks at the events
// Messages are answered once so many bytes are collected: more would leave the cache before they
// are copied.
constexpr size_t kPendingBytesMax = 32 * 1024;

// What a send says on a flow that has ended, by how it ended. Anything else is the channel's end.
bool is_flow_error(int error) {
  return error == EPIPE || error == ENOTCONN || error == ECONNRESET || error == ETIMEDOUT;
}

}  // namespace

ServerWorker::ServerWorker(const MsgGenOptions& options, uint64_t index, RunLoop* loop)
    : options_(options), port_(static_cast<uint16_t>(options.local_port + index)), loop_(loop) {}

bool ServerWorker::listen(std::string* ret_error) {
  if (!channel_.attach()) {
    *ret_error = system_error("cannot attach to machnetd");
    return false;
  }
  inbox_.emplace(channel_.get());
  if (machnet_listen(channel_.get(), options_.local_ip.c_str(), port_) != 0) {
    *ret_error =
        system_error("cannot listen on " + options_.local_ip + ":" + std::to_string(port_));
    return false;
  }
  return true;
}

void ServerWorker::run() {
  IdleStep idle(channel_.get(), options_.wait);
  uint64_t passes = 0;
  while (!failed_ && loop_->phase() == RunPhase::kRunning) {
    const int received = receive();
    const bool busy = answer() > 0 || received > 0;
    if (failed_) break;
    if (busy) idle.reset();
    // Events must not pile up while clients keep this thread busy, and must be read before it
    // blocks.
    const bool blocks = !busy && options_.wait;
    if ((++passes % kEventPasses == 0 || blocks) && !check_events()) break;
    if (!busy && !idle.step()) fail(system_error("machnetd is gone"));
  }
  while (inbox_->count() > 0) inbox_->drop_first();
  loop_->worker_done();
  channel_.detach();
}

int ServerWorker::receive() {
  const int count = inbox_->receive(kBatchMax, kPendingBytesMax);
  if (count < 0) fail(system_error("machnetd is gone"));
  return count;
}

size_t ServerWorker::answer() {
  std::array<MachnetMsgHdr_t, kBatchMax> headers;
  const size_t count = std::min(inbox_->count(), kBatchMax);
  if (count == 0 || failed_) return 0;
  for (size_t i = 0; i < count; i++) {
    const Received& request = inbox_->at(i);
    const MachnetFlow_t& flow = request.flow;
    headers[i] = {};
    headers[i].msg_size = static_cast<uint32_t>(request.size);
    headers[i].flow_info = {flow.dst_ip, flow.src_ip, flow.dst_port, flow.src_port};
    // A long one is gathered from where the request stands: one copy, no buffer in between.
    headers[i].msg_iov = const_cast<MachnetIovec_t*>(request.pieces);
    headers[i].msg_iovlen = request.piece_count;
  }
  const int sent = machnet_sendmmsg(channel_.get(), headers.data(), static_cast<int>(count));
  if (sent <= 0) {  // errno tells of the first message
    if (errno == EAGAIN) return 0;
    if (!is_flow_error(errno)) {
      fail(system_error("cannot send"));
      return 0;
    }
    inbox_->drop_first();  // its client is gone
    return 1;
  }
  size_t bytes = 0;
  for (int i = 0; i < sent; i++) {
    bytes += inbox_->at(0).size;
    inbox_->drop_first();
  }
  WorkerStats::add(stats_.messages, static_cast<uint64_t>(sent));
  WorkerStats::add(stats_.bytes, bytes);
  return static_cast<size_t>(sent);
}

bool ServerWorker::check_events() {
  MachnetEvent_t event;
  int result = 0;
  while ((result = machnet_next_event(channel_.get(), &event)) > 0) {
    if (!options_.json) {
      std::printf("%s %s\n", format_flow(event.flow).c_str(), describe_event(event.type));
      std::fflush(stdout);
    }
  }
  if (result < 0) fail(system_error("machnetd is gone"));
  return result == 0;
}

void ServerWorker::fail(const std::string& message) {
  failed_ = true;
  loop_->worker_failed(message);
}

}  // namespace mn::tools
