// SPDX-License-Identifier: MIT
#include <string.h>

#include "libmachnet/message_io.h"

namespace mn::client {

namespace {

int fail(int error) {
  errno = error;
  return -1;
}

uint8_t* tx_buffer(const Lane& lane, uint32_t buffer) {
  return lane.tx_data + size_t{buffer} * lane.buffer_size;
}

void push_segment(Lane* lane, uint32_t ref, uint32_t buffer, uint32_t length, bool last) {
  const uint32_t flags = last ? uint32_t{ipc::kLastSegment} : 0;
  lane->tx_owner[buffer] = kTxDaemon;
  lane->submit.push(
      {.a = ref, .b = buffer, .c = 0, .word = ipc::entry_word(ipc::kSubmitSegment, flags, length)});
}

uint32_t segments_of(const Lane& lane, size_t length) {
  return static_cast<uint32_t>((length + lane.buffer_size - 1) / lane.buffer_size);
}

// The engine may start on a long message while the rest of it is being copied.
constexpr uint32_t kSignalStep = 32;

int send_long(Channel* c, FlowState* flow, const uint8_t* data, size_t length) {
  Lane* lane = flow->lane;
  const uint32_t count = segments_of(*lane, length);
  if (tx_reserve(c, lane, count) != 0) return -1;
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t part =
        length < lane->buffer_size ? static_cast<uint32_t>(length) : lane->buffer_size;
    const uint32_t buffer = lane->tx_free[--lane->tx_free_count];
    memcpy(tx_buffer(*lane, buffer), data, part);
    data += part;
    length -= part;
    push_segment(lane, flow->ref, buffer, part, length == 0);
    if (i % kSignalStep == 0 && length > 0) lane_signal(lane);
  }
  return 0;
}

// Reads the program's pieces one after another.
class Gather {
 public:
  explicit Gather(const MachnetIovec_t* iov) : iov_(iov) {}
  void take(uint8_t* to, size_t length) {  // there is as much
    while (length > 0) {
      const size_t left = iov_->len - used_;
      const size_t part = length < left ? length : left;
      if (part > 0) memcpy(to, static_cast<const uint8_t*>(iov_->base) + used_, part);
      to += part;
      length -= part;
      used_ += part;
      if (used_ == iov_->len) {
        iov_++;
        used_ = 0;
      }
    }
  }

 private:
  const MachnetIovec_t* iov_;
  size_t used_ = 0;
};

// The pieces are as long as the message says, and each is somewhere.
bool pieces_ok(const MachnetMsgHdr_t& message) {
  if (message.msg_iov == nullptr) return false;
  size_t total = 0;
  for (size_t i = 0; i < message.msg_iovlen; i++) {
    const MachnetIovec_t& piece = message.msg_iov[i];
    if (piece.len > message.msg_size - total) return false;
    if (piece.base == nullptr && piece.len > 0) return false;
    total += piece.len;
  }
  return total == message.msg_size;
}

}  // namespace

bool tx_drain(Channel* c, Lane* lane) {
  uint32_t buffer;
  while (lane->complete.pop(&buffer)) {
    if (buffer >= lane->tx_buffers || lane->tx_owner[buffer] != kTxDaemon) {
      channel_fail(c, EPROTO);
      return false;
    }
    lane->tx_owner[buffer] = kTxFree;
    lane->tx_free[lane->tx_free_count++] = buffer;
  }
  lane->tx_drain_at = lane->tx_free_count > kDrainStep ? lane->tx_free_count - kDrainStep : 0;
  return true;
}

int tx_reserve(Channel* c, Lane* lane, uint32_t count) {
  if (lane->tx_free_count <= lane->tx_drain_at || lane->tx_free_count < count) {
    if (!tx_drain(c, lane)) return -1;
  }
  if (lane->tx_free_count >= count) [[likely]]
    return 0;
  if (count > lane->tx_buffers) return fail(EMSGSIZE);
  c->room_wanted = count;
  c->room_lane = lane->index;
  return fail(EAGAIN);
}

FlowState* send_flow(Channel* c, const MachnetFlow_t& tuple) {
  if (c->last_state != nullptr && same_flow(c->last_flow, tuple)) [[likely]]
    return c->last_state;
  FlowState* flow = c->map.find(tuple);
  if (flow == nullptr || flow->send_errno != 0) {
    errno = flow == nullptr ? ENOTCONN : flow->send_errno;
    return nullptr;
  }
  c->last_flow = tuple;
  c->last_state = flow;
  return flow;
}

int send_bytes(Channel* c, const MachnetFlow_t& tuple, const void* data, size_t length,
               Lane** ret_lane) {
  if (c->dead_errno != 0) return channel_fail(c, c->dead_errno);
  if (length == 0 || data == nullptr) return fail(EINVAL);
  if (length > MACHNET_MSG_MAX_LEN) return fail(EMSGSIZE);
  if (channel_check(c) != 0) return -1;
  FlowState* flow = send_flow(c, tuple);
  if (flow == nullptr) return -1;
  Lane* lane = flow->lane;
  if (length <= lane->buffer_size) [[likely]] {
    if (lane->tx_free_count <= lane->tx_drain_at && tx_reserve(c, lane, 1) != 0) return -1;
    const uint32_t buffer = lane->tx_free[--lane->tx_free_count];
    memcpy(tx_buffer(*lane, buffer), data, length);
    push_segment(lane, flow->ref, buffer, static_cast<uint32_t>(length), true);
  } else if (send_long(c, flow, static_cast<const uint8_t*>(data), length) != 0) {
    return -1;
  }
  c->room_wanted = 0;
  *ret_lane = lane;
  return 0;
}

int send_pieces(Channel* c, const MachnetMsgHdr_t& message, Lane** ret_lane) {
  if (message.msg_iovlen == 1 && message.msg_iov != nullptr &&
      message.msg_iov->len == message.msg_size) {
    return send_bytes(c, message.flow_info, message.msg_iov->base, message.msg_size, ret_lane);
  }
  if (c->dead_errno != 0) return channel_fail(c, c->dead_errno);
  if (message.msg_size == 0 || !pieces_ok(message)) return fail(EINVAL);
  if (message.msg_size > MACHNET_MSG_MAX_LEN) return fail(EMSGSIZE);
  if (channel_check(c) != 0) return -1;
  FlowState* flow = send_flow(c, message.flow_info);
  if (flow == nullptr) return -1;
  Lane* lane = flow->lane;
  size_t left = message.msg_size;
  const uint32_t count = segments_of(*lane, left);
  if (tx_reserve(c, lane, count) != 0) return -1;
  Gather gather(message.msg_iov);
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t part =
        left < lane->buffer_size ? static_cast<uint32_t>(left) : lane->buffer_size;
    const uint32_t buffer = lane->tx_free[--lane->tx_free_count];
    gather.take(tx_buffer(*lane, buffer), part);
    left -= part;
    push_segment(lane, flow->ref, buffer, part, left == 0);
    if (i % kSignalStep == 0 && left > 0) lane_signal(lane);
  }
  c->room_wanted = 0;
  *ret_lane = lane;
  return 0;
}

}  // namespace mn::client
