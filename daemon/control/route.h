// SPDX-License-Identifier: MIT
// Which engine serves an address: the choice of the NIC for a listener or a new flow. Pure
// functions of what is known about the engines.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "control/engine_link.h"
#include "control/outcome.h"

namespace mn::control {

std::string format_flow(const FourTuple& flow);  // 10.0.0.1:49152-10.0.0.2:31580, ours first
std::string format_ipv4(Ipv4 address);

// Engines that must listen for `local_ip`: all of them for 0, else the one that has the address.
// EADDRNOTAVAIL.
Outcome engines_for_listen(std::span<const EngineFacts* const> engines, Ipv4 local_ip,
                           std::vector<uint32_t>* ret_engines);

struct Route {
  uint32_t engine = 0;
  Ipv4 local_ip = 0;
};

// `local_ip` 0: the engine that has `remote_ip` itself, else the longest prefix that holds it, else
// the first NIC with a gateway. EINVAL (no address to talk to), EADDRNOTAVAIL (local_ip is
// nobody's), ENETUNREACH.
Outcome route_for_connect(std::span<const EngineFacts* const> engines, Ipv4 local_ip,
                          Ipv4 remote_ip, Route* ret_route);

}  // namespace mn::control
