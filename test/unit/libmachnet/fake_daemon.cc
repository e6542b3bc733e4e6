// SPDX-License-Identifier: MIT
#include "fake_daemon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <new>

#include "libmachnet/flow_map.h"

namespace mn::client {

void FakeDaemon::start() {
  const ipc::LaneShape shapes[2] = {shape, shape};
  memory_size = ipc::channel_size(shapes, lane_count);
  memory = static_cast<uint8_t*>(aligned_alloc(4096, memory_size));
  assert_non_null(memory);
  memset(memory, 0, memory_size);
  new (memory) ipc::ChannelHeader{.magic = ipc::kChannelMagic,
                                  .version = ipc::kChannelVersion,
                                  .lane_count = lane_count,
                                  .reserved = {}};
  int bell[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, bell), 0);
  application_fd = bell[0];
  bell_fd = bell[1];
  assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, session), 0);
  int engine_fds[2];
  const ipc::LaneOffsets at = ipc::lane_offsets(shape);
  for (uint32_t i = 0; i < lane_count; i++) {
    uint8_t* base = memory + ipc::kFirstLaneOffset + i * at.size;
    FakeLane* lane = &lanes[i];
    lane->header = reinterpret_cast<ipc::LaneHeader*>(base);
    lane->submit = {reinterpret_cast<ipc::Entry16*>(base + at.submit), ipc::submit_capacity(shape)};
    lane->complete = {reinterpret_cast<ipc::Entry4*>(base + at.complete),
                      ipc::complete_capacity(shape)};
    lane->deliver = {reinterpret_cast<ipc::Entry16*>(base + at.deliver),
                     ipc::deliver_capacity(shape)};
    lane->release = {reinterpret_cast<ipc::Entry4*>(base + at.release),
                     ipc::release_capacity(shape)};
    lane->flows = reinterpret_cast<ipc::FlowSlot*>(base + at.flows);
    lane->tx_data = base + at.tx_data;
    lane->rx_data = base + at.rx_data;
    lane->engine_fd = engine_fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  }
  ChannelParts parts;
  parts.memory = memory;
  parts.memory_size = memory_size;
  parts.shapes = shapes;
  parts.lane_count = lane_count;
  parts.application_fd = bell_fd;
  parts.engine_fds = engine_fds;
  parts.session_fd = session[0];
  channel = channel_from_memory(parts);
  assert_non_null(channel);
}

void FakeDaemon::stop() {
  if (channel != nullptr) channel_free(channel);
  close(application_fd);
  close(bell_fd);
  for (uint32_t i = 0; i < lane_count; i++) close(lanes[i].engine_fd);
  if (session[0] >= 0) close(session[0]);
  if (session[1] >= 0) close(session[1]);
  free(memory);
}

uint32_t FakeDaemon::connect(uint32_t n, uint32_t lane) {
  const uint32_t ref = ipc::flow_ref(n, 1);
  assert_true(register_flow(channel, lane, ref, test_flow(n)));
  return ref;
}

uint32_t FakeDaemon::open(uint32_t n, uint32_t generation, uint32_t lane, uint32_t opening) {
  const uint32_t ref = ipc::flow_ref(n, generation);
  const MachnetFlow_t f = test_flow(n);
  lanes[lane].flows[n] = {f.src_ip, f.dst_ip, f.src_port, f.dst_port, 0};
  lanes[lane].deliver.push(
      {.a = ref, .c = opening, .word = ipc::entry_word(ipc::kDeliverOpened, 0, 0)});
  return ref;
}

void FakeDaemon::end(uint32_t ref, uint32_t reason) {
  raw({.a = ref, .c = reason, .word = ipc::entry_word(ipc::kDeliverEnded, 0, 0)});
}

void FakeDaemon::segment(uint32_t ref, uint32_t buffer, uint32_t length, uint8_t fill,
                         uint32_t flags, uint32_t lane) {
  memset(lanes[lane].rx_data + size_t{buffer} * shape.buffer_size, fill, length);
  lanes[lane].deliver.push({.a = ref,
                            .b = buffer,
                            .c = 0,
                            .word = ipc::entry_word(ipc::kDeliverSegment, flags, length)});
}

