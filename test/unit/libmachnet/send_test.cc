// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake_daemon.h"
#include "libmachnet/channel_state.h"

namespace mn::client {
namespace {

FakeDaemon* daemon_of(void** state) { return static_cast<FakeDaemon*>(*state); }

void send__small_message(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  assert_int_equal(machnet_send(d->channel, test_flow(0), "hello", 5), 0);
  ipc::Item16 item;
  assert_true(d->submitted(&item));
  assert_int_equal(item.a, ref);
  assert_true(item.b < kTestTxBuffers);
  assert_int_equal(item.word, ipc::entry_word(ipc::kSubmitSegment, ipc::kLastSegment, 5));
  assert_memory_equal(d->lanes[0].tx_data + size_t{item.b} * kTestBufferSize, "hello", 5);
  assert_false(d->submitted(&item));
}

void send__long_message_is_split(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0);
  static uint8_t data[3 * kTestBufferSize + 17];
  for (size_t i = 0; i < sizeof data; i++) data[i] = static_cast<uint8_t>(i * 7 + i / 251);
  assert_int_equal(machnet_send(d->channel, test_flow(0), data, sizeof data), 0);
  size_t at = 0;
  for (int i = 0; i < 4; i++) {
    ipc::Item16 item;
    assert_true(d->submitted(&item));
    const uint32_t length = ipc::entry_length(item.word);
    assert_int_equal(length, i < 3 ? kTestBufferSize : 17);
    assert_int_equal(ipc::entry_flags(item.word), i < 3 ? 0 : int{ipc::kLastSegment});
    assert_memory_equal(d->lanes[0].tx_data + size_t{item.b} * kTestBufferSize, data + at, length);
    at += length;
  }
  assert_int_equal(at, sizeof data);
}

void send__bad_arguments(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0);
  errno = 0;
  assert_int_equal(machnet_send(d->channel, test_flow(0), "x", 0), -1);
  assert_int_equal(errno, EINVAL);
  assert_int_equal(machnet_send(d->channel, test_flow(0), nullptr, 1), -1);
  assert_int_equal(errno, EINVAL);
  assert_int_equal(machnet_send(nullptr, test_flow(0), "x", 1), -1);
  assert_int_equal(errno, EINVAL);
  assert_int_equal(machnet_send(d->channel, test_flow(0), "x", MACHNET_MSG_MAX_LEN + 1), -1);
  assert_int_equal(errno, EMSGSIZE);
  assert_int_equal(machnet_send(d->channel, test_flow(1), "x", 1), -1);
  assert_int_equal(errno, ENOTCONN);
  assert_int_equal(machnet_send(d->channel, reversed(test_flow(0)), "x", 1), -1);
  assert_int_equal(errno, ENOTCONN);
  static uint8_t more_than_all[(kTestTxBuffers + 1) * kTestBufferSize];
  assert_int_equal(machnet_send(d->channel, test_flow(0), more_than_all, sizeof more_than_all), -1);
  assert_int_equal(errno, EMSGSIZE);
  ipc::Item16 item;
  assert_false(d->submitted(&item));
}

void send__out_of_buffers_is_all_or_nothing(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0);
  for (uint32_t i = 0; i < kTestTxBuffers - 2; i++) {
    assert_int_equal(machnet_send(d->channel, test_flow(0), "x", 1), 0);
  }
  static uint8_t data[3 * kTestBufferSize];
  assert_int_equal(machnet_send(d->channel, test_flow(0), data, sizeof data), -1);
  assert_int_equal(errno, EAGAIN);
  assert_int_equal(machnet_send(d->channel, test_flow(0), data, 2 * kTestBufferSize), 0);
  assert_int_equal(machnet_send(d->channel, test_flow(0), "x", 1), -1);
  assert_int_equal(errno, EAGAIN);
  assert_int_equal(d->complete_all(), kTestTxBuffers);
  assert_int_equal(machnet_send(d->channel, test_flow(0), data, sizeof data), 0);
}

void send__buffers_circulate(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0);
  for (uint32_t i = 0; i < 10000; i++) {
    assert_int_equal(machnet_send(d->channel, test_flow(0), &i, sizeof i), 0);
    ipc::Item16 item;
    assert_true(d->submitted(&item));
    assert_memory_equal(d->lanes[0].tx_data + size_t{item.b} * kTestBufferSize, &i, sizeof i);
    d->lanes[0].complete.push(item.b);
  }
}

void send__hostile_completion_kills_the_channel(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0);
  d->lanes[0].complete.push(kTestTxBuffers - 1);  // not submitted yet
  int status = 0;
  for (uint32_t i = 0; i <= kTestTxBuffers && status == 0; i++) {
    status = machnet_send(d->channel, test_flow(0), "x", 1);
  }
  assert_int_equal(status, -1);
  assert_int_equal(errno, EPROTO);
  char byte;
  assert_int_equal(machnet_recv(d->channel, &byte, 1, nullptr), -1);
  assert_int_equal(errno, EPROTO);
}

