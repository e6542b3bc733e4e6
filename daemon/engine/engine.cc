// SPDX-License-Identifier: MIT
// The poll, top to bottom: what an engine does, in which order, and what it sends.
#include "engine/engine.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "base/assert.h"
#include "engine/gather.h"
#include "wire/datagram.h"
#include "wire/frame.h"

namespace mn {

namespace {
constexpr uint32_t kReleasesPerPoll = 512;     // of one lane
constexpr uint32_t kSubmissionsPerPoll = 128;  // of one lane
constexpr uint32_t kPacketsPerPoll = 64;
// Of large packets: applications and the NIC wait while an engine copies them, and a peer that
// could have begun with the first.
constexpr size_t kBytesPerPoll = 96 * 1024;
constexpr uint32_t kDoorbellInterval = 64;  // polls between looks at parked lanes' doorbells
constexpr uint32_t kHostInterval = 64;      // of a busy engine: at the host's deadlines
// A connect hears within a second that nobody answers, and one lost request costs it little. RFC
// 1122 section 2.3.2.1 asks for a limit on requests and suggests one a second; four, and then a
// pause, is ours.
constexpr Duration kArpInterval = milliseconds(250);
constexpr uint32_t kArpRequestsMax = 4;
constexpr Duration kServiceSoon = milliseconds(5);
constexpr size_t kWaitingMax = 4096;
constexpr size_t kPacketMax = 65536;
// Longer than processors are given to others: the engine did not run at all.
constexpr Duration kAbsenceMin = milliseconds(100);

size_t rx_burst_for(const NicFacts& nic) {
  const size_t frames = std::min(kBytesPerPoll / 2 / nic.mtu, kBurstMax);
  const size_t step = nic.rx_burst_step;
  return std::max(frames / step * step, step);
}
transport::TransportConfig transport_config(const EngineConfig& config) {
  transport::TransportConfig transport = config.transport;
  if (config.group != nullptr) {
    transport.engine = config.index;
    transport.engine_bits = static_cast<uint32_t>(std::bit_width(config.group->size() - 1));
  }
  return transport;
}
}  // namespace

Engine::Engine(const EngineConfig& config, NicPort* port, ipc::EngineCounters* counters,
               int notify_fd)
    : config_(config),
      port_(port),
      nic_(port->facts()),
      counters_(counters),
      notify_fd_(notify_fd),
      command_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      host_(host::HostConfig{.mac = port->facts().mac,
                             .address = config.address,
                             .prefix_length = config.prefix_length,
                             .gateway = config.gateway,
                             .mtu = port->facts().mtu,
                             .announce = (config.address >> 24) != 127 && config.index == 0,
                             .neighbors = {.request_interval = kArpInterval,
                                           .requests_max = kArpRequestsMax,
                                           .seed = config.transport.seed}}),
      transport_(transport_config(config)),
      lanes_(command_fd_, port->facts().wake_fd),
      sender_(port),
      rx_burst_(rx_burst_for(port->facts())),
      loop_(kPacketMax) {
  waiting_.reserve(kWaitingMax);
  moved_.reserve(kWaitingMax);
  draining_.reserve(LaneSet::kLanesMax);
  violated_.reserve(LaneSet::kLanesMax);
  departing_.reserve(LaneSet::kLanesMax);
  if (config.group != nullptr) config.group->set_wake_fd(config.index, command_fd_);
}

Engine::~Engine() {
  HandedFrame handed;
  while (config_.group != nullptr && config_.group->take(config_.index, &handed)) {
    if (handed.copied == 0) port_->rx_release({&handed.frame, 1});
  }
  close(command_fd_);
}

// A stopped process, a paused machine, a debugger: nobody listened, so nobody was silent, and the
// timers go on from where they were. Else every flow's would fire at once, and peers that have sent
// all the time be given up. Short absences are everyday life, and show.
Instant Engine::own_time(Instant clock) {
  Instant now = clock - left_out_;
  const Instant before = std::exchange(last_poll_, now);
  if (__builtin_expect(now - before <= kAbsenceMin, 1)) return now;
  // Asleep until something was due, it was not absent.
  const Instant due = std::max(before, own_deadline());
  if (now - due <= kAbsenceMin) return now;
  left_out_ = left_out_ + (now - due);
  now = last_poll_ = due;
  transport_.on_stall(now);
  ipc::counter_add(counters_->absences, 1);
  return now;
}

// Who judges the silence of peers has read what came: a ring full of it, at most.
bool Engine::may_judge(size_t received) {
  judging_put_off_ += received;
  if (received == rx_burst_ && judging_put_off_ < nic_.rx_queue_depth) return false;
  judging_put_off_ = 0;
  return true;
}

size_t Engine::poll_once(Instant clock) {
  const Instant now = own_time(clock);
  size_t work = commands_.empty() ? 0 : run_commands(now);
  const size_t received = receive(now);
  work += received;
  if (config_.group != nullptr) work += take_handed(now);
  const size_t submitted = read_lanes(now);
  work += submitted;
  if (transport_.next_deadline() <= now && may_judge(received)) {
    transport_.on_deadline(now);
    work++;
  }
  // Neighbors' timers count in hundreds of milliseconds: a look now and then, and before sleep.
  if ((work == 0 || polls_ % kHostInterval == 0) && host_.next_deadline() <= now) {
    host_.on_deadline(now);
    work++;
  }
  if (host_.has_output()) work += send_host_frames(now);
  const size_t sent = transmit(now);
  transmit_idle_ = sent == 0 && sender_.idle();
  work += sent;
  if (has_report()) work += report(now);
  if (ring_applications()) {
    applications_turn_ = true;
  } else if (submitted > 0) {
    applications_turn_ = false;
  }

  polls_++;
  if (work > 0) {
    polls_busy_++;
    counters_stale_ = true;
  }
  if (now >= next_service_) {
    service(now);
  }
  if (counters_stale_ && (work == 0 || (polls_ & 255) == 0)) publish_counters(now);
  return work;
}

void Engine::service(Instant now) {
  port_->service(&nic_counters_);
  const bool link_is_up = port_->link_is_up();
  if (!link_is_up || !link_was_up_) transport_.on_link(now, link_is_up);
  link_was_up_ = link_is_up;
  next_service_ = now + (port_->wants_service_soon() ? kServiceSoon : seconds(1));
  counters_stale_ = true;
}

Instant Engine::own_deadline() const {
  return std::min({transport_.next_deadline(), host_.next_deadline(), next_service_});
}

Instant Engine::next_deadline() const { return own_deadline() + left_out_; }

void Engine::sleep(Instant now, Duration longest) {
  if (!commands_.empty() || !sender_.idle()) return;
  if (!lanes_.announce_sleep()) return;
  EngineGroup* const group = config_.group;
  if (group != nullptr && !group->announce_sleep(config_.index)) {
    lanes_.end_sleep();
    return;
  }
  if (port_->arm_wake()) {
    ipc::counter_add(counters_->sleeps, 1);
    lanes_.sleep(std::min(longest, next_deadline() - now));
  } else {
    lanes_.end_sleep();
  }
  port_->disarm_wake();
  if (group != nullptr) group->end_sleep(config_.index);
}

void Engine::wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(command_fd_, &one, sizeof one);
}

