// SPDX-License-Identifier: MIT
#include "channel/lane.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstring>
#include <memory>
#include <vector>
extern "C" {
#include <cmocka.h>
}

#include "channel/channel.h"

namespace ipc = mn::ipc;
using mn::Lane;
using mn::Submission;

namespace {

constexpr ipc::LaneShape kShape{
    .tx_buffers = 8, .rx_buffers = 4, .buffer_size = 128, .flow_slots = 4};

// A channel of one small lane, with the application's end of its rings.
struct Fixture {
  std::unique_ptr<mn::Channel> channel;
  mn::Lane* lane;
  uint8_t* base;  // the application's view
  ipc::Producer16 submit;
  ipc::Consumer4 complete;
  ipc::Consumer16 deliver;
  ipc::Producer4 release;

  ipc::LaneHeader* header() { return reinterpret_cast<ipc::LaneHeader*>(base); }
  void segment(uint32_t flow, uint32_t buffer, uint32_t length, bool last = true) {
    submit.push(
        {.a = flow,
         .b = buffer,
         .word = ipc::entry_word(ipc::kSubmitSegment, last ? ipc::kLastSegment : 0u, length)});
  }
};

int setup(void** state) {
  auto made = mn::Channel::create({&kShape, 1});
  if (!made.ok()) return -1;
  auto* f = new Fixture{};
  f->channel = std::move(made.value());
  f->lane = f->channel->lane(0);
  // tx_bytes of buffer 0 is at a known offset: the fixture needs no mapping of its own.
  const ipc::LaneOffsets at = ipc::lane_offsets(kShape);
  f->base = const_cast<uint8_t*>(f->lane->tx_bytes(0).data()) - at.tx_data;
  f->submit = {reinterpret_cast<ipc::Entry16*>(f->base + at.submit), ipc::submit_capacity(kShape)};
  f->complete = {reinterpret_cast<ipc::Entry4*>(f->base + at.complete),
                 ipc::complete_capacity(kShape)};
  f->deliver = {reinterpret_cast<ipc::Entry16*>(f->base + at.deliver),
                ipc::deliver_capacity(kShape)};
  f->release = {reinterpret_cast<ipc::Entry4*>(f->base + at.release),
                ipc::release_capacity(kShape)};
  *state = f;
  return 0;
}

int teardown(void** state) {
  delete static_cast<Fixture*>(*state);
  return 0;
}

Fixture& fixture(void** state) { return *static_cast<Fixture*>(*state); }

void expect_violation(Fixture& f, const char* part) {
  Submission s;
  assert_false(f.lane->next_submission(&s));
  f.lane->take_releases(100);
  assert_non_null(f.lane->violation());
  assert_non_null(strstr(f.lane->violation(), part));
  // A dead lane hands out nothing more.
  f.segment(0, 0, 1);
  assert_false(f.lane->next_submission(&s));
  assert_int_equal(f.lane->flow_reserve(9, {}), mn::transport::kNoFlow);
  const uint8_t byte = 1;
  assert_int_equal(f.lane->rx_put({&byte, 1}), mn::transport::kNoBuffer);
}

void next_submission__valid_segments_come_out_in_order(void** state) {
  Fixture& f = fixture(state);
  const uint32_t flow = f.lane->flow_reserve(77, {});
  f.segment(flow, 3, 128, false);
  f.segment(flow, 5, 1, true);
  Submission s;
  assert_true(f.lane->next_submission(&s));
  assert_int_equal(s.handle, 77);
  assert_int_equal(s.buffer, 3);
  assert_int_equal(s.length, 128);
  assert_false(s.last_segment);
  assert_true(f.lane->next_submission(&s));
  assert_int_equal(s.buffer, 5);
  assert_true(s.last_segment);
  assert_false(f.lane->next_submission(&s));
  assert_null(f.lane->violation());
}

void next_submission__buffer_out_of_range_is_a_violation(void** state) {
  Fixture& f = fixture(state);
  f.segment(f.lane->flow_reserve(1, {}), kShape.tx_buffers, 1);
  expect_violation(f, "does not exist");
}

void next_submission__buffer_sent_twice_is_a_violation(void** state) {
  Fixture& f = fixture(state);
  const uint32_t flow = f.lane->flow_reserve(1, {});
  Submission s;
  f.segment(flow, 2, 1);
  assert_true(f.lane->next_submission(&s));
  f.segment(flow, 2, 1);
  expect_violation(f, "being sent already");
}

void next_submission__length_beyond_the_buffer_is_a_violation(void** state) {
  Fixture& f = fixture(state);
  f.segment(f.lane->flow_reserve(1, {}), 0, kShape.buffer_size + 1);
  expect_violation(f, "length outside");
}

void next_submission__empty_segment_is_a_violation(void** state) {
  Fixture& f = fixture(state);
  f.segment(f.lane->flow_reserve(1, {}), 0, 0);
  expect_violation(f, "length outside");
}

void next_submission__short_middle_segment_is_a_violation(void** state) {
  Fixture& f = fixture(state);
  f.segment(f.lane->flow_reserve(1, {}), 0, 100, false);
  expect_violation(f, "last segment may be short");
}

void next_submission__unknown_type_is_a_violation(void** state) {
  Fixture& f = fixture(state);
  f.submit.push({.word = ipc::entry_word(99, 0, 1)});
  expect_violation(f, "unknown type");
}

void next_submission__endless_message_is_a_violation(void** state) {
  Fixture& f = fixture(state);
  const uint32_t flow = f.lane->flow_reserve(1, {});
  Submission s;
  uint64_t sent = 0;
  while (f.lane->violation() == nullptr) {
    f.segment(flow, 0, kShape.buffer_size, false);
    if (!f.lane->next_submission(&s)) break;
    sent += kShape.buffer_size;
    f.lane->tx_done(0);
    assert_true(sent <= ipc::kMessageBytesMax);
  }
  assert_int_equal(sent, ipc::kMessageBytesMax);
  assert_non_null(f.lane->violation());
}

void next_submission__segment_of_no_flow_goes_straight_back(void** state) {
  Fixture& f = fixture(state);
  const uint32_t flow = f.lane->flow_reserve(1, {});
  f.segment(ipc::flow_ref(ipc::flow_ref_slot(flow), ipc::flow_ref_generation(flow) + 1), 4, 10);
  f.segment(ipc::flow_ref(kShape.flow_slots, 1), 5, 10);  // a slot that does not exist
  f.segment(0, 6, 10);
  Submission s;
  assert_false(f.lane->next_submission(&s));
  assert_null(f.lane->violation());
  assert_int_equal(f.lane->stale_submits(), 3);
  for (uint32_t buffer : {4u, 5u, 6u}) {
    uint32_t done = 0;
    assert_true(f.complete.pop(&done));
    assert_int_equal(done, buffer);
  }
}

void next_submission__nothing_is_sent_after_close(void** state) {
  Fixture& f = fixture(state);
  const uint32_t flow = f.lane->flow_reserve(9, {});
  f.submit.push({.a = flow, .word = ipc::entry_word(ipc::kSubmitClose, 0, 0)});
  f.segment(flow, 1, 5);
  f.submit.push({.a = flow, .word = ipc::entry_word(ipc::kSubmitClose, 0, 0)});
  Submission s;
  assert_true(f.lane->next_submission(&s));
  assert_true(s.kind == Submission::Kind::kClose);
  assert_int_equal(s.handle, 9);
  assert_false(f.lane->next_submission(&s));
  assert_null(f.lane->violation());
  assert_int_equal(f.lane->stale_submits(), 1);
}

void next_submission__close_may_be_an_abort(void** state) {
  Fixture& f = fixture(state);
  const uint32_t flow = f.lane->flow_reserve(9, {});
  f.submit.push({.a = flow, .word = ipc::entry_word(ipc::kSubmitClose, ipc::kAbort, 0)});
  Submission s;
  assert_true(f.lane->next_submission(&s));
  assert_true(s.kind == Submission::Kind::kAbort);
  assert_int_equal(s.handle, 9);
}

void next_submission__close_inside_a_message_is_a_violation(void** state) {
  Fixture& f = fixture(state);
  const uint32_t flow = f.lane->flow_reserve(9, {});
  f.segment(flow, 1, kShape.buffer_size, false);
  f.submit.push({.a = flow, .word = ipc::entry_word(ipc::kSubmitClose, 0, 0)});
  Submission s;
  assert_true(f.lane->next_submission(&s));
  expect_violation(f, "middle of a message");
}

void take_releases__buffer_not_delivered_is_a_violation(void** state) {
  Fixture& f = fixture(state);
  f.release.push(1);
  expect_violation(f, "not delivered");
}

void take_releases__what_does_not_exist_is_a_violation(void** state) {
  Fixture& f = fixture(state);
  f.release.push(kShape.rx_buffers);
  expect_violation(f, "was not delivered");
}

void take_releases__slot_that_does_not_exist_is_a_violation(void** state) {
  Fixture& f = fixture(state);
  f.release.push(ipc::kReleaseSlot | kShape.flow_slots);
  expect_violation(f, "has not ended");
}

void take_releases__buffer_released_twice_is_a_violation(void** state) {
  Fixture& f = fixture(state);
  const uint32_t flow = f.lane->flow_reserve(1, {});
  const uint8_t byte = 1;
  const uint32_t buffer = f.lane->rx_put({&byte, 1});
  f.lane->rx_deliver(flow, {.buffer = buffer, .length = 1, .flags = 3, .message_count = 0});
  f.release.push(buffer);
  assert_int_equal(f.lane->take_releases(10), 1);
  assert_int_equal(f.lane->rx_free(), kShape.rx_buffers);
  f.release.push(buffer);
  expect_violation(f, "not delivered");
  assert_int_equal(f.lane->rx_free(), kShape.rx_buffers);
}

void take_releases__slot_of_a_live_flow_is_a_violation(void** state) {
  Fixture& f = fixture(state);
  f.release.push(ipc::kReleaseSlot | ipc::flow_ref_slot(f.lane->flow_reserve(1, {})));
  expect_violation(f, "has not ended");
}

void take_releases__takes_no_more_than_its_budget(void** state) {
  Fixture& f = fixture(state);
  const uint32_t flow = f.lane->flow_reserve(1, {});
  const uint8_t byte = 1;
  for (int i = 0; i < 3; i++) {
    const uint32_t buffer = f.lane->rx_put({&byte, 1});
    f.lane->rx_deliver(flow, {.buffer = buffer, .length = 1, .flags = 3, .message_count = 0});
    f.release.push(buffer);
  }
  assert_int_equal(f.lane->take_releases(2), 2);
  assert_int_equal(f.lane->rx_free(), kShape.rx_buffers - 1);
}

void flow_slots__are_reused_only_after_release_and_with_a_new_generation(void** state) {
  Fixture& f = fixture(state);
  uint32_t flows[kShape.flow_slots];
  for (uint32_t& flow : flows) {
    flow = f.lane->flow_reserve(1, {});
    f.lane->flow_accepted(flow);
  }
  ipc::Item16 opened;
  while (f.deliver.pop(&opened)) {
  }
  assert_int_equal(f.lane->flow_reserve(1, {}), mn::transport::kNoFlow);
  f.lane->flow_ended(flows[2], ipc::kEndReset);
  assert_int_equal(f.lane->flow_reserve(1, {}), mn::transport::kNoFlow);
  ipc::Item16 item;
  assert_true(f.deliver.pop(&item));
  assert_int_equal(ipc::entry_type(item.word), ipc::kDeliverEnded);
  assert_int_equal(item.a, flows[2]);
  assert_int_equal(item.c, ipc::kEndReset);
  f.release.push(ipc::kReleaseSlot | ipc::flow_ref_slot(flows[2]));
  f.lane->take_releases(10);
  assert_false(f.lane->has_released());
  const uint32_t again = f.lane->flow_reserve(1, {});
  assert_int_equal(ipc::flow_ref_slot(again), ipc::flow_ref_slot(flows[2]));
  assert_int_not_equal(again, flows[2]);
  assert_int_equal(f.lane->handle_of(flows[2]), 0);
}

// Its port is free when the application knows of the end, and the application may write anything
// over the tuple that it sees.
void flow_slots__of_flows_that_we_opened_tell_their_ports(void** state) {
  Fixture& f = fixture(state);
  uint32_t flows[kShape.flow_slots];
  for (uint32_t i = 0; i < kShape.flow_slots; i++) {
    flows[i] = f.lane->flow_reserve(1, {1, 2, static_cast<mn::Port>(100 + i), 4});
  }
  for (const uint32_t flow : flows) f.lane->flow_ended(flow, ipc::kEndClosed);
  memset(f.base + ipc::lane_offsets(kShape).flows, 0xff, sizeof(ipc::FlowSlot));
  assert_false(f.lane->has_released() || f.lane->has_input());
  for (const uint32_t flow : flows) f.release.push(ipc::kReleaseSlot | ipc::flow_ref_slot(flow));
  f.lane->take_releases(10);
  uint32_t ports = 0;
  for (uint32_t i = 0; i < kShape.flow_slots; i++) {
    assert_true(f.lane->has_released() && f.lane->has_input());
    assert_int_equal(f.lane->flow_room(), i);
    ports += f.lane->take_released().local_port;
  }
  assert_false(f.lane->has_released() || f.lane->has_input());
  assert_int_equal(f.lane->flow_room(), kShape.flow_slots);
  assert_int_equal(ports, kShape.flow_slots * (200 + kShape.flow_slots - 1) / 2);
}

void take_releases__slot_released_twice_is_a_violation(void** state) {
  Fixture& f = fixture(state);
  const uint32_t flow = f.lane->flow_reserve(1, {});
  f.lane->flow_ended(flow, ipc::kEndClosed);
  f.release.push(ipc::kReleaseSlot | ipc::flow_ref_slot(flow));
  f.lane->take_releases(10);
  assert_null(f.lane->violation());
  f.release.push(ipc::kReleaseSlot | ipc::flow_ref_slot(flow));
  f.lane->take_releases(10);
  assert_non_null(f.lane->violation());
}

void flow_ended__without_a_reason_tells_nobody(void** state) {
  Fixture& f = fixture(state);
  f.lane->flow_ended(f.lane->flow_reserve(1, {}), 0);
  assert_true(f.deliver.empty());
  for (uint32_t i = 0; i < kShape.flow_slots; i++) {
    assert_int_not_equal(f.lane->flow_reserve(1, {}), mn::transport::kNoFlow);
  }
}

void rx_put__full_pool_is_refused(void** state) {
  Fixture& f = fixture(state);
  const uint8_t byte = 1;
  for (uint32_t i = 0; i < kShape.rx_buffers; i++) {
    assert_int_not_equal(f.lane->rx_put({&byte, 1}), mn::transport::kNoBuffer);
  }
  assert_int_equal(f.lane->rx_put({&byte, 1}), mn::transport::kNoBuffer);
}

bool readable(int fd) {
  pollfd p{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&p, 1, 0) == 1;
}

void ring_application__only_a_sleeper_that_wants_it_is_woken(void** state) {
  Fixture& f = fixture(state);
  mn::Lane* news = nullptr;
  f.lane->link_news(&news);
  const uint32_t flow = f.lane->flow_reserve(1, {});
  f.lane->flow_accepted(flow);
  assert_ptr_equal(mn::Lane::next_news(&news), f.lane);
  f.lane->ring_application();
  assert_false(readable(f.channel->application_fd()));  // nobody sleeps

  ipc::sleep_announce(&f.header()->application, ipc::kWakeEntries);
  f.segment(flow, 0, 1);
  Submission s;
  assert_true(f.lane->next_submission(&s));
  f.lane->tx_done(0);
  f.lane->ring_application();
  assert_false(readable(f.channel->application_fd()));  // it waits for messages, not for space

  f.lane->flow_accepted(flow);
  f.lane->ring_application();
  assert_true(readable(f.channel->application_fd()));
}

// The engine gives the processor to applications for what they can use.
void ring_application__parts_of_messages_are_no_news_to_the_program(void** state) {
  Fixture& f = fixture(state);
  mn::Lane* news = nullptr;
  f.lane->link_news(&news);
  const uint32_t flow = f.lane->flow_reserve(1, {});
  f.lane->flow_accepted(flow);
  assert_int_equal(f.lane->ring_application(), ipc::kWakeEntries);
  const uint8_t byte = 0;
  const uint32_t first = f.lane->rx_put({&byte, 1});
  f.lane->rx_deliver(flow, {.buffer = first, .length = 1, .flags = ipc::kFirstSegment});
  assert_int_equal(f.lane->ring_application(), 0);
  const uint32_t last = f.lane->rx_put({&byte, 1});
  f.lane->rx_deliver(flow, {.buffer = last, .length = 1, .flags = ipc::kLastSegment});
  assert_int_equal(f.lane->ring_application(), ipc::kWakeEntries);

  f.segment(flow, 0, 1);
  Submission s;
  assert_true(f.lane->next_submission(&s));
  f.lane->tx_done(0);
  assert_int_equal(f.lane->ring_application(), ipc::kWakeSpace);
  assert_int_equal(f.lane->ring_application(), 0);
}

// The flags of an open file belong to all who hold it: the engine must not count on O_NONBLOCK.
void ring_application__never_waits_for_an_application_that_does_not_read(void** state) {
  Fixture& f = fixture(state);
  mn::Lane* news = nullptr;
  f.lane->link_news(&news);
  const uint32_t flow = f.lane->flow_reserve(1, {});
  const int fd = f.channel->application_fd();
  const uint64_t most = 0xfffffffffffffffeu;
  assert_int_equal(send(fd, &most, sizeof most, MSG_NOSIGNAL), -1);  // nobody would read it
  assert_int_equal(errno, EPIPE);
  assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
  for (int i = 0; i < 2000; i++) {  // returns, or this test times out
    ipc::sleep_announce(&f.header()->application);
    f.lane->flow_accepted(flow);
    f.lane->ring_application();
  }
  assert_true(readable(fd));
}

// Entries of no flow must not hold the engine, however many there are; a good one now and then buys
// no more of them.
void next_submission__stale_entries_are_skipped_up_to_a_limit(void** state) {
  Fixture& f = fixture(state);
  const uint32_t flow = f.lane->flow_reserve(7, {});
  Submission s;
  uint32_t good = 0;
  uint32_t stale = 0;
  for (bool more = true; more; good += more) {
    for (uint32_t i = 0; i < 10; i++) {
      f.submit.push({.a = 0, .word = ipc::entry_word(ipc::kSubmitClose, 0, 0)});
    }
    stale += 10;
    assert_true(stale <= Lane::kStaleMax + 10);
    f.segment(flow, good % kShape.tx_buffers, 5);
    more = f.lane->next_submission(&s);
    if (more) f.lane->tx_done(s.buffer);
  }
  assert_int_equal(good, Lane::kStaleMax / 10);
  // The next look goes on where this one stopped.
  assert_true(f.lane->next_submission(&s));
  assert_false(f.lane->next_submission(&s));
  assert_null(f.lane->violation());
}

}  // namespace

