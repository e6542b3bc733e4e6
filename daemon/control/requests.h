// SPDX-License-Identifier: MIT
// Requests: what a client may ask for once its session is in order: listen, unlisten, connect,
// statistics and information. Checks the arguments, chooses engine and port, and answers when the
// engine has. Control thread only. A channel may go away while an engine works on its request: the
// answer then says ECONNABORTED, to nobody.
#pragma once

#include <functional>

#include "base/clock.h"
#include "control/channel_registry.h"
#include "control/learned_ports.h"
#include "control/outcome.h"
#include "control/route.h"
#include "control/trace_desk.h"
#include "ipc/control_protocol.h"

namespace mn::control {

class Requests {
 public:
  // `clock`: for how long ports have rested.
  explicit Requests(ChannelRegistry* registry, Instant (*clock)() = clock_now)
      : registry_(registry), clock_(clock), traces_(registry) {}

  using ConnectDone = std::function<void(const Outcome&, const ipc::FlowInfo&)>;
  using StatsDone = std::function<void(const Outcome&, const ipc::FlowStats&)>;

  // EINVAL, EADDRNOTAVAIL, EADDRINUSE, ENOBUFS, EDQUOT.
  void listen(ChannelId id, const ipc::Endpoint& endpoint, Done done);
  // ENOENT: this channel does not listen there.
  void unlisten(ChannelId id, const ipc::Endpoint& endpoint, Done done);
  // As route_for_connect; EADDRNOTAVAIL without a free local port; what the engine says:
  // ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENOBUFS; EDQUOT.
  void connect(ChannelId id, const ipc::ConnectRequest& request, ConnectDone done);
  void flow_stats(ChannelId id, const ipc::FlowQuery& query, StatsDone done);

  TraceDesk& traces() { return traces_; }

  // ENOENT past the last one.
  Outcome nic_info(uint32_t index, ipc::NicInfo* ret_info) const;
  Outcome channel_info(uint32_t index, ipc::ChannelStatus* ret_status) const;

 private:
  void try_connect(ChannelId id, const FourTuple& wanted, uint32_t engine, int tries,
                   ConnectDone done);
  void open_flow(ChannelId id, const FourTuple& tuple, uint32_t engine, bool settles, int tries,
                 ConnectDone done);
  uint32_t next_engine_of(const Route& route);
  Port choose_port(ChannelId id, const FourTuple& wanted, uint32_t engine);
  void finish_listen(ChannelId id, const ChannelRecord::Listener& listener, int error,
                     const Done& done);

  ChannelRegistry* registry_;
  Instant (*clock_)();
  uint32_t turn_ = 0;  // of a NIC's engines
  LearnedPorts learned_;
  TraceDesk traces_;
};

}  // namespace mn::control
