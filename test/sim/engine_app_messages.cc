// SPDX-License-Identifier: MIT
// Messages of an EngineApp in and out, by every call of the API that moves one.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sim/engine_app.h"
#include "sim/engine_host.h"

namespace mn::test {
namespace {

MachnetFlow_t turned(const MachnetFlow_t& flow) {
  return {flow.dst_ip, flow.src_ip, flow.dst_port, flow.src_port};
}

}  // namespace

void EngineApp::received(Flow* flow, std::span<const uint8_t> bytes) {
  run_->oracle->on_bytes(flow->life, bytes, true, true);
  flow->echoes++;
}

bool EngineApp::take_view() {
  if (view_held_) {
    SIM_CHECK(machnet_view_release(client_, &held_view_) == 0, "machnet_view_release: %s",
              std::strerror(errno));
    view_held_ = false;
  }
  MachnetView_t view;
  const int status = machnet_recv_view(client_, &view);
  SIM_CHECK(status >= 0, "machnet_recv_view: %s", std::strerror(errno));
  if (status == 0) return false;
  Flow* flow = by_local(turned(view.flow));
  buffer_.clear();
  for (size_t i = 0; i < view.iovlen; i++) {
    const uint8_t* piece = static_cast<const uint8_t*>(view.iov[i].base);
    buffer_.insert(buffer_.end(), piece, piece + view.iov[i].len);
  }
  SIM_CHECK(buffer_.size() == view.size, "a view of %zu bytes has pieces of %zu", view.size,
            buffer_.size());
  received(flow, buffer_);
  held_view_ = view;
  view_held_ = true;
  if (random_.chance(0.7)) {
    SIM_CHECK(machnet_view_release(client_, &held_view_) == 0, "machnet_view_release: %s",
              std::strerror(errno));
    view_held_ = false;
  }
  return true;
}

bool EngineApp::take_message() {
  if (random_.chance(0.3)) return take_view();
  if (buffer_.size() < 2048) buffer_.resize(2048);
  MachnetFlow_t from;
  ssize_t size;
  if (random_.chance(0.5)) {
    size = machnet_recv(client_, buffer_.data(), buffer_.size(), &from);
    if (size < 0 && errno == EMSGSIZE) {  // it stays: bring a larger buffer
      buffer_.resize(MACHNET_MSG_MAX_LEN);
      size = machnet_recv(client_, buffer_.data(), buffer_.size(), &from);
    }
    SIM_CHECK(size >= 0, "machnet_recv: %s", std::strerror(errno));
    if (size == 0) return false;
  } else {
    const size_t half = random_.below(buffer_.size());
    MachnetIovec_t pieces[2] = {{buffer_.data(), half},
                                {buffer_.data() + half, buffer_.size() - half}};
    MachnetMsgHdr_t header = {};
    header.msg_iov = pieces;
    header.msg_iovlen = 2;
    int status = machnet_recvmsg(client_, &header);
    if (status < 0 && errno == EMSGSIZE) {
      buffer_.resize(MACHNET_MSG_MAX_LEN);
      pieces[0] = {buffer_.data(), 1};
      pieces[1] = {buffer_.data() + 1, buffer_.size() - 1};
      status = machnet_recvmsg(client_, &header);
    }
    SIM_CHECK(status >= 0, "machnet_recvmsg: %s", std::strerror(errno));
    if (status == 0) return false;
    size = header.msg_size;
    from = header.flow_info;
  }
  received(by_local(turned(from)), std::span(buffer_).first(static_cast<size_t>(size)));
  return true;
}

bool EngineApp::begin_message(Flow* flow) {
  const FlowPlan& plan = flow->plan;
  if (flow->life->lengths.size() >= plan.messages || run_->bytes_left == 0 || run_->winding_down)
    return false;
  if (plan.echo && flow->echoes == 0) return false;
  const StoreShape& shape = run_->profile->shape[host_->index()];
  const uint64_t longest =
      std::min<uint64_t>(uint64_t{shape.tx_buffers} * shape.buffer_size, MACHNET_MSG_MAX_LEN);
  const double u = random_.unit();
  uint64_t length =
      plan.size_min + static_cast<uint64_t>(u * u * (plan.size_max - plan.size_min + 1));
  length = std::min({length, uint64_t{plan.size_max}, longest});
  flow->index = run_->oracle->begin_message(flow->life, static_cast<uint32_t>(length));
  flow->length = flow->life->lengths.back();
  flow->bytes.resize(flow->length);
  run_->oracle->fill(*flow->life, flow->index, 0, flow->bytes);
  run_->bytes_left -= std::min<uint64_t>(run_->bytes_left, flow->length);
  if (plan.echo) flow->echoes--;
  return true;
}

int EngineApp::send_copy(Flow* flow) {
  std::vector<uint8_t>& bytes = flow->bytes;
  if (random_.chance(0.5)) return machnet_send(client_, flow->name, bytes.data(), bytes.size());
  const size_t cut = random_.below(bytes.size() + 1);
  MachnetIovec_t pieces[2] = {{bytes.data(), cut}, {bytes.data() + cut, bytes.size() - cut}};
  MachnetMsgHdr_t header = {};
  header.msg_size = flow->length;
  header.flow_info = flow->name;
  header.msg_iov = pieces;
  header.msg_iovlen = 2;
  return machnet_sendmsg(client_, &header);
}

int EngineApp::send_buffers(Flow* flow) {
  std::vector<MachnetIovec_t> pieces(
      flow->length / run_->profile->shape[host_->index()].buffer_size + 1);
  size_t count = pieces.size();
  if (machnet_buffer_alloc(client_, flow->length, pieces.data(), &count) != 0) return -1;
  uint32_t at = 0;
  for (size_t i = 0; i < count; i++) {
    std::memcpy(pieces[i].base, flow->bytes.data() + at, pieces[i].len);
    at += static_cast<uint32_t>(pieces[i].len);
  }
  SIM_CHECK(at == flow->length, "machnet_buffer_alloc gave %u bytes for %u", at, flow->length);
  if (machnet_buffer_send(client_, flow->name, pieces.data(), count) == 0) return 0;
  const int error = errno;
  SIM_CHECK(machnet_buffer_free(client_, pieces.data(), count) == 0, "machnet_buffer_free: %s",
            std::strerror(errno));
  errno = error;
  return -1;
}

int EngineApp::send_message(Flow* flow) {
  const int status = random_.chance(0.7) ? send_copy(flow) : send_buffers(flow);
  if (status != 0) return errno;
  run_->oracle->message_sent(flow->life);
  flow->length = 0;
  flow->next_send = run_->clock->now() + flow->plan.gap;
  return 0;
}

}  // namespace mn::test
