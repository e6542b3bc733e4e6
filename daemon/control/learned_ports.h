// SPDX-License-Identifier: MIT
// LearnedPorts: which local ports brought the answers of which peer to which engine's queue. How a
// NIC steers is its secret (its RSS key may be unreadable), but it is the same for the same
// addresses and ports: where the first answer came to, the next flow's packets come to as well,
// until the NIC is told to steer otherwise. Then a connect moves once more, and what it found is
// learned. Bounded: the peers that nobody connected to for longest are forgotten.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <span>
#include <vector>

#include "base/address.h"

namespace mn::control {

class LearnedPorts {
 public:
  static constexpr size_t kPeersMax = 1024;
  static constexpr size_t kPortsMax = 64;  // of each, in a ring

  struct Found {
    Port port;
    uint16_t engine;
  };

  // An answer to `tuple` came to `engine`.
  void learn(const FourTuple& tuple, uint32_t engine);
  // What is known of a peer, whatever `tuple`'s own local port; until the next call.
  std::span<const Found> of(const FourTuple& tuple);

 private:
  struct Peer {
    Ipv4 local_ip;
    Ipv4 remote_ip;
    Port remote_port;
    auto operator<=>(const Peer&) const = default;
  };
  struct Known {
    Peer peer;
    std::vector<Found> ports;
    size_t oldest = 0;  // once there are kPortsMax
  };
  Known* find(const Peer& peer);

  std::list<Known> known_;  // the one used last first
  std::map<Peer, std::list<Known>::iterator> by_peer_;
};

}  // namespace mn::control
