// SPDX-License-Identifier: MIT
#include "sim/congestion_lab.h"

#include <algorithm>
#include <cstring>

#include "ipc/shm_layout.h"

namespace mn::test {

using transport::BufferIndex;
using transport::RequestStatus;
using transport::TransmitView;
using transport::Transport;

namespace {

constexpr Port kPort = 7000;
constexpr Port kFirstSource = 20000;
constexpr Ipv4 kReceiver = 0x0a000001;
constexpr size_t kAddressSize = 18;  // what stands for Ethernet, IP and UDP on these links
constexpr size_t kNicDepth = 64;
constexpr uint32_t kBurst = 64;

struct Address {
  Ipv4 source, destination;
  Port source_port, destination_port;
};
static_assert(sizeof(Address) <= kAddressSize);

}  // namespace

class LabHost {
 public:
  LabHost(CongestionLab* lab, Ipv4 address, const StoreShape& shape, uint64_t seed)
      : lab_(lab), address_(address), random_(seed), store_(shape), view_(new TransmitView) {
    transport::TransportConfig config;
    config.flows_max = 1024;
    config.listeners_max = 16;
    config.mss = lab->config_.mss;
    config.window_packets_max = lab->config_.window_max;
    config.congestion = lab->config_.congestion;
    config.seed = seed;
    transport_ = std::make_unique<Transport>(config);
    if (address == kReceiver) transport_->listen(0, kPort, &store_);
  }

  void connect_to(SimLink* out) { out_ = out; }
  void own(std::unique_ptr<SimLink> link) {
    own_link_ = std::move(link);
    out_ = own_link_.get();
  }
  Ipv4 address() const { return address_; }
  Transport& transport() { return *transport_; }

  void begin(LabFlow* flow) {
    flows_.push_back(flow);
    const FourTuple tuple{address_, kReceiver, static_cast<Port>(kFirstSource + flow->id), kPort};
    transport_->open(lab_->clock_.now(), tuple, &store_, flow->id + 1, 1, &flow->handle);
    wake_at(lab_->clock_.now());
  }

  void packet_arrived(std::span<const uint8_t> bytes) {
    rx_queue_.emplace_back(bytes.begin(), bytes.end());
    wake_at(lab_->clock_.now() + random_.duration({}, lab_->config_.poll_delay_max));
  }

  void wake_at(Instant when) {
    if (when >= wake_at_) return;
    wake_at_ = when;
    const uint64_t generation = ++wake_generation_;
    lab_->clock_.at(when, [this, generation] {
      if (generation == wake_generation_) poll();
    });
  }

 private:
  void poll() {
    wake_at_ = Instant::never();
    const Instant now = lab_->clock_.now();
    for (uint32_t i = 0; i < kBurst && !rx_queue_.empty(); i++) {
      const std::vector<uint8_t> bytes = std::move(rx_queue_.front());
      rx_queue_.pop_front();
      Address a;
      std::memcpy(&a, bytes.data(), sizeof(a));
      transport_->on_packet(now, {a.destination, a.source, a.destination_port, a.source_port},
                            std::span(bytes).subspan(kAddressSize), 1);
    }
    transport::TransportEvent event;
    while (transport_->poll_event(&event)) {
      if (event.kind == transport::TransportEvent::Kind::kConnected) {
        lab_->flows_[event.cookie - 1]->connected = true;
      }
    }
    take_deliveries();
    send();
    if (transport_->next_deadline() <= now) transport_->on_deadline(now);
    transmit();
    if (!rx_queue_.empty()) wake_at(now);
    const Instant next = transport_->next_deadline();
    if (next != Instant::never()) wake_at(std::max(next, now));
  }

