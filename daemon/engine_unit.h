// SPDX-License-Identifier: MIT
// EngineUnit: one engine with everything that is its own: facts, wake-up descriptor, thread. Made
// by the Service at start, destroyed by it at the end; the port and the counters are borrowed. Main
// thread.
#pragma once

#include <memory>
#include <string>

#include "base/unique_fd.h"
#include "config/config.h"
#include "control/engine_link.h"
#include "engine/engine.h"
#include "engine/engine_thread.h"
#include "nic_plan.h"

namespace mn {

// Destroyed in reverse: the thread ends first.
struct EngineUnit {
  control::EngineFacts facts;
  size_t nic = 0;                 // its place in the configuration
  const NicPort* port = nullptr;  // whose link is worth watching; nullptr without a NIC
  UniqueFd notify;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<EngineThread> thread;
};

IdleMode idle_mode(config::Idle idle);

struct EngineSettings {
  bool serves_loopback = false;
  bool use_counter = false;
  EngineGroup* group = nullptr;  // of several engines of this NIC; outlives them
  uint32_t index = 0;            // among them
};

// `plan` is what the configuration and the device say of the NIC, or local_plan().
Result<EngineUnit> make_engine(const NicPlan& plan, const std::string& driver, NicPort* port,
                               const EngineSettings& settings, ipc::EngineCounters* counters);

// The control plane's end of it; the unit must outlive it.
std::unique_ptr<control::EngineLink> link_to(const EngineUnit& unit);

}  // namespace mn
