// SPDX-License-Identifier: MIT
// TransportHost: one host of a transport simulation: a real Transport, its applications, and what
// an engine does around them: packets in bursts, deadlines, packets out as the link takes them.
// Packets on the link are a datagram (addresses, ports, checksum, payload), so damage is found
// where UDP would find it. Driven by the clock's events.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "sim/sim_app.h"
#include "sim/sim_run.h"
#include "sim/window_watch.h"
#include "support/sim_link.h"
#include "transport/transport.h"

namespace mn::test {

constexpr size_t kDatagramHeaderSize = 14;

std::vector<uint8_t> make_datagram(Ipv4 source, Port source_port, Ipv4 destination,
                                   Port destination_port, std::span<const uint8_t> payload);

class TransportHost {
 public:
  struct Setup {};

  TransportHost(RunState* run, int index, uint64_t seed, const Setup& setup);

  void connect_to(SimLink* out) { out_ = out; }
  void start();  // listens
  void packet_arrived(std::span<const uint8_t> datagram, bool damaged);
  // Runs the host at the latest at `when`.
  void wake_at(Instant when);
  void wake() { wake_at(run_->clock->now()); }

  SimApp& app(uint32_t index) { return *apps_[index]; }
  uint32_t apps() const { return static_cast<uint32_t>(apps_.size()); }
  transport::Transport& transport() { return *transport_; }
  void open(uint32_t app, Port local_port, Port remote_port, const FlowPlan& plan);
  // Everything is lost, as with kill -9 of the service; then it starts again.
  void restart();
  void heal() {}
  bool plans_done() const;
  void close_everything(SimRandom* random, bool all);
  uint32_t flow_count() const { return transport_->flow_count(); }
  bool idle() const;  // no flow is left, and no application has anything to take
  const transport::TransportCounters& transport_counters() const { return transport_->counters(); }
  uint64_t polls() const { return polls_; }
  uint64_t refused_damaged() const { return refused_damaged_; }
  // Every flow is over: nothing may be left behind.
  void check_empty();
  void describe() const {}

 private:
  void make_transport();
  void poll();
  void receive();
  void transmit();
  void send_view(const transport::TransmitView& view);
  void drain_events();
  void check(Instant now);

  RunState* run_;
  int index_;
  SimRandom random_;
  SimLink* out_ = nullptr;
  std::unique_ptr<transport::Transport> transport_;
  std::vector<std::unique_ptr<SimApp>> apps_;
  std::vector<std::unique_ptr<SimApp>> dead_apps_;
  std::unique_ptr<transport::TransmitView> view_;
  WindowWatch watch_;
  std::deque<std::vector<uint8_t>> rx_queue_;
  std::vector<uint8_t> datagram_;
  Instant wake_at_ = Instant::never();
  uint64_t wake_generation_ = 0;
  uint64_t polls_ = 0;
  uint64_t packets_ = 0;
  uint64_t refused_damaged_ = 0;
  uint32_t stuck_polls_ = 0;
  Instant last_poll_{};
  uint32_t lives_ = 0;  // of the host
};

using TransportRun = SimRun<TransportHost>;

}  // namespace mn::test
