// SPDX-License-Identifier: MIT
// A DPDK device that asks for a reset, with one queue and with several, and one that is removed: a
// ring that gives back what is sent into it. What the device would report is reported to DPDK here,
// the rest is real.
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
extern "C" {
#include <cmocka.h>
}

#include "nic/nic_system.h"

// Of DPDK's drivers' side, whose header is not installed.
struct rte_eth_dev;
extern "C" rte_eth_dev* rte_eth_dev_allocated(const char* name);
extern "C" int rte_eth_dev_callback_process(rte_eth_dev* device, int event, void* argument);

namespace {

constexpr char kName[] = "net_ring7";
constexpr char kNameOfSeveral[] = "net_ring8";
constexpr size_t kQueues = 3;
constexpr int kEventReset = 3;   // RTE_ETH_EVENT_INTR_RESET
constexpr int kEventRemove = 6;  // RTE_ETH_EVENT_INTR_RMV

std::unique_ptr<mn::nic::NicSystem> nics;  // DPDK starts once in a process
mn::NicPort* port;
mn::NicPort* ports[kQueues];  // of the device with several queues

int start(void**) {
  mn::nic::NicSystemSettings settings;
  settings.hugepages = mn::nic::Hugepages::kNo;
  settings.nics.push_back({.name = "ring", .mode = std::string("vdev:") + kName, .mtu = 1500});
  settings.nics.push_back({.name = "rings",
                           .mode = std::string("vdev:") + kNameOfSeveral,
                           .mtu = 1500,
                           .engines = kQueues});
  auto started = mn::nic::NicSystem::start(settings);
  if (!started) {
    std::fprintf(stderr, "%s\n", started.error().c_str());
    return -1;
  }
  nics = std::move(started.value());
  port = nics->nics()[0].ports[0];
  for (size_t i = 0; i < kQueues; i++) ports[i] = nics->nics()[1].ports[i];
  return 0;
}

int stop(void**) {
  nics.reset();
  return 0;
}

// How many of `count` frames come back.
size_t pass_frames(mn::NicPort* port, size_t count) {
  mn::TxFrame out[mn::kBurstMax];
  assert_int_equal(port->tx_alloc({out, count}), count);
  for (size_t i = 0; i < count; i++) {
    memset(out[i].data, static_cast<int>(i), 100);
    out[i].length = 100;
  }
  assert_int_equal(port->tx_burst({out, count}), count);
  mn::RxFrame in[mn::kBurstMax];
  const size_t received = port->rx_burst(in);
  for (size_t i = 0; i < received; i++) assert_int_equal(in[i].length, 100);
  port->rx_release({in, received});
  return received;
}

mn::NicCounters serve(mn::NicPort* served = port) {
  mn::NicCounters counters;
  served->service(&counters);
  return counters;
}

void service__resets_a_device_that_asks(void**) {
  assert_int_equal(pass_frames(port, 8), 8);
  assert_int_equal(serve().resets, 0);
  // A frame that the engine holds meanwhile is still its own afterwards.
  mn::TxFrame held;
  assert_int_equal(port->tx_alloc({&held, 1}), 1);
  for (uint64_t i = 1; i <= 5; i++) {
    assert_int_equal(
        rte_eth_dev_callback_process(rte_eth_dev_allocated(kName), kEventReset, nullptr), 0);
    assert_int_equal(serve().resets, i);
    assert_int_equal(serve().resets, i);  // once
    assert_int_equal(port->resets(), i);
    assert_true(port->link_is_up());
    assert_int_equal(pass_frames(port, mn::kBurstMax), mn::kBurstMax);
  }
  held.length = 60;
  memset(held.data, 0, 60);
  port->tx_free({&held, 1});
}

// Each queue is another thread's: all leave the device before the first port resets it.
void service__resets_when_every_port_has_left(void**) {
  for (mn::NicPort* each : ports) assert_int_equal(pass_frames(each, 8), 8);
  for (uint64_t round = 1; round <= 3; round++) {
    rte_eth_dev_callback_process(rte_eth_dev_allocated(kNameOfSeveral), kEventReset, nullptr);
    serve(ports[1]);
    assert_false(ports[1]->link_is_up());
    assert_true(ports[1]->wants_service_soon());
    assert_int_equal(pass_frames(ports[1], 8), 0);
    assert_int_equal(pass_frames(ports[2], 8), 8);
    serve(ports[0]);
    assert_int_equal(pass_frames(ports[0], 8), 0);
    assert_int_equal(ports[0]->resets(), round - 1);
    assert_int_equal(pass_frames(ports[2], 8), 8);  // still in use
    serve(ports[2]);
    serve(ports[1]);
    assert_int_equal(ports[0]->resets(), round - 1);
    serve(ports[0]);
    assert_int_equal(ports[0]->resets(), round);
    assert_int_equal(pass_frames(ports[0], 8), 8);
    for (const size_t i : {1, 2}) {
      assert_int_equal(pass_frames(ports[i], 8), 0);  // until it has heard
      serve(ports[i]);
      assert_false(ports[i]->wants_service_soon());
      assert_true(ports[i]->link_is_up());
      assert_int_equal(pass_frames(ports[i], 8), 8);
    }
    assert_int_equal(ports[1]->resets() + ports[2]->resets(), 0);  // one device, counted once
  }
}

void service__lives_with_a_removed_device(void**) {
  assert_int_equal(pass_frames(port, 8), 8);
  rte_eth_dev_callback_process(rte_eth_dev_allocated(kName), kEventRemove, nullptr);
  serve();
  assert_false(port->link_is_up());
  assert_int_equal(pass_frames(port, 8), 0);
  assert_true(serve().tx_errors >= 8);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(service__resets_a_device_that_asks),
      cmocka_unit_test(service__resets_when_every_port_has_left),
      cmocka_unit_test(service__lives_with_a_removed_device),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
