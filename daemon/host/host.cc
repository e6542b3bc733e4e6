// SPDX-License-Identifier: MIT
#include "host/host.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace mn::host {
namespace {

constexpr Ipv4 kLoopbackNet = 0x7f000000, kLoopbackMask = 0xff000000;
constexpr Ipv4 kMulticastFirst = 0xe0000000;  // from here on: multicast, reserved, broadcast

constexpr Ipv4 mask_of(uint32_t prefix_length) {
  return prefix_length == 0 ? 0 : UINT32_MAX << (32 - prefix_length);
}

bool is_unicast(const Mac& mac) { return (mac.bytes[0] & 1) == 0 && mac != Mac{}; }
bool is_loopback(Ipv4 ip) { return (ip & kLoopbackMask) == kLoopbackNet; }

// What stood in the transmit buffer before must not reach the cable as padding.
size_t pad(std::span<uint8_t> frame, size_t size) {
  if (size >= wire::kFrameSizeMin) return size;
  memset(frame.data() + size, 0, wire::kFrameSizeMin - size);
  return wire::kFrameSizeMin;
}

}  // namespace

Host::Host(const HostConfig& config)
    : config_(config),
      neighbors_(config.neighbors),
      announce_(config.announce && config.address != 0 && !is_loopback(config.address)),
      echo_slot_size_(std::max(config.mtu + wire::kEthernetSize, wire::kFrameSizeMin)) {
  MN_ASSERT(config.prefix_length <= 32);
  if (config_.gateway == config_.address) config_.gateway = 0;
  echo_bytes_ = FixedArray<uint8_t>(kEchoRepliesMax * echo_slot_size_);
}

bool Host::is_on_link(Ipv4 ip) const {
  return ((ip ^ config_.address) & mask_of(config_.prefix_length)) == 0 ||
         (ip == config_.gateway && ip != 0);
}

bool Host::is_peer_address(Ipv4 ip) const {
  if (ip >> 24 == 0 || is_loopback(ip) || ip >= kMulticastFirst || ip == config_.address) {
    return false;
  }
  // A subnet's first and last addresses are broadcasts, but for the smallest ones (RFC 3021).
  const Ipv4 host_mask = ~mask_of(config_.prefix_length);
  const bool in_subnet = ((ip ^ config_.address) & ~host_mask) == 0;
  return config_.prefix_length >= 31 || !in_subnet ||
         ((ip & host_mask) != 0 && (ip & host_mask) != host_mask);
}

// 0: there is no way.
Ipv4 Host::next_hop_of(Ipv4 remote) const {
  if (!is_peer_address(remote)) return 0;
  return is_on_link(remote) ? remote : config_.gateway;
}

NextHop Host::resolve(Instant now, Ipv4 remote) {
  const Ipv4 next_hop = next_hop_of(remote);
  if (next_hop == 0) return {ResolveStatus::kUnreachable, kNoPath};
  return neighbors_.resolve(now, next_hop);
}

Path Host::learn_from_traffic(Instant now, Ipv4 remote, Mac source) {
  const Ipv4 next_hop = next_hop_of(remote);
  if (next_hop == 0 || !is_unicast(source) || source == config_.mac) return kNoPath;
  return neighbors_.learn_from_traffic(now, next_hop, source);
}

void Host::on_frame(Instant now, const wire::FrameView& frame) {
  // A NIC may hand over more than what it was asked to.
  if (frame.destination != config_.mac && frame.destination != kBroadcastMac) return;
  if (frame.kind == wire::FrameKind::kArp) {
    if (!learn_from_arp(now, frame.arp, frame.destination == config_.mac)) return;
    if (arp_reply_count_ == kArpRepliesMax) {
      counters_.replies_dropped++;
      return;
    }
    arp_replies_[(arp_reply_first_ + arp_reply_count_++) % kArpRepliesMax] = {frame.arp.sender_mac,
                                                                              frame.arp.sender_ip};
  } else if (frame.kind == wire::FrameKind::kIcmpEcho) {
    on_echo(frame);
  }
}

void Host::overhear(Instant now, const wire::FrameView& frame) {
  if (frame.destination != config_.mac && frame.destination != kBroadcastMac) return;
  if (frame.kind == wire::FrameKind::kArp) {
    learn_from_arp(now, frame.arp, frame.destination == config_.mac);
  }
}

