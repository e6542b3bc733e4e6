// SPDX-License-Identifier: MIT
// Reading links, addresses and routes: rtnetlink(7) into the structs of kernel_net.h.
#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "device/kernel_net_kinds.h"
#include "device/netlink.h"

namespace mn::device {

namespace {

constexpr uint32_t kFlagsToKeep =
    IFA_F_NODAD | IFA_F_HOMEADDRESS | IFA_F_MANAGETEMPADDR | IFA_F_NOPREFIXROUTE | IFA_F_MCAUTOJOIN;

// Newer than some headers: who made an address.
constexpr size_t kIfaProto = 11;
constexpr uint8_t kMadeByKernel = 2;  // a link-local one, which it makes again

struct Tables {
  std::map<int, KernelNic> nics;     // by index
  std::map<int, std::string> names;  // loopback too: a master or hop may be any interface
  std::map<int, int> masters;
  std::vector<int> order;
};

uint32_t number(const nlattr* attribute, uint32_t otherwise) {
  if (attribute == nullptr || mnl_attr_get_payload_len(attribute) < sizeof(uint32_t)) {
    return otherwise;
  }
  return mnl_attr_get_u32(attribute);
}

std::string words(const nlattr* attribute) {
  if (attribute == nullptr) return "";
  const char* const text = mnl_attr_get_str(attribute);
  return std::string(text, strnlen(text, mnl_attr_get_payload_len(attribute)));
}

Mac mac_of(const nlattr* attribute) {
  Mac mac;
  if (attribute != nullptr && mnl_attr_get_payload_len(attribute) == mac.bytes.size()) {
    memcpy(mac.bytes.data(), mnl_attr_get_payload(attribute), mac.bytes.size());
  }
  return mac;
}

std::string ip(int family, const nlattr* attribute) {
  const size_t size = family == AF_INET6 ? sizeof(in6_addr) : sizeof(in_addr);
  if (attribute == nullptr || mnl_attr_get_payload_len(attribute) < size) return "";
  char text[INET6_ADDRSTRLEN];
  return inet_ntop(family, mnl_attr_get_payload(attribute), text, sizeof(text)) != nullptr ? text
                                                                                           : "";
}

// The gateway of a route or hop, which may be of another family than the route.
std::string gateway_ip(int family, const nlattr* gateway, const nlattr* via) {
  if (gateway != nullptr) return ip(family, gateway);
  if (via == nullptr || mnl_attr_get_payload_len(via) < sizeof(rtvia) + sizeof(in_addr)) return "";
  const auto* const where = static_cast<const rtvia*>(mnl_attr_get_payload(via));
  const size_t size = where->rtvia_family == AF_INET6 ? sizeof(in6_addr) : sizeof(in_addr);
  if (mnl_attr_get_payload_len(via) < sizeof(rtvia) + size) return "";
  char text[INET6_ADDRSTRLEN];
  const char* const shown = inet_ntop(where->rtvia_family, where->rtvia_addr, text, sizeof(text));
  return shown != nullptr ? shown : "";
}

std::string kind_of(const nlattr* link_info) {
  if (link_info == nullptr) return "";
  std::string kind;
  for_each_nested(link_info, [&kind](const nlattr* attribute) {
    if (mnl_attr_get_type(attribute) == IFLA_INFO_KIND) kind = words(attribute);
  });
  return kind;
}

void take_link(const nlmsghdr* message, Tables* tables) {
  if (message->nlmsg_type != RTM_NEWLINK) return;
  const auto* const link = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(message));
  const auto found = attributes_of<IFLA_PERM_ADDRESS>(message, sizeof(*link));
  tables->names[link->ifi_index] = words(found[IFLA_IFNAME]);
  if ((link->ifi_flags & IFF_LOOPBACK) != 0) return;
  KernelNic nic;
  nic.ifname = words(found[IFLA_IFNAME]);
  nic.index = link->ifi_index;
  nic.mac = mac_of(found[IFLA_ADDRESS]);
  nic.permanent_mac = mac_of(found[IFLA_PERM_ADDRESS]);
  nic.mtu = number(found[IFLA_MTU], 0);
  nic.is_up = (link->ifi_flags & IFF_UP) != 0;
  nic.has_link = (link->ifi_flags & IFF_LOWER_UP) != 0;
  nic.kind = kind_of(found[IFLA_LINKINFO]);
  if (found[IFLA_MASTER] != nullptr) {
    tables->masters[nic.index] = static_cast<int>(number(found[IFLA_MASTER], 0));
  }
  tables->order.push_back(nic.index);
  tables->nics[nic.index] = std::move(nic);
}

// Whether the kernel made this IPv6 address of the MAC: what older kernels do not say.
bool is_made_of(const nlattr* address, const Mac& mac) {
  if (address == nullptr || mnl_attr_get_payload_len(address) != sizeof(in6_addr)) return false;
  const auto& m = mac.bytes;
  const uint8_t made[16] = {
      0xfe, 0x80, 0,    0,    0,    0,    0,   0, static_cast<uint8_t>(m[0] ^ 2),
      m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
  return memcmp(mnl_attr_get_payload(address), made, sizeof(made)) == 0;
}

bool comes_by_itself(const Attributes<kIfaProto>& found, uint32_t flags, const Mac& mac) {
  // IPv6 addresses with a lifetime come from a router, and come again.
  if ((flags & IFA_F_PERMANENT) == 0) return true;
  const nlattr* const maker = found[kIfaProto];
  if (maker != nullptr && mnl_attr_get_u8(maker) == kMadeByKernel) return true;
  return is_made_of(found[IFA_ADDRESS], mac);
}

void take_address(const nlmsghdr* message, Tables* tables) {
  if (message->nlmsg_type != RTM_NEWADDR) return;
  const auto* const header = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(message));
  const int family = header->ifa_family;
  const auto nic = tables->nics.find(static_cast<int>(header->ifa_index));
  if (nic == tables->nics.end() || (family != AF_INET && family != AF_INET6)) return;
  const auto found = attributes_of<kIfaProto>(message, sizeof(*header));
  const uint32_t flags = number(found[IFA_FLAGS], header->ifa_flags);
  if (family == AF_INET6 && comes_by_itself(found, flags, nic->second.mac)) return;
  KernelAddress address;
  const std::string end = ip(family, found[IFA_ADDRESS]);
  const std::string local = ip(family, found[IFA_LOCAL]);
  address.address = local.empty() ? end : local;
  if (address.address.empty()) return;
  if (!local.empty() && local != end) address.peer = end;
  address.prefix_length = header->ifa_prefixlen;
  address.broadcast = ip(family, found[IFA_BROADCAST]);
  address.label = words(found[IFA_LABEL]);
  // What a line of words cannot hold. The interface's own name is the kernel's default.
  if (address.label.find_first_of(" \t\r\n") != std::string::npos) address.label.clear();
  address.scope = header->ifa_scope;
  address.flags = flags & kFlagsToKeep;
  address.metric = number(found[IFA_RT_PRIORITY], 0);
  const nlattr* const life = found[IFA_CACHEINFO];
  if (life != nullptr && mnl_attr_get_payload_len(life) >= sizeof(ifa_cacheinfo)) {
    const auto* const cache = static_cast<const ifa_cacheinfo*>(mnl_attr_get_payload(life));
    address.valid_s = cache->ifa_valid;
    address.preferred_s = cache->ifa_prefered;
  }
  nic->second.addresses.push_back(std::move(address));
}

void take_metrics(const nlattr* metrics, KernelRoute* route) {
  if (metrics == nullptr) return;
  for_each_nested(metrics, [route](const nlattr* attribute) {
    switch (mnl_attr_get_type(attribute)) {
      case RTAX_MTU:
        route->mtu = number(attribute, 0);
        break;
      case RTAX_ADVMSS:
        route->advmss = number(attribute, 0);
        break;
      case RTAX_INITCWND:
        route->initcwnd = number(attribute, 0);
        break;
      case RTAX_INITRWND:
        route->initrwnd = number(attribute, 0);
        break;
      default:
        route->lost = "metrics";
        break;
    }
  });
}

// The hops of a route with several ways; the indices of the interfaces that they lead through.
std::vector<int> take_hops(int family, const nlattr* multipath, const Tables& tables,
                           KernelRoute* route) {
  std::vector<int> through;
  const char* at = static_cast<const char*>(mnl_attr_get_payload(multipath));
  size_t left = mnl_attr_get_payload_len(multipath);
  while (left >= sizeof(rtnexthop)) {
    const auto* const next = reinterpret_cast<const rtnexthop*>(at);
    if (next->rtnh_len < sizeof(rtnexthop) || next->rtnh_len > left) break;
    const nlattr* gateway = nullptr;
    const nlattr* via = nullptr;
    for_each_attribute(at + sizeof(rtnexthop), next->rtnh_len - sizeof(rtnexthop),
                       [&](const nlattr* attribute) {
                         const uint16_t type = mnl_attr_get_type(attribute);
                         if (type == RTA_GATEWAY) gateway = attribute;
                         if (type == RTA_VIA) via = attribute;
                         if (type == RTA_ENCAP) route->lost = "encap";
                       });
    KernelHop hop;
    const auto name = tables.names.find(next->rtnh_ifindex);
    hop.ifname = name == tables.names.end() ? "?" : name->second;
    hop.gateway = gateway_ip(family, gateway, via);
    hop.weight = next->rtnh_hops + 1u;
    hop.is_onlink = (next->rtnh_flags & RTNH_F_ONLINK) != 0;
    route->hops.push_back(std::move(hop));
    through.push_back(next->rtnh_ifindex);
    const size_t step = std::min<size_t>(RTNH_ALIGN(next->rtnh_len), left);
    at += step;
    left -= step;
  }
  return through;
}

void take_route(const nlmsghdr* message, Tables* tables) {
  if (message->nlmsg_type != RTM_NEWROUTE) return;
  const auto* const header = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(message));
  const int family = header->rtm_family;
  if (family != AF_INET && family != AF_INET6) return;
  if (header->rtm_type != RTN_UNICAST || (header->rtm_flags & RTM_F_CLONED) != 0) return;
  const auto found = attributes_of<RTA_EXPIRES>(message, sizeof(*header));
  KernelRoute route;
  route.table = number(found[RTA_TABLE], header->rtm_table);
  if (route.table == RT_TABLE_LOCAL) return;
  // IPv6 routes of the kernel's and of routers come back by themselves.
  if (family == AF_INET6 && (header->rtm_protocol == RTPROT_KERNEL ||
                             header->rtm_protocol == RTPROT_RA || found[RTA_EXPIRES] != nullptr)) {
    return;
  }
  if (header->rtm_dst_len == 0) {
    route.destination = family == AF_INET6 ? "default6" : "default";
  } else {
    route.destination = ip(family, found[RTA_DST]) + "/" + std::to_string(header->rtm_dst_len);
  }
  route.gateway = gateway_ip(family, found[RTA_GATEWAY], found[RTA_VIA]);
  route.source = ip(family, found[RTA_PREFSRC]);
  route.metric = number(found[RTA_PRIORITY], 0);
  route.protocol = header->rtm_protocol;
  route.scope = header->rtm_scope;
  route.tos = header->rtm_tos;
  route.is_onlink = (header->rtm_flags & RTNH_F_ONLINK) != 0;
  take_metrics(found[RTA_METRICS], &route);
  if (found[RTA_ENCAP] != nullptr) route.lost = "encap";
  if (header->rtm_src_len != 0) route.lost = "from";
  std::vector<int> through = {static_cast<int>(number(found[RTA_OIF], 0))};
  if (found[RTA_MULTIPATH] != nullptr) {
    through = take_hops(family, found[RTA_MULTIPATH], *tables, &route);
    std::sort(through.begin(), through.end());
    through.erase(std::unique(through.begin(), through.end()), through.end());
  }
  for (const int index : through) {
    const auto nic = tables->nics.find(index);
    if (nic != tables->nics.end()) nic->second.routes.push_back(route);
  }
}

