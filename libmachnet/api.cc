// SPDX-License-Identifier: MIT
// The C functions of machnet.h: check the arguments, then call what does the work.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libmachnet/channel_state.h"
#include "libmachnet/message_io.h"
#include "libmachnet/reassembly.h"
#include "libmachnet/wait.h"
#include "machnet.h"

#ifndef MN_VERSION
#error "MN_VERSION is the library's version, from the build"
#endif

using mn::client::Channel;
using mn::client::ChannelParts;
using mn::client::ControlClient;
using mn::client::Descriptors;
using mn::client::FlowState;
using mn::client::Lane;
namespace client = mn::client;
namespace ipc = mn::ipc;

#define MN_API extern "C" __attribute__((visibility("default")))

namespace {

int fail(int error) {
  errno = error;
  return -1;
}

Channel* channel_of(const void* channel) {
  return static_cast<Channel*>(const_cast<void*>(channel));
}

// A dotted quad; nullptr is 0.0.0.0. False: anything else.
bool parse_address(const char* text, uint32_t* ret_address) {
  in_addr address = {};
  if (text != nullptr && inet_pton(AF_INET, text, &address) != 1) return false;
  *ret_address = ntohl(address.s_addr);
  return true;
}

// A request on the channel's session; a session that ended is the channel's end.
int request(Channel* c, ipc::ControlMessage* message, int timeout_ms) {
  if (c->dead_errno != 0) return client::channel_fail(c, c->dead_errno);
  if (c->control.request(message, timeout_ms) == 0) return 0;
  if (errno == ESHUTDOWN || errno == EPROTO) return client::channel_fail(c, errno);
  return -1;
}

int endpoint_request(void* channel, const char* local_ip, uint16_t port, ipc::ControlType type) {
  ipc::ControlMessage message = {};
  message.header.type = type;
  message.endpoint.local_port = port;
  if (channel == nullptr || port == 0 || !parse_address(local_ip, &message.endpoint.local_ip)) {
    return fail(EINVAL);
  }
  return request(channel_of(channel), &message, client::kRequestTimeoutMs);
}

// The daemon's answer to attach, checked before anything is mapped.
bool attach_reply_ok(const ipc::ChannelInfo& info, const Descriptors& descriptors) {
  if (info.lane_count < 1 || info.lane_count > ipc::kLanesMax) return false;
  for (uint32_t i = 0; i < info.lane_count; i++) {
    if (!ipc::lane_shape_ok(info.lanes[i])) return false;
  }
  if (info.memory_size != ipc::channel_size(info.lanes, info.lane_count)) return false;
  if (descriptors.count != 2 + info.lane_count) return false;
  // Memory that the daemon could shrink would be a SIGBUS waiting to happen.
  struct stat status;
  const int memory_fd = descriptors.fd[0];
  if (fstat(memory_fd, &status) != 0 || static_cast<uint64_t>(status.st_size) < info.memory_size) {
    return false;
  }
  const int seals = fcntl(memory_fd, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
}

// Maps what the reply describes. On success the descriptors are the channel's.
Channel* make_channel(const ipc::ChannelInfo& info, Descriptors* descriptors, int session_fd) {
  void* memory =
      mmap(nullptr, info.memory_size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptors->fd[0], 0);
  if (memory == MAP_FAILED) return nullptr;
  ChannelParts parts;
  parts.memory = memory;
  parts.memory_size = info.memory_size;
  parts.shapes = info.lanes;
  parts.lane_count = info.lane_count;
  parts.application_fd = descriptors->fd[1];
  parts.engine_fds = descriptors->fd + 2;
  parts.owned = true;
  parts.session_fd = session_fd;
  Channel* c = client::channel_from_memory(parts);
  if (c == nullptr) {
    const int error = errno;
    munmap(memory, info.memory_size);
    errno = error;
    return nullptr;
  }
  close(descriptors->fd[0]);
  descriptors->count = 0;
  return c;
}

Channel* attach(ControlClient* control) {
  ipc::ControlMessage message = {};
  message.header.type = ipc::kControlAttach;
  Descriptors descriptors;
  if (control->request(&message, client::kRequestTimeoutMs, &descriptors) != 0) return nullptr;
  Channel* c = nullptr;
  if (attach_reply_ok(message.channel, descriptors)) {
    c = make_channel(message.channel, &descriptors, control->fd());
  } else {
    errno = EPROTO;
  }
  const int error = errno;
  descriptors.close_all();
  errno = error;
  return c;
}

void set_nonblocking(const Channel& c) {
  // The daemon makes its eventfds so; a bell must never make a sender wait.
  for (uint32_t i = 0; i < c.lane_count; i++) {
    const int flags = fcntl(c.lanes[i].engine_fd, F_GETFL);
    if (flags >= 0 && (flags & O_NONBLOCK) == 0) {
      fcntl(c.lanes[i].engine_fd, F_SETFL, flags | O_NONBLOCK);
    }
  }
  const int flags = fcntl(c.application_fd, F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) == 0) {
    fcntl(c.application_fd, F_SETFL, flags | O_NONBLOCK);
  }
}

}  // namespace

