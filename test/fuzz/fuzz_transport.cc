// SPDX-License-Identifier: MIT
// Two transports against each other and against whoever writes into their wires. The input is a
// program: how large packets may be, then requests, time, packets delivered, lost, repeated,
// changed in any field, or made up, and wires that take only small ones. After each step every
// invariant of both must hold; an honest peer's flow may end, but nothing aborts and no buffer is
// lost.
#include <stdint.h>
#include <string.h>

#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "base/assert.h"
#include "support/array_store.h"
#include "transport/transport.h"

using namespace mn;
using transport::FlowHandle;

namespace {

constexpr size_t kStepsMax = 600;
constexpr size_t kWireMax = 64;
constexpr uint16_t kMss[] = {200, 1440, 8940, 600};

class Input {
 public:
  Input(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
  bool empty() const { return at_ == end_; }
  uint8_t byte() { return at_ == end_ ? uint8_t{0} : *at_++; }
  uint32_t word() {
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) v = v << 8 | byte();
    return v;
  }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
};

struct Sent {
  FourTuple tuple;  // as the receiver sees it
  std::vector<uint8_t> bytes;
};

transport::TransportConfig config_of(uint64_t seed, uint16_t mss) {
  transport::TransportConfig c;
  c.flows_max = 6;
  c.listeners_max = 4;
  c.half_open_max = 3;
  c.mss = mss;
  c.window_packets_max = 100;
  c.seed = seed;
  return c;
}

class Host {
 public:
  Host(uint64_t seed, uint16_t mss)
      : mss(mss),
        store({.tx_buffers = 24, .rx_buffers = 12, .buffer_size = mss + 56u, .flow_slots = 5}),
        transport(config_of(seed, mss)) {}

  const uint16_t mss;
  test::ArrayStore store;
  transport::Transport transport;
  std::deque<Sent> wire;
  size_t wire_takes = SIZE_MAX;   // bytes of a packet; larger ones are lost
  std::vector<FlowHandle> flows;  // opened or accepted, perhaps over
  std::vector<transport::FlowRef> ended;

  FlowHandle pick(uint8_t n) const {
    return flows.empty() ? FlowHandle{n} : flows[n % flows.size()];
  }

  void read(bool release) {
    test::Delivery d;
    for (int i = 0; i < 4 && store.next_delivery(&d); i++) {
      if (d.kind == test::Delivery::Kind::kOpened) remember(store.handle(d.flow));
      if (d.kind == test::Delivery::Kind::kEnded) store.slot_release(d.flow);
      if (d.kind == test::Delivery::Kind::kSegment) held.push_back(d.segment.buffer);
    }
    while (release && !held.empty()) {
      store.rx_release(held.back());
      held.pop_back();
    }
  }
  void remember(FlowHandle flow) {
    if (flows.size() >= 8) flows.erase(flows.begin());
    flows.push_back(flow);
  }

  std::vector<transport::BufferIndex> held;
};

class Model {
 public:
  explicit Model(uint8_t shape) : view_(std::make_unique<transport::TransmitView>()) {
    for (unsigned i = 0; i < 2; i++) {
      hosts_[i] = std::make_unique<Host>(i + 1, kMss[shape >> 2 * i & 3]);
    }
  }

  void step(Input& in) {
    const uint8_t action = in.byte();
    const int side = action & 1;
    switch ((action >> 1) % 20) {
      case 0:
        open(side, in);
        break;
      case 1:
        listen(side, in);
        break;
      case 2:
      case 3:
        send(side, in);
        break;
      case 4:
        request(side, in);
        break;
      case 5:
        hosts_[side]->read(true);
        hosts_[side]->transport.on_store_space(now_, &hosts_[side]->store);
        break;
      case 6:
        hosts_[side]->read(false);
        break;
      case 7:
        pass(microseconds(in.byte()));
        break;
      case 8:
        pass(milliseconds(in.byte() * 8));
        break;
      case 9:
        lose(side, in.byte());
        break;
      case 10:
        change(side, in);
        break;
      case 11:
        repeat(side, in.byte());
        break;
      case 12:
        invent(side, in);
        break;
      case 13:
        swap(side, in.byte());
        break;
      case 14:
        hosts_[side]->wire_takes = wire::kHeaderSize + size_t{in.byte()} * 40;
        break;
      default:
        settle(side, in.byte());
        break;
    }
    for (auto& h : hosts_) {
      h->transport.check_invariants();
      h->store.check();
    }
  }

