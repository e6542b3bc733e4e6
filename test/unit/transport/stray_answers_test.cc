// SPDX-License-Identifier: MIT
#include "transport/stray_answers.h"

#include "two_hosts.h"

using namespace mn;
using namespace mn::test;
using transport::StrayAnswers;

namespace {

struct Fixture {
  StrayAnswers answers;
  transport::TransmitView view;
};
int setup(void** state) {
  *state = new Fixture;
  return 0;
}
int teardown(void** state) {
  delete static_cast<Fixture*>(*state);
  return 0;
}

uint32_t drain(Fixture& f, Instant now) {
  uint32_t count = 0;
  for (; !f.answers.empty(); count++) f.answers.transmit(now, 1440, &f.view);
  return count;
}

void queue_reset__so_many_a_second(void** state) {
  Fixture& f = *static_cast<Fixture*>(*state);
  Instant now{1'000'000'000};
  uint32_t sent = 0;
  for (int i = 0; i < 10000; i++) {
    f.answers.queue_reset(
        now, {.tuple = TwoHosts::kTuple, .path = 3, .tag = 9, .sequence = 7, .flags = 0});
    if (i % 16 == 0) sent += drain(f, now);
    now = now + microseconds(100);
  }
  assert_in_range(sent, 1000, 1300);
}

void queue_cookie__is_an_open_ack_with_nothing_but_the_cookie(void** state) {
  Fixture& f = *static_cast<Fixture*>(*state);
  f.answers.queue_cookie(
      {.tuple = TwoHosts::kTuple, .path = 3, .tag = 9, .ack = 77, .cookie = 0x1234});
  f.answers.transmit(Instant{5}, 1440, &f.view);
  assert_true(f.answers.empty());
  assert_int_equal(f.view.path, 3);
  const Bytes bytes(f.view.header.begin(),
                    f.view.header.begin() + static_cast<long>(f.view.header_size));
  const wire::Packet packet = parsed(bytes);
  assert_true(packet.header.type == PacketType::kOpenAck);
  assert_int_equal(packet.header.tag, 9);
  assert_int_equal(packet.header.ack, 77);
  wire::Options options;
  assert_true(wire::parse_options(packet.payload, &options));
  assert_int_equal(options.cookie, 0x1234);
}

void queue__never_more_than_it_holds(void** state) {
  Fixture& f = *static_cast<Fixture*>(*state);
  for (int i = 0; i < 1000; i++)
    f.answers.queue_cookie({.tuple = TwoHosts::kTuple, .path = 0, .tag = 1, .ack = 1, .cookie = 1});
  assert_int_equal(drain(f, Instant{1}), 64);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(queue_reset__so_many_a_second, setup, teardown),
      cmocka_unit_test_setup_teardown(queue_cookie__is_an_open_ack_with_nothing_but_the_cookie,
                                      setup, teardown),
      cmocka_unit_test_setup_teardown(queue__never_more_than_it_holds, setup, teardown),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
