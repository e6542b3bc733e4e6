// SPDX-License-Identifier: MIT
// What the library does with deliveries that no honest daemon, or no honest peer, would cause.
#include <errno.h>

#include "fake_daemon.h"
#include "libmachnet/channel_state.h"

namespace mn::client {
namespace {

FakeDaemon* daemon_of(void** state) { return static_cast<FakeDaemon*>(*state); }

void recv__entries_outside_bounds_kill_the_channel(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = ipc::flow_ref(0, 1);
  const uint32_t both = ipc::kFirstSegment | ipc::kLastSegment;
  const ipc::Item16 bad[] = {
      {ref, kTestRxBuffers, 0, ipc::entry_word(ipc::kDeliverSegment, both, 8)},
      {ref, UINT32_MAX, 0, ipc::entry_word(ipc::kDeliverSegment, both, 8)},
      {ref, 0, 0, ipc::entry_word(ipc::kDeliverSegment, both, 0)},
      {ref, 0, 0, ipc::entry_word(ipc::kDeliverSegment, both, kTestBufferSize + 1)},
      {ref, 0, 1, ipc::entry_word(ipc::kDeliverSegment, both, kTestBufferSize)},
      {ref, 0, UINT32_MAX, ipc::entry_word(ipc::kDeliverSegment, both, 8)},
      {ref, 0, 0xffff | 1 << 16, ipc::entry_word(ipc::kDeliverBundle, 0, 16)},
      {ref, 0, 0, ipc::entry_word(9, both, 8)},
      {ipc::flow_ref(kTestFlowSlots, 1), 0, 0, ipc::entry_word(ipc::kDeliverOpened, 0, 0)},
      {ref, 0, 0, ipc::entry_word(ipc::kDeliverOpened, 0, 0)},  // in use
      {ipc::flow_ref(3, 0), 0, 0, ipc::entry_word(ipc::kDeliverOpened, 0, 0)},
  };
  for (const ipc::Item16& item : bad) {
    d->connect(0);
    d->raw(item);
    expect_dead(d, EPROTO);
    d->stop();
    d->start();
  }
}

void recv__buffer_delivered_twice_kills_the_channel(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  d->segment(ref, 1, kTestBufferSize, 'b', ipc::kFirstSegment);
  d->segment(ref, 1, 10, 'c', ipc::kLastSegment);
  expect_dead(d, EPROTO);
}

// What a peer can cause ends the flow, not the channel.
void recv__stream_that_is_no_sequence_of_messages_breaks_the_flow(void** state) {
  FakeDaemon* d = daemon_of(state);
  for (uint32_t kind = 0; kind < 6; kind++) {
    const uint32_t ref = d->connect(0);
    const uint32_t other = d->connect(1);
    const uint32_t lengths[] = {8, 8};
    uint8_t* table = d->lanes[0].rx_data + 1 * kTestBufferSize;
    switch (kind) {
      case 0:  // a rest without a beginning
        d->segment(ref, 1, 8, 'x', ipc::kLastSegment);
        break;
      case 1:  // a beginning inside a message
        d->segment(ref, 0, 8, 'x', ipc::kFirstSegment);
        d->segment(ref, 1, 8, 'x', ipc::kFirstSegment);
        break;
      case 2:  // a bundle inside a message
        d->segment(ref, 0, 8, 'x', ipc::kFirstSegment);
        d->bundle(ref, 1, lengths, 2, 'x');
        break;
      case 3:  // a bundle of nothing
        d->raw({.a = ref, .b = 1, .c = 0, .word = ipc::entry_word(ipc::kDeliverBundle, 0, 16)});
        break;
      case 4:  // a table longer than the bundle
        d->raw({.a = ref,
                .b = 1,
                .c = 255 << 16,
                .word = ipc::entry_word(ipc::kDeliverBundle, 0, 16)});
        break;
      default:  // a message longer than the bundle
        d->bundle(ref, 1, lengths, 2, 'x');
        table[0] = 0xff;
    }
    d->message(ref, 2, 8, 'y');
    d->message(other, 3, 8, 'z');
    expect_message(d, 1, 8, 'z');
    expect_nothing(d);
    assert_int_equal(d->count_released(), kind == 1 || kind == 2 ? 4 : 3);
    assert_int_equal(machnet_send(d->channel, test_flow(0), "x", 1), -1);
    assert_int_equal(errno, ECONNRESET);
    ipc::Item16 item;
    assert_true(d->submitted(&item));
    assert_int_equal(item.word, ipc::entry_word(ipc::kSubmitClose, ipc::kAbort, 0));
    d->end(ref, ipc::kEndClosed);
    expect_event(d, MACHNET_EVENT_RESET, 0);
    d->stop();
    d->start();
  }
}

void recv__second_length_of_a_bundle_is_checked(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  const uint32_t lengths[] = {8, 8};
  d->bundle(ref, 1, lengths, 2, 'x');
  d->lanes[0].rx_data[1 * kTestBufferSize + 3] = 9;
  expect_message(d, 0, 8, 'x');
  expect_nothing(d);
  assert_int_equal(d->count_released(), 1);
}

void recv__unknown_flow_is_dropped(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  d->message(ipc::flow_ref(0, 2), 0, 8, 'x');
  d->message(ipc::flow_ref(kTestFlowSlots, 1), 1, 8, 'x');
  d->message(ref, 2, 8, 'y');
  expect_message(d, 0, 8, 'y');
  assert_int_equal(d->count_released(), 3);
}

}  // namespace
}  // namespace mn::client

int main() {
  using namespace mn::client;
#define MN_CASE(f) cmocka_unit_test_setup_teardown(f, setup_daemon, teardown_daemon)
  const CMUnitTest tests[] = {
      MN_CASE(recv__entries_outside_bounds_kill_the_channel),
      MN_CASE(recv__buffer_delivered_twice_kills_the_channel),
      MN_CASE(recv__stream_that_is_no_sequence_of_messages_breaks_the_flow),
      MN_CASE(recv__second_length_of_a_bundle_is_checked),
      MN_CASE(recv__unknown_flow_is_dropped),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