  void take_deliveries() {
    Delivery delivery;
    bool took = false;
    while (store_.next_delivery(&delivery)) {
      took = true;
      if (delivery.kind == Delivery::Kind::kEnded) store_.slot_release(delivery.flow);
      if (delivery.kind != Delivery::Kind::kSegment) continue;
      const FourTuple& tuple = store_.tuple(delivery.flow);
      const bool receiver = address_ == kReceiver;
      const Port source = receiver ? tuple.remote_port : tuple.local_port;
      LabFlow& flow = *lab_->flows_[source - kFirstSource];
      if (receiver) {
        flow.received_bytes += delivery.segment.length;
        if (flow.request_bytes > 0) put(store_.handle(delivery.flow), flow.request_bytes);
      } else {
        flow.latencies.push_back(lab_->clock_.now() - flow.request_sent);
        flow.request_out = false;
      }
      store_.rx_release(delivery.segment.buffer);
    }
    if (took) transport_->on_store_space(lab_->clock_.now(), &store_);
  }

  bool put(transport::FlowHandle handle, uint32_t bytes) {
    const BufferIndex buffer = store_.tx_alloc();
    if (buffer == transport::kNoBuffer) return false;
    store_.tx_submitted(buffer);
    const RequestStatus status =
        transport_->send(lab_->clock_.now(), handle, buffer, static_cast<uint16_t>(bytes), true);
    if (status == RequestStatus::kOk) return true;
    store_.tx_refused(buffer);
    return false;
  }

  void send() {
    const Instant now = lab_->clock_.now();
    for (LabFlow* flow : flows_) {
      if (!flow->connected || now >= flow->stop) continue;
      if (flow->request_bytes > 0) {
        if (flow->request_out || !put(flow->handle, flow->request_bytes)) continue;
        flow->request_out = true;
        flow->request_sent = now;
        continue;
      }
      // Each bulk flow has a share of the buffers, so that one does not keep another from sending.
      transport::FlowSnapshot snapshot;
      if (!transport_->snapshot(flow->handle, &snapshot)) continue;
      const uint64_t most = uint64_t{2} * lab_->config_.window_max * lab_->config_.mss;
      while (snapshot.tx_queued_bytes < most && put(flow->handle, lab_->config_.mss)) {
        snapshot.tx_queued_bytes += lab_->config_.mss;
      }
    }
  }

  void transmit() {
    for (uint32_t i = 0; i < kBurst; i++) {
      if (out_->queued() >= kNicDepth) {
        wake_at(out_->drained_to(kNicDepth / 2));
        return;
      }
      if (!transport_->poll_transmit(lab_->clock_.now(), view_.get())) return;
      const TransmitView& view = *view_;
      datagram_.assign(kAddressSize + view.header_size + view.payload_size(), 0);
      const Address a{view.tuple.local_ip, view.tuple.remote_ip, view.tuple.local_port,
                      view.tuple.remote_port};
      std::memcpy(datagram_.data(), &a, sizeof(a));
      uint8_t* at = datagram_.data() + kAddressSize;
      at = std::copy_n(view.header.begin(), view.header_size, at);
      at = std::copy_n(view.table.begin(), view.table_size, at);
      for (size_t p = 0; p < view.piece_count; p++) {
        at = std::copy_n(view.pieces[p].data, view.pieces[p].length, at) + view.pieces[p].pad;
      }
      out_->send(datagram_);
    }
    wake_at(lab_->clock_.now() + nanoseconds(100));
  }

