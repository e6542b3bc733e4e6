// SPDX-License-Identifier: MIT
// What the control plane asks, and what it hears back.
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/assert.h"
#include "engine/engine.h"

namespace mn {

namespace {

constexpr uint32_t kCommandsPerPoll = 32;
// A command is taken only when the answers it can cause at once have room.
constexpr size_t kEventRoom = 8;

int error_of(transport::RequestStatus status) {
  switch (status) {
    case transport::RequestStatus::kOk:
      return 0;
    case transport::RequestStatus::kNoResources:
      return ENOBUFS;
    case transport::RequestStatus::kInUse:
      return EADDRINUSE;
    case transport::RequestStatus::kNoSuchFlow:
      return ENOENT;
  }
  return EINVAL;
}

}  // namespace

void Engine::push_event(const EngineEvent& event) {
  MN_ASSERT(events_.try_push(event));
  events_pushed_ = true;
}

void Engine::answer(const EngineCommand& command, int error) {
  push_event({.kind = EngineEvent::Kind::kDone,
              .cookie = command.cookie,
              .lane = command.lane,
              .tuple = command.tuple,
              .error = error});
}

size_t Engine::run_commands(Instant now) {
  size_t done = 0;
  EngineCommand command;
  // Departures push events of their own: one of each lane at most, hence the margin.
  while (done < kCommandsPerPoll && events_.has_room(kEventRoom + departing_.size()) &&
         commands_.try_pop(&command)) {
    run(now, command);
    done++;
  }
  return done;
}

void Engine::run(Instant now, const EngineCommand& command) {
  using Kind = EngineCommand::Kind;
  switch (command.kind) {
    case Kind::kAddLane:
      answer(command, lanes_.add(command.lane) ? 0 : ENOBUFS);
      return;
    case Kind::kDrainLane:
      read_out(now, command.lane);
      transport_.close_store(now, command.lane);
      draining_.push_back(command);
      return;
    case Kind::kRemoveLane:
      remove_lane(now, command);
      return;
    case Kind::kListen:
      answer(command, error_of(transport_.listen(command.tuple.local_ip, command.tuple.local_port,
                                                 command.lane)));
      return;
    case Kind::kUnlisten:
      transport_.unlisten(command.tuple.local_ip, command.tuple.local_port);
      answer(command, 0);
      return;
    case Kind::kConnect: {
      if (is_local(command.tuple.remote_ip)) {
        connect(now, command, 0);
        return;
      }
      const host::NextHop hop = host_.resolve(now, command.tuple.remote_ip);
      if (hop.status == host::ResolveStatus::kReady) {
        connect(now, command, hop.path);
      } else if (hop.status == host::ResolveStatus::kUnreachable) {
        answer(command, EHOSTUNREACH);
      } else if (hop.status == host::ResolveStatus::kNoRoom ||
                 waiting_.size() == waiting_.capacity()) {
        answer(command, ENOBUFS);
      } else {
        waiting_.push_back({command, hop.path});
      }
      return;
    }
    case Kind::kFlowStats:
      flow_stats(command);
      return;
    case Kind::kTrace:
      transport_.trace_to(now, command.ring, command.ring_capacity, command.engine, command.tuple);
      answer(command, 0);
      return;
    case Kind::kStop:
      transport_.abort_all(now, ipc::kEndDaemonStop);
      departing_.push_back(command);
      return;
  }
}

// What the application submitted before it asked for the close belongs to the flows: nothing
// accepted is lost. Bounded by what an honest application can have submitted.
void Engine::read_out(Instant now, Lane* lane) {
  const uint32_t entries_max =
      ipc::submit_capacity(lane->shape()) + ipc::release_capacity(lane->shape());
  for (uint32_t read = 0;
       read < entries_max && lane->has_input() && lane->violation() == nullptr;) {
    read += std::max(static_cast<uint32_t>(read_lane(now, lane)), Lane::kStaleMax);
  }
}

void Engine::connect(Instant now, const EngineCommand& command, uint32_t path) {
  transport::FlowHandle flow = transport::kNoHandle;
  const transport::RequestStatus status =
      transport_.open(now, command.tuple, command.lane, command.cookie, path, &flow);
  if (status != transport::RequestStatus::kOk) {
    answer(command, error_of(status));
  } else if (!command.settles) {
    transport_.let_move(flow);
  }
}

void Engine::continue_connects(Instant now, uint32_t path, bool reachable) {
  for (size_t i = 0; i < waiting_.size();) {
    if (waiting_[i].path != path) {
      i++;
      continue;
    }
    const EngineCommand command = waiting_[i].command;
    waiting_[i] = waiting_.back();
    waiting_.pop_back();
    if (reachable) {
      connect(now, command, path);
    } else {
      answer(command, EHOSTUNREACH);
    }
  }
}

void Engine::flow_stats(const EngineCommand& command) {
  EngineEvent event{.kind = EngineEvent::Kind::kFlowStats,
                    .cookie = command.cookie,
                    .lane = command.lane,
                    .flow = command.flow};
  const uint32_t handle = command.lane->handle_of(command.flow);
  if (handle == 0 || !transport_.snapshot(handle, &event.stats)) {
    answer(command, ENOENT);
    return;
  }
  push_event(event);
}

void Engine::remove_lane(Instant now, const EngineCommand& command) {
  Lane* lane = command.lane;
  for (size_t i = 0; i < waiting_.size();) {
    if (waiting_[i].command.lane != lane) {
      i++;
      continue;
    }
    answer(waiting_[i].command, ECONNABORTED);
    waiting_[i] = waiting_.back();
    waiting_.pop_back();
  }
  for (size_t i = 0; i < draining_.size(); i++) {
    if (draining_[i].lane != lane) continue;
    push_event({.kind = EngineEvent::Kind::kLaneDrained,
                .cookie = draining_[i].cookie,
                .lane = lane,
                .error = ETIMEDOUT});
    draining_[i] = draining_.back();
    draining_.pop_back();
    break;
  }
  transport_.abort_store(now, lane, ipc::kEndReset);
  departing_.push_back(command);
}

void Engine::report_ports(Lane* lane) {
  while (lane->has_released() &&
         events_.has_room(kEventRoom + departing_.size() + draining_.size())) {
    push_event(
        {.kind = EngineEvent::Kind::kPortFree, .lane = lane, .tuple = lane->take_released()});
  }
}

// Rarely: a poll asks this first.
bool Engine::has_report() const {
  return host_.has_event() || transport_.has_event() || !violated_.empty() || !moved_.empty() ||
         !departing_.empty() || !draining_.empty();
}

// Transport and host events first; a lane departs only when no event can name it any more.
size_t Engine::report(Instant now) {
  size_t work = 0;
  host::HostEvent host_event;
  while (events_.has_room(kEventRoom + waiting_.size()) && host_.poll_event(&host_event)) {
    continue_connects(now, host_event.path, host_event.ready);
    work++;
  }
  while (!violated_.empty() &&
         events_.has_room(kEventRoom + departing_.size() + draining_.size())) {
    Lane* lane = violated_.back();
    violated_.pop_back();
    push_event(
        {.kind = EngineEvent::Kind::kLaneViolated, .lane = lane, .reason = lane->violation()});
    work++;
  }
  while (!moved_.empty() && events_.has_room(kEventRoom + departing_.size() + draining_.size())) {
    push_event(moved_.back());
    moved_.pop_back();
    work++;
  }
  transport::TransportEvent event;
  bool drained = false;
  while (events_.has_room(kEventRoom + departing_.size() + draining_.size())) {
    if (!transport_.poll_event(&event)) {
      drained = true;
      break;
    }
    work++;
    EngineEvent out{.cookie = event.cookie,
                    .lane = static_cast<Lane*>(event.store),
                    .tuple = event.tuple,
                    .flow = event.store_flow,
                    .error = event.error};
    switch (event.kind) {
      case transport::TransportEvent::Kind::kConnected:
        out.kind = EngineEvent::Kind::kConnected;
        break;
      case transport::TransportEvent::Kind::kConnectFailed:
        out.kind = EngineEvent::Kind::kDone;
        break;
      case transport::TransportEvent::Kind::kEnded:
        out.kind = EngineEvent::Kind::kFlowEnded;
        out.accepted = event.cookie == 0;  // no request opened it
        break;
    }
    push_event(out);
  }
  if (drained && (!departing_.empty() || !draining_.empty())) finish_departures();
  return work;
}

void Engine::finish_departures() {
  for (size_t i = 0; i < draining_.size();) {
    const EngineCommand command = draining_[i];
    if (transport_.store_flow_count(command.lane) > 0) {
      i++;
      continue;
    }
    push_event(
        {.kind = EngineEvent::Kind::kLaneDrained, .cookie = command.cookie, .lane = command.lane});
    draining_[i] = draining_.back();
    draining_.pop_back();
  }
  size_t staying = 0;
  for (const EngineCommand& command : departing_) {
    if (command.kind == EngineCommand::Kind::kStop) {
      // The thread may end with the answer: not before every peer was told.
      if (transmit_idle_) {
        answer(command, 0);
      } else {
        departing_[staying++] = command;
      }
      continue;
    }
    // Its last news are rung here: the lane is not on the list when it goes.
    ring_applications();
    if (lanes_.contains(command.lane)) lanes_.remove(command.lane);
    std::erase(violated_, command.lane);
    push_event(
        {.kind = EngineEvent::Kind::kLaneRemoved, .cookie = command.cookie, .lane = command.lane});
  }
  departing_.resize(staying);
}

}  // namespace mn
