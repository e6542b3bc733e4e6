// SPDX-License-Identifier: MIT
#include "libmachnet/tools/msg_gen_client.h"

#include <algorithm>
#include <array>
#include <utility>

namespace mn::tools {
namespace {

constexpr size_t kBatchMax = 32;
constexpr uint64_t kEventPasses = 256;  // polling passes between two looks at the events
constexpr size_t kNoFlow = UINT32_MAX;

}  // namespace

ClientWorker::ClientWorker(const MsgGenOptions& options, uint64_t index, RunLoop* loop)
    : options_(options), loop_(loop), flow_by_port_(65536, kNoFlow) {
  for (uint64_t i = index; i < options.flows; i += options.threads) {
    Flow flow;
    flow.quota = options.msg_nr / options.flows + (i < options.msg_nr % options.flows ? 1 : 0);
    flow.name.dst_port = static_cast<uint16_t>(options.remote_port + i % options.ports);
    if (options.msg_size < kStampSize) flow.sent_ns.resize(options.msg_window);
    flows_.push_back(std::move(flow));
  }
  ready_.resize(flows_.size());
  if (options.msg_size < kInPlaceSize) {
    slots_.resize(kBatchMax * options.msg_size);
    slot_pieces_.resize(kBatchMax);
    headers_.resize(kBatchMax);
    batch_flows_.resize(kBatchMax);
    for (size_t i = 0; i < kBatchMax; i++) {
      slot_pieces_[i] = {slots_.data() + i * options.msg_size, options.msg_size};
      headers_[i].msg_size = static_cast<uint32_t>(options.msg_size);
      headers_[i].msg_iov = &slot_pieces_[i];
      headers_[i].msg_iovlen = 1;
    }
  }
}

bool ClientWorker::connect(std::string* ret_error) {
  if (!channel_.attach()) {
    *ret_error = system_error("cannot attach to machnetd");
    return false;
  }
  inbox_.emplace(channel_.get());
  for (Flow& flow : flows_) {
    const uint16_t port = flow.name.dst_port;
    if (machnet_connect(channel_.get(), options_.local_ip.c_str(), options_.remote_ip.c_str(), port,
                        &flow.name) != 0) {
      *ret_error =
          system_error("cannot connect to " + options_.remote_ip + ":" + std::to_string(port));
      return false;
    }
    flow_by_port_[flow.name.src_port] = static_cast<uint32_t>(&flow - flows_.data());
    if (flow.quota > 0) unfinished_flows_++;
    make_ready(&flow);
  }
  return true;
}

uint64_t ClientWorker::credit(const Flow& flow) const {
  return std::min(options_.msg_window - outstanding(flow), flow.quota - flow.next_sequence);
}

void ClientWorker::make_ready(Flow* flow) {
  if (flow->is_ready || credit(*flow) == 0) return;
  flow->is_ready = true;
  ready_[ready_tail_++ % ready_.size()] = static_cast<uint32_t>(flow - flows_.data());
}

void ClientWorker::pop_spent() {
  while (ready_head_ != ready_tail_) {
    Flow& flow = flows_[ready_[ready_head_ % ready_.size()]];
    if (credit(flow) > 0) return;
    flow.is_ready = false;
    ready_head_++;
  }
}

bool ClientWorker::finished() const {
  if (failed_ || unfinished_flows_ == 0) return true;
  switch (loop_->phase()) {
    case RunPhase::kRunning:
      return false;
    case RunPhase::kDraining:
      return outstanding_total_ == 0;
    case RunPhase::kStopping:
      return true;
  }
  return true;
}

void ClientWorker::run() {
  IdleStep idle(channel_.get(), options_.wait);
  uint64_t passes = 0;
  while (!finished()) {
    const bool busy = receive() + send() > 0;
    if (failed_) break;
    if (busy) idle.reset();
    // A flow may end while others keep this thread busy; before it blocks it must have read all
    // events.
    const bool blocks = !busy && options_.wait;
    if ((++passes % kEventPasses == 0 || blocks) && !check_events()) break;
    if (!busy && !idle.step()) fail(system_error("machnetd is gone"));
  }
  if (loop_->phase() != RunPhase::kRunning) {
    WorkerStats::add(stats_.unanswered, outstanding_total_);
  }
  loop_->worker_done();  // the time to leave is not part of the run
  channel_.detach();
}

size_t ClientWorker::receive() {
  // Several long messages at a time would only leave the cache before they are looked at.
  const size_t messages_max = options_.msg_size < kInPlaceSize ? kBatchMax : 1;
  if (inbox_->receive(messages_max, SIZE_MAX) < 0) fail(system_error("cannot receive"));
  const size_t count = inbox_->count();
  if (count == 0) return 0;
  // One look at the clock for all: a round trip is never reported shorter than it was.
  const uint64_t now_ns = clock_ns();
  for (size_t i = 0; i < count; i++) {
    complete(inbox_->at(0), now_ns);
    inbox_->drop_first();
  }
  return count;
}

void ClientWorker::complete(const Received& answer, uint64_t now_ns) {
  const uint32_t index = flow_by_port_[answer.flow.dst_port];
  if (index == kNoFlow || outstanding(flows_[index]) == 0 || answer.size != options_.msg_size) {
    fail("msg_gen: an answer of " + std::to_string(answer.size) + " bytes nobody asked for on " +
         format_flow(answer.flow));
    return;
  }
  Flow& flow = flows_[index];
  const uint64_t sequence = flow.answered++;
  MessageStamp stamp{sequence, 0};
  if (options_.msg_size >= kStampSize) {
    stamp = read_stamp(answer.iov());
  } else {
    stamp.sent_ns = flow.sent_ns[sequence % options_.msg_window];
  }
  stats_.rtt.record(now_ns - stamp.sent_ns);
  WorkerStats::add(stats_.messages, 1);
  WorkerStats::add(stats_.bytes, options_.msg_size);
  if (options_.verify &&
      (stamp.sequence != sequence || !check_pattern(sequence, answer.size, answer.iov()))) {
    if (stats_.corrupt.load(std::memory_order_relaxed) == 0) {
      std::fprintf(stderr, "msg_gen: message %llu of %s is not what was sent\n",
                   static_cast<unsigned long long>(sequence), format_flow(flow.name).c_str());
    }
    WorkerStats::add(stats_.corrupt, 1);
  }
  outstanding_total_--;
  if (flow.answered == flow.quota) unfinished_flows_--;
  make_ready(&flow);
}

void ClientWorker::write_message(Flow* flow, uint64_t sequence, uint64_t now_ns, void* front,
                                 std::span<const MachnetIovec_t> pieces) {
  if (options_.msg_size >= kStampSize) {
    write_stamp({sequence, now_ns}, front);
  } else {
    flow->sent_ns[sequence % options_.msg_window] = now_ns;
  }
  if (options_.verify) fill_pattern(sequence, options_.msg_size, pieces);
}

size_t ClientWorker::send() {
  if (loop_->phase() != RunPhase::kRunning) return 0;
  size_t total = 0;
  while (!failed_ && ready_head_ != ready_tail_) {
    const int sent = options_.msg_size < kInPlaceSize ? send_batch() : send_in_place();
    if (sent <= 0) {
      if (errno != EAGAIN) {
        const int error = errno;
        if (check_events()) {  // else the flow's end explains the error
          errno = error;
          fail(system_error("cannot send"));
        }
      }
      break;
    }
    outstanding_total_ += static_cast<uint64_t>(sent);
    total += static_cast<size_t>(sent);
    pop_spent();
  }
  return total;
}

int ClientWorker::send_batch() {
  const uint64_t now_ns = clock_ns();
  size_t count = 0;
  for (uint64_t r = ready_head_; r != ready_tail_ && count < kBatchMax; r++) {
    Flow* flow = &flows_[ready_[r % ready_.size()]];
    const uint64_t n = std::min<uint64_t>(credit(*flow), kBatchMax - count);
    for (uint64_t i = 0; i < n; i++, count++) {
      headers_[count].flow_info = flow->name;
      batch_flows_[count] = flow;
      write_message(flow, flow->next_sequence + i, now_ns, slot_pieces_[count].base,
                    {&slot_pieces_[count], 1});
    }
  }
  const int sent = machnet_sendmmsg(channel_.get(), headers_.data(), static_cast<int>(count));
  for (int i = 0; i < sent; i++) batch_flows_[static_cast<size_t>(i)]->next_sequence++;
  return sent;
}

int ClientWorker::send_in_place() {
  Flow* flow = &flows_[ready_[ready_head_ % ready_.size()]];
  size_t count = pieces_.size();
  int result = machnet_buffer_alloc(channel_.get(), options_.msg_size, pieces_.data(), &count);
  if (result != 0 && errno == EMSGSIZE && count > pieces_.size()) {
    pieces_.resize(count);
    result = machnet_buffer_alloc(channel_.get(), options_.msg_size, pieces_.data(), &count);
  }
  if (result != 0) return -1;
  write_message(flow, flow->next_sequence, clock_ns(), pieces_[0].base, {pieces_.data(), count});
  if (machnet_buffer_send(channel_.get(), flow->name, pieces_.data(), count) != 0) {
    const int error = errno;
    machnet_buffer_free(channel_.get(), pieces_.data(), count);
    errno = error;
    return -1;
  }
  flow->next_sequence++;
  return 1;
}

// False: a flow has ended, which ends the run.
bool ClientWorker::check_events() {
  MachnetEvent_t event;
  int result = 0;
  while ((result = machnet_next_event(channel_.get(), &event)) > 0) {
    if (event.type == MACHNET_EVENT_ACCEPTED) continue;
    fail("msg_gen: " + format_flow(event.flow) + " " + describe_event(event.type));
    return false;
  }
  if (result < 0) {
    fail(system_error("machnetd is gone"));
    return false;
  }
  return true;
}

void ClientWorker::fail(const std::string& message) {
  failed_ = true;
  loop_->worker_failed(message);
}

}  // namespace mn::tools
