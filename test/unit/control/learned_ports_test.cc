// SPDX-License-Identifier: MIT
#include "control/learned_ports.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <memory>
extern "C" {
#include <cmocka.h>
}

using mn::FourTuple;
using mn::Port;
using mn::control::LearnedPorts;

namespace {

constexpr FourTuple to(uint32_t remote_ip, Port local_port = 0) {
  return {.local_ip = 1, .remote_ip = remote_ip, .local_port = local_port, .remote_port = 31580};
}

void learn__each_peer_has_its_own(void**) {
  LearnedPorts ports;
  ports.learn(to(2, 50000), 1);
  ports.learn(to(2, 50001), 0);
  ports.learn(to(3, 50000), 0);
  assert_int_equal(ports.of(to(2)).size(), 2);
  assert_int_equal(ports.of(to(2))[0].port, 50000);
  assert_int_equal(ports.of(to(2))[0].engine, 1);
  assert_int_equal(ports.of(to(3))[0].engine, 0);
  FourTuple other = to(2);
  other.remote_port++;
  assert_true(ports.of(other).empty());
  other = to(2);
  other.local_ip++;
  assert_true(ports.of(other).empty());
}

void learn__the_latest_counts(void**) {
  LearnedPorts ports;
  ports.learn(to(2, 50000), 1);
  ports.learn(to(2, 50000), 3);
  assert_int_equal(ports.of(to(2)).size(), 1);
  assert_int_equal(ports.of(to(2))[0].engine, 3);
}

void learn__so_many_ports_of_a_peer(void**) {
  LearnedPorts ports;
  constexpr uint32_t kMore = LearnedPorts::kPortsMax + LearnedPorts::kPortsMax / 2;
  for (uint32_t i = 0; i < kMore; i++) ports.learn(to(2, static_cast<Port>(50000 + i)), 0);
  const auto known = ports.of(to(2));
  assert_int_equal(known.size(), LearnedPorts::kPortsMax);
  for (const auto& found : known) {  // the latest
    assert_in_range(found.port, 50000 + kMore - LearnedPorts::kPortsMax, 50000 + kMore - 1);
  }
}

void learn__forgets_who_was_not_asked_for_longest(void**) {
  LearnedPorts ports;
  for (uint32_t i = 0; i < LearnedPorts::kPeersMax; i++) ports.learn(to(10 + i, 50000), 0);
  assert_int_equal(ports.of(to(10)).size(), 1);
  ports.learn(to(5, 50000), 0);
  assert_int_equal(ports.of(to(10)).size(), 1);
  assert_int_equal(ports.of(to(5)).size(), 1);
  assert_int_equal(ports.of(to(11)).size(), 0);
  ports.learn(to(11, 50000), 0);
  assert_int_equal(ports.of(to(12)).size(), 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(learn__each_peer_has_its_own),
      cmocka_unit_test(learn__the_latest_counts),
      cmocka_unit_test(learn__so_many_ports_of_a_peer),
      cmocka_unit_test(learn__forgets_who_was_not_asked_for_longest),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
