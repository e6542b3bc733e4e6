// SPDX-License-Identifier: MIT
// ControlServer: the event loop of the control plane: accepts connections, runs their sessions,
// hears the engines, reads the configuration again on SIGHUP, and ends on SIGTERM or SIGINT. Main
// thread only. Everything is an event: an idle service wakes up only for systemd's watchdog and to
// look at the links of its NICs. Knows nothing of NICs or threads; it reaches the engines through
// EngineLinks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/channel_registry.h"
#include "control/engine_link.h"
#include "control/listen_socket.h"

namespace mn::control {

struct ServerSettings {
  SocketSettings socket;
  ChannelLimits channels;
  uint32_t connections = 8192;
  uint32_t connections_per_user = 4096;  // does not bind root
  int counters_fd = -1;
  uint64_t counters_size = 0;
  uint64_t seed = 0;
  std::function<Result<void>()> on_reload;  // SIGHUP; an error stays in the status line
};

// Reserves the address: fails while another service has it. Before anything that takes time, and
// before any thread that makes files.
class ControlServer {
 public:
  static Result<std::unique_ptr<ControlServer>> create(
      const ServerSettings& settings, std::unique_ptr<ListenSocket> socket,
      std::vector<std::unique_ptr<EngineLink>> engines);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  // Tells the log and the service manager that the service is ready; returns when a signal asked
  // for the end and every engine has told its peers, or kStopTimeout has passed. SIGTERM, SIGINT
  // and SIGHUP must be blocked in every thread.
  Result<void> run();
  // For new requests; on the thread of run(), that is from on_reload.
  void set_limits(const ChannelLimits& channels, uint32_t connections_per_user);

  class Impl;

 private:
  explicit ControlServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

constexpr Duration kStopTimeout = milliseconds(500);

}  // namespace mn::control