MN_API int machnet_init(void) {
  ControlClient control;
  if (control.open() != 0) return -1;
  control.close();
  return 0;
}

MN_API void* machnet_attach(void) {
  ControlClient control;
  if (control.open() != 0) return nullptr;
  Channel* c = attach(&control);
  if (c == nullptr) {
    const int error = errno == ESHUTDOWN ? ECONNRESET : errno;
    control.close();
    errno = error;
    return nullptr;
  }
  c->control.continue_from(control);
  set_nonblocking(*c);
  return c;
}

MN_API int machnet_detach(void* channel) {
  if (channel == nullptr) return fail(EINVAL);
  Channel* c = channel_of(channel);
  int status = 0;
  if (c->control.fd() >= 0) {
    ipc::ControlMessage message = {};
    message.header.type = ipc::kControlDetach;
    status = request(c, &message, static_cast<int>(ipc::kDetachLingerMs) + 1000);
  }
  const int error = errno;
  client::channel_free(c);
  if (status != 0) errno = error;
  return status;
}

MN_API int machnet_listen(void* channel, const char* local_ip, uint16_t port) {
  return endpoint_request(channel, local_ip, port, ipc::kControlListen);
}

MN_API int machnet_unlisten(void* channel, const char* local_ip, uint16_t port) {
  return endpoint_request(channel, local_ip, port, ipc::kControlUnlisten);
}

MN_API int machnet_connect(void* channel, const char* local_ip, const char* remote_ip,
                           uint16_t remote_port, MachnetFlow_t* flow) {
  ipc::ControlMessage message = {};
  message.header.type = ipc::kControlConnect;
  message.connect.remote_port = remote_port;
  if (channel == nullptr || flow == nullptr || remote_ip == nullptr || remote_port == 0 ||
      !parse_address(local_ip, &message.connect.local_ip) ||
      !parse_address(remote_ip, &message.connect.remote_ip) || message.connect.remote_ip == 0) {
    return fail(EINVAL);
  }
  Channel* c = channel_of(channel);
  if (request(c, &message, client::kRequestTimeoutMs) != 0) return -1;
  const ipc::FlowInfo& info = message.flow;
  const MachnetFlow_t tuple = {info.local_ip, info.remote_ip, info.local_port, info.remote_port};
  if (!client::register_flow(c, info.lane, info.flow, tuple))
    return client::channel_fail(c, EPROTO);
  *flow = tuple;
  return 0;
}

MN_API int machnet_close(void* channel, MachnetFlow_t flow) {
  if (channel == nullptr) return fail(EINVAL);
  Channel* c = channel_of(channel);
  if (c->dead_errno != 0 || client::channel_check(c) != 0) {
    return client::channel_fail(c, c->dead_errno);
  }
  return client::channel_close_flow(c, flow);
}

MN_API int machnet_send(const void* channel, MachnetFlow_t flow, const void* buf, size_t len) {
  if (channel == nullptr) return fail(EINVAL);
  Lane* lane;
  const int status = client::send_bytes(channel_of(channel), flow, buf, len, &lane);
  if (status == 0) client::lane_signal(lane);
  return status;
}

MN_API int machnet_sendmsg(const void* channel, const MachnetMsgHdr_t* msghdr) {
  if (channel == nullptr || msghdr == nullptr) return fail(EINVAL);
  Lane* lane;
  const int status = client::send_pieces(channel_of(channel), *msghdr, &lane);
  if (status == 0) client::lane_signal(lane);
  return status;
}

MN_API int machnet_sendmmsg(const void* channel, const MachnetMsgHdr_t* msghdr_iovec, int vlen) {
  if (channel == nullptr || vlen < 0 || (msghdr_iovec == nullptr && vlen > 0)) return fail(EINVAL);
  Channel* c = channel_of(channel);
  uint32_t lanes = 0;
  int sent = 0;
  for (; sent < vlen; sent++) {
    Lane* lane;
    const client::FlowState* before = c->last_state;
    if (client::send_pieces(c, msghdr_iovec[sent], &lane) != 0) break;
    // Flows take turns: the next message is likely of another one, too.
    if (c->last_state != before && sent + 1 < vlen)
      c->map.prefetch(msghdr_iovec[sent + 1].flow_info);
    lanes |= 1u << lane->index;
  }
  const int error = errno;
  for (; lanes != 0; lanes &= lanes - 1) client::lane_signal(&c->lanes[__builtin_ctz(lanes)]);
  if (sent == vlen) return sent;
  errno = error;
  return c->dead_errno != 0 && sent == 0 ? -1 : sent;
}

MN_API ssize_t machnet_recv(const void* channel, void* buf, size_t len, MachnetFlow_t* flow) {
  if (channel == nullptr || (buf == nullptr && len > 0)) return fail(EINVAL);
  Channel* c = channel_of(channel);
  const int status = client::receive_next(c);
  if (status <= 0) return status;
  const client::Ready& ready = c->ready;
  const uint32_t size = ready.size;
  if (size > len) return fail(EMSGSIZE);
  if (ready.data != nullptr) [[likely]] {
    memcpy(buf, ready.data, size);
  } else {
    const MachnetIovec_t piece = {buf, len};
    client::Scatter scatter(&piece, 1);
    client::gather_copy(*ready.flow, &scatter);
  }
  if (flow != nullptr) *flow = client::swapped(ready.flow->local);
  client::ready_consume(c);
  return size;
}

