// SPDX-License-Identifier: MIT
// What the tests of NeighborTable share: a table made anew for each test, and entries in a known
// state.
#pragma once

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>

#include "host/neighbor_table.h"
extern "C" {
#include <cmocka.h>
}

namespace neighbor_test {

using mn::Instant;
using mn::Mac;
using mn::milliseconds;
using mn::seconds;
using namespace mn::host;

constexpr Instant kStart{5'000'000'000};
constexpr mn::Ipv4 kPeer = 0x0a000002;
constexpr Mac kMac{{2, 0, 0, 0, 0, 2}}, kOther{{2, 0, 0, 0, 0, 3}};

inline NeighborTable* table;
inline NeighborRequest request;
inline NeighborEvent event;
inline Mac mac;

inline int setup_of(uint32_t entries) {
  NeighborConfig config;
  config.entries_max = entries;
  config.seed = 1;
  table = new NeighborTable(config);
  return 0;
}
inline int setup(void**) { return setup_of(64); }
inline int setup_small(void**) { return setup_of(8); }
inline int teardown(void**) {
  delete table;
  return 0;
}

inline void answer(Instant now, mn::Ipv4 ip, Mac from) { table->learn(now, ip, from, false, true); }

// An entry that ARP has confirmed at `now`.
inline Path make_reachable(Instant now, mn::Ipv4 ip, Mac from = kMac) {
  const NextHop hop = table->resolve(now, ip);
  assert_int_equal(hop.status, ResolveStatus::kPending);
  assert_true(table->poll_request(now, &request));
  answer(now, ip, from);
  assert_true(table->poll_event(&event));
  assert_true(event.ready);
  assert_int_equal(event.path, hop.path);
  return hop.path;
}

}  // namespace neighbor_test

#define MN_CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define MN_SMALL(name) cmocka_unit_test_setup_teardown(name, setup_small, teardown)