  void finish() {
    for (auto& h : hosts_) {
      h->transport.abort_all(now_, ipc::kEndDaemonStop);
      MN_ASSERT(h->store.tx_owned_by_transport() == 0);
      MN_ASSERT(h->store.rx_owned_by_transport() == 0);
      MN_ASSERT(h->transport.store_flow_count(&h->store) == 0);
      while (h->transport.poll_transmit(now_, view_.get())) {
      }
      events(*h);
    }
    pass(seconds(20));
    for (auto& h : hosts_) {
      h->transport.check_invariants();
      MN_ASSERT(h->transport.flow_count() == 0);
    }
  }

 private:
  static FourTuple tuple_of(int side, uint8_t n) {
    const FourTuple t{
        .local_ip = 1, .remote_ip = 2, .local_port = static_cast<Port>(n % 4), .remote_port = 9};
    if (side == 0) return t;
    return {
        .local_ip = 2, .remote_ip = 1, .local_port = 9, .remote_port = static_cast<Port>(n % 4)};
  }

  void open(int side, Input& in) {
    FlowHandle flow = 0;
    Host& h = *hosts_[side];
    if (h.transport.open(now_, tuple_of(side, in.byte()), &h.store, 7, 1, &flow) ==
        transport::RequestStatus::kOk) {
      h.remember(flow);
    }
  }
  void listen(int side, Input& in) {
    Host& h = *hosts_[side];
    const uint8_t n = in.byte();
    const Port port = tuple_of(side, n).local_port;
    if ((n & 0x80) != 0) {
      h.transport.unlisten(0, port);
    } else {
      h.transport.listen(0, port, &h.store);
    }
  }
  void send(int side, Input& in) {
    Host& h = *hosts_[side];
    const uint8_t n = in.byte();
    const auto buffer = h.store.tx_alloc();
    if (buffer == transport::kNoBuffer) return;
    h.store.tx_submitted(buffer);
    const auto most = static_cast<uint16_t>(h.store.tx_bytes(buffer).size());
    const auto length = static_cast<uint16_t>((n & 7) == 0 ? most : 1 + (n >> 2) * (most / 256));
    if (h.transport.send(now_, h.pick(in.byte()), buffer, length, (n & 1) != 0) !=
        transport::RequestStatus::kOk) {
      h.store.tx_refused(buffer);
    }
  }
  void request(int side, Input& in) {
    Host& h = *hosts_[side];
    const uint8_t n = in.byte();
    switch (n % 8) {
      case 0:
        h.transport.abort(now_, h.pick(n >> 3), ipc::kEndReset);
        break;
      case 1:
        h.transport.close_store(now_, &h.store);
        break;
      case 2:
        h.transport.abort_store(now_, &h.store, ipc::kEndReset);
        break;
      case 3:
        h.transport.abort_all(now_, ipc::kEndDaemonStop);
        break;
      default:
        h.transport.close(now_, h.pick(n >> 3));
        break;
    }
  }

