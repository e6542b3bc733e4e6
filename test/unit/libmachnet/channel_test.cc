// SPDX-License-Identifier: MIT
#include "libmachnet/channel.h"

#include <errno.h>
#include <string.h>

#include "fake_daemon.h"
#include "libmachnet/channel_state.h"

namespace mn::client {
namespace {

FakeDaemon* daemon_of(void** state) { return static_cast<FakeDaemon*>(*state); }

ChannelParts parts_of(const FakeDaemon& d) {
  ChannelParts parts;
  parts.memory = d.memory;
  parts.memory_size = d.memory_size;
  parts.shapes = &d.shape;
  parts.lane_count = 1;
  return parts;
}

void expect_refused(const ChannelParts& parts) {
  errno = 0;
  assert_null(channel_from_memory(parts));
  assert_int_equal(errno, EPROTO);
}

void channel_from_memory__checks_shape_size_and_header(void** state) {
  FakeDaemon* d = daemon_of(state);
  Channel* channel = channel_from_memory(parts_of(*d));
  assert_non_null(channel);
  channel_free(channel);

  ChannelParts parts = parts_of(*d);
  parts.memory_size--;
  expect_refused(parts);
  parts = parts_of(*d);
  parts.lane_count = 0;
  expect_refused(parts);
  parts.lane_count = ipc::kLanesMax + 1;
  expect_refused(parts);
  for (const ipc::LaneShape& shape :
       {ipc::LaneShape{0, 1, 64, 1}, ipc::LaneShape{1, 0, 64, 1}, ipc::LaneShape{1, 1, 65, 1},
        ipc::LaneShape{1, 1, 64, 0}, ipc::LaneShape{UINT32_MAX, 1, 64, 1}}) {
    parts = parts_of(*d);
    parts.shapes = &shape;
    expect_refused(parts);
  }
  ipc::ChannelHeader* header = reinterpret_cast<ipc::ChannelHeader*>(d->memory);
  for (uint32_t* field : {&header->magic, &header->version, &header->lane_count}) {
    (*field)++;
    expect_refused(parts_of(*d));
    (*field)--;
  }
}

void register_flow__refuses_what_is_out_of_range_or_in_use(void** state) {
  FakeDaemon* d = daemon_of(state);
  assert_true(register_flow(d->channel, 0, ipc::flow_ref(1, 1), test_flow(1)));
  assert_false(register_flow(d->channel, 0, ipc::flow_ref(1, 2), test_flow(2)));
  assert_false(register_flow(d->channel, 1, ipc::flow_ref(2, 1), test_flow(2)));
  assert_false(register_flow(d->channel, 0, ipc::flow_ref(kTestFlowSlots, 1), test_flow(2)));
  assert_false(register_flow(d->channel, 0, ipc::flow_ref(2, 0), test_flow(2)));
}

// The flow that follows in a slot ends what is known of the one before.
void register_flow__forgets_the_slots_earlier_flow(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->end(d->connect(1), ipc::kEndReset);
  char byte;
  assert_int_equal(machnet_recv(d->channel, &byte, 1, nullptr), 0);
  assert_int_equal(machnet_send(d->channel, test_flow(1), "x", 1), -1);
  assert_int_equal(errno, ECONNRESET);
  assert_true(register_flow(d->channel, 0, ipc::flow_ref(1, 2), test_flow(2)));
  assert_int_equal(machnet_send(d->channel, test_flow(1), "x", 1), -1);
  assert_int_equal(errno, ENOTCONN);
  assert_int_equal(machnet_send(d->channel, test_flow(2), "x", 1), 0);
}

// The same two ends again, in another slot, while the earlier life is still remembered.
void register_flow__same_tuple_again(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->end(d->connect(1), ipc::kEndReset);
  char byte;
  assert_int_equal(machnet_recv(d->channel, &byte, 1, nullptr), 0);
  const uint32_t ref = ipc::flow_ref(5, 1);
  assert_true(register_flow(d->channel, 0, ref, test_flow(1)));
  assert_int_equal(machnet_send(d->channel, test_flow(1), "x", 1), 0);
  ipc::Item16 item;
  assert_true(d->submitted(&item));
  assert_int_equal(item.a, ref);
  assert_true(register_flow(d->channel, 0, ipc::flow_ref(1, 2), test_flow(3)));
  assert_int_equal(machnet_send(d->channel, test_flow(1), "x", 1), 0);
}

void close__twice_and_after_the_end(void** state) {
  FakeDaemon* d = daemon_of(state);
  assert_int_equal(machnet_close(d->channel, test_flow(1)), -1);
  assert_int_equal(errno, ENOTCONN);
  d->end(d->connect(1), ipc::kEndReset);
  char byte;
  assert_int_equal(machnet_recv(d->channel, &byte, 1, nullptr), 0);
  assert_int_equal(machnet_close(d->channel, test_flow(1)), 0);
  MachnetEvent_t event;
  assert_int_equal(machnet_next_event(d->channel, &event), 0);  // closed: no more of it
  ipc::Item16 item;
  assert_false(d->submitted(&item));
}

void channel_fail__first_error_stays(void** state) {
  FakeDaemon* d = daemon_of(state);
  assert_int_equal(channel_fail(d->channel, EPROTO), -1);
  assert_int_equal(channel_fail(d->channel, ESHUTDOWN), -1);
  assert_int_equal(errno, EPROTO);
  MachnetIovec_t iov;
  size_t count = 1;
  MachnetEvent_t event;
  MachnetView_t view;
  MachnetFlowStats_t stats;
  MachnetFlow_t flow;
  MachnetMsgHdr_t message = {1, test_flow(0), &iov, 1, 0};
  iov = {&count, 1};
  assert_int_equal(machnet_sendmmsg(d->channel, &message, 1), -1);
  assert_int_equal(machnet_sendmsg(d->channel, &message), -1);
  assert_int_equal(machnet_recvmsg(d->channel, &message), -1);
  assert_int_equal(machnet_buffer_alloc(d->channel, 1, &iov, &count), -1);
  assert_int_equal(machnet_next_event(d->channel, &event), -1);
  assert_int_equal(machnet_recv_view(d->channel, &view), -1);
  assert_int_equal(machnet_flow_stats(d->channel, test_flow(0), &stats), -1);
  assert_int_equal(machnet_connect(d->channel, nullptr, "10.0.0.2", 7, &flow), -1);
  assert_int_equal(machnet_listen(d->channel, nullptr, 7), -1);
  assert_int_equal(machnet_unlisten(d->channel, nullptr, 7), -1);
  assert_int_equal(machnet_close(d->channel, test_flow(0)), -1);
  assert_int_equal(machnet_fd(d->channel), -1);
  assert_int_equal(errno, EPROTO);
}

}  // namespace
}  // namespace mn::client

int main() {
  using namespace mn::client;
#define MN_CASE(f) cmocka_unit_test_setup_teardown(f, setup_daemon, teardown_daemon)
  const CMUnitTest tests[] = {
      MN_CASE(channel_from_memory__checks_shape_size_and_header),
      MN_CASE(register_flow__refuses_what_is_out_of_range_or_in_use),
      MN_CASE(register_flow__forgets_the_slots_earlier_flow),
      MN_CASE(register_flow__same_tuple_again),
      MN_CASE(close__twice_and_after_the_end),
      MN_CASE(channel_fail__first_error_stays),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
