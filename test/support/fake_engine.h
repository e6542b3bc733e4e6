// SPDX-License-Identifier: MIT
// FakeEngine: the engine's end of the queues between the control plane and an engine, played by a
// test.
#pragma once

#include <errno.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/command.h"

namespace mn::test {

// Answers commands as an engine without a network would.
class FakeEngine {
 public:
  enum class Connect { kAccept, kRefuse, kHold };

  EngineCommandQueue commands;
  EngineEventQueue events;
  Connect connect = Connect::kAccept;
  uint32_t index = 0;                                // among its NIC's
  std::function<uint32_t(Port)> queue_of = nullptr;  // where answers to a port come to
  bool refuses_lanes = false;
  bool holds_drain = false;
  std::vector<EngineCommand> seen;
  std::vector<EngineCommand> held;
  uint64_t heartbeat = 0;
  bool link_is_up = true;

  bool step() {
    EngineCommand command;
    if (!commands.try_pop(&command)) return false;
    seen.push_back(command);
    using Kind = EngineCommand::Kind;
    if ((command.kind == Kind::kConnect && connect == Connect::kHold) ||
        (command.kind == Kind::kDrainLane && holds_drain)) {
      held.push_back(command);
    } else {
      answer(command);
    }
    return true;
  }

  void answer(const EngineCommand& command) {
    using Kind = EngineCommand::Kind;
    EngineEvent event{.cookie = command.cookie, .lane = command.lane, .tuple = command.tuple};
    switch (command.kind) {
      case Kind::kAddLane:
        event.error = refuses_lanes ? ENOBUFS : 0;
        break;
      case Kind::kDrainLane:
        event.kind = EngineEvent::Kind::kLaneDrained;
        break;
      case Kind::kRemoveLane:
        abandon(command.lane);
        event.kind = EngineEvent::Kind::kLaneRemoved;
        break;
      case Kind::kConnect:
        event.kind =
            connect == Connect::kRefuse ? EngineEvent::Kind::kDone : EngineEvent::Kind::kConnected;
        event.error = connect == Connect::kRefuse ? ECONNREFUSED : 0;
        event.flow = 77;
        if (queue_of && !command.settles && queue_of(command.tuple.local_port) != index) {
          event.kind = EngineEvent::Kind::kMoved;
          event.engine = queue_of(command.tuple.local_port);
        }
        break;
      case Kind::kFlowStats:
        event.kind = command.flow == 77 ? EngineEvent::Kind::kFlowStats : EngineEvent::Kind::kDone;
        event.error = command.flow == 77 ? 0 : ENOENT;
        event.stats.mss = 1440;
        break;
      default:
        break;
    }
    events.try_push(event);
  }

  size_t count(EngineCommand::Kind kind) const {
    size_t n = 0;
    for (const auto& command : seen) n += command.kind == kind;
    return n;
  }

 private:
  // As the contract says: everything about a lane is answered before its removal.
  void abandon(Lane* lane) {
    std::vector<EngineCommand> kept;
    for (const auto& command : held) {
      if (command.lane != lane) {
        kept.push_back(command);
        continue;
      }
      events.try_push({.kind = EngineEvent::Kind::kDone,
                       .cookie = command.cookie,
                       .lane = lane,
                       .error = ECONNABORTED});
    }
    held = kept;
  }
};

}  // namespace mn::test