// ---- From applications ----------------------------------------------------------------------

size_t Engine::read_lanes(Instant now) {
  if (polls_ % kDoorbellInterval == 0) lanes_.collect_doorbells();
  size_t work = 0;
  for (uint32_t i = 0; i < lanes_.hot_count();) {
    Lane* lane = lanes_.hot(i);
    const size_t found = read_lane(now, lane);
    work += found;
    if (lane->violation() != nullptr) {
      expel(now, lane);  // another lane stands at i now
      continue;
    }
    if (!lanes_.looked(i, found > 0)) i++;
  }
  return work;
}

size_t Engine::read_lane(Instant now, Lane* lane) {
  size_t work = lane->take_releases(kReleasesPerPoll);
  if (work > 0) transport_.on_store_space(now, lane);
  if (__builtin_expect(lane->has_released(), 0)) report_ports(lane);
  const uint64_t stale_before = lane->stale_submits();
  Submission submission;
  for (uint32_t i = 0; i < kSubmissionsPerPoll && lane->next_submission(&submission); i++) {
    work++;
    if (submission.handle != last_sent_) {  // flows take turns: the next one is likely another, too
      transport_.prefetch_flow(last_sent_ = submission.handle);
      if (const uint32_t ahead = lane->handle_ahead()) transport_.prefetch_flow(ahead);
    }
    if (submission.kind == Submission::Kind::kClose) {
      transport_.close(now, submission.handle);
    } else if (submission.kind == Submission::Kind::kAbort) {
      transport_.abort(now, submission.handle, ipc::kEndReset);
    } else if (transport_.send(now, submission.handle, submission.buffer, submission.length,
                               submission.last_segment) != transport::RequestStatus::kOk) {
      lane->tx_done(submission.buffer);  // the peer has just closed the flow
    }
  }
  if (const uint64_t stale = lane->stale_submits() - stale_before; stale > 0) {
    ipc::counter_add(counters_->stale_submits, stale);
  }
  return work;
}

