// SPDX-License-Identifier: MIT
#include "libmachnet/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <new>  // placement new only: inline, no symbol

#include "libmachnet/channel_state.h"
#include "libmachnet/message_io.h"
#include "libmachnet/reassembly.h"

namespace mn::client {

#if !defined(__x86_64__) && !defined(__aarch64__)
uint64_t ticks_now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return uint64_t{static_cast<uint64_t>(now.tv_sec)} * 1000000 + now.tv_nsec / 1000;
}
#endif

namespace {

template <typename T>
T* allocate(uint32_t count) {
  return static_cast<T*>(calloc(count, sizeof(T)));
}

bool parts_ok(const ChannelParts& parts) {
  if (parts.memory == nullptr || parts.lane_count < 1 || parts.lane_count > ipc::kLanesMax) {
    return false;
  }
  for (uint32_t i = 0; i < parts.lane_count; i++) {
    if (!ipc::lane_shape_ok(parts.shapes[i])) return false;
  }
  if (parts.memory_size < ipc::channel_size(parts.shapes, parts.lane_count)) return false;
  ipc::ChannelHeader header;
  memcpy(&header, parts.memory, sizeof header);
  return header.magic == ipc::kChannelMagic && header.version == ipc::kChannelVersion &&
         header.lane_count == parts.lane_count;
}

bool lane_init(Lane* lane, const ipc::LaneShape& shape, uint8_t* base) {
  const ipc::LaneOffsets at = ipc::lane_offsets(shape);
  lane->header = reinterpret_cast<ipc::LaneHeader*>(base);
  lane->submit = {reinterpret_cast<ipc::Entry16*>(base + at.submit), ipc::submit_capacity(shape)};
  lane->complete = {reinterpret_cast<ipc::Entry4*>(base + at.complete),
                    ipc::complete_capacity(shape)};
  lane->deliver = {reinterpret_cast<ipc::Entry16*>(base + at.deliver),
                   ipc::deliver_capacity(shape)};
  lane->scan = lane->deliver;
  lane->release = {reinterpret_cast<ipc::Entry4*>(base + at.release), ipc::release_capacity(shape)};
  lane->flow_table = reinterpret_cast<const ipc::FlowSlot*>(base + at.flows);
  lane->tx_data = base + at.tx_data;
  lane->rx_data = base + at.rx_data;
  lane->buffer_size = shape.buffer_size;
  lane->tx_buffers = shape.tx_buffers;
  lane->rx_buffers = shape.rx_buffers;
  lane->flow_slots = shape.flow_slots;
  lane->release_signal_at = shape.rx_buffers / 8 > 0 ? shape.rx_buffers / 8 : 1;
  lane->tx_free = allocate<uint32_t>(shape.tx_buffers);
  lane->tx_owner = allocate<uint8_t>(shape.tx_buffers);
  lane->rx_holds = allocate<uint16_t>(shape.rx_buffers);
  lane->pieces = allocate<Piece>(shape.rx_buffers);
  if (lane->tx_free == nullptr || lane->tx_owner == nullptr || lane->rx_holds == nullptr ||
      lane->pieces == nullptr) {
    return false;
  }
  for (uint32_t i = 0; i < shape.tx_buffers; i++) lane->tx_free[i] = shape.tx_buffers - 1 - i;
  lane->tx_free_count = shape.tx_buffers;
  lane->tx_drain_at = shape.tx_buffers > kDrainStep ? shape.tx_buffers - kDrainStep : 0;
  return true;
}

void lane_free(Lane* lane) {
  // A flow that holds heap memory is gathering, or is the one whose message is ready.
  for (FlowState* flow = lane->gather_first; flow != nullptr; flow = flow->gather_next) {
    free(flow->gathering.heap);
  }
  free(lane->tx_free);
  free(lane->tx_owner);
  free(lane->rx_holds);
  free(lane->pieces);
}

// The reply to a connect that machnet_connect no longer waits for: the flow exists, nobody wants
// it.
void close_abandoned_flow(void* context, const ipc::ControlMessage& reply) {
  Channel* c = static_cast<Channel*>(context);
  if (reply.header.type != ipc::kControlConnect || reply.header.error != 0) return;
  const ipc::FlowInfo& info = reply.flow;
  const MachnetFlow_t flow = {info.local_ip, info.remote_ip, info.local_port, info.remote_port};
  if (register_flow(c, info.lane, info.flow, flow)) channel_close_flow(c, flow);
}

// Not touched: memory that nobody writes to costs none.
bool flows_init(Channel* c, uint32_t flows_max) {
  constexpr size_t kLine = alignof(FlowState);
  c->flow_memory = calloc(flows_max + 1, sizeof(FlowState));
  if (c->flow_memory == nullptr) return false;
  const uintptr_t start = reinterpret_cast<uintptr_t>(c->flow_memory);
  c->flows = reinterpret_cast<FlowState*>((start + kLine - 1) / kLine * kLine);
  FlowState* next = c->flows;
  for (uint32_t i = 0; i < c->lane_count; i++) {
    c->lanes[i].flows = next;
    next += c->lanes[i].flow_slots;
  }
  return c->map.init(c->flows, flows_max);
}

void free_private(Channel* c) {
  if (c->ready.flow != nullptr && c->ready.data == nullptr) free(c->ready.flow->gathering.heap);
  for (uint32_t i = 0; i < c->lane_count; i++) lane_free(&c->lanes[i]);
  free(c->flow_memory);
  c->map.destroy();
  c->events.destroy();
  free(c);
}

}  // namespace

