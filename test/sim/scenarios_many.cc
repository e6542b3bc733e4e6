// SPDX-License-Identifier: MIT
// Very many flows between two transports: an own, small store and a link that carries at once, so
// that what is seen is the transport's.
#include <unistd.h>

#include <array>
#include <cstdio>
#include <deque>
#include <memory>
#include <vector>

#include "ipc/shm_layout.h"
#include "sim/scenario.h"
#include "sim/sim_run.h"
#include "transport/core.h"
#include "transport/transport.h"

namespace mn::test {
namespace {

using transport::BufferIndex;
using transport::FlowHandle;
using transport::FlowRef;
using transport::RequestStatus;
using Ull = unsigned long long;

// Names flows by their handle's order, gives every payload the same buffer, and counts.
class CountingStore final : public transport::MessageStore {
 public:
  static constexpr uint32_t kBuffers = 64;
  FlowRef flow_reserve(uint32_t handle, const FourTuple&) override {
    handles.push_back(handle);
    return static_cast<FlowRef>(handles.size());
  }
  uint32_t flow_room() const override { return transport::kFlowsMax; }
  uint32_t flow_capacity() const override { return transport::kFlowsMax; }
  void flow_accepted(FlowRef) override { accepted++; }
  void flow_ended(FlowRef, uint32_t) override { ended++; }
  transport::TxChunk* tx_chunks() override { return chunks_.data(); }
  std::span<const uint8_t> tx_bytes(BufferIndex) override { return bytes_; }
  void tx_done(BufferIndex buffer) override { tx_free.push_back(buffer); }
  uint32_t rx_free() const override { return kBuffers; }
  uint32_t rx_capacity() const override { return kBuffers; }
  uint32_t buffer_size() const override { return static_cast<uint32_t>(bytes_.size()); }
  BufferIndex rx_put(std::span<const uint8_t>) override { return 0; }
  void rx_deliver(FlowRef, const transport::RxSegment&) override { received++; }
  void rx_discard(BufferIndex) override {}

  std::vector<FlowHandle> handles;
  std::vector<BufferIndex> tx_free{0, 1, 2, 3};
  uint64_t accepted = 0, ended = 0, received = 0;

 private:
  std::array<transport::TxChunk, kBuffers> chunks_;
  std::array<uint8_t, 1472> bytes_{};
};

struct Side {
  explicit Side(const transport::TransportConfig& config) : transport(config) {}
  // The client's flows are all in the first; the server has one for each port.
  CountingStore stores[4];
  transport::Transport transport;

  uint64_t sum(uint64_t CountingStore::*count) const {
    uint64_t all = 0;
    for (const CountingStore& store : stores) all += store.*count;
    return all;
  }
};

class ManyFlows {
 public:
  ManyFlows(uint64_t seed, uint32_t flows) : view_(std::make_unique<transport::TransmitView>()) {
    transport::TransportConfig config;
    config.flows_max = flows;
    config.window_packets_max = 64;
    for (auto& side : sides_) {
      config.seed = ++seed;
      side = std::make_unique<Side>(config);
    }
    for (Port port = 1; port <= 4; port++) {
      const RequestStatus status = server().transport.listen(0, port, &server().stores[port - 1]);
      SIM_CHECK(status == RequestStatus::kOk, "listen");
    }
  }
  Side& client() { return *sides_[0]; }
  Side& server() { return *sides_[1]; }

  void open(uint32_t number) {
    const FourTuple tuple{host_address(0), host_address(1), static_cast<Port>(number / 4 + 1),
                          static_cast<Port>(number % 4 + 1)};
    FlowHandle flow;
    const RequestStatus status =
        client().transport.open(now, tuple, &client().stores[0], number, 1, &flow);
    SIM_CHECK(status == RequestStatus::kOk, "open %u: status %d", number, static_cast<int>(status));
  }
  // Until nobody has anything to say.
  void exchange() {
    for (bool any = true; any;) {
      any = false;
      for (size_t from = 0; from < 2; from++) {
        while (sides_[from]->transport.poll_transmit(now, view_.get())) {
          any = true;
          packets++;
          deliver(*sides_[1 - from]);
        }
      }
      transport::TransportEvent event;
      for (auto& side : sides_) {
        while (side->transport.poll_event(&event)) {
          connected += event.kind == transport::TransportEvent::Kind::kConnected;
        }
      }
    }
  }
  void pass(Duration duration) {
    const Instant end = now + duration;
    while (now < end) {
      now = std::min(
          end, std::min(client().transport.next_deadline(), server().transport.next_deadline()));
      for (auto& side : sides_) side->transport.on_deadline(now);
      exchange();
    }
  }

