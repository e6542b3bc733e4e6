// SPDX-License-Identifier: MIT
#include "host/port_table.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
extern "C" {
#include <cmocka.h>
}

using mn::Instant;
using mn::milliseconds;
using mn::seconds;
using namespace mn::host;

namespace {

constexpr Instant kStart{1'000'000};
constexpr PortOwner kAlice = 1, kBob = 2;

PortTable* table;

int setup(void**) {
  PortTableConfig config;
  config.dynamic_first = 60000;
  config.dynamic_last = 60009;
  config.seed = 1;
  table = new PortTable(config);
  return 0;
}
int teardown(void**) {
  delete table;
  return 0;
}

void listen__one_listener_for_a_port(void**) {
  assert_int_equal(table->listen(888, kAlice), PortStatus::kOk);
  assert_int_equal(table->listen(888, kBob), PortStatus::kInUse);
  assert_int_equal(table->listen(888, kAlice), PortStatus::kInUse);
  assert_int_equal(table->listener(888), kAlice);
  assert_false(table->unlisten(888, kBob));
  assert_true(table->unlisten(888, kAlice));
  assert_false(table->unlisten(888, kAlice));
  assert_int_equal(table->listener(888), 0);
  assert_int_equal(table->listen(888, kBob), PortStatus::kOk);
}

void listen__ends_of_the_range(void**) {
  assert_int_equal(table->listen(0, kAlice), PortStatus::kInvalid);
  assert_int_equal(table->listen(65535, kAlice), PortStatus::kOk);
  assert_int_equal(table->listen(1, kAlice), PortStatus::kOk);
}

void allocate__each_port_once(void**) {
  uint32_t seen = 0;
  for (int i = 0; i < 10; i++) {
    const mn::Port port = table->allocate(kStart, kAlice);
    assert_in_range(port, 60000, 60009);
    assert_int_equal(seen & 1u << (port - 60000), 0);
    seen |= 1u << (port - 60000);
  }
  assert_int_equal(table->allocate(kStart, kAlice), 0);
  assert_int_equal(table->allocated_count(), 10);
}

void allocate__not_in_plain_order(void**) {
  bool in_order = true;
  for (int i = 0; i < 10; i++) in_order &= table->allocate(kStart, kAlice) == 60000 + i;
  assert_false(in_order);
}

void release__rests_before_it_is_given_again(void**) {
  mn::Port ports[10];
  for (mn::Port& port : ports) port = table->allocate(kStart, kAlice);
  assert_true(table->release(kStart, ports[4]));
  assert_false(table->release(kStart, ports[4]));
  assert_int_equal(table->allocate(kStart + milliseconds(99), kBob), 0);
  assert_true(table->release(kStart + milliseconds(50), ports[1]));
  assert_int_equal(table->allocate(kStart + milliseconds(100), kBob), ports[4]);
  assert_int_equal(table->allocate(kStart + milliseconds(149), kBob), 0);
  assert_int_equal(table->allocate(kStart + milliseconds(150), kBob), ports[1]);
  assert_int_equal(table->allocated_count(), 10);
}

void listen__takes_a_dynamic_port_out_of_the_pool(void**) {
  assert_int_equal(table->listen(60003, kAlice), PortStatus::kOk);
  for (int i = 0; i < 9; i++) assert_int_not_equal(table->allocate(kStart, kBob), 60003);
  assert_int_equal(table->allocate(kStart, kBob), 0);
  assert_false(table->release(kStart, 60003));
  assert_true(table->unlisten(60003, kAlice));
  assert_int_equal(table->allocate(kStart, kBob), 60003);
  assert_int_equal(table->listen(60003, kAlice), PortStatus::kInUse);
  assert_false(table->unlisten(60003, kBob));
}

void allocate__thousands(void**) {
  PortTable big{PortTableConfig{}};
  for (int i = 0; i < 16384; i++) assert_true(big.allocate(kStart, kAlice) >= 49152);
  assert_int_equal(big.allocate(kStart, kAlice), 0);
}

void take__a_port_that_rested(void**) {
  const mn::Port port = table->allocate(kStart, kAlice);
  assert_false(table->take(kStart, port, kBob));
  assert_true(table->release(kStart, port));
  assert_false(table->take(kStart + seconds(60) - mn::nanoseconds(1), port, kBob));
  assert_true(table->take(kStart + seconds(60), port, kBob));
  assert_false(table->take(kStart + seconds(60), port, kBob));
  assert_int_equal(table->allocated_count(), 1);
  uint32_t others = 0;
  while (table->allocate(kStart + seconds(60), kAlice) != 0) others++;
  assert_int_equal(others, 9);
  assert_true(table->release(kStart + seconds(61), port));
}

void take__not_a_listener_s_nor_outside_the_range(void**) {
  assert_false(table->take(kStart, 59999, kAlice));
  assert_false(table->take(kStart, 60010, kAlice));
  assert_int_equal(table->listen(60003, kBob), PortStatus::kOk);
  assert_false(table->take(kStart, 60003, kAlice));
  assert_true(table->unlisten(60003, kBob));
  assert_true(table->take(kStart, 60003, kAlice));
  assert_int_equal(table->listen(60003, kBob), PortStatus::kInUse);
}

// Whoever listened on it in between: its last flow ended when it ended.
void take__a_listener_in_between_is_no_rest(void**) {
  const mn::Port port = table->allocate(kStart, kAlice);
  table->release(kStart, port);
  table->listen(port, kAlice);
  table->unlisten(port, kAlice);
  assert_false(table->take(kStart + seconds(1), port, kAlice));
  assert_true(table->take(kStart + seconds(60), port, kAlice));
}

}  // namespace

int main() {
#define MN_CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const CMUnitTest tests[] = {
      MN_CASE(listen__one_listener_for_a_port),
      MN_CASE(listen__ends_of_the_range),
      MN_CASE(allocate__each_port_once),
      MN_CASE(allocate__not_in_plain_order),
      MN_CASE(release__rests_before_it_is_given_again),
      MN_CASE(listen__takes_a_dynamic_port_out_of_the_pool),
      MN_CASE(allocate__thousands),
      MN_CASE(take__a_port_that_rested),
      MN_CASE(take__a_listener_in_between_is_no_rest),
      MN_CASE(take__not_a_listener_s_nor_outside_the_range),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