#define MN_LANE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main() {
  const CMUnitTest tests[] = {
      MN_LANE_TEST(next_submission__valid_segments_come_out_in_order),
      MN_LANE_TEST(next_submission__buffer_out_of_range_is_a_violation),
      MN_LANE_TEST(next_submission__buffer_sent_twice_is_a_violation),
      MN_LANE_TEST(next_submission__length_beyond_the_buffer_is_a_violation),
      MN_LANE_TEST(next_submission__empty_segment_is_a_violation),
      MN_LANE_TEST(next_submission__short_middle_segment_is_a_violation),
      MN_LANE_TEST(next_submission__unknown_type_is_a_violation),
      MN_LANE_TEST(next_submission__endless_message_is_a_violation),
      MN_LANE_TEST(next_submission__segment_of_no_flow_goes_straight_back),
      MN_LANE_TEST(next_submission__nothing_is_sent_after_close),
      MN_LANE_TEST(next_submission__close_may_be_an_abort),
      MN_LANE_TEST(next_submission__close_inside_a_message_is_a_violation),
      MN_LANE_TEST(take_releases__buffer_not_delivered_is_a_violation),
      MN_LANE_TEST(take_releases__what_does_not_exist_is_a_violation),
      MN_LANE_TEST(take_releases__slot_that_does_not_exist_is_a_violation),
      MN_LANE_TEST(take_releases__buffer_released_twice_is_a_violation),
      MN_LANE_TEST(take_releases__slot_of_a_live_flow_is_a_violation),
      MN_LANE_TEST(take_releases__takes_no_more_than_its_budget),
      MN_LANE_TEST(flow_slots__are_reused_only_after_release_and_with_a_new_generation),
      MN_LANE_TEST(flow_slots__of_flows_that_we_opened_tell_their_ports),
      MN_LANE_TEST(take_releases__slot_released_twice_is_a_violation),
      MN_LANE_TEST(flow_ended__without_a_reason_tells_nobody),
      MN_LANE_TEST(rx_put__full_pool_is_refused),
      MN_LANE_TEST(ring_application__only_a_sleeper_that_wants_it_is_woken),
      MN_LANE_TEST(ring_application__parts_of_messages_are_no_news_to_the_program),
      MN_LANE_TEST(ring_application__never_waits_for_an_application_that_does_not_read),
      MN_LANE_TEST(next_submission__stale_entries_are_skipped_up_to_a_limit),
  };
  return cmocka_run_group_tests_name("lane", tests, nullptr, nullptr);
}
