// SPDX-License-Identifier: MIT
// PacketSockets: finds the sockets that a driver of DPDK opens on a kernel interface. The driver
// has them to itself, and without them a sleeping engine could not be woken by a packet. Main
// thread, start-up only.
#pragma once

#include <set>
#include <vector>

namespace mn::nic {

class PacketSockets {
 public:
  PacketSockets();  // remembers what is open now

  // Those of the family (AF_PACKET, AF_XDP) opened since, in the order of their numbers, and for
  // AF_PACKET bound to the interface. A second call gives only newer ones.
  std::vector<int> opened_since(int family, int ifindex);

 private:
  std::set<int> known_;
};

}  // namespace mn::nic
