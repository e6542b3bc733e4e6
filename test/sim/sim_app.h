// SPDX-License-Identifier: MIT
// SimApp: one application of a simulated host, over an ArrayStore: opens flows, sends what its
// plans say, takes what is delivered as fast as its appetite allows, and closes or aborts. Reports
// everything to the oracle. Driven by its TransportHost, which calls work whenever something may
// have changed.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "sim/liveness_watch.h"
#include "sim/profile.h"
#include "support/array_store.h"
#include "support/oracle.h"
#include "transport/transport.h"

namespace mn::test {

// What all applications of a run share.
struct RunState {
  SimClock* clock;
  SimTrace* trace;
  Oracle* oracle;
  const Profile* profile;
  uint64_t bytes_left = 0;
  bool winding_down = false;  // no new messages, every appetite whole
  LivenessWatch liveness{};   // of transport runs
};

class SimApp {
 public:
  SimApp(RunState* run, int host, uint32_t index, uint64_t seed);

  ArrayStore* store() { return store_.get(); }
  // After a restart the transport is another one.
  void attach(transport::Transport* transport) { transport_ = transport; }
  void open(const FourTuple& tuple, const FlowPlan& plan);
  void on_event(const transport::TransportEvent& event);
  // Takes deliveries, sends, closes. Returns when it wants to be called again at the latest.
  Instant work();
  // The application dies: its store is torn out of the transport.
  void crash();
  // The host died: nothing is called any more.
  void forget_all();
  // Most flows, or all that are left.
  void close_everything(SimRandom* random, bool all);
  bool plans_done() const;
  bool dead() const { return dead_; }
  uint64_t delivered() const { return delivered_; }

 private:
  struct Flow {
    Life* life = nullptr;
    transport::FlowHandle handle = transport::kNoHandle;
    transport::FlowRef ref = transport::kNoFlow;
    FlowPlan plan;
    uint32_t index = 0;   // message being sent
    uint32_t length = 0;  // 0: none is
    uint32_t offset = 0;
    uint32_t echoes = 0;
    Instant next_send{};
    Instant end_at = Instant::never();
    bool ending = false;  // close or abort was called
  };
  Flow* by_ref(transport::FlowRef ref);
  void learn(Flow* flow, transport::FlowRef ref);
  bool take_one();
  bool may_take(Instant* next);
  void send_some(Flow* flow, Instant* next);
  bool begin_message(Flow* flow);
  bool send_segment(Flow* flow);
  void end_if_due(Flow* flow, Instant* next);
  void end(Flow* flow, EndAction action);

  RunState* run_;
  int host_;
  SimRandom random_;
  Appetite appetite_;
  std::unique_ptr<ArrayStore> store_;
  transport::Transport* transport_ = nullptr;
  std::deque<Flow> flows_;  // cookie - 1; never removed
  std::vector<Flow*> by_slot_;
  std::vector<Flow*> live_;
  Instant next_take_{};
  size_t turn_ = 0;
  uint64_t delivered_ = 0;
  bool dead_ = false;
};

}  // namespace mn::test
