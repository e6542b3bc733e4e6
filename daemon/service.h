// SPDX-License-Identifier: MIT
// Service: machnetd while it runs: NICs, engines and control plane, brought up in one call, told
// when the configuration changes, taken down in the reverse order and in bounded time. One per
// process, on the main thread. Decides nothing itself; it connects those who do.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "control/control_server.h"
#include "control/counters_page.h"
#include "engine_unit.h"
#include "nic/nic_system.h"
#include "nic/null_port.h"
#include "nic_plan.h"

namespace mn {

// Where the configuration comes from, at start and at each reload.
struct ConfigSource {
  std::string file = config::kDefaultPath;
  bool may_be_absent = true;  // then the defaults hold: no NIC
};

// Every error has been logged, with its file and line; the first one is returned, too.
Result<config::Config> load(const ConfigSource& source, const char* message_id);

class Service {
 public:
  Service(ConfigSource source, config::Config config)
      : source_(std::move(source)), config_(std::move(config)) {}
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // Starts, serves, stops. SIGTERM, SIGINT and SIGHUP must be blocked.
  // An empty error: what was wrong has been logged, with the NIC it is about.
  Result<void> run();

 private:
  Result<void> start_nics(std::vector<NicPlan> plans);
  Result<void> add_engines(size_t nic_index, const NicPlan& plan, const std::string& driver,
                           std::span<NicPort* const> ports);
  Result<void> start_engines();
  control::ServerSettings server_settings();
  Result<void> reload();

  const ConfigSource source_;
  config::Config config_;     // in force: what needs a restart stays as it was at start
  bool use_counter_ = false;  // engines take the time from the processor's
  nic::NullPort null_port_;
  std::unique_ptr<control::CountersMemory> counters_;
  std::unique_ptr<nic::NicSystem> nics_;
  std::vector<std::unique_ptr<EngineGroup>> groups_;  // of NICs with several engines
  std::vector<EngineUnit>
      units_;  // in the order of config_.nics; the local one when there are none
  std::unique_ptr<control::ControlServer> server_;
};

}  // namespace mn
