// SPDX-License-Identifier: MIT
#include "engine/engine.h"

#include <cerrno>
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>
extern "C" {
#include <cmocka.h>
}

#include "channel/channel.h"
#include "wire/frame.h"

using namespace mn;

namespace {

constexpr Mac kOurMac{{2, 0, 0, 0, 0, 1}};
constexpr Mac kPeerMac{{2, 0, 0, 0, 0, 2}};
constexpr Ipv4 kOurIp = 0x0a000001;
constexpr Ipv4 kPeerIp = 0x0a000002;
constexpr ipc::LaneShape kShape{
    .tx_buffers = 16, .rx_buffers = 16, .buffer_size = 1472, .flow_slots = 8};

using Bytes = std::vector<uint8_t>;

// A port whose wire is two lists: what to receive, what was sent.
class ListPort final : public NicPort {
 public:
  std::deque<Bytes> incoming;
  std::vector<Bytes> sent;

  size_t asked = 0;  // frames, by the last rx_burst

  explicit ListPort(uint16_t mtu = 1500, uint16_t rx_burst_step = 8) {
    facts_.mac = kOurMac;
    facts_.mtu = mtu;
    facts_.rx_burst_step = rx_burst_step;
  }
  const NicFacts& facts() const override { return facts_; }
  size_t rx_burst(std::span<RxFrame> frames) override {
    size_t n = 0;
    asked = frames.size();
    while (n < frames.size() && !incoming.empty()) {
      held_.push_back(std::move(incoming.front()));
      incoming.pop_front();
      frames[n++] = {.data = held_.back().data(),
                     .length = static_cast<uint32_t>(held_.back().size()),
                     .udp_checksum_ok = false,
                     .handle = nullptr};
    }
    return n;
  }
  void rx_release(std::span<const RxFrame> frames) override {
    assert_int_equal(frames.size(), held_.size());
    held_.clear();
  }
  size_t tx_alloc(std::span<TxFrame> frames) override {
    for (TxFrame& frame : frames) {
      frame = {
          .data = new uint8_t[2048], .length = 0, .offload_checksum = false, .handle = nullptr};
    }
    return frames.size();
  }
  size_t tx_burst(std::span<TxFrame> frames) override {
    for (const TxFrame& frame : frames) sent.emplace_back(frame.data, frame.data + frame.length);
    tx_free(frames);
    return frames.size();
  }
  void tx_free(std::span<const TxFrame> frames) override {
    for (const TxFrame& frame : frames) delete[] frame.data;
  }
  bool arm_wake() override { return true; }
  void disarm_wake() override {}
  void service(NicCounters*) override {}

