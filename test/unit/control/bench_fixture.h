// SPDX-License-Identifier: MIT
// What the tests on a ControlBench share: their headers in the order that cmocka needs, the names
// they use, and a bench as the fixture. Each test's setup makes it.
#pragma once

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "support/control_bench.h"
extern "C" {
#include <cmocka.h>
}

using mn::EngineCommand;
using mn::EngineEvent;
using mn::ipc::ControlMessage;
using mn::test::ControlBench;
using mn::test::FakeEngine;
using Client = ControlBench::Client;
namespace ipc = mn::ipc;

inline ControlBench* bench_of(void** state) { return static_cast<ControlBench*>(*state); }

inline int teardown(void** state) {
  delete bench_of(state);
  return 0;
}
