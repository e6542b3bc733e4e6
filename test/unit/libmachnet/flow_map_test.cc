// SPDX-License-Identifier: MIT
#include "libmachnet/flow_map.h"

#include "fake_daemon.h"
#include "libmachnet/channel_state.h"

namespace mn::client {
namespace {

constexpr uint32_t kFlows = 500;

struct Fixture {
  FlowMap map;
  FlowState flows[kFlows];
};

int setup(void** state) {
  Fixture* f = new Fixture;
  assert_true(f->map.init(f->flows, kFlows));
  *state = f;
  return 0;
}

int teardown(void** state) {
  Fixture* f = static_cast<Fixture*>(*state);
  f->map.destroy();
  delete f;
  return 0;
}

MachnetFlow_t tuple(uint32_t n) {
  return {0x0a000001, 0x0a000000 | (n % 7), static_cast<uint16_t>(n), static_cast<uint16_t>(n / 3)};
}

void insert(Fixture* f, const MachnetFlow_t& flow, uint32_t n) {
  f->flows[n].local = flow;
  f->map.insert(&f->flows[n]);
}

void find__unknown_flow(void** state) {
  Fixture* f = static_cast<Fixture*>(*state);
  assert_null(f->map.find(tuple(1)));
}

void insert__each_field_distinguishes(void** state) {
  Fixture* f = static_cast<Fixture*>(*state);
  const MachnetFlow_t base = {1, 2, 3, 4};
  const MachnetFlow_t others[] = {
      {9, 2, 3, 4}, {1, 9, 3, 4}, {1, 2, 9, 4}, {1, 2, 3, 9}, {2, 1, 4, 3}};
  insert(f, base, 0);
  for (const MachnetFlow_t& other : others) assert_null(f->map.find(other));
  assert_ptr_equal(f->map.find(base), &f->flows[0]);
}

void insert__replaces_same_tuple(void** state) {
  Fixture* f = static_cast<Fixture*>(*state);
  insert(f, tuple(1), 0);
  insert(f, tuple(1), 1);
  assert_ptr_equal(f->map.find(tuple(1)), &f->flows[1]);
  f->map.erase(tuple(1), &f->flows[0]);  // no longer its entry
  assert_ptr_equal(f->map.find(tuple(1)), &f->flows[1]);
}

// Against a plain array, with every run of colliding entries torn open many times.
void erase__keeps_the_others(void** state) {
  Fixture* f = static_cast<Fixture*>(*state);
  bool present[kFlows] = {};
  uint32_t random = 12345;
  for (int step = 0; step < 20000; step++) {
    random = random * 1664525 + 1013904223;
    const uint32_t n = (random >> 8) % kFlows;
    if (present[n]) {
      f->map.erase(tuple(n), &f->flows[n]);
    } else {
      insert(f, tuple(n), n);
    }
    present[n] = !present[n];
    if (step % 100 != 0) continue;
    for (uint32_t i = 0; i < kFlows; i++) {
      assert_ptr_equal(f->map.find(tuple(i)), present[i] ? &f->flows[i] : nullptr);
    }
  }
}

}  // namespace
}  // namespace mn::client

int main() {
  using namespace mn::client;
  const CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(find__unknown_flow, setup, teardown),
      cmocka_unit_test_setup_teardown(insert__each_field_distinguishes, setup, teardown),
      cmocka_unit_test_setup_teardown(insert__replaces_same_tuple, setup, teardown),
      cmocka_unit_test_setup_teardown(erase__keeps_the_others, setup, teardown),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