Channel* channel_from_memory(const ChannelParts& parts) {
  if (!parts_ok(parts)) {
    errno = EPROTO;
    return nullptr;
  }
  void* space = aligned_alloc(alignof(Channel), sizeof(Channel));
  if (space == nullptr) return nullptr;
  Channel* c = new (space) Channel{};
  c->lane_count = parts.lane_count;
  c->application_fd = parts.application_fd;
  c->wait_fd = c->poll_fd = -1;
  c->memory = parts.memory;
  c->memory_size = parts.memory_size;
  c->checked_at = ticks_now();
  c->check_ticks = kCheckTicks;
  uint8_t* base = static_cast<uint8_t*>(parts.memory) + ipc::kFirstLaneOffset;
  uint32_t flows_max = 0;
  bool enough = true;
  for (uint32_t i = 0; i < parts.lane_count; i++) {
    Lane* lane = &c->lanes[i];
    lane->index = i;
    lane->engine_fd = parts.engine_fds != nullptr ? parts.engine_fds[i] : -1;
    enough &= lane_init(lane, parts.shapes[i], base);
    base += ipc::lane_offsets(parts.shapes[i]).size;
    flows_max += parts.shapes[i].flow_slots;
  }
  enough = enough && flows_init(c, flows_max) && c->events.init(flows_max);
  if (!enough) {
    free_private(c);
    errno = ENOMEM;
    return nullptr;
  }
  c->owned = parts.owned;
  c->control.adopt(parts.session_fd);
  c->control.on_stale_reply(close_abandoned_flow, c);
  return c;
}

void channel_free(Channel* c) {
  views_free(c);
  if (c->wait_fd >= 0) close(c->wait_fd);
  if (c->poll_fd >= 0) close(c->poll_fd);
  if (c->owned) {
    c->control.close();
    if (c->application_fd >= 0) close(c->application_fd);
    for (uint32_t i = 0; i < c->lane_count; i++) {
      if (c->lanes[i].engine_fd >= 0) close(c->lanes[i].engine_fd);
    }
    munmap(c->memory, c->memory_size);
  }
  free_private(c);
}

int channel_fail(Channel* c, int error) {
  if (c->dead_errno == 0) {
    c->dead_errno = error;
    // The daemon reclaims the channel as soon as it sees the session end.
    if (c->control.fd() >= 0) shutdown(c->control.fd(), SHUT_RDWR);
  }
  errno = c->dead_errno;
  return -1;
}

int channel_check(Channel* c) {
  const uint64_t now = ticks_now();
  if (now - c->checked_at < c->check_ticks) [[likely]]
    return 0;
  c->checked_at = now;
  return channel_check_now(c);
}

