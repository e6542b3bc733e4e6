// SPDX-License-Identifier: MIT
// Engine: one data-plane thread's work. Moves packets between a NicPort and the transport, messages
// between the transport and the lanes of applications' channels. poll_once does a bounded amount of
// each and returns how much it found; when to call it again, or to sleep, is IdlePolicy's
// (engine_thread.h). Never blocks, allocates or logs after construction. It runs under a real clock
// or a simulated one: time is an argument.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/address.h"
#include "base/time.h"
#include "engine/command.h"
#include "engine/engine_group.h"
#include "engine/frame_sender.h"
#include "engine/lane_set.h"
#include "host/host.h"
#include "ipc/shm_counters.h"
#include "nic/nic_port.h"
#include "transport/transport.h"
#include "wire/checksum.h"
#include "wire/frame.h"

namespace mn {

struct EngineConfig {
  Ipv4 address = kLoopbackAddress;
  uint32_t prefix_length = 8;
  Ipv4 gateway = 0;             // 0: none
  bool serves_loopback = true;  // 127.0.0.0/8 belongs to this engine too
  transport::TransportConfig transport;
  // The engines of the same NIC, which outlive this one, and its number among them; nullptr: it is
  // alone.
  EngineGroup* group = nullptr;
  uint32_t index = 0;
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
  size_t poll_once(Instant clock);
  Instant next_deadline() const;  // by the caller's clock
  // Whose turn it is: true when the last exchange with applications gave them something, false when
  // it only took from them, so that the network's answer is what they wait for.
  bool applications_turn() const { return applications_turn_; }
  void note_clock_steps(uint64_t steps);
  // Sleeps until a doorbell, a packet, a command, the next deadline or `longest`, whichever is
  // first; not at all when work has come meanwhile.
  void sleep(Instant now, Duration longest);
  // False: a sleeping engine may hear of packets only when it wakes for something else.
  bool has_wake_for_nic() const { return port_->wake_is_reliable(); }

  // ---- Control thread
  EngineCommandQueue& commands() { return commands_; }
  EngineEventQueue& events() { return events_; }
  void wake();  // after pushing commands

 private:
  // The last frame of the burst, if packets of other flows may join it (wire/datagram.h).
  struct OpenDatagram {
    uint8_t* frame = nullptr;  // FrameSender::last(); nullptr: none
    wire::UdpFrameSpec spec;
    size_t payload_max = 0;  // of every packet in it
    wire::InternetSum sum;   // of the payload, unless the NIC makes it
    uint32_t path = 0;
    uint8_t peer_engine = 0;
  };

  // A connect that waits for its next hop's MAC address.
  struct WaitingConnect {
    EngineCommand command;
    host::Path path;
  };

  // commands.cc
  size_t run_commands(Instant now);
  void run(Instant now, const EngineCommand& command);
  void read_out(Instant now, Lane* lane);
  void connect(Instant now, const EngineCommand& command, uint32_t path);
  void continue_connects(Instant now, uint32_t path, bool reachable);
  void flow_stats(const EngineCommand& command);
  void remove_lane(Instant now, const EngineCommand& command);
  bool has_report() const;
  size_t report(Instant now);  // transport events and lane departures to the control plane
  void report_ports(Lane* lane);
  void finish_departures();
  void answer(const EngineCommand& command, int error);
  void push_event(const EngineEvent& event);

  // receive.cc
  size_t receive(Instant now);
  size_t take_handed(Instant now);
  bool receive_frame(Instant now, const RxFrame& frame, uint32_t arrived_at);
  void receive_handed(Instant now, const wire::FrameView& view, uint32_t arrived_at);
  bool is_for_us(const wire::FrameView& view) const;
  void receive_udp(Instant now, const wire::FrameView& view);
  void receive_coalesced(Instant now, const wire::FrameView& view, size_t first_length);
  bool move_open(Instant now, const wire::FrameView& view, uint32_t arrived_at);
  void receive_packet(Instant now, const FourTuple& tuple, std::span<const uint8_t> payload,
                      uint32_t path);
  uint32_t owner_of(std::span<const uint8_t> payload) const;
  bool hand_over(uint32_t owner, const RxFrame& frame);
  void tell_others(const RxFrame& frame);
  size_t loop_back(Instant now);

  // engine.cc
  Instant own_time(Instant clock);
  Instant own_deadline() const;
  bool may_judge(size_t received);
  void service(Instant now);
  size_t read_lanes(Instant now);
  size_t read_lane(Instant now, Lane* lane);
  void expel(Instant now, Lane* lane);
  size_t transmit(Instant now);
  size_t send_frame(Instant now, uint8_t* frame);
  size_t join_datagram();
  size_t send_host_frames(Instant now);
  bool ring_applications();
  void publish_counters(Instant now);
  bool is_local(Ipv4 ip) const {
    return ip == config_.address || (config_.serves_loopback && (ip >> 24) == 127);
  }

  const EngineConfig config_;
  NicPort* const port_;
  const NicFacts& nic_;  // the port's
  ipc::EngineCounters* const counters_;
  const int notify_fd_;
  int command_fd_;

  EngineCommandQueue commands_;
  EngineEventQueue events_;
  bool events_pushed_ = false;

  host::Host host_;
  transport::Transport transport_;
  LaneSet lanes_;
  FrameSender sender_;
  const size_t rx_burst_;                    // frames in one poll
  std::array<RxFrame, kBurstMax> received_;  // of the burst being looked at
  transport::TransmitView view_;             // of the packet being sent
  OpenDatagram datagram_;
  std::vector<uint8_t> loop_;                               // one packet to ourselves
  transport::FlowHandle last_sent_ = transport::kNoHandle;  // the flow that was sent on last
  std::vector<WaitingConnect> waiting_;                     // capacity kWaitingMax
  std::vector<EngineEvent> moved_;        // kMoved, not yet reported; capacity kWaitingMax
  std::vector<EngineCommand> draining_;   // kDrainLane commands not yet answered
  std::vector<Lane*> violated_;           // not yet reported: kLaneViolated waits for room
  std::vector<EngineCommand> departing_;  // kRemoveLane and kStop, answered at the end of the poll
  // What follows is in the engine's own time, which leaves out when it did not run.
  Duration left_out_{};
  Instant last_poll_ = Instant::never();
  size_t judging_put_off_ = 0;  // packets read since a deadline was due
  Instant next_service_{};
  bool link_was_up_ = true;
  uint64_t polls_ = 0;
  uint64_t polls_busy_ = 0;
  bool counters_stale_ = false;
  bool applications_turn_ = false;
  bool transmit_idle_ = true;  // the last look found nothing to send, and nothing waits for the NIC
  NicCounters nic_counters_;
};

}  // namespace mn
