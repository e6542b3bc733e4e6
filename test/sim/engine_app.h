// SPDX-License-Identifier: MIT
// EngineApp: one application of a simulated host with a real channel: libmachnet's own code on a
// second mapping of the channel's memory. Opens flows, sends by every call the API has, receives by
// every call, and reports to the oracle. What the control socket would do goes to the engine's
// command queue by way of its EngineHost.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "channel/channel.h"
#include "engine/engine.h"
#include "libmachnet/channel.h"
#include "libmachnet/channel_state.h"
#include "sim/sim_app.h"
#include "support/oracle.h"

namespace mn::test {

class EngineHost;

class EngineApp {
 public:
  EngineApp(RunState* run, EngineHost* host, int index, uint64_t seed);
  ~EngineApp();
  EngineApp(const EngineApp&) = delete;
  EngineApp& operator=(const EngineApp&) = delete;

  Lane* lane(uint32_t engine) { return channel_->lane(engine); }
  uint32_t lanes() const { return client_->lane_count; }
  bool has(const Lane* lane) const;
  void open(const FourTuple& tuple, const FlowPlan& plan);
  void on_event(const EngineEvent& event);
  // Returns when it wants to be called again at the latest.
  Instant work();
  void crash();       // the process dies: the control plane removes the lane
  void forget_all();  // the service died
  void close_everything(SimRandom* random, bool all);
  bool plans_done() const;
  bool dead() const { return dead_; }
  bool removed() const { return lanes_removed_ == client_->lane_count; }
  bool has_delivery() const;
  uint64_t waits_seen() const { return waits_seen_; }
  // Every flow is over: all buffers are back on both sides.
  void check_empty();
  void check_ports();
  void describe() const;

 private:
  struct Flow {
    Life* life = nullptr;
    FlowPlan plan;
    MachnetFlow_t name{};
    bool connected = false;
    bool ending = false;
    uint32_t engine = 0;  // whose lane it was opened on
    uint32_t index = 0;
    uint32_t length = 0;         // of the message that waits to be sent; 0: none
    std::vector<uint8_t> bytes;  // of it
    uint32_t echoes = 0;
    Instant next_send{};
    Instant end_at = Instant::never();
  };
  void connect(Flow* flow, uint64_t number, bool settles);
  bool may_look(Instant* next);
  void take_events();
  bool take_message();
  bool take_view();
  Flow* by_local(const MachnetFlow_t& local);
  void received(Flow* flow, std::span<const uint8_t> bytes);
  void over(Flow* flow);
  bool begin_message(Flow* flow);
  int send_message(Flow* flow);
  int send_copy(Flow* flow);
  int send_buffers(Flow* flow);
  void send_some(Flow* flow, Instant* next);
  void end_if_due(Flow* flow, Instant* next);
  void end(Flow* flow);

  RunState* run_;
  EngineHost* host_;
  int index_;
  SimRandom random_;
  Appetite appetite_;
  std::unique_ptr<Channel> channel_;
  void* mapping_ = nullptr;
  client::Channel* client_ = nullptr;
  int fd_ = -1;             // machnet_fd, for applications that look only when it is readable
  std::deque<Flow> flows_;  // cookie - 1
  std::map<FourTuple, Flow*> by_tuple_;
  std::map<FourTuple, int> ports_over_;  // of flows that we opened: ends without their kPortFree
  std::vector<Flow*> live_;
  std::vector<uint8_t> buffer_;
  MachnetView_t held_view_{};
  bool view_held_ = false;
  Instant next_take_{};
  Instant last_look_{};
  uint32_t connecting_ = 0;  // a program blocks in machnet_connect: it does nothing else
  size_t turn_ = 0;
  uint64_t waits_seen_ = 0;
  bool room_wanted_ = false;
  bool dead_ = false;
  uint32_t lanes_removed_ = 0;
};

}  // namespace mn::test