MN_API int machnet_recvmsg(const void* channel, MachnetMsgHdr_t* msghdr) {
  if (channel == nullptr || msghdr == nullptr ||
      (msghdr->msg_iov == nullptr && msghdr->msg_iovlen > 0)) {
    return fail(EINVAL);
  }
  size_t room = 0;
  for (size_t i = 0; i < msghdr->msg_iovlen; i++) {
    const MachnetIovec_t& piece = msghdr->msg_iov[i];
    if (piece.base == nullptr && piece.len > 0) return fail(EINVAL);
    room = room + piece.len < room ? SIZE_MAX : room + piece.len;
  }
  Channel* c = channel_of(channel);
  const int status = client::receive_next(c);
  if (status <= 0) return status;
  const client::Ready& ready = c->ready;
  msghdr->msg_size = ready.size;
  msghdr->flow_info = client::swapped(ready.flow->local);
  if (ready.size > room) return fail(EMSGSIZE);
  client::Scatter scatter(msghdr->msg_iov, msghdr->msg_iovlen);
  if (ready.data != nullptr) {
    scatter.put(ready.data, ready.size);
  } else {
    client::gather_copy(*ready.flow, &scatter);
  }
  client::ready_consume(c);
  return 1;
}

MN_API int machnet_wait(void* channel, int timeout_ms) {
  if (channel == nullptr) return fail(EINVAL);
  return client::wait_for_work(channel_of(channel), timeout_ms);
}

MN_API int machnet_fd(void* channel) {
  if (channel == nullptr) return fail(EINVAL);
  return client::fd_open(channel_of(channel));
}

MN_API int machnet_next_event(void* channel, MachnetEvent_t* event) {
  if (channel == nullptr || event == nullptr) return fail(EINVAL);
  return client::next_event(channel_of(channel), event);
}

MN_API int machnet_buffer_alloc(void* channel, size_t len, MachnetIovec_t* iov, size_t* iovlen) {
  if (channel == nullptr || iovlen == nullptr) return fail(EINVAL);
  return client::buffer_alloc(channel_of(channel), len, iov, iovlen);
}

MN_API int machnet_buffer_send(void* channel, MachnetFlow_t flow, const MachnetIovec_t* iov,
                               size_t iovlen) {
  if (channel == nullptr || iov == nullptr) return fail(EINVAL);
  return client::buffer_send(channel_of(channel), flow, iov, iovlen);
}

MN_API int machnet_buffer_free(void* channel, const MachnetIovec_t* iov, size_t iovlen) {
  if (channel == nullptr || (iov == nullptr && iovlen > 0)) return fail(EINVAL);
  return client::buffer_free(channel_of(channel), iov, iovlen);
}

MN_API int machnet_recv_view(void* channel, MachnetView_t* view) {
  if (channel == nullptr || view == nullptr) return fail(EINVAL);
  Channel* c = channel_of(channel);
  const int status = client::receive_next(c);
  return status <= 0 ? status : client::view_take(c, view);
}

MN_API int machnet_view_release(void* channel, MachnetView_t* view) {
  if (channel == nullptr || view == nullptr) return fail(EINVAL);
  return client::view_release(channel_of(channel), view);
}

MN_API int machnet_flow_stats(void* channel, MachnetFlow_t tuple, MachnetFlowStats_t* stats) {
  if (channel == nullptr || stats == nullptr) return fail(EINVAL);
  Channel* c = channel_of(channel);
  if (c->dead_errno != 0) return client::channel_fail(c, c->dead_errno);
  const FlowState* flow = client::send_flow(c, tuple);
  if (flow == nullptr) return -1;
  ipc::ControlMessage message = {};
  message.header.type = ipc::kControlFlowStats;
  message.flow_query = {flow->lane->index, flow->ref};
  if (request(c, &message, client::kRequestTimeoutMs) != 0) return -1;
  const ipc::FlowStats& got = message.flow_stats;
  *stats = MachnetFlowStats_t{};
  stats->tx_messages = got.tx_messages;
  stats->tx_bytes = got.tx_bytes;
  stats->rx_messages = got.rx_messages;
  stats->rx_bytes = got.rx_bytes;
  stats->tx_packets = got.tx_packets;
  stats->rx_packets = got.rx_packets;
  stats->retransmitted_packets = got.retransmitted_packets;
  stats->timeouts = got.timeouts;
  stats->rtt_smoothed_ns = got.rtt_smoothed_ns;
  stats->rtt_min_ns = got.rtt_min_ns;
  stats->rto_ns = got.rto_ns;
  stats->tx_queued_bytes = got.tx_queued_bytes;
  stats->window_packets = got.window_packets;
  stats->packets_in_flight = got.packets_in_flight;
  stats->mss = got.mss;
  return 0;
}

MN_API const char* machnet_version(void) { return MN_VERSION; }