void send__rings_only_a_sleeping_engine(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0);
  assert_int_equal(machnet_send(d->channel, test_flow(0), "x", 1), 0);
  assert_int_equal(d->engine_rings(), 0);
  ipc::sleep_announce(&d->lanes[0].header->engine);
  assert_int_equal(machnet_send(d->channel, test_flow(0), "x", 1), 0);
  assert_int_equal(machnet_send(d->channel, test_flow(0), "x", 1), 0);
  assert_int_equal(d->engine_rings(), 1);
}

void sendmsg__gathers_pieces(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0);
  static uint8_t data[2 * kTestBufferSize + 100];
  for (size_t i = 0; i < sizeof data; i++) data[i] = static_cast<uint8_t>(i * 13);
  MachnetIovec_t pieces[] = {
      {data, 700}, {nullptr, 0}, {data + 700, 1000}, {data + 1700, sizeof data - 1700}};
  MachnetMsgHdr_t message = {sizeof data, test_flow(0), pieces, 4, 0};
  assert_int_equal(machnet_sendmsg(d->channel, &message), 0);
  size_t at = 0;
  for (ipc::Item16 item; d->submitted(&item);) {
    const uint32_t length = ipc::entry_length(item.word);
    assert_memory_equal(d->lanes[0].tx_data + size_t{item.b} * kTestBufferSize, data + at, length);
    at += length;
  }
  assert_int_equal(at, sizeof data);
}

void sendmsg__size_must_be_the_pieces_sum(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0);
  char data[10] = {};
  MachnetIovec_t pieces[] = {{data, 4}, {data + 4, 6}};
  for (uint32_t size : {0u, 9u, 11u}) {
    MachnetMsgHdr_t message = {size, test_flow(0), pieces, 2, 0};
    assert_int_equal(machnet_sendmsg(d->channel, &message), -1);
    assert_int_equal(errno, EINVAL);
  }
  MachnetMsgHdr_t no_pieces = {10, test_flow(0), nullptr, 2, 0};
  assert_int_equal(machnet_sendmsg(d->channel, &no_pieces), -1);
  MachnetIovec_t huge[] = {{data, SIZE_MAX}, {data, 11}};
  MachnetMsgHdr_t overflow = {10, test_flow(0), huge, 2, 0};
  assert_int_equal(machnet_sendmsg(d->channel, &overflow), -1);
  assert_int_equal(errno, EINVAL);
}

void sendmmsg__counts_and_rings_once(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0);
  char data[4] = {};
  MachnetIovec_t piece = {data, 4};
  MachnetMsgHdr_t messages[3] = {{4, test_flow(0), &piece, 1, 0},
                                 {4, test_flow(0), &piece, 1, 0},
                                 {4, test_flow(5), &piece, 1, 0}};
  ipc::sleep_announce(&d->lanes[0].header->engine);
  assert_int_equal(machnet_sendmmsg(d->channel, messages, 3), 2);
  assert_int_equal(errno, ENOTCONN);
  assert_int_equal(d->engine_rings(), 1);
  assert_int_equal(d->complete_all(), 2);
  assert_int_equal(machnet_sendmmsg(d->channel, messages, -1), -1);
  assert_int_equal(machnet_sendmmsg(d->channel, nullptr, 0), 0);
}

void send__two_lanes(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0, 0);
  const uint32_t ref = d->connect(1, 1);
  ipc::sleep_announce(&d->lanes[1].header->engine);
  assert_int_equal(machnet_send(d->channel, test_flow(1), "x", 1), 0);
  assert_int_equal(machnet_send(d->channel, test_flow(0), "x", 1), 0);
  assert_int_equal(d->engine_rings(1), 1);
  ipc::Item16 item;
  assert_true(d->lanes[1].submit.pop(&item));
  assert_int_equal(item.a, ref);
  assert_true(d->submitted(&item));
}

}  // namespace
}  // namespace mn::client

int main() {
  using namespace mn::client;
#define MN_CASE(f) cmocka_unit_test_setup_teardown(f, setup_daemon, teardown_daemon)
  const CMUnitTest tests[] = {
      MN_CASE(send__small_message),
      MN_CASE(send__long_message_is_split),
      MN_CASE(send__bad_arguments),
      MN_CASE(send__out_of_buffers_is_all_or_nothing),
      MN_CASE(send__buffers_circulate),
      MN_CASE(send__hostile_completion_kills_the_channel),
      MN_CASE(send__rings_only_a_sleeping_engine),
      MN_CASE(sendmsg__gathers_pieces),
      MN_CASE(sendmsg__size_must_be_the_pieces_sum),
      MN_CASE(sendmmsg__counts_and_rings_once),
      cmocka_unit_test_setup_teardown(send__two_lanes, setup_two_lanes, teardown_daemon),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