  Instant now{1'000'000'000};
  uint64_t packets = 0, connected = 0;

 private:
  void deliver(Side& to) {
    std::vector<uint8_t>& bytes = packet_;
    const auto* header = view_->header.data();
    bytes.assign(header, header + view_->header_size);
    for (size_t i = 0; i < view_->piece_count; i++) {
      const auto& piece = view_->pieces[i];
      bytes.insert(bytes.end(), piece.data, piece.data + piece.length);
    }
    const FourTuple& t = view_->tuple;
    to.transport.on_packet(now, {t.remote_ip, t.local_ip, t.remote_port, t.local_port}, bytes, 1);
  }

  std::unique_ptr<Side> sides_[2];
  std::unique_ptr<transport::TransmitView> view_;
  std::vector<uint8_t> packet_;
};

uint64_t resident_bytes() {
  unsigned long long size = 0, resident = 0;
  FILE* file = std::fopen("/proc/self/statm", "re");
  SIM_CHECK(file != nullptr && std::fscanf(file, "%llu %llu", &size, &resident) == 2, "statm");
  std::fclose(file);
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// 1,000 connects a second, one by one, then all the others at once: each takes one round trip.
// Idle, they are kept alive, take less than a kilobyte each, and still work.
void hundred_thousand_flows(uint64_t seed, FILE*) {
  constexpr uint32_t kFlows = 100'000;
  constexpr uint32_t kStorm = 1000;
  ManyFlows many(seed, kFlows);
  const uint64_t before = resident_bytes();
  for (uint32_t i = 0; i < kStorm; i++) {
    many.open(i);
    many.exchange();
    SIM_CHECK(many.connected == i + 1 && many.server().sum(&CountingStore::accepted) == i + 1,
              "storm: connect %u did not finish in its round trip", i);
    many.pass(milliseconds(1));
  }
  for (uint32_t i = kStorm; i < kFlows; i++) {
    many.open(i);
    many.exchange();
  }
  SIM_CHECK(many.connected == kFlows && many.server().transport.flow_count() == kFlows,
            "%llu of %u flows", static_cast<Ull>(many.connected), kFlows);
  many.pass(milliseconds(2500));
  const uint64_t grown = resident_bytes() - before;
  SIM_CHECK(grown < uint64_t{2 * kFlows} * 1024, "%llu bytes for each end of an idle flow",
            static_cast<Ull>(grown / (2 * kFlows)));
  uint64_t sent = 0;
  for (uint32_t i = 0; i < kFlows; i += 7) {
    auto& store = many.client().stores[0];
    const BufferIndex buffer = store.tx_free.back();
    store.tx_free.pop_back();
    const RequestStatus status =
        many.client().transport.send(many.now, store.handles[i], buffer, 64, true);
    SIM_CHECK(status == RequestStatus::kOk, "flow %u is gone", i);
    sent++;
    many.exchange();
    if (store.tx_free.empty()) many.pass(microseconds(200));  // acks may wait for that long
  }
  SIM_CHECK(many.server().sum(&CountingStore::received) == sent, "%llu messages of %llu",
            static_cast<Ull>(many.server().sum(&CountingStore::received)), static_cast<Ull>(sent));
  many.client().transport.abort_all(many.now, ipc::kEndDaemonStop);
  many.exchange();
  SIM_CHECK(many.server().sum(&CountingStore::ended) == kFlows &&
                many.client().sum(&CountingStore::ended) == kFlows,
            "flows are left");
  many.server().transport.check_invariants();
}

constexpr Scenario kScenarios[] = {
    {"hundred_thousand_flows", hundred_thousand_flows},
};

}  // namespace

std::span<const Scenario> many_scenarios() { return kScenarios; }

}  // namespace mn::test
