// SPDX-License-Identifier: MIT
// ResetGate with a thread at each queue of a device that is plain memory, so that ThreadSanitizer
// sees who touches it while it is reset.
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

extern "C" {
#include <cmocka.h>
}

#include "nic/reset_gate.h"

namespace {

using mn::nic::ResetGate;

constexpr uint32_t kPorts = 3;
constexpr uint64_t kResets = 300;

struct Device {
  ResetGate gate{kPorts};
  uint64_t generation[kPorts] = {};  // of each queue; a reset changes them all
  uint64_t used[kPorts] = {};        // by the queue's thread; a reset begins anew
  std::atomic<uint64_t> resets{0};
  std::atomic<uint64_t> wrong{0};
};

// Every third attempt to reset fails, and is tried again.
bool reset(Device* device, uint64_t attempt) {
  if (attempt % 3 == 0) return false;
  for (uint32_t i = 0; i < kPorts; i++) {
    device->generation[i]++;
    device->used[i] = 0;
  }
  return true;
}

void run_port(Device* device, uint32_t port) {
  ResetGate::Visitor visitor;
  const bool keeps = port == 0;
  uint64_t attempts = 0;
  uint64_t uses = 0;
  uint64_t generation = 0;
  while (device->resets.load(std::memory_order_relaxed) < kResets) {
    const bool was_away = visitor.away;
    ResetGate::Turn turn = device->gate.visit(&visitor, keeps);
    if (turn == ResetGate::Turn::kReset && reset(device, attempts++)) {
      device->gate.done(&visitor);
      device->resets.fetch_add(1, std::memory_order_relaxed);
      turn = ResetGate::Turn::kUse;
    }
    if (turn != ResetGate::Turn::kUse) {
      sched_yield();
      continue;
    }
    if (was_away || device->generation[port] != generation) {
      // Only after a visit that said so may there be another one, and only the next.
      if (device->generation[port] != generation + 1) device->wrong++;
      generation = device->generation[port];
      uses = 0;
    }
    if (device->used[port] != uses) device->wrong++;
    device->used[port] = ++uses;
  }
}

Device* device;

int set_up(void**) {
  device = new Device;
  return 0;
}
int tear_down(void**) {
  delete device;
  return 0;
}

void reset_gate__each_reset_is_alone(void**) {
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < kPorts; i++) threads.emplace_back(run_port, device, i);
  while (device->resets.load(std::memory_order_relaxed) < kResets) {
    device->gate.wanted()->store(true, std::memory_order_relaxed);
    sched_yield();
  }
  for (std::thread& thread : threads) thread.join();
  assert_int_equal(device->wrong.load(), 0);
}

void visit__waits_for_all(void**) {
  using Turn = ResetGate::Turn;
  ResetGate::Visitor visitors[kPorts];
  const auto visit = [&visitors](uint32_t port) {
    return device->gate.visit(&visitors[port], port == 0);
  };
  for (uint32_t i = 0; i < kPorts; i++) assert_true(visit(i) == Turn::kUse);
  device->gate.wanted()->store(true);
  assert_true(visit(0) == Turn::kLeave);
  assert_true(visit(1) == Turn::kLeave);
  assert_true(visit(1) == Turn::kLeave);  // counts once
  assert_true(visit(0) == Turn::kLeave);
  assert_true(visit(2) == Turn::kLeave);  // keeps nothing: others reset
  assert_true(visit(0) == Turn::kReset);
  assert_true(visit(0) == Turn::kReset);  // it did not work: once more
  assert_true(visit(1) == Turn::kLeave);
  device->gate.done(&visitors[0]);
  for (uint32_t i = 0; i < kPorts; i++) assert_true(visit(i) == Turn::kUse);
  assert_false(device->gate.wanted()->load());
}

// Wanted again before all are back: a second reset, for which all leave again.
void visit__wanted_again(void**) {
  using Turn = ResetGate::Turn;
  ResetGate::Visitor visitors[kPorts];
  const auto visit = [&visitors](uint32_t port) {
    return device->gate.visit(&visitors[port], port == 0);
  };
  device->gate.wanted()->store(true);
  for (uint32_t i = kPorts; i-- > 0;) visit(i);
  device->gate.wanted()->store(true);
  device->gate.done(&visitors[0]);
  assert_true(visit(0) == Turn::kLeave);
  assert_true(visit(1) == Turn::kUse);
  assert_true(visit(1) == Turn::kLeave);
  assert_true(visit(0) == Turn::kLeave);
  assert_true(visit(2) == Turn::kUse);
  assert_true(visit(0) == Turn::kLeave);
  assert_true(visit(2) == Turn::kLeave);
  assert_true(visit(0) == Turn::kReset);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(reset_gate__each_reset_is_alone, set_up, tear_down),
      cmocka_unit_test_setup_teardown(visit__waits_for_all, set_up, tear_down),
      cmocka_unit_test_setup_teardown(visit__wanted_again, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
