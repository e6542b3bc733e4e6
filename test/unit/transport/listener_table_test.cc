// SPDX-License-Identifier: MIT
#include "transport/listener_table.h"

#include "two_hosts.h"

using namespace mn;
using namespace mn::test;
using transport::ListenerTable;
using Status = transport::ListenerTable::AddStatus;

namespace {

struct Fixture {
  ListenerTable table{8};
  ArrayStore a{StoreShape{}};
  ArrayStore b{StoreShape{}};
};
int setup(void** state) {
  *state = new Fixture;
  return 0;
}
int teardown(void** state) {
  delete static_cast<Fixture*>(*state);
  return 0;
}

void find__one_address_before_any_address(void** state) {
  Fixture& f = *static_cast<Fixture*>(*state);
  assert_true(f.table.add(0, 80, &f.a) == Status::kAdded);
  assert_true(f.table.add(5, 80, &f.b) == Status::kAdded);
  assert_ptr_equal(f.table.find(5, 80), &f.b);
  assert_ptr_equal(f.table.find(6, 80), &f.a);
  assert_null(f.table.find(5, 81));
  f.table.remove(5, 80);
  assert_ptr_equal(f.table.find(5, 80), &f.a);
  f.table.remove(5, 80);  // no effect
  assert_int_equal(f.table.size(), 1);
}

void add__refuses_what_is_taken_or_too_much(void** state) {
  Fixture& f = *static_cast<Fixture*>(*state);
  for (Port port = 1; port <= 8; port++) assert_true(f.table.add(1, port, &f.a) == Status::kAdded);
  assert_true(f.table.add(1, 3, &f.b) == Status::kTaken);
  assert_true(f.table.add(1, 9, &f.b) == Status::kFull);
}

void remove_all__of_one_store_only(void** state) {
  Fixture& f = *static_cast<Fixture*>(*state);
  for (Port port = 1; port <= 8; port++) f.table.add(1, port, port % 2 == 0 ? &f.a : &f.b);
  f.table.remove_all(&state_of(&f.a));
  assert_int_equal(f.table.size(), 4);
  for (Port port = 1; port <= 8; port++) {
    assert_ptr_equal(f.table.find(1, port), port % 2 == 0 ? nullptr : &f.b);
  }
  f.table.clear();
  assert_int_equal(f.table.size(), 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(find__one_address_before_any_address, setup, teardown),
      cmocka_unit_test_setup_teardown(add__refuses_what_is_taken_or_too_much, setup, teardown),
      cmocka_unit_test_setup_teardown(remove_all__of_one_store_only, setup, teardown),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