// True: it wants an answer.
bool Host::learn_from_arp(Instant now, const wire::ArpView& arp, bool to_our_mac) {
  if (arp.sender_mac == config_.mac) return false;  // our own words, reflected by a bridge
  counters_.arp_received++;
  if (arp.sender_ip == config_.address) {
    // Networks that answer for every address (Azure) answer our announcement too. Nothing to do but
    // count.
    counters_.address_conflicts++;
    return false;
  }
  const bool is_probe = arp.is_request && arp.sender_ip == 0;  // RFC 5227: may I have this address?
  if (!is_unicast(arp.sender_mac) || (!is_probe && !is_peer_address(arp.sender_ip))) {
    counters_.arp_refused++;
    return false;
  }
  const bool for_us = arp.target_ip == config_.address && arp.target_ip != 0;
  // Nobody off the link has a MAC that we could use, whatever he says.
  if (!is_probe && is_on_link(arp.sender_ip)) {
    neighbors_.learn(now, arp.sender_ip, arp.sender_mac, arp.is_request && for_us,
                     !arp.is_request && for_us && to_our_mac);
  }
  return arp.is_request && for_us;
}

void Host::on_echo(const wire::FrameView& frame) {
  // Not to broadcasts: an amplifier for attackers (RFC 1122 section 3.2.2.6 leaves it to us).
  if (frame.destination != config_.mac || frame.destination_ip != config_.address ||
      !is_peer_address(frame.source_ip) || !is_unicast(frame.source)) {
    return;
  }
  const size_t slot = (echo_reply_first_ + echo_reply_count_) % kEchoRepliesMax;
  const std::span<uint8_t> out =
      echo_bytes_.span().subspan(slot * echo_slot_size_, echo_slot_size_);
  const size_t length =
      echo_reply_count_ == kEchoRepliesMax ? 0 : wire::encode_icmp_echo_reply(frame, out);
  if (length == 0) {
    counters_.replies_dropped++;
    return;
  }
  echo_length_[slot] = length;
  echo_reply_count_++;
}

size_t Host::poll_output(Instant now, std::span<uint8_t> frame) {
  MN_ASSERT(frame.size() >= echo_slot_size_);
  if (announce_) return write_announcement(frame);
  if (arp_reply_count_ > 0) return write_arp_reply(frame);
  NeighborRequest request;
  if (neighbors_.poll_request(now, &request)) return write_arp_request(request, frame);
  if (echo_reply_count_ > 0) return write_echo_reply(frame);
  return 0;
}

size_t Host::write_announcement(std::span<uint8_t> frame) {
  announce_ = false;
  const wire::ArpView arp{true, config_.mac, config_.address, Mac{}, config_.address};
  return pad(frame, wire::encode_arp(arp, config_.mac, kBroadcastMac, frame));
}

size_t Host::write_arp_reply(std::span<uint8_t> frame) {
  const ArpReply& reply = arp_replies_[arp_reply_first_];
  arp_reply_first_ = (arp_reply_first_ + 1) % kArpRepliesMax;
  arp_reply_count_--;
  counters_.arp_replies_sent++;
  const wire::ArpView arp{false, config_.mac, config_.address, reply.mac, reply.ip};
  return pad(frame, wire::encode_arp(arp, config_.mac, reply.mac, frame));
}

size_t Host::write_arp_request(const NeighborRequest& request, std::span<uint8_t> frame) {
  counters_.arp_requests_sent++;
  const wire::ArpView arp{true, config_.mac, config_.address, Mac{}, request.ip};
  return pad(frame, wire::encode_arp(arp, config_.mac, request.destination, frame));
}

size_t Host::write_echo_reply(std::span<uint8_t> frame) {
  const size_t length = echo_length_[echo_reply_first_];
  memcpy(frame.data(), &echo_bytes_[echo_reply_first_ * echo_slot_size_], length);
  echo_reply_first_ = (echo_reply_first_ + 1) % kEchoRepliesMax;
  echo_reply_count_--;
  counters_.echo_replies_sent++;
  return pad(frame, length);
}

}  // namespace mn::host