 private:
  NicFacts facts_;
  std::deque<Bytes> held_;
};

struct Fixture {
  ListPort port;
  std::unique_ptr<ipc::EngineCounters> counters{new ipc::EngineCounters{}};
  EngineConfig config{.address = kOurIp,
                      .prefix_length = 24,
                      .gateway = 0,
                      .serves_loopback = true,
                      .transport = {.flows_max = 64, .seed = 7}};
  Engine engine{config, &port, counters.get(), -1};
  Instant now{1'000'000'000};
  std::vector<std::unique_ptr<Channel>> channels;
  uint64_t cookie = 0;

  void poll() {
    now = now + microseconds(10);
    engine.poll_once(now);
  }
  Lane* add_lane() {
    auto made = Channel::create({&kShape, 1});
    if (!made.ok()) return nullptr;
    channels.push_back(std::move(made.value()));
    Lane* lane = channels.back()->lane(0);
    return ask({.kind = EngineCommand::Kind::kAddLane, .lane = lane}).error == 0 ? lane : nullptr;
  }
  uint64_t command(EngineCommand c) {
    c.cookie = ++cookie;
    assert_true(engine.commands().try_push(c));
    return c.cookie;
  }
  // Polls until the answer to `cookie` came, or `limit` has passed.
  EngineEvent answer(uint64_t to, Duration limit = seconds(10)) {
    const Instant end = now + limit;
    EngineEvent event;
    while (now < end) {
      poll();
      while (engine.events().try_pop(&event)) {
        if (event.cookie == to) return event;
      }
      now = now + milliseconds(1);
    }
    fail_msg("no answer to a command");
    return event;
  }
  EngineEvent ask(const EngineCommand& c) { return answer(command(c)); }
  static uint8_t* base(Lane* lane) {
    return const_cast<uint8_t*>(lane->tx_bytes(0).data()) - ipc::lane_offsets(kShape).tx_data;
  }
  static ipc::Producer16 submit(Lane* lane) {
    return {reinterpret_cast<ipc::Entry16*>(base(lane) + ipc::lane_offsets(kShape).submit),
            ipc::submit_capacity(kShape)};
  }
  static ipc::Consumer16 deliver(Lane* lane) {
    return {reinterpret_cast<ipc::Entry16*>(base(lane) + ipc::lane_offsets(kShape).deliver),
            ipc::deliver_capacity(kShape)};
  }
};

int setup(void** state) {
  *state = new Fixture;
  return 0;
}
int teardown(void** state) {
  delete static_cast<Fixture*>(*state);
  return 0;
}
Fixture& fixture(void** state) { return *static_cast<Fixture*>(*state); }

Bytes arp_request(Ipv4 sender, Ipv4 target) {
  Bytes frame(60);
  wire::encode_arp({.is_request = true,
                    .sender_mac = kPeerMac,
                    .sender_ip = sender,
                    .target_mac = {},
                    .target_ip = target},
                   kPeerMac, kBroadcastMac, frame);
  return frame;
}

Bytes udp(Mac destination, Ipv4 source_ip, Ipv4 destination_ip, const Bytes& payload) {
  Bytes frame(wire::kUdpPayloadOffset + payload.size());
  memcpy(frame.data() + wire::kUdpPayloadOffset, payload.data(), payload.size());
  wire::encode_udp_headers({.source = kPeerMac,
                            .destination = destination,
                            .source_ip = source_ip,
                            .destination_ip = destination_ip,
                            .source_port = 1,
                            .destination_port = 2,
                            .payload_length = payload.size()},
                           false, frame);
  wire::finish_udp_checksum(frame);
  if (frame.size() < 60) frame.resize(60);
  return frame;
}

// Vector drivers give nothing to who asks for fewer than 8, and floor what they are asked for.
void receive__bursts_are_what_drivers_can_give(void**) {
  for (const int mtu : {576, 1500, 4000, 9000, 22000, 32768}) {
    for (const int step : {1, 8}) {
      ListPort port(static_cast<uint16_t>(mtu), static_cast<uint16_t>(step));
      ipc::EngineCounters counters{};
      Engine engine(EngineConfig{}, &port, &counters, -1);
      engine.poll_once(Instant{1'000'000'000});
      const auto asked = static_cast<int>(port.asked);
      assert_true(asked >= step && asked <= static_cast<int>(kBurstMax));
      assert_int_equal(asked % step, 0);
      assert_true(asked == step || asked * mtu <= 48 * 1024);
    }
  }
}

void receive__arp_request_is_answered(void** state) {
  Fixture& f = fixture(state);
  f.poll();
  f.port.sent.clear();  // the announcement
  f.port.incoming.push_back(arp_request(kPeerIp, kOurIp));
  f.poll();
  assert_int_equal(f.port.sent.size(), 1);
  const wire::FrameView reply = wire::parse_frame(f.port.sent[0], false);
  assert_true(reply.kind == wire::FrameKind::kArp && !reply.arp.is_request);
  assert_int_equal(reply.arp.sender_ip, kOurIp);
  assert_true(reply.arp.sender_mac == kOurMac && reply.destination == kPeerMac);
}

void receive__impossible_addresses_are_dropped(void** state) {
  Fixture& f = fixture(state);
  const Bytes payload(40, 1);
  f.port.incoming.push_back(udp(kOurMac, 0x7f000001, kOurIp, payload));   // from loopback
  f.port.incoming.push_back(udp(kOurMac, kPeerIp, 0x7f000001, payload));  // to loopback
  f.port.incoming.push_back(udp(kOurMac, kOurIp, kOurIp, payload));       // from ourselves
  f.port.incoming.push_back(udp(kOurMac, kPeerIp, 0x0a0000ff, payload));  // to the broadcast
  f.port.incoming.push_back(udp(kPeerMac, kPeerIp, kOurIp, payload));     // another host's frame
  f.poll();
  assert_int_equal(f.counters->drop_not_for_us.load(), 5);
}

void receive__broken_packets_are_counted_by_kind(void** state) {
  Fixture& f = fixture(state);
  f.port.incoming.push_back(udp(kOurMac, kPeerIp, kOurIp, Bytes(40, 0xff)));  // no such version
  Bytes wrong = udp(kOurMac, kPeerIp, kOurIp, Bytes(40, 1));
  wrong[50] ^= 0x10;
  f.port.incoming.push_back(wrong);
  f.port.incoming.push_back(Bytes(60, 0xee));
  f.port.incoming.push_back(Bytes(7, 0));
  f.poll();
  assert_int_equal(f.counters->drop_checksum.load(), 1);
  assert_int_equal(f.counters->drop_not_for_us.load() + f.counters->drop_malformed.load(), 3);
  assert_int_equal(f.counters->rx_packets.load(), 4);
}

void connect__silent_next_hop_is_ehostunreach_within_two_seconds(void** state) {
  Fixture& f = fixture(state);
  Lane* lane = f.add_lane();
  const uint64_t cookie = f.command(
      {.kind = EngineCommand::Kind::kConnect, .lane = lane, .tuple = {kOurIp, kPeerIp, 50000, 80}});
  const EngineEvent event = f.answer(cookie, seconds(2));
  assert_true(event.kind == EngineEvent::Kind::kDone);
  assert_int_equal(event.error, EHOSTUNREACH);
  size_t requests = 0;
  for (const Bytes& frame : f.port.sent) {
    const wire::FrameView view = wire::parse_frame(frame, false);
    requests += view.kind == wire::FrameKind::kArp && view.arp.target_ip == kPeerIp;
  }
  assert_in_range(requests, 2, 5);
}

// The next hop was replaced by another machine that did not say so.
void connect__unanswered_asks_for_the_next_hop_again(void** state) {
  Fixture& f = fixture(state);
  Lane* lane = f.add_lane();
  f.command(
      {.kind = EngineCommand::Kind::kConnect, .lane = lane, .tuple = {kOurIp, kPeerIp, 50000, 80}});
  f.poll();
  Bytes answer(wire::kFrameSizeMin);
  wire::encode_arp({.is_request = false,
                    .sender_mac = kPeerMac,
                    .sender_ip = kPeerIp,
                    .target_mac = kOurMac,
                    .target_ip = kOurIp},
                   kPeerMac, kOurMac, answer);
  f.port.incoming.push_back(answer);
  f.poll();
  f.port.sent.clear();
  const auto asked = [&f] {
    size_t requests = 0;
    for (const Bytes& frame : f.port.sent) {
      const wire::FrameView view = wire::parse_frame(frame, false);
      requests += view.kind == wire::FrameKind::kArp && view.arp.target_ip == kPeerIp;
    }
    return requests;
  };
  const Instant start = f.now;
  while (f.now < start + milliseconds(450)) f.poll(), f.now = f.now + milliseconds(1);
  assert_int_equal(asked(), 0);
  while (f.now < start + milliseconds(1500)) f.poll(), f.now = f.now + milliseconds(1);
  assert_true(asked() > 0);
}

void connect__without_a_route_is_ehostunreach_at_once(void** state) {
  Fixture& f = fixture(state);
  Lane* lane = f.add_lane();
  const uint64_t cookie = f.command({.kind = EngineCommand::Kind::kConnect,
                                     .lane = lane,
                                     .tuple = {kOurIp, 0x08080808, 50000, 80}});
  assert_int_equal(f.answer(cookie, milliseconds(5)).error, EHOSTUNREACH);
}

void connect__own_address_without_listener_is_refused(void** state) {
  Fixture& f = fixture(state);
  Lane* lane = f.add_lane();
  for (const Ipv4 ip : {kOurIp, Ipv4{0x7f000001}}) {
    const EngineEvent event =
        f.ask({.kind = EngineCommand::Kind::kConnect, .lane = lane, .tuple = {ip, ip, 50000, 80}});
    assert_int_equal(event.error, ECONNREFUSED);
  }
}

void remove_lane__waiting_connect_is_answered_first(void** state) {
  Fixture& f = fixture(state);
  Lane* lane = f.add_lane();
  const uint64_t connect = f.command(
      {.kind = EngineCommand::Kind::kConnect, .lane = lane, .tuple = {kOurIp, kPeerIp, 50000, 80}});
  f.poll();
  const uint64_t remove = f.command({.kind = EngineCommand::Kind::kRemoveLane, .lane = lane});
  assert_int_equal(f.answer(connect, milliseconds(5)).error, ECONNABORTED);
  assert_true(f.answer(remove, milliseconds(5)).kind == EngineEvent::Kind::kLaneRemoved);
}

EngineEvent connect_loopback(Fixture& f, Lane* server, Lane* client) {
  assert_int_equal(f.ask({.kind = EngineCommand::Kind::kListen,
                          .lane = server,
                          .tuple = {.local_ip = kOurIp, .local_port = 80}})
                       .error,
                   0);
  const EngineEvent connected = f.ask({.kind = EngineCommand::Kind::kConnect,
                                       .lane = client,
                                       .tuple = {kOurIp, kOurIp, 50000, 80}});
  assert_true(connected.kind == EngineEvent::Kind::kConnected);
  return connected;
}

// A close is an end in order for the peer, an abort is none.
void loopback__close_and_abort(void** state) {
  for (const uint32_t flags : {0u, uint32_t{ipc::kAbort}}) {
    Fixture& f = fixture(state);
    Lane* server = f.add_lane();
    Lane* client = f.add_lane();
    const EngineEvent connected = connect_loopback(f, server, client);
    Fixture::submit(client).push(
        {.a = connected.flow, .word = ipc::entry_word(ipc::kSubmitClose, flags, 0)});
    for (int i = 0; i < 50; i++) f.poll();
    ipc::Consumer16 deliver = Fixture::deliver(server);
    ipc::Item16 item;
    assert_true(deliver.pop(&item));
    assert_int_equal(ipc::entry_type(item.word), ipc::kDeliverOpened);
    assert_true(deliver.pop(&item));
    assert_int_equal(ipc::entry_type(item.word), ipc::kDeliverEnded);
    assert_int_equal(item.c, flags == 0 ? ipc::kEndClosedByPeer : ipc::kEndReset);
    assert_true(f.ask({.kind = EngineCommand::Kind::kRemoveLane, .lane = server}).kind ==
                EngineEvent::Kind::kLaneRemoved);
    assert_true(f.ask({.kind = EngineCommand::Kind::kRemoveLane, .lane = client}).kind ==
                EngineEvent::Kind::kLaneRemoved);
  }
}

void loopback__message_arrives_whole_at_another_lane(void** state) {
  Fixture& f = fixture(state);
  Lane* server = f.add_lane();
  Lane* client = f.add_lane();
  const EngineEvent connected = connect_loopback(f, server, client);
  memcpy(const_cast<uint8_t*>(client->tx_bytes(3).data()), "hello", 5);
  Fixture::submit(client).push(
      {.a = connected.flow,
       .b = 3,
       .word = ipc::entry_word(ipc::kSubmitSegment, ipc::kLastSegment, 5)});
  for (int i = 0; i < 50; i++) f.poll();
  ipc::Consumer16 deliver = Fixture::deliver(server);
  ipc::Item16 item;
  assert_true(deliver.pop(&item));
  assert_int_equal(ipc::entry_type(item.word), ipc::kDeliverOpened);
  const uint32_t flow = item.a;
  assert_true(deliver.pop(&item));
  assert_int_equal(ipc::entry_type(item.word), ipc::kDeliverSegment);
  assert_int_equal(item.a, flow);
  assert_int_equal(ipc::entry_length(item.word), 5);
  const uint8_t* data = Fixture::base(server) + ipc::lane_offsets(kShape).rx_data +
                        item.b * kShape.buffer_size + item.c;
  assert_memory_equal(data, "hello", 5);
  // Nothing of it touched the wire.
  for (const Bytes& frame : f.port.sent) {
    assert_true(wire::parse_frame(frame, false).kind != wire::FrameKind::kUdp);
  }
  // And the sender has its buffer back.
  ipc::Consumer4 complete(
      reinterpret_cast<ipc::Entry4*>(Fixture::base(client) + ipc::lane_offsets(kShape).complete),
      ipc::complete_capacity(kShape));
  uint32_t buffer = 0;
  for (int i = 0; i < 100 && complete.empty(); i++) f.poll();
  assert_true(complete.pop(&buffer));
  assert_int_equal(buffer, 3);

  // Whose turn it is: theirs since that buffer; the network's once they only gave.
  assert_true(f.engine.applications_turn());
  ipc::Producer4 release(
      reinterpret_cast<ipc::Entry4*>(Fixture::base(server) + ipc::lane_offsets(kShape).release),
      ipc::release_capacity(kShape));
  release.push(item.b);
  f.poll();
  assert_false(f.engine.applications_turn());
  f.poll();
  assert_false(f.engine.applications_turn());
}

void violation__is_reported_once_and_others_go_on(void** state) {
  Fixture& f = fixture(state);
  Lane* bad = f.add_lane();
  Lane* good = f.add_lane();
  Fixture::submit(bad).push({.a = 0, .b = 999, .word = ipc::entry_word(1, 0, 5)});
  EngineEvent event;
  int reports = 0;
  for (int i = 0; i < 20; i++) {
    f.poll();
    while (f.engine.events().try_pop(&event)) {
      if (event.kind != EngineEvent::Kind::kLaneViolated) continue;
      reports++;
      assert_ptr_equal(event.lane, bad);
      assert_non_null(event.reason);
    }
  }
  assert_int_equal(reports, 1);
  assert_int_equal(f.ask({.kind = EngineCommand::Kind::kListen,
                          .lane = good,
                          .tuple = {.local_ip = kOurIp, .local_port = 81}})
                       .error,
                   0);
  assert_true(f.ask({.kind = EngineCommand::Kind::kRemoveLane, .lane = bad}).kind ==
              EngineEvent::Kind::kLaneRemoved);
}

// Every application may break the rules at the same moment, while the control plane is slow.
void violation__waits_for_room_in_the_event_queue(void** state) {
  Fixture& f = fixture(state);
  constexpr int kBad = 20;
  for (int i = 0; i < kBad; i++) assert_non_null(f.add_lane());
  for (auto& channel : f.channels) {
    Fixture::submit(channel->lane(0)).push({.a = 0, .b = 999, .word = ipc::entry_word(1, 0, 5)});
  }
  while (f.engine.events().has_room(10)) assert_true(f.engine.events().try_push({}));
  f.poll();
  EngineEvent event;
  int reports = 0;
  for (int i = 0; i < 20; i++) {
    while (f.engine.events().try_pop(&event)) {
      reports += event.kind == EngineEvent::Kind::kLaneViolated;
    }
    f.poll();
  }
  assert_int_equal(reports, kBad);
}

void submit__to_no_flow_is_counted_and_given_back(void** state) {
  Fixture& f = fixture(state);
  Lane* lane = f.add_lane();
  Fixture::submit(lane).push(
      {.a = 0, .b = 2, .word = ipc::entry_word(ipc::kSubmitSegment, ipc::kLastSegment, 5)});
  f.poll();
  assert_int_equal(f.counters->stale_submits.load(), 1);
  f.poll();
  assert_int_equal(f.counters->stale_submits.load(), 1);
}

void flow_stats__unknown_flow_is_enoent(void** state) {
  Fixture& f = fixture(state);
  Lane* lane = f.add_lane();
  assert_int_equal(
      f.ask({.kind = EngineCommand::Kind::kFlowStats, .lane = lane, .flow = 12345}).error, ENOENT);
}

void stop__is_answered(void** state) {
  Fixture& f = fixture(state);
  f.add_lane();
  assert_int_equal(f.ask({.kind = EngineCommand::Kind::kStop}).error, 0);
}

}  // namespace

#define MN_ENGINE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(receive__bursts_are_what_drivers_can_give),
      MN_ENGINE_TEST(receive__arp_request_is_answered),
      MN_ENGINE_TEST(receive__impossible_addresses_are_dropped),
      MN_ENGINE_TEST(receive__broken_packets_are_counted_by_kind),
      MN_ENGINE_TEST(connect__silent_next_hop_is_ehostunreach_within_two_seconds),
      MN_ENGINE_TEST(connect__unanswered_asks_for_the_next_hop_again),
      MN_ENGINE_TEST(connect__without_a_route_is_ehostunreach_at_once),
      MN_ENGINE_TEST(connect__own_address_without_listener_is_refused),
      MN_ENGINE_TEST(remove_lane__waiting_connect_is_answered_first),
      MN_ENGINE_TEST(loopback__close_and_abort),
      MN_ENGINE_TEST(loopback__message_arrives_whole_at_another_lane),
      MN_ENGINE_TEST(violation__is_reported_once_and_others_go_on),
      MN_ENGINE_TEST(violation__waits_for_room_in_the_event_queue),
      MN_ENGINE_TEST(submit__to_no_flow_is_counted_and_given_back),
      MN_ENGINE_TEST(flow_stats__unknown_flow_is_enoent),
      MN_ENGINE_TEST(stop__is_answered),
  };
  return cmocka_run_group_tests_name("engine", tests, nullptr, nullptr);
}