namespace {

// Looks for ends of flows among the entries that the program has not received yet, so that a
// program which only sends learns of them.
void lane_scan(Channel* c, Lane* lane) {
  if (static_cast<int32_t>(lane->deliver_count - lane->scan_count) > 0) {
    lane->scan = lane->deliver;
    lane->scan_count = lane->deliver_count;
  }
  ipc::Item16 item;
  while (lane->scan.pop(&item)) {
    lane->scan_count++;
    if (ipc::entry_type(item.word) != ipc::kDeliverEnded) continue;
    FlowState* flow = lane_flow(*lane, item.a);
    if (flow != nullptr) flow_stop_sending(c, flow, end_errno(item.c));
  }
}

}  // namespace

int channel_check_now(Channel* c) {
  if (c->dead_errno != 0) return channel_fail(c, c->dead_errno);
  if (c->control.poll_alive() != 0) return channel_fail(c, ESHUTDOWN);
  for (uint32_t i = 0; i < c->lane_count; i++) lane_scan(c, &c->lanes[i]);
  return 0;
}

void lane_signal(Lane* lane) {
  lane->released_unsignalled = 0;
  if (!ipc::wake_needed(&lane->header->engine) || lane->engine_fd < 0) return;
  const uint64_t one = 1;
  // EAGAIN: the counter is at its maximum, so the engine is about to wake.
  [[maybe_unused]] const ssize_t written = write(lane->engine_fd, &one, sizeof one);
}

FlowState* claim_flow(Channel* c, uint32_t lane_index, uint32_t ref, const MachnetFlow_t& tuple) {
  if (lane_index >= c->lane_count) return nullptr;
  Lane* lane = &c->lanes[lane_index];
  const uint32_t slot = ipc::flow_ref_slot(ref);
  if (slot >= lane->flow_slots || ipc::flow_ref_generation(ref) == 0) return nullptr;
  FlowState* flow = &lane->flows[slot];
  // An active flow that the program closed may be one that ended before its late connect reply was
  // read.
  if (flow->active && !flow->closed) return nullptr;
  if (flow->ref != 0) c->map.erase(flow->local, flow);  // the slot's earlier flow
  if (c->last_state == flow) c->last_state = nullptr;
  *flow = FlowState{};
  flow->lane = lane;
  flow->ref = ref;
  flow->local = tuple;
  flow->active = true;
  flow->gathering.head = flow->gathering.tail = kNone;
  return flow;
}

void enter_flow(Channel* c, FlowState* flow) {
  c->map.insert(flow);
  c->last_state = nullptr;
}

bool register_flow(Channel* c, uint32_t lane_index, uint32_t ref, const MachnetFlow_t& tuple) {
  FlowState* flow = claim_flow(c, lane_index, ref, tuple);
  if (flow == nullptr) return false;
  enter_flow(c, flow);
  return true;
}

void flow_stop_sending(Channel* c, FlowState* flow, int error) {
  if (flow->send_errno == 0) flow->send_errno = error;
  if (c->last_state == flow) c->last_state = nullptr;
}

void flow_push_close(FlowState* flow, uint32_t flags) {
  if (!flow->active || flow->close_pushed) return;
  flow->close_pushed = true;
  flow->lane->submit.push({.a = flow->ref, .word = ipc::entry_word(ipc::kSubmitClose, flags, 0)});
  lane_signal(flow->lane);
}

void flow_break(Channel* c, FlowState* flow) {
  flow->broken = true;
  gather_drop(flow);
  flow_stop_sending(c, flow, ECONNRESET);
  flow_push_close(flow, ipc::kAbort);
}

int channel_close_flow(Channel* c, const MachnetFlow_t& tuple) {
  FlowState* flow = c->map.find(tuple);
  if (flow == nullptr) {
    errno = ENOTCONN;
    return -1;
  }
  flow->closed = true;
  flow_stop_sending(c, flow, ENOTCONN);
  c->map.erase(tuple, flow);
  if (c->ready.flow == flow) ready_drop(c);
  gather_drop(flow);
  flow_push_close(flow, 0);
  return 0;
}

void lane_release_slot(Lane* lane, uint32_t ref) {
  lane->release.push(ipc::kReleaseSlot | ipc::flow_ref_slot(ref));
  lane_signal(lane);
}

}  // namespace mn::client
