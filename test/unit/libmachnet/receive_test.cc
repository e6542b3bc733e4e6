// SPDX-License-Identifier: MIT
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fake_daemon.h"
#include "libmachnet/channel_state.h"

namespace mn::client {
namespace {

FakeDaemon* daemon_of(void** state) { return static_cast<FakeDaemon*>(*state); }

void recv__one_segment(void** state) {
  FakeDaemon* d = daemon_of(state);
  expect_nothing(d);
  d->message(d->connect(0), 5, 100, 'a');
  expect_message(d, 0, 100, 'a');
  uint32_t value;
  assert_true(d->released(&value));
  assert_int_equal(value, 5);
  expect_nothing(d);
}

void recv__bundle(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  const uint32_t lengths[] = {1, 8, 9, 64, 100};
  d->bundle(ref, 3, lengths, 5, 'A');
  for (uint32_t i = 0; i < 5; i++) {
    assert_int_equal(d->count_released(), 0);
    expect_message(d, 0, lengths[i], static_cast<uint8_t>('A' + i));
  }
  assert_int_equal(d->count_released(), 1);
  expect_nothing(d);
}

void recv__bundle_at_an_offset(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  uint8_t* at = d->lanes[0].rx_data + 3 * kTestBufferSize + 24;
  const uint8_t bytes[] = {0, 3, 0, 2, 0, 0, 0, 0, 'x', 'x', 'x', 0, 0, 0, 0, 0, 'x', 'x'};
  memcpy(at, bytes, sizeof bytes);
  d->raw({.a = ref,
          .b = 3,
          .c = 24 | 2 << 16,
          .word = ipc::entry_word(ipc::kDeliverBundle, 0, sizeof bytes)});
  expect_message(d, 0, 3, 'x');
  expect_message(d, 0, 2, 'x');
  expect_nothing(d);
}

void recv__segments_and_overtaking(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t slow = d->connect(0);
  const uint32_t fast = d->connect(1);
  d->segment(slow, 0, kTestBufferSize, 's', ipc::kFirstSegment);
  d->message(fast, 1, 10, 'f');
  d->segment(slow, 2, kTestBufferSize, 's', 0);
  expect_message(d, 1, 10, 'f');
  expect_nothing(d);
  d->segment(slow, 3, 7, 's', ipc::kLastSegment);
  d->message(fast, 4, 11, 'g');
  expect_message(d, 0, 2 * kTestBufferSize + 7, 's');
  expect_message(d, 1, 11, 'g');
  assert_int_equal(d->count_released(), 5);
}

void recv__too_little_room_keeps_the_message(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  d->message(ref, 0, 100, 'a');
  d->segment(ref, 1, kTestBufferSize, 'b', ipc::kFirstSegment);
  d->segment(ref, 2, 1, 'b', ipc::kLastSegment);
  char small[99];
  assert_int_equal(machnet_recv(d->channel, small, sizeof small, nullptr), -1);
  assert_int_equal(errno, EMSGSIZE);
  expect_message(d, 0, 100, 'a');
  assert_int_equal(machnet_recv(d->channel, small, sizeof small, nullptr), -1);
  assert_int_equal(errno, EMSGSIZE);
  expect_message(d, 0, kTestBufferSize + 1, 'b');
}

void recvmsg__scatters(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  d->segment(ref, 1, kTestBufferSize, 'b', ipc::kFirstSegment);
  d->segment(ref, 2, 10, 'c', ipc::kLastSegment);
  static char a[1000], b[100];
  MachnetIovec_t pieces[] = {{a, sizeof a}, {nullptr, 0}, {b, 30}};
  MachnetMsgHdr_t message = {0, {}, pieces, 3, 77};
  assert_int_equal(machnet_recvmsg(d->channel, &message), -1);
  assert_int_equal(errno, EMSGSIZE);
  assert_int_equal(message.msg_size, kTestBufferSize + 10);
  pieces[2].len = sizeof b;
  assert_int_equal(machnet_recvmsg(d->channel, &message), 1);
  expect_flow(message.flow_info, reversed(test_flow(0)));
  assert_int_equal(message.flags, 77);
  assert_int_equal(a[999], 'b');
  assert_int_equal(b[23], 'b');
  assert_int_equal(b[24], 'c');
  assert_int_equal(b[33], 'c');
  assert_int_equal(b[34], 0);
  assert_int_equal(machnet_recvmsg(d->channel, &message), 0);
}

void close__drops_messages_and_events(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  const uint32_t other = d->connect(1);
  const uint32_t lengths[] = {8, 8, 8};
  d->bundle(ref, 0, lengths, 3, 'x');
  d->segment(ref, 1, 8, 'x', ipc::kFirstSegment);
  expect_message(d, 0, 8, 'x');
  assert_int_equal(machnet_close(d->channel, test_flow(0)), 0);
  ipc::Item16 item;
  assert_true(d->submitted(&item));
  assert_int_equal(item.a, ref);
  assert_int_equal(ipc::entry_type(item.word), ipc::kSubmitClose);
  assert_int_equal(machnet_send(d->channel, test_flow(0), "x", 1), -1);
  assert_int_equal(errno, ENOTCONN);
  assert_int_equal(machnet_close(d->channel, test_flow(0)), -1);
  assert_int_equal(errno, ENOTCONN);
  d->message(other, 2, 8, 'y');
  expect_message(d, 1, 8, 'y');
  d->end(ref, ipc::kEndClosed);
  expect_nothing(d);
  expect_no_event(d);
  assert_int_equal(d->count_released(), 4);  // three buffers, one slot
  assert_false(d->submitted(&item));
}

void close__partial_message(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  d->segment(ref, 0, kTestBufferSize, 'x', ipc::kFirstSegment);
  d->segment(ref, 1, kTestBufferSize, 'x', 0);
  expect_nothing(d);
  assert_int_equal(machnet_close(d->channel, test_flow(0)), 0);
  assert_int_equal(d->count_released(), 2);
}

void next_event__accepted_messages_closed(void** state) {
  FakeDaemon* d = daemon_of(state);
  expect_no_event(d);
  const uint32_t ref = d->open(2);
  d->message(ref, 0, 8, 'x');
  d->end(ref, ipc::kEndClosedByPeer);
  expect_event(d, MACHNET_EVENT_ACCEPTED, 2);
  expect_no_event(d);  // the message comes first
  expect_message(d, 2, 8, 'x');
  expect_nothing(d);
  uint32_t value;
  assert_true(d->released(&value));
  assert_false(d->released(&value));  // the slot: after the event
  expect_event(d, MACHNET_EVENT_CLOSED, 2);
  assert_true(d->released(&value));
  assert_int_equal(value, ipc::kReleaseSlot | 2);
  assert_int_equal(machnet_send(d->channel, test_flow(2), "x", 1), -1);
  assert_int_equal(errno, EPIPE);
  d->open(2, 2);
  expect_event(d, MACHNET_EVENT_ACCEPTED, 2);
  assert_int_equal(machnet_send(d->channel, test_flow(2), "x", 1), 0);
}

void next_event__reasons(void** state) {
  FakeDaemon* d = daemon_of(state);
  const struct {
    uint32_t reason, event;
    int error;
  } cases[] = {{ipc::kEndClosedByPeer, MACHNET_EVENT_CLOSED, EPIPE},
               {ipc::kEndReset, MACHNET_EVENT_RESET, ECONNRESET},
               {ipc::kEndTimeout, MACHNET_EVENT_DEAD, ETIMEDOUT},
               {ipc::kEndDaemonStop, MACHNET_EVENT_RESET, ECONNRESET}};
  for (uint32_t i = 0; i < 4; i++) {
    d->end(d->connect(i), cases[i].reason);
    expect_event(d, cases[i].event, i);
    assert_int_equal(machnet_send(d->channel, test_flow(i), "x", 1), -1);
    assert_int_equal(errno, cases[i].error);
  }
}

// Programs of the published API never ask for events: they must not run out of slots.
void recv__slots_return_without_events(void** state) {
  FakeDaemon* d = daemon_of(state);
  for (uint32_t generation = 1; generation < 1000; generation++) {
    d->end(d->open(1, generation), ipc::kEndClosedByPeer);
    expect_nothing(d);
    uint32_t value;
    assert_true(d->released(&value));
    assert_int_equal(value, ipc::kReleaseSlot | 1);
  }
  MachnetEvent_t event;  // late, but not wrong: the last ones are there
  int count = 0;
  while (machnet_next_event(d->channel, &event) == 1) count++;
  assert_int_equal(count, 16);
}

void send__learns_of_the_end_without_receiving(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  d->message(ref, 0, 8, 'x');
  d->end(ref, ipc::kEndReset);
  usleep(2000);
  assert_int_equal(machnet_send(d->channel, test_flow(0), "x", 1), -1);
  assert_int_equal(errno, ECONNRESET);
  expect_message(d, 0, 8, 'x');  // what came before stays
  expect_nothing(d);
  expect_event(d, MACHNET_EVENT_RESET, 0);
}

void end__inside_a_message_is_a_reset(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  d->segment(ref, 0, 8, 'x', ipc::kFirstSegment);
  d->end(ref, ipc::kEndClosedByPeer);
  expect_event(d, MACHNET_EVENT_RESET, 0);
  uint32_t value;
  assert_true(d->released(&value));
  assert_int_equal(value, 0);
}

void recv__session_end_kills_the_channel(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0);
  expect_nothing(d);
  close(d->session[1]);
  d->session[1] = -1;
  usleep(2000);
  expect_dead(d, ESHUTDOWN);
}

void recv__engine_is_rung_when_an_eighth_came_back(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  ipc::sleep_announce(&d->lanes[0].header->engine);
  for (uint32_t i = 0; i < kTestRxBuffers / 8; i++) {
    assert_int_equal(d->engine_rings(), 0);
    d->message(ref, i, 8, 'x');
    expect_message(d, 0, 8, 'x');
  }
  assert_int_equal(d->engine_rings(), 1);
}

void recv__lanes_take_turns(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t a = d->connect(0, 0);
  const uint32_t b = d->connect(1, 1);
  for (uint32_t i = 0; i < 4; i++) {
    d->segment(a, i, 8, 'a', ipc::kFirstSegment | ipc::kLastSegment, 0);
    d->segment(b, i, 8, 'b', ipc::kFirstSegment | ipc::kLastSegment, 1);
  }
  for (uint32_t i = 0; i < 4; i++) {
    expect_message(d, 0, 8, 'a');
    expect_message(d, 1, 8, 'b');
  }
  expect_nothing(d);
}

constexpr uint32_t kWhole = ipc::kFirstSegment | ipc::kLastSegment;

void expect_abort(FakeDaemon* d, uint32_t ref, uint32_t lane) {
  ipc::Item16 item;
  assert_true(d->submitted(&item, lane));
  assert_int_equal(item.a, ref);
  assert_int_equal(item.word, ipc::entry_word(ipc::kSubmitClose, ipc::kAbort, 0));
}

// A peer that started anew reaches another engine. The engine of its earlier flow learns it last.
void opened__later_flow_of_the_same_tuple(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t before = d->open(0, 1, 0, UINT32_MAX);
  d->segment(before, 0, 8, 'b', kWhole);
  expect_event(d, MACHNET_EVENT_ACCEPTED, 0);
  const uint32_t after = d->open(0, 1, 1, 0);
  d->segment(after, 0, 8, 'a', kWhole, 1);
  expect_message(d, 0, 8, 'b');
  d->segment(before, 1, 8, 'b', kWhole);
  expect_event(d, MACHNET_EVENT_RESET, 0);
  expect_event(d, MACHNET_EVENT_ACCEPTED, 0);
  expect_abort(d, before, 0);
  expect_message(d, 0, 8, 'a');
  d->end(before, ipc::kEndReset);
  expect_nothing(d);
  expect_no_event(d);
}

// The same, and neither was read when both had come: the later one is read first.
void opened__earlier_flow_is_read_last(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t after = d->open(0, 1, 0, 0);
  d->segment(after, 0, 8, 'a', kWhole);
  const uint32_t before = d->open(0, 1, 1, UINT32_MAX);
  d->segment(before, 0, 8, 'b', kWhole, 1);
  expect_event(d, MACHNET_EVENT_ACCEPTED, 0);
  expect_message(d, 0, 8, 'a');
  expect_nothing(d);
  expect_abort(d, before, 1);
  assert_int_equal(machnet_send(d->channel, test_flow(0), "x", 1), 0);
  ipc::Item16 item;
  assert_true(d->submitted(&item, 0));
  assert_int_equal(item.a, after);
  d->lanes[1].deliver.push(
      {.a = before, .c = ipc::kEndReset, .word = ipc::entry_word(ipc::kDeliverEnded, 0, 0)});
  expect_no_event(d);
  uint32_t value;
  assert_true(d->lanes[1].release.pop(&value));  // the message that nobody gets
  assert_int_equal(value, 0);
  assert_true(d->lanes[1].release.pop(&value));
  assert_int_equal(value, ipc::kReleaseSlot | 0);
}

}  // namespace
}  // namespace mn::client