// What needs nothing before what needs it: a gateway is reached by a route on the link.
bool comes_before(const KernelRoute& left, const KernelRoute& right) {
  const auto needs = [](const KernelRoute& route) {
    return !route.gateway.empty() || !route.hops.empty();
  };
  return !needs(left) && needs(right);
}

Error cannot_read(const char* what, const std::string& reason) {
  return Error{std::string("cannot read the kernel's ") + what + ": " + reason};
}

}  // namespace

Result<std::vector<KernelNic>> read_kernel_nics(Netlink* netlink) {
  Tables tables;
  nlmsghdr* request = netlink->request(RTM_GETLINK, 0);
  auto* const link =
      static_cast<ifinfomsg*>(mnl_nlmsg_put_extra_header(request, sizeof(ifinfomsg)));
  link->ifi_family = AF_UNSPEC;
  mnl_attr_put_u32(request, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  auto read = netlink->dump(
      request, [&] { tables = Tables{}; },
      [&](const nlmsghdr* message) { take_link(message, &tables); });
  if (!read) return cannot_read("interfaces", read.error());
  for (const auto& [index, master] : tables.masters) {
    tables.nics[index].master = tables.names[master];
  }

  request = netlink->request(RTM_GETADDR, 0);
  mnl_nlmsg_put_extra_header(request, sizeof(ifaddrmsg));  // all zeros: every family
  read = netlink->dump(
      request,
      [&] {
        for (auto& [index, nic] : tables.nics) nic.addresses.clear();
      },
      [&](const nlmsghdr* message) { take_address(message, &tables); });
  if (!read) return cannot_read("addresses", read.error());

  request = netlink->request(RTM_GETROUTE, 0);
  mnl_nlmsg_put_extra_header(request, sizeof(rtmsg));
  read = netlink->dump(
      request,
      [&] {
        for (auto& [index, nic] : tables.nics) nic.routes.clear();
      },
      [&](const nlmsghdr* message) { take_route(message, &tables); });
  if (!read) return cannot_read("routes", read.error());

  std::vector<KernelNic> nics;
  for (const int index : tables.order) {
    KernelNic& nic = tables.nics[index];
    std::stable_sort(nic.routes.begin(), nic.routes.end(), comes_before);
    nics.push_back(std::move(nic));
  }
  return nics;
}

}  // namespace mn::device
