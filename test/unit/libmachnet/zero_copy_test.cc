// SPDX-License-Identifier: MIT
#include <errno.h>
#include <string.h>

#include "fake_daemon.h"
#include "libmachnet/channel_state.h"

namespace mn::client {
namespace {

FakeDaemon* daemon_of(void** state) { return static_cast<FakeDaemon*>(*state); }

void buffer_alloc__send(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  MachnetIovec_t iov[4];
  size_t count = 4;
  assert_int_equal(machnet_buffer_alloc(d->channel, 2 * kTestBufferSize + 100, iov, &count), 0);
  assert_int_equal(count, 3);
  assert_int_equal(iov[0].len, kTestBufferSize);
  assert_int_equal(iov[2].len, 100);
  for (size_t i = 0; i < count; i++) memset(iov[i].base, 'a' + static_cast<int>(i), iov[i].len);
  iov[2].len = 50;  // less than was asked for
  assert_int_equal(machnet_buffer_send(d->channel, test_flow(0), iov, count), 0);
  for (size_t i = 0; i < 3; i++) {
    ipc::Item16 item;
    assert_true(d->submitted(&item));
    assert_int_equal(item.a, ref);
    assert_ptr_equal(d->lanes[0].tx_data + size_t{item.b} * kTestBufferSize, iov[i].base);
    assert_int_equal(ipc::entry_length(item.word), i < 2 ? kTestBufferSize : 50);
    assert_int_equal(ipc::entry_flags(item.word), i < 2 ? 0 : int{ipc::kLastSegment});
  }
  assert_int_equal(machnet_buffer_send(d->channel, test_flow(0), iov, count),
                   -1);  // no longer ours
  assert_int_equal(errno, EINVAL);
}

void buffer_alloc__limits(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0);
  MachnetIovec_t iov[kTestTxBuffers];
  size_t count = 1;
  assert_int_equal(machnet_buffer_alloc(d->channel, 2 * kTestBufferSize, iov, &count), -1);
  assert_int_equal(errno, EMSGSIZE);
  assert_int_equal(count, 2);
  assert_int_equal(machnet_buffer_alloc(d->channel, 0, iov, &count), -1);
  assert_int_equal(errno, EINVAL);
  count = kTestTxBuffers;
  assert_int_equal(machnet_buffer_alloc(d->channel, kTestTxBuffers * kTestBufferSize, iov, &count),
                   0);
  size_t one = 1;
  MachnetIovec_t piece;
  assert_int_equal(machnet_buffer_alloc(d->channel, 1, &piece, &one), -1);
  assert_int_equal(errno, EAGAIN);
  assert_int_equal(machnet_buffer_free(d->channel, iov, count), 0);
  assert_int_equal(machnet_buffer_free(d->channel, iov, count), -1);
  assert_int_equal(errno, EINVAL);
  assert_int_equal(machnet_buffer_alloc(d->channel, 1, &piece, &one), 0);
}

void buffer_send__refuses_what_was_not_given(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0);
  MachnetIovec_t iov[2];
  size_t count = 2;
  assert_int_equal(machnet_buffer_alloc(d->channel, kTestBufferSize + 1, iov, &count), 0);
  char mine[8];
  const MachnetIovec_t good[2] = {iov[0], iov[1]};
  MachnetIovec_t cases[][2] = {
      {{mine, 8}, {mine, 8}},
      {{static_cast<char*>(iov[0].base) + 1, 8}, iov[1]},
      {iov[0], {mine, 8}},
      {iov[0], iov[0]},                              // twice the same
      {{iov[0].base, kTestBufferSize - 1}, iov[1]},  // a short piece that is not the last
      {iov[0], {iov[1].base, 0}},
      {iov[0], {iov[1].base, kTestBufferSize + 1}},
  };
  for (auto& pieces : cases) {
    assert_int_equal(machnet_buffer_send(d->channel, test_flow(0), pieces, 2), -1);
    assert_int_equal(errno, EINVAL);
  }
  assert_int_equal(machnet_buffer_send(d->channel, test_flow(3), good, 2), -1);
  assert_int_equal(errno, ENOTCONN);
  ipc::Item16 item;
  assert_false(d->submitted(&item));
  assert_int_equal(machnet_buffer_send(d->channel, test_flow(0), good, 2), 0);  // all stayed ours
}

void buffer_send__flow_on_another_lane(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(1, 1);
  MachnetIovec_t iov;
  size_t count = 1;
  assert_int_equal(machnet_buffer_alloc(d->channel, 5, &iov, &count), 0);
  memcpy(iov.base, "hello", 5);
  assert_int_equal(machnet_buffer_send(d->channel, test_flow(1), &iov, 1), 0);
  ipc::Item16 item;
  assert_true(d->lanes[1].submit.pop(&item));
  assert_int_equal(item.a, ref);
  assert_memory_equal(d->lanes[1].tx_data + size_t{item.b} * kTestBufferSize, "hello", 5);
  assert_int_equal(machnet_buffer_free(d->channel, &iov, 1), -1);  // was given back
}