int main() {
  using namespace mn::client;
#define MN_CASE(f) cmocka_unit_test_setup_teardown(f, setup_daemon, teardown_daemon)
  const CMUnitTest tests[] = {
      MN_CASE(recv__one_segment),
      MN_CASE(recv__bundle),
      MN_CASE(recv__bundle_at_an_offset),
      MN_CASE(recv__segments_and_overtaking),
      MN_CASE(recv__too_little_room_keeps_the_message),
      MN_CASE(recvmsg__scatters),
      MN_CASE(close__drops_messages_and_events),
      MN_CASE(close__partial_message),
      MN_CASE(next_event__accepted_messages_closed),
      MN_CASE(next_event__reasons),
      MN_CASE(recv__slots_return_without_events),
      MN_CASE(send__learns_of_the_end_without_receiving),
      MN_CASE(end__inside_a_message_is_a_reset),
      MN_CASE(recv__session_end_kills_the_channel),
      MN_CASE(recv__engine_is_rung_when_an_eighth_came_back),
#define MN_TWO_LANES(f) cmocka_unit_test_setup_teardown(f, setup_two_lanes, teardown_daemon)
      MN_TWO_LANES(recv__lanes_take_turns),
      MN_TWO_LANES(opened__later_flow_of_the_same_tuple),
      MN_TWO_LANES(opened__earlier_flow_is_read_last),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
