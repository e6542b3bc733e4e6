// SPDX-License-Identifier: MIT
#include "transport/flow_table.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <vector>
extern "C" {
#include <cmocka.h>
}

#include "base/prng.h"

using namespace mn;
using namespace mn::transport;

namespace {

struct Fixture {
  std::vector<Flow> flows = std::vector<Flow>(500);
  FlowTable table{flows.data(), 500, 11, 12};
  std::vector<bool> in = std::vector<bool>(500);
};
int setup(void** state) {
  *state = new Fixture;
  return 0;
}
int teardown(void** state) {
  delete static_cast<Fixture*>(*state);
  return 0;
}

void find__follows_inserts_and_removals(void** state) {
  Fixture& f = *static_cast<Fixture*>(*state);
  Prng random(3);
  for (uint32_t i = 0; i < f.flows.size(); i++) {
    f.flows[i].tuple = {
        .local_ip = 1, .remote_ip = i % 7, .local_port = 9, .remote_port = static_cast<Port>(i)};
  }
  uint32_t count = 0;
  for (int round = 0; round < 50000; round++) {
    const size_t i = random.below(f.flows.size());
    if (f.in[i]) {
      f.table.remove(&f.flows[i]);
      count--;
    } else {
      f.table.insert(&f.flows[i]);
      count++;
    }
    f.in[i] = !f.in[i];
    assert_int_equal(f.table.size(), count);
    const size_t probe = random.below(f.flows.size());
    assert_ptr_equal(f.table.find(f.flows[probe].tuple), f.in[probe] ? &f.flows[probe] : nullptr);
  }
}

void hash__differs_with_the_key_and_each_part(void** state) {
  Fixture& f = *static_cast<Fixture*>(*state);
  const FlowTable other(f.flows.data(), 500, 99, 12);
  const FourTuple t{.local_ip = 1, .remote_ip = 2, .local_port = 3, .remote_port = 4};
  FourTuple u[4] = {t, t, t, t};
  u[0].local_ip++;
  u[1].remote_ip++;
  u[2].local_port++;
  u[3].remote_port++;
  assert_int_not_equal(f.table.hash(t), other.hash(t));
  for (const FourTuple& x : u) assert_int_not_equal(f.table.hash(t), f.table.hash(x));
  // Neighbouring ports spread evenly.
  uint32_t buckets[64] = {};
  for (uint32_t port = 0; port < 6400; port++) {
    FourTuple v = t;
    v.remote_port = static_cast<Port>(port);
    buckets[f.table.hash(v) % 64]++;
  }
  for (uint32_t n : buckets) assert_in_range(n, 50, 150);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(find__follows_inserts_and_removals, setup, teardown),
      cmocka_unit_test_setup_teardown(hash__differs_with_the_key_and_each_part, setup, teardown),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
