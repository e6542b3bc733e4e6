// SPDX-License-Identifier: MIT
// EngineLink: the control plane's end of the two queues to one engine, and what is known about the
// NIC behind it. Gives every command a cookie and calls back once with the event that answers it.
// Lives on the control thread; never blocks: commands that find the queue full wait here until the
// engine has answered some.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <unordered_map>

#include "base/address.h"
#include "engine/command.h"
#include "ipc/shm_layout.h"

namespace mn::control {

struct EngineFacts {
  std::string nic;  // as configured; "local" without a NIC
  std::string driver;
  Ipv4 address = kLoopbackAddress;
  uint32_t prefix_length = 8;
  Ipv4 gateway = 0;  // 0: none
  uint16_t mtu = 0;
  Mac mac{};
  bool serves_loopback = true;  // 127.0.0.0/8 belongs to this engine too
  ipc::LaneShape shape{};       // of a channel's lane on it
  uint32_t index = 0;           // its number among its NIC's, which follow each other
  uint32_t of = 1;              // how many its NIC has
};

// Where the engine is: an Engine's queues in the service, plain queues in tests.
struct EngineDoor {
  EngineCommandQueue* commands = nullptr;
  EngineEventQueue* events = nullptr;
  int notify_fd = -1;                   // eventfd: the engine pushed events
  std::function<void()> wake;           // after commands were pushed
  std::function<uint64_t()> heartbeat;  // grows while the engine goes round its loop
  std::function<bool()> link_is_up;     // of the NIC; empty: there is none that could tell
  std::function<uint64_t()> nic_resets = nullptr;  // of the NIC; empty: it has none
};

class EngineLink {
 public:
  using Answer = std::function<void(const EngineEvent&)>;

  EngineLink(EngineFacts facts, EngineDoor door)
      : facts_(std::move(facts)), door_(std::move(door)) {}
  EngineLink(const EngineLink&) = delete;
  EngineLink& operator=(const EngineLink&) = delete;

  const EngineFacts& facts() const { return facts_; }
  int notify_fd() const { return door_.notify_fd; }
  uint64_t heartbeat() const { return door_.heartbeat(); }
  bool tells_link() const { return door_.link_is_up != nullptr; }
  uint64_t nic_resets() const { return door_.nic_resets ? door_.nic_resets() : 0; }
  bool link_is_up() const { return !tells_link() || door_.link_is_up(); }

  // Sets the cookie. `on_answer` is called from a later drain, exactly once.
  void send(EngineCommand command, Answer on_answer);
  // Takes every event that waits. Call when notify_fd is readable.
  void drain();
  size_t unanswered() const { return answers_.size(); }

  // Events that answer nothing: kLaneViolated, kFlowEnded, kPortFree.
  Answer on_event;

 private:
  void flush();

  const EngineFacts facts_;
  const EngineDoor door_;
  uint64_t next_cookie_ = 1;
  std::unordered_map<uint64_t, Answer> answers_;
  std::deque<EngineCommand> waiting_;
};

}  // namespace mn::control