// The application broke the rules: its flows are reset, its lane is not read again.
void Engine::expel(Instant now, Lane* lane) {
  lanes_.silence(lane);
  transport_.abort_store(now, lane, ipc::kEndReset);
  ipc::counter_add(counters_->channels_violated, 1);
  violated_.push_back(
      lane);  // all lanes may come here in one poll: report() tells as there is room
}

// ---- To the network --------------------------------------------------------------------------

size_t Engine::transmit(Instant now) {
  size_t sent = 0;
  size_t bytes = 0;
  datagram_.frame = nullptr;
  for (; sent < kPacketsPerPoll && bytes < kBytesPerPoll; sent++) {
    // A frame first: a packet that was polled has left, as far as the transport is concerned.
    uint8_t* frame = sender_.begin(now);
    if (frame == nullptr) {
      ipc::counter_add(counters_->tx_no_buffer, 1);
      break;
    }
    if (!transport_.poll_transmit(now, &view_)) break;
    if (is_local(view_.tuple.remote_ip)) {
      bytes += loop_back(now);
    } else {
      bytes += send_frame(now, frame);
    }
  }
  sender_.flush(now);
  return sent;
}

// Returns by how much the last frame grew; 0: the packet needs one of its own.
size_t Engine::join_datagram() {
  OpenDatagram& open = datagram_;
  const FourTuple& t = view_.tuple;
  const size_t size = wire::kPortsSize + view_.header_size + view_.payload_length;
  const size_t payload_max = std::min<size_t>(open.payload_max, view_.datagram_max);
  if (open.frame == nullptr || open.spec.payload_length + size > payload_max ||
      open.frame != sender_.last() || open.spec.destination_ip != t.remote_ip ||
      open.spec.source_ip != t.local_ip || open.path != view_.path ||
      open.peer_engine != view_.peer_engine || view_.path_in_doubt) {
    return 0;
  }
  open.payload_max = payload_max;
  uint8_t* const ports = open.frame + wire::kUdpPayloadOffset + open.spec.payload_length;
  wire::encode_ports(t.local_port, t.remote_port,
                     std::span<uint8_t, wire::kPortsSize>(ports, wire::kPortsSize));
  const bool offload = nic_.tx_checksum_offload;
  uint8_t* const packet = ports + wire::kPortsSize;
  if (offload) {
    gather(view_, packet);
  } else {
    open.sum.add({ports, wire::kPortsSize});
    gather_and_sum(view_, packet, &open.sum);
  }
  open.spec.payload_length += size;
  const size_t length = wire::kUdpPayloadOffset + open.spec.payload_length;
  wire::encode_udp_headers(open.spec, offload, {open.frame, length});
  if (!offload) wire::finish_udp_checksum({open.frame, length}, open.sum);
  sender_.extend(static_cast<uint32_t>(length));
  ipc::counter_add(counters_->tx_coalesced, 1);
  return size;
}

