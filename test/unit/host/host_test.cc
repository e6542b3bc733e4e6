// SPDX-License-Identifier: MIT
#include "host/host.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
extern "C" {
#include <cmocka.h>
}

#include "wire/bytes.h"

using mn::Instant;
using mn::Mac;
using mn::seconds;
using namespace mn::host;
namespace wire = mn::wire;

namespace {

constexpr Instant kStart{5'000'000'000};
constexpr Mac kOurs{{2, 0, 0, 0, 0, 1}}, kPeerMac{{2, 0, 0, 0, 0, 2}}, kGwMac{{2, 0, 0, 0, 0, 9}};
constexpr mn::Ipv4 kUs = 0x0a000005, kPeer = 0x0a000006, kGateway = 0x0a000001, kFar = 0x08080808;

Host* host;
uint8_t out[1600];
uint8_t in[1600];
Mac mac;
HostEvent event;

HostConfig config_of(uint32_t prefix, mn::Ipv4 gateway) {
  HostConfig config;
  config.mac = kOurs;
  config.address = kUs;
  config.prefix_length = prefix;
  config.gateway = gateway;
  config.announce = false;
  config.neighbors.entries_max = 16;
  return config;
}
int setup(void**) {
  host = new Host(config_of(24, kGateway));
  return 0;
}
int setup_gcp(void**) {
  host = new Host(config_of(32, kGateway));
  return 0;
}
int setup_alone(void**) {
  host = new Host(config_of(24, 0));
  return 0;
}
int setup_announce(void**) {
  HostConfig config = config_of(24, kGateway);
  config.announce = true;
  host = new Host(config);
  return 0;
}
int teardown(void**) {
  delete host;
  return 0;
}

void feed_arp(const wire::ArpView& arp, Mac destination) {
  memset(in, 0, 60);
  wire::encode_arp(arp, arp.sender_mac, destination, in);
  host->on_frame(kStart, wire::parse_frame({in, 60}, false));
}
void feed_request(mn::Ipv4 from, Mac from_mac, mn::Ipv4 target) {
  feed_arp({true, from_mac, from, Mac{}, target}, mn::kBroadcastMac);
}
void feed_reply(mn::Ipv4 from, Mac from_mac) {
  feed_arp({false, from_mac, from, kOurs, kUs}, kOurs);
}
size_t feed_echo(mn::Ipv4 from, mn::Ipv4 to, Mac to_mac, size_t data) {
  const wire::UdpFrameSpec spec{kPeerMac, to_mac, from, to, 0x0800, 0, data};
  memset(in, 0x55, sizeof in);
  wire::encode_udp_headers(spec, false, in);
  uint8_t* ip = in + 14;
  ip[9] = 1;
  wire::store_be16(ip + 10, 0);
  wire::InternetSum sum;
  sum.add({ip, 20});
  wire::store_be16(ip + 10, sum.checksum());
  uint8_t* icmp = ip + 20;
  icmp[0] = 8;
  wire::store_be16(icmp + 2, 0);
  wire::InternetSum icmp_sum;
  icmp_sum.add({icmp, 8 + data});
  wire::store_be16(icmp + 2, icmp_sum.checksum());
  const wire::FrameView view = wire::parse_frame({in, 42 + data}, false);
  assert_int_equal(view.kind, wire::FrameKind::kIcmpEcho);
  host->on_frame(kStart, view);
  return 42 + data;
}

// The next frame that leaves, which must be an ARP packet.
wire::FrameView next_arp() {
  memset(out, 0xcc, sizeof out);
  const size_t size = host->poll_output(kStart, out);
  assert_int_equal(size, 60);
  for (size_t i = 42; i < 60; i++) assert_int_equal(out[i], 0);
  const wire::FrameView view = wire::parse_frame({out, size}, false);
  assert_int_equal(view.kind, wire::FrameKind::kArp);
  assert_true(view.source == kOurs && view.arp.sender_mac == kOurs);
  assert_int_equal(view.arp.sender_ip, kUs);
  return view;
}
void expect_silence() {
  assert_false(host->has_output());
  assert_int_equal(host->poll_output(kStart, out), 0);
}

void expect_path(mn::Ipv4 remote, Mac want) {
  const NextHop hop = host->resolve(kStart, remote);
  assert_int_equal(hop.status, ResolveStatus::kReady);
  assert_true(host->path_mac(hop.path, &mac));
  assert_true(mac == want);
}

void resolve__on_link_peer(void**) {
  const NextHop hop = host->resolve(kStart, kPeer);
  assert_int_equal(hop.status, ResolveStatus::kPending);
  const wire::FrameView request = next_arp();
  assert_true(request.arp.is_request && request.destination == mn::kBroadcastMac);
  assert_int_equal(request.arp.target_ip, kPeer);
  expect_silence();
  feed_reply(kPeer, kPeerMac);
  assert_true(host->poll_event(&event));
  assert_true(event.ready && event.path == hop.path);
  expect_path(kPeer, kPeerMac);
  assert_true(host->next_deadline() == kStart + seconds(30));
}

void resolve__far_ones_share_the_gateway(void**) {
  const NextHop one = host->resolve(kStart, kFar);
  const NextHop two = host->resolve(kStart, kFar + 1);
  assert_int_equal(one.status, ResolveStatus::kPending);
  assert_int_equal(one.path, two.path);
  assert_int_equal(next_arp().arp.target_ip, kGateway);
  expect_silence();
  feed_reply(kGateway, kGwMac);
  expect_path(kFar, kGwMac);
  expect_path(kFar + 1, kGwMac);
  expect_path(kGateway, kGwMac);
}

// GCP: our address is a /32, the gateway lies outside of it, and neighbours do not answer.
void resolve__host_prefix_sends_all_to_the_gateway(void**) {
  assert_int_equal(host->resolve(kStart, kPeer).status, ResolveStatus::kPending);
  assert_int_equal(next_arp().arp.target_ip, kGateway);
  feed_reply(kGateway, kGwMac);
  expect_path(kPeer, kGwMac);
  expect_path(kFar, kGwMac);
  expect_silence();
  // The gateway asks for us, too.
  feed_request(kGateway, kGwMac, kUs);
  assert_true(next_arp().destination == kGwMac);
  // A handshake from a neighbour is answered through the gateway.
  const Path path = host->learn_from_traffic(kStart, kPeer, kGwMac);
  assert_int_equal(path, host->resolve(kStart, kFar).path);
}

// Azure: whoever is asked for, the answer is the same MAC; even for our own address.
void resolve__one_mac_for_everybody(void**) {
  constexpr Mac kAll{{0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc}};
  next_arp();  // the announcement
  feed_reply(kUs, kAll);
  assert_int_equal(host->counters().address_conflicts, 1);
  expect_silence();
  Path paths[3];
  for (uint32_t i = 0; i < 3; i++) {
    paths[i] = host->resolve(kStart, kPeer + i).path;
    assert_int_equal(next_arp().arp.target_ip, kPeer + i);
    feed_reply(kPeer + i, kAll);
    expect_path(kPeer + i, kAll);
  }
  assert_true(paths[0] != paths[1] && paths[1] != paths[2]);
  assert_int_equal(host->learn_from_traffic(kStart, kPeer, kAll), paths[0]);
}

void resolve__addresses_that_lead_nowhere(void**) {
  for (mn::Ipv4 ip : {mn::Ipv4{0}, mn::Ipv4{5}, kUs, mn::kLoopbackAddress, mn::Ipv4{0x0a0000ff},
                      mn::Ipv4{0x0a000000}, mn::Ipv4{0xe0000001}, mn::Ipv4{0xffffffff}}) {
    assert_int_equal(host->resolve(kStart, ip).status, ResolveStatus::kUnreachable);
    assert_int_equal(host->learn_from_traffic(kStart, ip, kPeerMac), kNoPath);
  }
  expect_silence();
}

void resolve__no_gateway(void**) {
  assert_int_equal(host->resolve(kStart, kFar).status, ResolveStatus::kUnreachable);
  assert_int_equal(host->learn_from_traffic(kStart, kFar, kGwMac), kNoPath);
  assert_int_equal(host->resolve(kStart, kPeer).status, ResolveStatus::kPending);
}

void traffic__refuses_impossible_macs(void**) {
  assert_int_equal(host->learn_from_traffic(kStart, kPeer, Mac{}), kNoPath);
  assert_int_equal(host->learn_from_traffic(kStart, kPeer, mn::kBroadcastMac), kNoPath);
  assert_int_equal(host->learn_from_traffic(kStart, kPeer, kOurs), kNoPath);
  const Path path = host->learn_from_traffic(kStart, kPeer, kPeerMac);
  assert_true(host->path_mac(path, &mac));
  assert_true(mac == kPeerMac);
}

void arp__answers_for_our_address_only(void**) {
  feed_request(kPeer, kPeerMac, kUs);
  const wire::FrameView reply = next_arp();
  assert_false(reply.arp.is_request);
  assert_true(reply.destination == kPeerMac && reply.arp.target_mac == kPeerMac);
  assert_int_equal(reply.arp.target_ip, kPeer);
  expect_path(kPeer, kPeerMac);  // and learnt who asked
  assert_int_equal(next_arp().arp.target_ip, kPeer);
  feed_request(kPeer, kPeerMac, kGateway);
  expect_silence();
  assert_int_equal(host->counters().arp_replies_sent, 1);
}

void arp__answers_a_probe_without_learning(void**) {
  feed_request(0, kPeerMac, kUs);
  const wire::FrameView reply = next_arp();
  assert_int_equal(reply.arp.target_ip, 0);
  assert_int_equal(host->neighbors().size(), 0);
}

void arp__refuses_impossible_senders(void**) {
  feed_request(kPeer, Mac{}, kUs);
  feed_request(kPeer, Mac{{3, 0, 0, 0, 0, 1}}, kUs);
  feed_request(0x0a0000ff, kPeerMac, kUs);
  feed_request(mn::kLoopbackAddress, kPeerMac, kUs);
  feed_request(0xe0000001, kPeerMac, kUs);
  assert_int_equal(host->counters().arp_refused, 5);
  expect_silence();
  assert_int_equal(host->neighbors().size(), 0);
}

void arp__ignores_what_is_for_others(void**) {
  feed_arp({true, kPeerMac, kPeer, Mac{}, kUs}, Mac{{2, 0, 0, 0, 0, 77}});
  feed_request(kUs, kOurs, kUs);  // our own announcement, reflected
  expect_silence();
  assert_int_equal(host->counters().arp_received, 0);
}

void arp__off_link_sender_is_answered_not_believed(void**) {
  feed_request(kFar, kPeerMac, kUs);
  assert_true(next_arp().destination == kPeerMac);
  assert_int_equal(host->neighbors().size(), 0);
}

void arp__too_many_requests_are_dropped(void**) {
  for (uint32_t i = 0; i < 100; i++) feed_request(kPeer, kPeerMac, kUs);
  for (uint32_t i = 0; i < 64; i++) next_arp();
  expect_silence();
  assert_int_equal(host->counters().replies_dropped, 36);
}

void announce__once(void**) {
  assert_true(host->has_output());
  const wire::FrameView arp = next_arp();
  assert_true(arp.arp.is_request && arp.destination == mn::kBroadcastMac);
  assert_int_equal(arp.arp.target_ip, kUs);
  expect_silence();
}

void echo__is_answered(void**) {
  for (size_t data : {0, 5, 56, 1458}) {
    const size_t size = feed_echo(kPeer, kUs, kOurs, data);
    assert_true(host->has_output());
    memset(out, 0xcc, sizeof out);
    const size_t got = host->poll_output(kStart, out);
    assert_int_equal(got, size < 60 ? 60 : size);
    assert_memory_equal(out, kPeerMac.bytes.data(), 6);
    assert_memory_equal(out + 6, kOurs.bytes.data(), 6);
    assert_int_equal(out[34], 0);
    assert_memory_equal(out + 38, in + 38, size - 38);
    for (size_t i = size; i < got; i++) assert_int_equal(out[i], 0);
    expect_silence();
  }
  assert_int_equal(host->counters().echo_replies_sent, 4);
}

void echo__not_to_broadcasts_nor_from_strange_addresses(void**) {
  feed_echo(kPeer, 0x0a0000ff, mn::kBroadcastMac, 10);
  feed_echo(kPeer, kUs, mn::kBroadcastMac, 10);
  feed_echo(kPeer, kPeer, kOurs, 10);
  feed_echo(0xe0000001, kUs, kOurs, 10);
  feed_echo(kUs, kUs, kOurs, 10);
  expect_silence();
}

void echo__too_many_or_too_long_are_dropped(void**) {
  for (int i = 0; i < 10; i++) feed_echo(kPeer, kUs, kOurs, 10);
  for (int i = 0; i < 8; i++) assert_true(host->poll_output(kStart, out) > 0);
  expect_silence();
  feed_echo(kPeer, kUs, kOurs, 1500);
  expect_silence();
  assert_int_equal(host->counters().replies_dropped, 3);
}

void subnet__smallest_ones_have_no_broadcast(void**) {
  Host tiny(config_of(31, 0));  // 10.0.0.4 and 10.0.0.5
  assert_true(tiny.is_peer_address(0x0a000004));
  assert_true(tiny.is_on_link(0x0a000004));
  assert_false(tiny.is_on_link(0x0a000006));
  Host all(config_of(0, 0));
  assert_true(all.is_on_link(kFar));
}

}  // namespace

int main() {
#define MN_CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const CMUnitTest tests[] = {
      MN_CASE(resolve__on_link_peer),
      MN_CASE(resolve__far_ones_share_the_gateway),
      cmocka_unit_test_setup_teardown(resolve__host_prefix_sends_all_to_the_gateway, setup_gcp,
                                      teardown),
      cmocka_unit_test_setup_teardown(resolve__one_mac_for_everybody, setup_announce, teardown),
      MN_CASE(resolve__addresses_that_lead_nowhere),
      cmocka_unit_test_setup_teardown(resolve__no_gateway, setup_alone, teardown),
      MN_CASE(traffic__refuses_impossible_macs),
      MN_CASE(arp__answers_for_our_address_only),
      MN_CASE(arp__answers_a_probe_without_learning),
      MN_CASE(arp__refuses_impossible_senders),
      MN_CASE(arp__ignores_what_is_for_others),
      MN_CASE(arp__off_link_sender_is_answered_not_believed),
      MN_CASE(arp__too_many_requests_are_dropped),
      cmocka_unit_test_setup_teardown(announce__once, setup_announce, teardown),
      MN_CASE(echo__is_answered),
      MN_CASE(echo__not_to_broadcasts_nor_from_strange_addresses),
      MN_CASE(echo__too_many_or_too_long_are_dropped),
      MN_CASE(subnet__smallest_ones_have_no_broadcast),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
