// SPDX-License-Identifier: MIT
#include "sim/transport_host.h"

#include <algorithm>
#include <cstring>

#include "sim/flow_trace.h"

namespace mn::test {

using transport::TransmitView;
using transport::Transport;

namespace {

constexpr size_t kRxQueueMax = 512;

uint16_t checksum(std::span<const uint8_t> bytes) {  // RFC 1071; bytes 12 and 13 count as 0
  uint64_t sum = 0;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    if (i != 12) sum += static_cast<uint32_t>(bytes[i]) << 8 | bytes[i + 1];
  }
  if (bytes.size() % 2 != 0) sum += static_cast<uint32_t>(bytes.back()) << 8;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

void put32(uint8_t* at, uint32_t value) {
  for (int i = 0; i < 4; i++) at[i] = static_cast<uint8_t>(value >> (24 - 8 * i));
}
uint32_t get32(const uint8_t* at) {
  return static_cast<uint32_t>(at[0]) << 24 | at[1] << 16 | at[2] << 8 | at[3];
}
void put16(uint8_t* at, uint16_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}
uint16_t get16(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }

void finish_datagram(const FourTuple& from, std::vector<uint8_t>* datagram) {
  uint8_t* at = datagram->data();
  put32(at, from.local_ip);
  put32(at + 4, from.remote_ip);
  put16(at + 8, from.local_port);
  put16(at + 10, from.remote_port);
  put16(at + 12, checksum(*datagram));
}

}  // namespace

std::vector<uint8_t> make_datagram(Ipv4 source, Port source_port, Ipv4 destination,
                                   Port destination_port, std::span<const uint8_t> payload) {
  std::vector<uint8_t> datagram(kDatagramHeaderSize + payload.size());
  std::copy(payload.begin(), payload.end(), datagram.begin() + kDatagramHeaderSize);
  finish_datagram({source, destination, source_port, destination_port}, &datagram);
  return datagram;
}

TransportHost::TransportHost(RunState* run, int index, uint64_t seed, const Setup&)
    : run_(run),
      index_(index),
      random_(seed),
      view_(std::make_unique<TransmitView>()),
      watch_(index, std::min(run->profile->transport[0].mss, run->profile->transport[1].mss)) {
  run->oracle->timeouts_watched = true;
  make_transport();
}

void TransportHost::make_transport() {
  transport::TransportConfig config = run_->profile->transport[index_];
  config.seed ^= mix64(++lives_);
  transport_ = std::make_unique<Transport>(config);
  if (FlowTrace* trace = FlowTrace::current()) {
    transport_->trace_to(run_->clock->now(), trace->ring(), FlowTrace::kCapacity,
                         static_cast<uint16_t>(index_), {});
  }
  for (auto& app : apps_) dead_apps_.push_back(std::move(app));
  apps_.clear();
  for (uint32_t i = 0; i < run_->profile->stores; i++) {
    apps_.push_back(std::make_unique<SimApp>(run_, index_, i, random_.next()));
    apps_.back()->attach(transport_.get());
  }
}

void TransportHost::start() {
  for (uint32_t i = 0; i < apps_.size(); i++) {
    const Ipv4 ip = random_.chance(0.5) ? host_address(index_) : 0;
    const auto status =
        transport_->listen(ip, static_cast<Port>(kListenPort + i), apps_[i]->store());
    SIM_CHECK(status == transport::RequestStatus::kOk, "listen: status %d",
              static_cast<int>(status));
  }
  wake();
}

void TransportHost::restart() {
  run_->trace->note(run_->clock->now(), "host %d restarts", index_);
  for (auto& app : apps_) app->forget_all();
  run_->liveness.on_restart(index_);
  transport_.reset();
  rx_queue_.clear();
  make_transport();
  start();
}

void TransportHost::open(uint32_t app, Port local_port, Port remote_port, const FlowPlan& plan) {
  apps_[app]->open({host_address(index_), host_address(1 - index_), local_port, remote_port}, plan);
  wake();
}

void TransportHost::packet_arrived(std::span<const uint8_t> datagram, bool damaged) {
  if (datagram.size() < kDatagramHeaderSize || checksum(datagram) != get16(datagram.data() + 12)) {
    refused_damaged_++;
    return;
  }
  SIM_CHECK(!damaged, "the checksum missed damage that it must find");
  if (rx_queue_.size() >= kRxQueueMax) return;  // as a NIC's ring
  rx_queue_.emplace_back(datagram.begin(), datagram.end());
  wake_at(run_->clock->now() + random_.duration({}, run_->profile->poll_delay_max));
}

void TransportHost::wake_at(Instant when) {
  if (when >= wake_at_) return;
  wake_at_ = when;
  const uint64_t generation = ++wake_generation_;
  run_->clock->at(when, [this, generation] {
    if (generation == wake_generation_) poll();
  });
}

void TransportHost::receive() {
  for (uint32_t i = 0; i < run_->profile->rx_burst && !rx_queue_.empty(); i++) {
    const std::vector<uint8_t> datagram = std::move(rx_queue_.front());
    rx_queue_.pop_front();
    const uint8_t* at = datagram.data();
    const FourTuple tuple{get32(at + 4), get32(at), get16(at + 10), get16(at + 8)};
    const std::span<const uint8_t> payload = std::span(datagram).subspan(kDatagramHeaderSize);
    watch_.on_received(tuple, payload);
    run_->liveness.on_received(index_, run_->clock->now(), tuple, payload);
    const auto verdict = transport_->on_packet(run_->clock->now(), tuple, payload, 2);
    run_->trace->add(static_cast<uint64_t>(verdict));
    if (run_->trace->printing()) {
      run_->trace->note(
          run_->clock->now(),
          "host %d <- type %d flags %x seq %u ack %u window %u tag %08x, %zu bytes: %d", index_,
          payload[0] & 15, payload[1], get32(payload.data() + 8), get32(payload.data() + 12),
          get16(payload.data() + 2), get32(payload.data() + 4), payload.size(),
          static_cast<int>(verdict));
    }
  }
  if (!rx_queue_.empty()) wake_at(run_->clock->now() + nanoseconds(500));
}

void TransportHost::send_view(const TransmitView& view) {
  size_t size = view.header_size + view.table_size;
  for (size_t i = 0; i < view.piece_count; i++) size += view.pieces[i].length + view.pieces[i].pad;
  SIM_CHECK(size == view.header_size + view.payload_size(),
            "payload_size says %zu, the pieces have %zu", view.payload_size(),
            size - view.header_size);
  datagram_.assign(kDatagramHeaderSize + size, 0);
  uint8_t* at = datagram_.data() + kDatagramHeaderSize;
  at = std::copy_n(view.header.begin(), view.header_size, at);
  at = std::copy_n(view.table.begin(), view.table_size, at);
  for (size_t i = 0; i < view.piece_count; i++) {
    const TransmitView::Piece& piece = view.pieces[i];
    at = std::copy_n(piece.data, piece.length, at) + piece.pad;
  }
  SIM_CHECK(view.flow == transport::kNoHandle || view.path == 1 || view.path == 2,
            "a flow's packet with path %u", view.path);
  const std::span<const uint8_t> payload = std::span(datagram_).subspan(kDatagramHeaderSize);
  if (run_->profile->contents_checked) watch_.on_sent(view.tuple, payload);
  run_->liveness.on_sent(index_, run_->clock->now(), view.tuple, payload);
  if (run_->trace->printing()) {
    run_->trace->note(
        run_->clock->now(),
        "host %d -> type %d flags %x seq %u ack %u window %u tag %08x, %zu bytes (%u sack)", index_,
        payload[0] & 15, payload[1], get32(payload.data() + 8), get32(payload.data() + 12),
        get16(payload.data() + 2), get32(payload.data() + 4), payload.size(), payload[29]);
  }
  finish_datagram(view.tuple, &datagram_);
  out_->send(datagram_);
}

void TransportHost::transmit() {
  const Profile& profile = *run_->profile;
  for (uint32_t i = 0; i < profile.tx_burst; i++) {
    if (out_->queued() >= profile.nic_depth) {
      wake_at(out_->drained_to(profile.nic_depth / 2));
      return;
    }
    std::memset(static_cast<void*>(view_->header.data()), 0xa5, view_->header.size());
    if (!transport_->poll_transmit(run_->clock->now(), view_.get())) return;
    packets_++;
    send_view(*view_);
  }
  wake_at(run_->clock->now() + nanoseconds(300));
}

void TransportHost::drain_events() {
  transport::TransportEvent event;
  while (transport_->poll_event(&event)) {
    run_->trace->add(static_cast<uint64_t>(event.kind));
    for (auto& app : apps_) {
      if (event.store == app->store()) app->on_event(event);
    }
  }
}

void TransportHost::poll() {
  wake_at_ = Instant::never();
  const Instant now = run_->clock->now();
  polls_++;
  stuck_polls_ = now == last_poll_ ? stuck_polls_ + 1 : 0;
  last_poll_ = now;
  SIM_CHECK(stuck_polls_ < 2000, "host %d: the deadline does not move (%lld, now %lld)", index_,
            static_cast<long long>(transport_->next_deadline().ns), static_cast<long long>(now.ns));
  receive();
  drain_events();
  Instant next = Instant::never();
  for (auto& app : apps_) next = std::min(next, app->work());
  if (transport_->next_deadline() <= now) transport_->on_deadline(now);
  transmit();
  drain_events();
  for (auto& app : apps_) {
    if (app->store()->has_delivery() && !app->dead()) next = std::min(next, app->work());
  }
  check(now);
  if (FlowTrace* trace = FlowTrace::current()) trace->save();
  next = std::min(next, transport_->next_deadline());
  if (next != Instant::never()) wake_at(std::max(next, now));
}

void TransportHost::check(Instant) {
  if (polls_ % 64 != 0) return;
  transport_->check_invariants();
  for (auto& app : apps_) app->store()->check();
}

bool TransportHost::plans_done() const {
  return std::all_of(apps_.begin(), apps_.end(), [](const auto& app) { return app->plans_done(); });
}

void TransportHost::close_everything(SimRandom* random, bool all) {
  for (auto& app : apps_) app->close_everything(random, all);
}

bool TransportHost::idle() const {
  return flow_count() == 0 && std::none_of(apps_.begin(), apps_.end(), [](const auto& app) {
           return !app->dead() && app->store()->has_delivery();
         });
}

void TransportHost::check_empty() {
  SIM_CHECK(transport_->flow_count() == 0, "host %d: %u flows left", index_,
            transport_->flow_count());
  for (auto& app : apps_) {
    ArrayStore* store = app->store();
    store->check();
    SIM_CHECK(store->tx_owned_by_transport() == 0, "host %d: %u tx buffers lost", index_,
              store->tx_owned_by_transport());
    SIM_CHECK(store->rx_owned_by_transport() == 0, "host %d: %u rx buffers lost", index_,
              store->rx_owned_by_transport());
    SIM_CHECK(app->dead() || store->flows_live() == 0, "host %d: %u flow slots lost", index_,
              store->flows_live());
  }
  transport_->check_invariants();
}

}  // namespace mn::test
