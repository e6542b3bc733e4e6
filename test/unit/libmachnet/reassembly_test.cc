// SPDX-License-Identifier: MIT
#include "libmachnet/reassembly.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake_daemon.h"

namespace mn::client {
namespace {

FakeDaemon* daemon_of(void** state) { return static_cast<FakeDaemon*>(*state); }

// Delivers segments the way an honest daemon does: only into buffers that it owns.
struct Pool {
  FakeDaemon* d;
  uint32_t free_buffers[kTestRxBuffers];
  uint32_t count = 0;
  explicit Pool(FakeDaemon* daemon) : d(daemon) {
    for (uint32_t i = 0; i < kTestRxBuffers; i++) free_buffers[count++] = i;
  }
  void reclaim() {
    for (uint32_t value; d->released(&value);) {
      if (value < kTestRxBuffers) free_buffers[count++] = value;
    }
  }
  void segment(uint32_t ref, uint32_t length, uint8_t fill, uint32_t flags) {
    assert_true(count > 0);
    d->segment(ref, free_buffers[--count], length, fill, flags);
  }
};

// Four times as long as the pool, while another flow's message keeps waiting for its end.
void gather_add__message_longer_than_the_pool(void** state) {
  FakeDaemon* d = daemon_of(state);
  Pool pool(d);
  const uint32_t big = d->connect(0);
  const uint32_t other = d->connect(1);
  const uint32_t segments = 4 * kTestRxBuffers;
  pool.segment(other, kTestBufferSize, 200, ipc::kFirstSegment);
  for (uint32_t i = 0; i < segments; i++) {
    const uint32_t flags = i == 0              ? uint32_t{ipc::kFirstSegment}
                           : i + 1 == segments ? uint32_t{ipc::kLastSegment}
                                               : 0;
    pool.segment(big, kTestBufferSize, static_cast<uint8_t>(i), flags);
    if (i + 1 < segments) expect_nothing(d);
    pool.reclaim();
    assert_true(pool.count >= kTestRxBuffers / 2 - 1);
  }
  static uint8_t data[4 * kTestRxBuffers * kTestBufferSize];
  assert_int_equal(machnet_recv(d->channel, data, sizeof data, nullptr), sizeof data);
  for (uint32_t i = 0; i < segments; i++) {
    assert_int_equal(data[i * kTestBufferSize], static_cast<uint8_t>(i));
    assert_int_equal(data[(i + 1) * kTestBufferSize - 1], static_cast<uint8_t>(i));
  }
  pool.segment(other, 1, 201, ipc::kLastSegment);
  assert_int_equal(machnet_recv(d->channel, data, sizeof data, nullptr), kTestBufferSize + 1);
  assert_int_equal(data[0], 200);
  assert_int_equal(data[kTestBufferSize], 201);
  pool.reclaim();
  assert_int_equal(pool.count, kTestRxBuffers);
}

// Every flow has the beginning of a message: together they would fill the pool.
void gather_add__many_beginnings(void** state) {
  FakeDaemon* d = daemon_of(state);
  Pool pool(d);
  uint32_t refs[kTestFlowSlots];
  for (uint32_t f = 0; f < kTestFlowSlots; f++) refs[f] = d->connect(f);
  const uint32_t rounds = 40;
  for (uint32_t i = 0; i < rounds; i++) {
    for (uint32_t f = 0; f < kTestFlowSlots; f++) {
      pool.segment(refs[f], 100, static_cast<uint8_t>(f * 16 + i % 16),
                   i == 0 ? uint32_t{ipc::kFirstSegment} : 0);
    }
    expect_nothing(d);
    pool.reclaim();
  }
  for (uint32_t f = 0; f < kTestFlowSlots; f++) {
    pool.segment(refs[f], 1, 255, ipc::kLastSegment);
    static uint8_t data[100 * 40 + 1];
    assert_int_equal(machnet_recv(d->channel, data, sizeof data, nullptr), sizeof data);
    for (uint32_t i = 0; i < rounds * 100; i++) assert_int_equal(data[i], f * 16 + i / 100 % 16);
    assert_int_equal(data[rounds * 100], 255);
    pool.reclaim();
  }
  assert_int_equal(pool.count, kTestRxBuffers);
}

void gather_add__longer_than_the_maximum_breaks_the_flow(void** state) {
  FakeDaemon* d = daemon_of(state);
  Pool pool(d);
  const uint32_t big = d->connect(0);
  const uint32_t other = d->connect(1);
  const uint32_t segments = MACHNET_MSG_MAX_LEN / kTestBufferSize;
  for (uint32_t i = 0; i <= segments; i++) {
    pool.segment(big, kTestBufferSize, 1, i == 0 ? uint32_t{ipc::kFirstSegment} : 0);
    expect_nothing(d);
    pool.reclaim();
  }
  assert_int_equal(pool.count, kTestRxBuffers);
  assert_int_equal(machnet_send(d->channel, test_flow(0), "x", 1), -1);
  assert_int_equal(errno, ECONNRESET);
  pool.segment(other, 5, 1, ipc::kFirstSegment | ipc::kLastSegment);
  char text[5];
  assert_int_equal(machnet_recv(d->channel, text, 5, nullptr), 5);
}

void gather_add__the_maximum_itself(void** state) {
  FakeDaemon* d = daemon_of(state);
  Pool pool(d);
  const uint32_t big = d->connect(0);
  const uint32_t segments = MACHNET_MSG_MAX_LEN / kTestBufferSize;
  for (uint32_t i = 0; i < segments; i++) {
    const uint32_t flags = i == 0              ? uint32_t{ipc::kFirstSegment}
                           : i + 1 == segments ? uint32_t{ipc::kLastSegment}
                                               : 0;
    pool.segment(big, kTestBufferSize, 1, flags);
    if (i + 1 < segments) expect_nothing(d);
    pool.reclaim();
  }
  static uint8_t data[MACHNET_MSG_MAX_LEN];
  assert_int_equal(machnet_recv(d->channel, data, sizeof data, nullptr), sizeof data);
}

// Views count too: they and a beginning must not starve the daemon together.
void gather_add__views_keep_buffers(void** state) {
  FakeDaemon* d = daemon_of(state);
  Pool pool(d);
  const uint32_t ref = d->connect(0);
  MachnetView_t views[30];
  for (MachnetView_t& view : views) {
    pool.segment(ref, 8, 1, ipc::kFirstSegment | ipc::kLastSegment);
    assert_int_equal(machnet_recv_view(d->channel, &view), 1);
  }
  for (uint32_t i = 0; i < 100; i++) {
    pool.segment(ref, 8, 2, i == 0 ? uint32_t{ipc::kFirstSegment} : 0);
    expect_nothing(d);
    pool.reclaim();
  }
  for (MachnetView_t& view : views) assert_int_equal(machnet_view_release(d->channel, &view), 0);
  pool.reclaim();
  assert_true(pool.count >= kTestRxBuffers / 2);
}

// The other way round: a view that is taken after the beginning of a message filled its half.
void view_take__beginnings_make_room(void** state) {
  FakeDaemon* d = daemon_of(state);
  Pool pool(d);
  const uint32_t big = d->connect(0);
  const uint32_t other = d->connect(1);
  const uint32_t half = kTestRxBuffers / 2;
  for (uint32_t i = 0; i < half; i++) {
    pool.segment(big, 8, 2, i == 0 ? uint32_t{ipc::kFirstSegment} : 0);
  }
  expect_nothing(d);
  pool.reclaim();
  assert_int_equal(pool.count, kTestRxBuffers - half);
  MachnetView_t views[kTestRxBuffers / 2];
  for (MachnetView_t& view : views) {
    pool.segment(other, 8, 1, ipc::kFirstSegment | ipc::kLastSegment);
    assert_int_equal(machnet_recv_view(d->channel, &view), 1);
    pool.reclaim();
    assert_true(pool.count >= kTestRxBuffers - half);
  }
  pool.segment(big, 8, 3, ipc::kLastSegment);
  static uint8_t data[(kTestRxBuffers / 2 + 1) * 8];
  assert_int_equal(machnet_recv(d->channel, data, sizeof data, nullptr), sizeof data);
  for (uint32_t i = 0; i < sizeof data; i++) assert_int_equal(data[i], i < half * 8 ? 2 : 3);
  for (MachnetView_t& view : views) assert_int_equal(machnet_view_release(d->channel, &view), 0);
  pool.reclaim();
  assert_int_equal(pool.count, kTestRxBuffers);
}

void free__with_messages_in_every_state(void** state) {
  FakeDaemon* d = daemon_of(state);
  Pool pool(d);
  const uint32_t a = d->connect(0);
  const uint32_t b = d->connect(1);
  for (uint32_t i = 0; i < 50; i++) {
    pool.segment(a, 8, 2, i == 0 ? uint32_t{ipc::kFirstSegment} : 0);
    pool.segment(b, 8, 2, i == 0 ? uint32_t{ipc::kFirstSegment} : 0);
    expect_nothing(d);
    pool.reclaim();
  }
  pool.segment(a, 8, 2, ipc::kLastSegment);
  char small;
  assert_int_equal(machnet_recv(d->channel, &small, 1, nullptr), -1);
  assert_int_equal(errno, EMSGSIZE);  // stays ready, on the heap; the teardown frees it
}

}  // namespace
}  // namespace mn::client

int main() {
  using namespace mn::client;
#define MN_CASE(f) cmocka_unit_test_setup_teardown(f, setup_daemon, teardown_daemon)
  const CMUnitTest tests[] = {
      MN_CASE(gather_add__message_longer_than_the_pool),
      MN_CASE(gather_add__many_beginnings),
      MN_CASE(gather_add__longer_than_the_maximum_breaks_the_flow),
      MN_CASE(gather_add__the_maximum_itself),
      MN_CASE(gather_add__views_keep_buffers),
      MN_CASE(view_take__beginnings_make_room),
      MN_CASE(free__with_messages_in_every_state),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