uint32_t FakeDaemon::bundle(uint32_t ref, uint32_t buffer, const uint32_t* lengths, uint32_t count,
                            uint8_t fill) {
  uint8_t* at = lanes[0].rx_data + size_t{buffer} * shape.buffer_size;
  uint32_t used = (2 * count + 7) & ~7u;
  memset(at, 0, shape.buffer_size);
  for (uint32_t i = 0; i < count; i++) {
    used = (used + 7) & ~7u;
    at[2 * i] = static_cast<uint8_t>(lengths[i] >> 8);
    at[2 * i + 1] = static_cast<uint8_t>(lengths[i]);
    memset(at + used, fill + static_cast<int>(i), lengths[i]);
    used += lengths[i];
  }
  raw({.a = ref,
       .b = buffer,
       .c = count << 16,
       .word = ipc::entry_word(ipc::kDeliverBundle, 0, used)});
  return used;
}

uint32_t FakeDaemon::count_released() {
  uint32_t count = 0;
  for (uint32_t value; released(&value);) count++;
  return count;
}

uint32_t FakeDaemon::complete_all() {
  uint32_t count = 0;
  for (ipc::Item16 item; submitted(&item);) {
    if (ipc::entry_type(item.word) != ipc::kSubmitSegment) continue;
    lanes[0].complete.push(item.b);
    count++;
  }
  return count;
}

uint64_t FakeDaemon::engine_rings(uint32_t lane) {
  uint64_t rings = 0;
  return read(lanes[lane].engine_fd, &rings, sizeof rings) == sizeof rings ? rings : 0;
}

void FakeDaemon::ring_application() {
  if (!ipc::wake_needed(&lanes[0].header->application, ipc::kWakeEntries)) return;
  const uint64_t one = 1;
  assert_int_equal(write(application_fd, &one, sizeof one), sizeof one);
}

void expect_flow(const MachnetFlow_t& got, const MachnetFlow_t& want) {
  assert_true(same_flow(got, want));
}

// Receives a message of `length` bytes `fill` from test flow `n`.
void expect_message(FakeDaemon* d, uint32_t n, size_t length, uint8_t fill) {
  static uint8_t buffer[100 * kTestBufferSize];
  MachnetFlow_t flow;
  assert_int_equal(machnet_recv(d->channel, buffer, sizeof buffer, &flow), length);
  expect_flow(flow, reversed(test_flow(n)));
  for (size_t i = 0; i < length; i++) assert_int_equal(buffer[i], fill);
}

void expect_nothing(FakeDaemon* d) {
  char byte;
  assert_int_equal(machnet_recv(d->channel, &byte, 1, nullptr), 0);
}

void expect_dead(FakeDaemon* d, int error) {
  char byte;
  errno = 0;
  assert_int_equal(machnet_recv(d->channel, &byte, 1, nullptr), -1);
  assert_int_equal(errno, error);
  assert_int_equal(machnet_send(d->channel, test_flow(0), "x", 1), -1);
  assert_int_equal(errno, error);
  assert_int_equal(machnet_wait(d->channel, -1), -1);
  assert_int_equal(errno, error);
}

void expect_event(FakeDaemon* d, uint32_t type, uint32_t n) {
  MachnetEvent_t event;
  assert_int_equal(machnet_next_event(d->channel, &event), 1);
  assert_int_equal(event.type, type);
  expect_flow(event.flow, test_flow(n));
}

void expect_no_event(FakeDaemon* d) {
  MachnetEvent_t event;
  assert_int_equal(machnet_next_event(d->channel, &event), 0);
}

int setup_daemon(void** state) {
  FakeDaemon* daemon = new FakeDaemon;
  daemon->start();
  *state = daemon;
  return 0;
}

int setup_two_lanes(void** state) {
  FakeDaemon* daemon = new FakeDaemon;
  daemon->lane_count = 2;
  daemon->start();
  *state = daemon;
  return 0;
}

int teardown_daemon(void** state) {
  FakeDaemon* daemon = static_cast<FakeDaemon*>(*state);
  daemon->stop();
  delete daemon;
  return 0;
}

}  // namespace mn::client