void recv_view__segment(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  MachnetView_t view;
  assert_int_equal(machnet_recv_view(d->channel, &view), 0);
  d->message(ref, 4, 100, 'v');
  assert_int_equal(machnet_recv_view(d->channel, &view), 1);
  assert_true(same_flow(view.flow, reversed(test_flow(0))));
  assert_int_equal(view.size, 100);
  assert_int_equal(view.iovlen, 1);
  assert_ptr_equal(view.iov[0].base, d->lanes[0].rx_data + 4 * kTestBufferSize);
  assert_int_equal(d->count_released(), 0);
  assert_int_equal(machnet_view_release(d->channel, &view), 0);
  assert_int_equal(d->count_released(), 1);
  assert_int_equal(machnet_view_release(d->channel, &view), -1);
  assert_int_equal(errno, EINVAL);
}

// The buffer of a bundle goes back after the last view, whichever that is, and the last copy.
void recv_view__bundle_in_any_order(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  const uint32_t lengths[] = {10, 20, 30, 40};
  for (uint32_t order = 0; order < 24; order++) {
    d->bundle(ref, 2, lengths, 4, 'a');
    MachnetView_t views[3];
    for (uint32_t i = 0; i < 2; i++) {
      assert_int_equal(machnet_recv_view(d->channel, &views[i]), 1);
      assert_int_equal(views[i].size, lengths[i]);
      assert_int_equal(static_cast<char*>(views[i].iov[0].base)[lengths[i] - 1],
                       'a' + static_cast<int>(i));
    }
    if (order & 1) machnet_view_release(d->channel, &views[0]);
    char text[30];
    assert_int_equal(machnet_recv(d->channel, text, sizeof text, nullptr), 30);
    if (order & 2) machnet_view_release(d->channel, &views[1]);
    assert_int_equal(machnet_recv_view(d->channel, &views[2]), 1);
    assert_int_equal(views[2].size, 40);
    assert_int_equal(d->count_released(), 0);
    if (order & 4) machnet_view_release(d->channel, &views[2]);
    for (MachnetView_t& view : views) {
      if (view.handle != nullptr) machnet_view_release(d->channel, &view);
    }
    assert_int_equal(d->count_released(), 1);
    assert_int_equal(d->channel->lanes[0].view_buffers, 0);
  }
}

void recv_view__gathered(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  d->segment(ref, 0, kTestBufferSize, 'a', ipc::kFirstSegment);
  d->segment(ref, 1, kTestBufferSize, 'b', 0);
  d->segment(ref, 2, 5, 'c', ipc::kLastSegment);
  MachnetView_t view;
  assert_int_equal(machnet_recv_view(d->channel, &view), 1);
  assert_int_equal(view.size, 2 * kTestBufferSize + 5);
  assert_int_equal(view.iovlen, 3);
  assert_int_equal(view.iov[2].len, 5);
  assert_int_equal(static_cast<char*>(view.iov[2].base)[4], 'c');
  // The flow goes on while the view is out.
  d->segment(ref, 3, kTestBufferSize, 'd', ipc::kFirstSegment);
  d->segment(ref, 4, 5, 'e', ipc::kLastSegment);
  char text[2 * kTestBufferSize];
  assert_int_equal(machnet_recv(d->channel, text, sizeof text, nullptr), kTestBufferSize + 5);
  assert_int_equal(d->count_released(), 2);
  assert_int_equal(machnet_close(d->channel, test_flow(0)), 0);
  assert_int_equal(static_cast<char*>(view.iov[0].base)[0], 'a');
  assert_int_equal(machnet_view_release(d->channel, &view), 0);
  assert_int_equal(d->count_released(), 3);
  assert_int_equal(d->channel->lanes[0].view_buffers, 0);
}

void free__with_views_outstanding(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  MachnetView_t view;
  for (uint32_t i = 0; i < 5; i++) {
    d->message(ref, i, 100, 'v');
    assert_int_equal(machnet_recv_view(d->channel, &view), 1);
  }
}

}  // namespace
}  // namespace mn::client

int main() {
  using namespace mn::client;
#define MN_CASE(f) cmocka_unit_test_setup_teardown(f, setup_daemon, teardown_daemon)
  const CMUnitTest tests[] = {
      MN_CASE(buffer_alloc__send),
      MN_CASE(buffer_alloc__limits),
      MN_CASE(buffer_send__refuses_what_was_not_given),
      cmocka_unit_test_setup_teardown(buffer_send__flow_on_another_lane, setup_two_lanes,
                                      teardown_daemon),
      MN_CASE(recv_view__segment),
      MN_CASE(recv_view__bundle_in_any_order),
      MN_CASE(recv_view__gathered),
      MN_CASE(free__with_views_outstanding),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
