// SPDX-License-Identifier: MIT
// Engine: one data-plane thread's work. Moves packets between a NicPort and the transport, messages
// between the transport and the lanes of applications' channels. poll_once does a bounded amount of each
// and returns how much it found; when to call it again, or to sleep, is IdlePolicy's (engine_thread.h).
// Never blocks, allocates or logs after construction. It runs under a real clock or a simulated one:
// time is an argument.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/address.h"
#include "base/time.h"
#include "engine/command.h"
#include "ipc/shm_counters.h"
#include "nic/nic_port.h"
#include "transport/transport.h"

namespace mn {

struct EngineConfig {
  Ipv4 address = kLoopbackAddress;
  uint32_t prefix_length = 8;
  Ipv4 gateway = 0;               // 0: none
  bool serves_loopback = true;    // 127.0.0.0/8 belongs to this engine too
  transport::TransportConfig transport;
};

class Engine {
 public:
  // `port` outlives the engine; `counters` is this engine's block of the counters page.
  // `notify_fd`: an eventfd written after events were pushed for the control plane (-1: nobody).
  Engine(const EngineConfig& config, NicPort* port, ipc::EngineCounters* counters, int notify_fd);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // ---- Engine thread
  // Returns the amount of work found: 0 means idle.
  size_t poll_once(Instant now);
  Instant next_deadline() const;
  // Tells every application that the engine sleeps, arms the NIC. False: work has come, do not sleep.
  bool prepare_sleep();
  void finish_sleep();
  // Descriptors to sleep on: readable when a lane's doorbell, the NIC or a command waits. An epoll descriptor; the
  // engine drains what it must in finish_sleep.
  int sleep_fd() const;
  bool has_wake_for_nic() const;  // false: a sleeping engine hears of packets only by polling

  // ---- Control thread
  EngineCommandQueue& commands();
  EngineEventQueue& events();
  void wake();  // after pushing commands

  class Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace mn