  void events(Host& h) {
    transport::TransportEvent event;
    while (h.transport.poll_event(&event)) {
    }
  }
  void poll(int side, uint8_t count) {
    Host& h = *hosts_[side];
    while (count-- > 0 && h.transport.poll_transmit(now_, view_.get())) {
      const auto& v = *view_;
      Sent sent{.tuple = {.local_ip = v.tuple.remote_ip,
                          .remote_ip = v.tuple.local_ip,
                          .local_port = v.tuple.remote_port,
                          .remote_port = v.tuple.local_port},
                .bytes = {}};
      sent.bytes.assign(v.header.data(), v.header.data() + v.header_size);
      sent.bytes.insert(sent.bytes.end(), v.table.data(), v.table.data() + v.table_size);
      for (size_t p = 0; p < v.piece_count; p++) {
        sent.bytes.insert(sent.bytes.end(), v.pieces[p].data,
                          v.pieces[p].data + v.pieces[p].length);
        sent.bytes.insert(sent.bytes.end(), v.pieces[p].pad, 0);
      }
      MN_ASSERT(sent.bytes.size() <= wire::kHeaderSize + h.mss);
      if (sent.bytes.size() <= h.wire_takes && h.wire.size() < kWireMax)
        h.wire.push_back(std::move(sent));
    }
    events(h);
  }
  void deliver(int side, uint8_t count) {
    Host& h = *hosts_[side];
    while (count-- > 0 && !h.wire.empty()) {
      const Sent sent = h.wire.front();
      h.wire.pop_front();
      arrive(side, sent);
    }
  }
  void arrive(int side, const Sent& sent) {
    hosts_[1 - side]->transport.on_packet(now_, sent.tuple, sent.bytes, 0);
  }
  void settle(int side, uint8_t n) {
    poll(side, static_cast<uint8_t>(1 + (n & 15)));
    deliver(side, static_cast<uint8_t>(1 + (n >> 4)));
    events(*hosts_[1 - side]);
  }
  void pass(Duration d) {
    const Instant end = now_ + d;
    while (now_ < end) {
      Instant next = end;
      for (auto& h : hosts_) next = std::min(next, h->transport.next_deadline());
      now_ = std::max(now_, next);
      for (auto& h : hosts_) h->transport.on_deadline(now_);
      if (now_ >= end || ++pass_guard_ > 200'000) break;
    }
    now_ = end;
    for (auto& h : hosts_) {
      h->transport.on_deadline(now_);
      events(*h);
    }
  }
  void lose(int side, uint8_t n) {
    auto& wire = hosts_[side]->wire;
    if (!wire.empty()) wire.erase(wire.begin() + n % static_cast<int>(wire.size()));
  }
  void repeat(int side, uint8_t n) {
    auto& wire = hosts_[side]->wire;
    if (!wire.empty()) arrive(side, Sent(wire[n % wire.size()]));
  }
  void swap(int side, uint8_t n) {
    auto& wire = hosts_[side]->wire;
    if (wire.size() > 1) std::swap(wire.front(), wire[n % wire.size()]);
  }
  // A packet of an honest host, one field changed; the lengths are made to fit again.
  void change(int side, Input& in) {
    auto& wire = hosts_[side]->wire;
    if (wire.empty()) return;
    Sent sent = wire[in.byte() % wire.size()];
    wire::Packet packet;
    if (wire::parse_packet(sent.bytes, &packet) != wire::ParseStatus::kOk) return;
    wire::PacketHeader h = packet.header;
    const uint8_t what = in.byte();
    const auto delta = static_cast<int8_t>(in.byte());
    switch (what % 11) {
      case 0:
        h.type = static_cast<wire::PacketType>(1 + (static_cast<uint8_t>(delta) % 8));
        break;
      case 1:
        h.flags ^= static_cast<uint8_t>(delta) & 31;
        break;
      case 2:
        h.window = static_cast<uint16_t>(h.window + delta);
        break;
      case 3:
        h.sequence += static_cast<uint32_t>(delta);
        break;
      case 4:
        h.ack += static_cast<uint32_t>(delta);
        break;
      case 5:
        h.timestamp += static_cast<uint32_t>(delta) << (what >> 4);
        break;
      case 6:
        h.echo += static_cast<uint32_t>(delta) << (what >> 4);
        break;
      case 7:
        h.echo_delay = static_cast<uint16_t>(h.echo_delay + delta * 256);
        break;
      case 8:
        h.tag += static_cast<uint32_t>(delta);
        break;
      case 9:
        h.extra = static_cast<uint16_t>(h.extra + delta * (1 + (what >> 4)));
        break;
      default:
        h.window = 0;
        break;
    }
    std::vector<wire::SackRange> ranges;
    if ((what & 0x40) != 0) {
      for (uint32_t at = 1, n = in.byte() % 6; n > 0; n--) {
        const uint8_t b = in.byte();
        at += b & 15;
        ranges.push_back({static_cast<uint16_t>(at), static_cast<uint16_t>(1 + (b >> 4))});
        at += 2u + (b >> 4);
      }
    }
    h.sack_count = static_cast<uint8_t>(ranges.size());
    std::vector<uint8_t> bytes(wire::kHeaderSize + wire::kSackRangeSize * ranges.size());
    wire::encode_packet_header(h, ranges, bytes);
    bytes.insert(bytes.end(), packet.payload.begin(), packet.payload.end());
    if ((what & 0x80) != 0 &&
        !packet.payload.empty()) {  // options of a handshake, table of a bundle
      bytes[bytes.size() - packet.payload.size() + in.byte() % packet.payload.size()] = in.byte();
    }
    sent.bytes = std::move(bytes);
    arrive(side, sent);
  }
  void invent(int side, Input& in) {
    Sent sent{.tuple = tuple_of(1 - side, in.byte()), .bytes = {}};
    const uint8_t size = in.byte();
    for (uint8_t i = 0; i < size; i++) sent.bytes.push_back(in.byte());
    arrive(side, sent);
  }

  Instant now_{1'000'000'000};
  uint32_t pass_guard_ = 0;
  std::unique_ptr<Host> hosts_[2];
  std::unique_ptr<transport::TransmitView> view_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  auto model = std::make_unique<Model>(in.byte());
  for (size_t i = 0; i < kStepsMax && !in.empty(); i++) model->step(in);
  model->finish();
  return 0;
}