// Returns the frame's length.
size_t Engine::send_frame(Instant now, uint8_t* frame) {
  if (view_.datagram_max > 0) {
    if (const size_t grown = join_datagram(); grown > 0) return grown;
  }
  datagram_.frame = nullptr;
  Mac destination;
  if (!host_.path_mac(view_.path, &destination)) {
    const host::NextHop hop = host_.resolve(now, view_.tuple.remote_ip);
    if (hop.status != host::ResolveStatus::kReady || !host_.path_mac(hop.path, &destination)) {
      return 0;  // lost as on a cable: the transport sends it again
    }
  } else if (__builtin_expect(view_.path_in_doubt, 0)) {
    host_.doubt(now, view_.path);
  }
  const bool offload = nic_.tx_checksum_offload;
  uint8_t* payload = frame + wire::kUdpPayloadOffset;
  wire::InternetSum sum;
  const uint8_t* end = offload ? gather(view_, payload) : gather_and_sum(view_, payload, &sum);
  const auto length = static_cast<size_t>(end - frame);
  MN_ASSERT(length <= wire::kEthernetSize + nic_.mtu);
  const wire::UdpFrameSpec spec{.source = nic_.mac,
                                .destination = destination,
                                .source_ip = view_.tuple.local_ip,
                                .destination_ip = view_.tuple.remote_ip,
                                .source_port = view_.tuple.local_port,
                                .destination_port = view_.tuple.remote_port,
                                .payload_length = length - wire::kUdpPayloadOffset};
  wire::encode_udp_headers(spec, offload, {frame, length});
  if (!offload) wire::finish_udp_checksum({frame, length}, sum);
  sender_.commit(static_cast<uint32_t>(length), offload);
  if (view_.datagram_max > spec.payload_length + wire::kPortsSize + wire::kHeaderSize) {
    datagram_ = {.frame = frame,
                 .spec = spec,
                 .payload_max = view_.datagram_max,
                 .sum = sum,
                 .path = view_.path,
                 .peer_engine = view_.peer_engine};
  }
  return length;
}

// ARP and ICMP.
size_t Engine::send_host_frames(Instant now) {
  size_t sent = 0;
  while (host_.has_output()) {
    uint8_t* frame = sender_.begin(now);
    if (frame == nullptr) break;
    const size_t room = wire::kEthernetSize + nic_.mtu;
    const size_t length = host_.poll_output(now, {frame, room});
    if (length == 0) break;
    sender_.commit(static_cast<uint32_t>(length), false);
    sent++;
  }
  return sent;
}

// ---- Doorbells and counters --------------------------------------------------------------------

// True: an application has got something to do. Room for its next messages is that only when
// nothing is left of those before.
bool Engine::ring_applications() {
  uint32_t news = 0;
  while (Lane* lane = Lane::next_news(lanes_.news_head())) news |= lane->ring_application();
  if (events_pushed_) {
    events_pushed_ = false;
    const uint64_t one = 1;
    if (notify_fd_ >= 0) {
      [[maybe_unused]] const ssize_t n = write(notify_fd_, &one, sizeof one);
    }
  }
  return (news & ipc::kWakeEntries) != 0 || (news != 0 && transmit_idle_);
}

void Engine::note_clock_steps(uint64_t steps) {
  counters_->clock_steps.store(steps, std::memory_order_relaxed);
}

void Engine::publish_counters(Instant) {
  counters_stale_ = false;
  const auto set = [](std::atomic<uint64_t>& counter, uint64_t value) {
    counter.store(value, std::memory_order_relaxed);
  };
  const transport::TransportCounters& t = transport_.counters();
  set(counters_->polls, polls_);
  set(counters_->polls_busy, polls_busy_);
  set(counters_->tx_packets, sender_.frames());
  set(counters_->tx_bytes, sender_.bytes());
  set(counters_->rx_messages, t.rx_messages);
  set(counters_->tx_messages, t.tx_messages);
  set(counters_->retransmitted_packets, t.retransmitted_packets);
  set(counters_->timeouts, t.timeouts);
  set(counters_->tail_probes, t.tail_probes);
  set(counters_->flows_opened, t.flows_opened);
  set(counters_->flows_ended, t.flows_ended);
  set(counters_->flows_reset, t.flows_reset);
  set(counters_->flows_timed_out, t.flows_timed_out);
  set(counters_->nic_rx_missed, nic_counters_.rx_missed);
  set(counters_->nic_rx_no_mbuf, nic_counters_.rx_no_mbuf);
  set(counters_->nic_resets, nic_counters_.resets);
  set(counters_->path_mtu_probes_lost, t.path_mtu_probes_lost);
  set(counters_->path_mtu_reduced, t.path_mtu_reduced);
  set(counters_->nic_tx_errors, nic_counters_.tx_errors + sender_.stalled_frames());
}

}  // namespace mn
