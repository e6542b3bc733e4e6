// SPDX-License-Identifier: MIT
#include "control/learned_ports.h"

#include <algorithm>

namespace mn::control {

LearnedPorts::Known* LearnedPorts::find(const Peer& peer) {
  const auto it = by_peer_.find(peer);
  if (it == by_peer_.end()) return nullptr;
  known_.splice(known_.begin(), known_, it->second);
  return &*it->second;
}

void LearnedPorts::learn(const FourTuple& tuple, uint32_t engine) {
  const Peer peer{tuple.local_ip, tuple.remote_ip, tuple.remote_port};
  Known* known = find(peer);
  if (known == nullptr) {
    if (known_.size() == kPeersMax) {
      by_peer_.erase(known_.back().peer);
      known_.pop_back();
    }
    known_.push_front({.peer = peer, .ports = {}});
    by_peer_[peer] = known_.begin();
    known = &known_.front();
  }
  const Found found{tuple.local_port, static_cast<uint16_t>(engine)};
  const auto it = std::find_if(known->ports.begin(), known->ports.end(),
                               [&found](const Found& f) { return f.port == found.port; });
  if (it != known->ports.end()) {
    *it = found;
  } else if (known->ports.size() < kPortsMax) {
    known->ports.push_back(found);
  } else {
    known->ports[known->oldest++ % kPortsMax] = found;
  }
}

std::span<const LearnedPorts::Found> LearnedPorts::of(const FourTuple& tuple) {
  const Known* known = find({tuple.local_ip, tuple.remote_ip, tuple.remote_port});
  if (known == nullptr) return {};
  return known->ports;
}

}  // namespace mn::control
