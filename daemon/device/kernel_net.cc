// SPDX-License-Identifier: MIT
#include "device/kernel_net.h"

#include <algorithm>

#include "config/values.h"
#include "device/kernel_net_kinds.h"

namespace mn::device {

namespace {

constexpr uint32_t kMainTable = 254;
constexpr char kDefault[] = "default";

bool is_ipv4_default(const KernelRoute& route) { return route.destination == kDefault; }

// The gateway of this route through this NIC; 0: none, or one that Machnet cannot use (IPv6).
Ipv4 ipv4_gateway(const KernelRoute& route, const std::string& ifname) {
  if (route.hops.empty()) return config::parse_ipv4(route.gateway).value_or(0);
  for (const KernelHop& hop : route.hops) {
    if (hop.ifname == ifname) return config::parse_ipv4(hop.gateway).value_or(0);
  }
  return 0;
}

bool is_ipv4(const KernelRoute& route) {
  return is_ipv4_default(route) || route.destination.find('.') != std::string::npos;
}

// 169.254.0.0/16 (RFC 3927): a cloud's metadata service lives there, and who answers for it need
// not be a router.
bool is_link_local(const KernelRoute& route) { return route.destination.starts_with("169.254."); }

Ipv4 default_gateway(const KernelNic& nic) {
  const KernelRoute* best = nullptr;
  const auto rank = [](const KernelRoute& route) {
    return std::pair(route.table != kMainTable, route.metric);
  };
  for (const KernelRoute& route : nic.routes) {
    if (!is_ipv4_default(route) || ipv4_gateway(route, nic.ifname) == 0) continue;
    if (best == nullptr || rank(route) < rank(*best)) best = &route;
  }
  return best == nullptr ? 0 : ipv4_gateway(*best, nic.ifname);
}

// A name that had the old interface's in front gets the new one's: labels are eth0 or eth0:1.
std::string renamed(const std::string& name, const std::string& from, const std::string& to) {
  if (name == from) return to;
  if (name.starts_with(from + ":")) return to + name.substr(from.size());
  return name;
}

// Adds routes as often as that gets further: one may need another that stands behind it.
void add_routes(KernelNet* net, const std::string& ifname, std::vector<KernelRoute> missing,
                std::vector<std::string>* lost) {
  std::vector<std::string> reasons;
  for (size_t before = missing.size() + 1; !missing.empty() && missing.size() < before;) {
    before = missing.size();
    reasons.clear();
    std::vector<KernelRoute> refused;
    for (const KernelRoute& route : missing) {
      const auto added = net->add_route(ifname, route);
      if (added) continue;
      reasons.push_back(added.error());
      refused.push_back(route);
    }
    missing = std::move(refused);
  }
  if (!missing.empty()) lost->insert(lost->end(), reasons.begin(), reasons.end());
}

}  // namespace

std::unique_ptr<KernelNet> make_kernel_net(const SysRoot& root) {
  return root.net_dir.empty() ? make_netlink_net() : make_file_net(root.net_dir);
}

bool carries_default_route(const KernelNic& nic) {
  return std::any_of(nic.routes.begin(), nic.routes.end(), [](const KernelRoute& route) {
    return is_ipv4_default(route) && route.table == kMainTable;
  });
}

Ipv4 gateway_of(const KernelNic& nic) {
  if (const Ipv4 gateway = default_gateway(nic); gateway != 0) return gateway;
  const KernelAddress* const own = primary_address(nic);
  if (own != nullptr && own->prefix_length == 32) {
    for (const KernelRoute& route : nic.routes) {
      if (!is_ipv4(route) || !route.gateway.empty() || !route.hops.empty()) continue;
      const auto host = config::parse_network(route.destination);
      if (host && host->prefix_length == 32 && route.destination != own->address + "/32") {
        return host->address;
      }
    }
  }
  Ipv4 only = 0;
  for (const KernelRoute& route : nic.routes) {
    if (!is_ipv4(route) || is_link_local(route)) continue;
    const Ipv4 gateway = ipv4_gateway(route, nic.ifname);
    if (gateway == 0 || gateway == only) continue;
    if (only != 0) return 0;
    only = gateway;
  }
  return only;
}

const KernelAddress* primary_address(const KernelNic& nic) {
  for (const KernelAddress& address : nic.addresses) {
    if (address.scope == 0 && config::parse_ipv4(address.address)) return &address;
  }
  return nullptr;
}

std::vector<std::string> restore_network(KernelNet* net, const std::string& ifname,
                                         const KernelNic& had) {
  std::vector<std::string> lost;
  const auto note = [&lost](const Result<void>& result) {
    if (!result) lost.push_back(result.error());
  };
  if (had.mtu != 0) note(net->set_mtu(ifname, had.mtu));
  note(net->set_up(ifname, had.is_up));
  for (KernelAddress address : had.addresses) {
    address.label = renamed(address.label, had.ifname, ifname);
    note(net->add_address(ifname, address));
  }
  std::vector<KernelRoute> on_link;
  std::vector<KernelRoute> through_gateway;
  for (KernelRoute route : had.routes) {
    for (KernelHop& hop : route.hops) hop.ifname = renamed(hop.ifname, had.ifname, ifname);
    const bool is_on_link = route.gateway.empty() && route.hops.empty();
    (is_on_link ? on_link : through_gateway).push_back(std::move(route));
  }
  add_routes(net, ifname, std::move(on_link), &lost);
  add_routes(net, ifname, std::move(through_gateway), &lost);
  return lost;
}

}  // namespace mn::device