  CongestionLab* lab_;
  Ipv4 address_;
  SimRandom random_;
  ArrayStore store_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<TransmitView> view_;
  SimLink* out_ = nullptr;
  std::unique_ptr<SimLink> own_link_;
  std::vector<LabFlow*> flows_;
  std::deque<std::vector<uint8_t>> rx_queue_;
  std::vector<uint8_t> datagram_;
  Instant wake_at_ = Instant::never();
  uint64_t wake_generation_ = 0;
};

CongestionLab::CongestionLab(const LabConfig& config)
    : config_(config), random_(config.seed), begin_(clock_.now()) {
  const auto deliver = [this](std::span<const uint8_t> bytes, bool) {
    Address a;
    std::memcpy(&a, bytes.data(), sizeof(a));
    host_of(a.destination)->packet_arrived(bytes);
  };
  bottleneck_ =
      std::make_unique<SimLink>(&clock_, &trace_, random_.next(), config.bottleneck, deliver);
  LinkConfig back;
  back.bits_per_second = 100'000'000'000;
  back.delay = config.bottleneck.delay;
  back.loss = config.bottleneck.loss;
  back.queue_packets = 1 << 16;
  back_ = std::make_unique<SimLink>(&clock_, &trace_, random_.next(), back, deliver);
  StoreShape shape{.tx_buffers = 256,
                   .rx_buffers = 4096,
                   .buffer_size = static_cast<uint32_t>((config.mss + 63) / 64 * 64),
                   .flow_slots = 512};
  hosts_.push_back(std::make_unique<LabHost>(this, kReceiver, shape, random_.next()));
  hosts_[0]->connect_to(back_.get());
  shape.tx_buffers = 2 * config.window_max + 64;
  shape.rx_buffers = 256;
  shape.flow_slots = 64;
  LinkConfig access;
  access.bits_per_second = config.access_bits_per_second;
  access.delay = microseconds(1);
  access.queue_packets = 1 << 16;
  for (uint32_t i = 0; i < config.senders; i++) {
    hosts_.push_back(std::make_unique<LabHost>(this, kReceiver + 1 + i, shape, random_.next()));
    hosts_.back()->own(std::make_unique<SimLink>(
        &clock_, &trace_, random_.next(), access,
        [this](std::span<const uint8_t> bytes, bool) { bottleneck_->send(bytes); }));
  }
}

CongestionLab::~CongestionLab() = default;

LabHost* CongestionLab::host_of(Ipv4 address) { return hosts_[address - kReceiver].get(); }

uint32_t CongestionLab::add(uint32_t sender, Duration start, Duration stop,
                            uint32_t request_bytes) {
  flows_.push_back(std::make_unique<LabFlow>());
  LabFlow* flow = flows_.back().get();
  flow->id = static_cast<uint32_t>(flows_.size()) - 1;
  flow->sender = hosts_[1 + sender].get();
  flow->request_bytes = request_bytes;
  flow->stop = begin_ + stop;
  clock_.at(begin_ + start, [flow] { flow->sender->begin(flow); });
  return flow->id;
}

uint32_t CongestionLab::add_bulk(uint32_t sender, Duration start, Duration stop) {
  return add(sender, start, stop, 0);
}

uint32_t CongestionLab::add_requests(uint32_t sender, Duration start, uint32_t bytes) {
  return add(sender, start, seconds(1000), bytes);
}

void CongestionLab::run_until(Duration time) {
  while (clock_.next_event() <= begin_ + time) clock_.step();
}

uint64_t CongestionLab::received_bytes() const {
  uint64_t bytes = 0;
  for (const auto& flow : flows_) bytes += flow->received_bytes;
  return bytes;
}

transport::FlowSnapshot CongestionLab::snapshot(uint32_t id) const {
  transport::FlowSnapshot snapshot{};
  flows_[id]->sender->transport().snapshot(flows_[id]->handle, &snapshot);
  return snapshot;
}

double CongestionLab::loss_share() {
  const LinkCounters& now = bottleneck_->counters();
  const auto dropped = [](const LinkCounters& c) {
    return static_cast<double>(c.queue_drops + c.losses + c.policed);
  };
  const double sent = static_cast<double>(now.sent - before_.sent);
  const double share = sent == 0 ? 0 : (dropped(now) - dropped(before_)) / sent;
  before_ = now;
  return share;
}

double jain_index(const std::vector<double>& shares) {
  double sum = 0, squares = 0;
  for (const double x : shares) {
    sum += x;
    squares += x * x;
  }
  return squares == 0 ? 0 : sum * sum / (static_cast<double>(shares.size()) * squares);
}

}  // namespace mn::test
