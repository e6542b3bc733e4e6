// SPDX-License-Identifier: MIT
#include "control/route.h"

#include <errno.h>

#include <cstdio>

namespace mn::control {
namespace {

constexpr uint32_t kNobody = UINT32_MAX;

using Engines = std::span<const EngineFacts* const>;

bool is_loopback(Ipv4 address) { return address >> 24 == 127; }

bool owns(const EngineFacts& engine, Ipv4 address) {
  return engine.address == address || (engine.serves_loopback && is_loopback(address));
}

bool on_link(const EngineFacts& engine, Ipv4 address) {
  if (engine.prefix_length == 0) return true;
  return (engine.address ^ address) >> (32 - engine.prefix_length) == 0;
}

bool reaches(const EngineFacts& engine, Ipv4 address) {
  if (owns(engine, address)) return true;
  if (is_loopback(address) || is_loopback(engine.address)) return false;
  return on_link(engine, address) || engine.gateway != 0;
}

uint32_t owner_of(Engines engines, Ipv4 address) {
  for (uint32_t i = 0; i < engines.size(); i++) {
    if (owns(*engines[i], address)) return i;
  }
  return kNobody;
}

uint32_t engine_towards(Engines engines, Ipv4 remote_ip) {
  const uint32_t owner = owner_of(engines, remote_ip);
  if (owner != kNobody) return owner;
  uint32_t best = kNobody;
  for (uint32_t i = 0; i < engines.size(); i++) {
    if (!reaches(*engines[i], remote_ip) || !on_link(*engines[i], remote_ip)) continue;
    if (best == kNobody || engines[i]->prefix_length > engines[best]->prefix_length) best = i;
  }
  for (uint32_t i = 0; i < engines.size() && best == kNobody; i++) {
    if (reaches(*engines[i], remote_ip)) best = i;
  }
  return best;
}

std::string addresses_of(Engines engines) {
  std::string text;
  for (const EngineFacts* engine : engines) {
    text += (text.empty() ? "" : ", ") + format_ipv4(engine->address);
  }
  return text;
}

Outcome not_ours(Engines engines, Ipv4 local_ip) {
  return {EADDRNOTAVAIL, "no NIC of the service has the address " + format_ipv4(local_ip) +
                             "; there is: " + addresses_of(engines)};
}

Outcome unreachable(Ipv4 remote_ip, const std::string& from) {
  return {ENETUNREACH, "no way to " + format_ipv4(remote_ip) + from +
                           ": it is in no NIC's network and there is no gateway"};
}

}  // namespace

std::string format_ipv4(Ipv4 address) {
  char text[16];
  snprintf(text, sizeof(text), "%u.%u.%u.%u", address >> 24, address >> 16 & 0xff,
           address >> 8 & 0xff, address & 0xff);
  return text;
}

std::string format_flow(const FourTuple& flow) {
  return format_ipv4(flow.local_ip) + ":" + std::to_string(flow.local_port) + "-" +
         format_ipv4(flow.remote_ip) + ":" + std::to_string(flow.remote_port);
}

Outcome engines_for_listen(Engines engines, Ipv4 local_ip, std::vector<uint32_t>* ret_engines) {
  std::vector<uint32_t> chosen;
  for (uint32_t i = 0; i < engines.size(); i++) {
    if (local_ip == 0 || owns(*engines[i], local_ip)) chosen.push_back(i);
  }
  if (chosen.empty()) return not_ours(engines, local_ip);
  *ret_engines = std::move(chosen);
  return {};
}

Outcome route_for_connect(Engines engines, Ipv4 local_ip, Ipv4 remote_ip, Route* ret_route) {
  if (remote_ip >> 24 == 0 || remote_ip >> 28 >= 14) {
    return {EINVAL, format_ipv4(remote_ip) + " is not the address of a host"};
  }
  Route route;
  if (local_ip == 0) {
    route.engine = engine_towards(engines, remote_ip);
    if (route.engine == kNobody) return unreachable(remote_ip, "");
    // Towards 127.0.0.0/8 the flow has a loopback address at both ends, as the kernel does it.
    route.local_ip = is_loopback(remote_ip) ? kLoopbackAddress : engines[route.engine]->address;
  } else {
    route.engine = owner_of(engines, local_ip);
    route.local_ip = local_ip;
    if (route.engine == kNobody) return not_ours(engines, local_ip);
    const EngineFacts& engine = *engines[route.engine];
    // A loopback address never goes onto a wire.
    const bool stays = owns(engine, remote_ip);
    if (!stays && (is_loopback(local_ip) || !reaches(engine, remote_ip))) {
      return unreachable(remote_ip, " from " + format_ipv4(local_ip));
    }
  }
  *ret_route = route;
  return {};
}

}  // namespace mn::control
