// SPDX-License-Identifier: MIT
// Host: what any IPv4 host on an Ethernet must do besides its applications' traffic: find the next
// hop, ask and answer ARP (RFC 826), answer ping (RFC 1122 section 3.2.2.6). One per engine, engine
// thread only. Pure: frames that want to leave wait in it until poll_output writes them; time is an
// argument; no allocation after construction.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/address.h"
#include "base/fixed_array.h"
#include "base/time.h"
#include "host/neighbor_table.h"
#include "wire/frame.h"

namespace mn::host {

struct HostConfig {
  Mac mac{};
  Ipv4 address = 0;
  uint32_t prefix_length = 24;  // 32: nothing is on-link but the gateway (GCP)
  Ipv4 gateway = 0;             // 0: none. Always taken as on-link, whatever the prefix says
  uint16_t mtu = 1500;
  bool announce = true;  // tells the link our address once at start (RFC 5227 section 2.3)
  NeighborConfig neighbors;
};

// A next hop that was kPending has an answer. Several destinations may share it (a gateway):
// compare paths.
using HostEvent = NeighborEvent;

struct HostCounters {
  uint64_t arp_received = 0, arp_refused = 0;  // refused: impossible addresses in it
  uint64_t arp_requests_sent = 0, arp_replies_sent = 0;
  uint64_t echo_replies_sent = 0;
  uint64_t replies_dropped = 0;    // the queue of answers was full
  uint64_t address_conflicts = 0;  // somebody else said that it has our address
};

class Host {
 public:
  explicit Host(const HostConfig& config);

  const HostConfig& config() const { return config_; }
  bool is_on_link(Ipv4 ip) const;
  // True if a packet may be sent to or come from this address: a unicast one, not ours, not
  // loopback.
  bool is_peer_address(Ipv4 ip) const;

  // ---- Next hops
  // For the first packet to `remote`, and again when path_mac says that the path is not valid any
  // more.
  NextHop resolve(Instant now, Ipv4 remote);
  // For each packet; false: resolve again.
  bool path_mac(Path path, Mac* ret_mac) { return neighbors_.path_mac(path, ret_mac); }
  // A handshake came from `remote` in a frame with this source MAC: a path to answer on. kNoPath:
  // the addresses are impossible or the table is full; drop the packet.
  Path learn_from_traffic(Instant now, Ipv4 remote, Mac source);
  // A flow on this path hears nothing: verify the next hop.
  void doubt(Instant now, Path path) { neighbors_.doubt(now, path); }

  // ---- Inputs
  // For kArp and kIcmpEcho frames; others are ignored. Never sends: it queues what poll_output
  // gives.
  void on_frame(Instant now, const wire::FrameView& frame);
  // An ARP packet that another engine of this host has answered, if it had to be.
  void overhear(Instant now, const wire::FrameView& frame);
  void on_deadline(Instant now) { neighbors_.on_deadline(now); }
  Instant next_deadline() const { return neighbors_.next_deadline(); }

  // ---- Outputs
  bool has_output() const {
    return neighbors_.has_request() || arp_reply_count_ > 0 || echo_reply_count_ > 0 || announce_;
  }
  // Writes one frame, complete with checksums and padded to 60 bytes; returns its length, 0:
  // nothing to send. `frame` has room for the MTU and the Ethernet header.
  size_t poll_output(Instant now, std::span<uint8_t> frame);
  bool has_event() const { return neighbors_.has_event(); }
  bool poll_event(HostEvent* ret_event) { return neighbors_.poll_event(ret_event); }

  const HostCounters& counters() const { return counters_; }
  NeighborTable& neighbors() { return neighbors_; }

 private:
  static constexpr size_t kArpRepliesMax = 64;
  static constexpr size_t kEchoRepliesMax = 8;
  struct ArpReply {
    Mac mac{};
    Ipv4 ip = 0;
  };

  Ipv4 next_hop_of(Ipv4 remote) const;
  bool learn_from_arp(Instant now, const wire::ArpView& arp, bool to_our_mac);
  void on_echo(const wire::FrameView& frame);
  size_t write_announcement(std::span<uint8_t> frame);
  size_t write_arp_reply(std::span<uint8_t> frame);
  size_t write_echo_reply(std::span<uint8_t> frame);
  size_t write_arp_request(const NeighborRequest& request, std::span<uint8_t> frame);

  HostConfig config_;
  NeighborTable neighbors_;
  HostCounters counters_;
  bool announce_ = false;
  // Queues of answers, oldest first; both are rings.
  std::array<ArpReply, kArpRepliesMax> arp_replies_{};
  size_t arp_reply_first_ = 0, arp_reply_count_ = 0;
  FixedArray<uint8_t> echo_bytes_;  // kEchoRepliesMax finished frames
  std::array<size_t, kEchoRepliesMax> echo_length_{};
  size_t echo_slot_size_ = 0;
  size_t echo_reply_first_ = 0, echo_reply_count_ = 0;
};

}  // namespace mn::host
