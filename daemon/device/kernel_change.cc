// SPDX-License-Identifier: MIT
// NetlinkKernelNet: changes to interfaces, from the structs of kernel_net.h to rtnetlink(7).
#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "config/values.h"
#include "device/kernel_net_kinds.h"
#include "device/netlink.h"

namespace mn::device {

namespace {

int family_of(const std::string& address) {
  return address.find(':') != std::string::npos ? AF_INET6 : AF_INET;
}

// An address as an attribute; false: it is none of that family.
bool put_ip(nlmsghdr* request, uint16_t type, int family, const std::string& address) {
  in6_addr bytes;
  if (inet_pton(family, address.c_str(), &bytes) != 1) return false;
  mnl_attr_put(request, type, family == AF_INET6 ? sizeof(in6_addr) : sizeof(in_addr), &bytes);
  return true;
}

bool put_gateway(nlmsghdr* request, int family, const std::string& gateway) {
  if (gateway.empty()) return true;
  if (family_of(gateway) == family) return put_ip(request, RTA_GATEWAY, family, gateway);
  // struct rtvia: the family, then as many bytes of address as it has.
  struct {
    __kernel_sa_family_t family;
    unsigned char address[sizeof(in6_addr)];
  } via{};
  static_assert(offsetof(decltype(via), address) == offsetof(rtvia, rtvia_addr));
  const int other = family_of(gateway);
  via.family = static_cast<__kernel_sa_family_t>(other);
  if (inet_pton(other, gateway.c_str(), via.address) != 1) return false;
  const size_t size = other == AF_INET6 ? sizeof(in6_addr) : sizeof(in_addr);
  mnl_attr_put(request, RTA_VIA, sizeof(rtvia) + size, &via);
  return true;
}

void put_metrics(nlmsghdr* request, const KernelRoute& route) {
  nlattr* const nest = mnl_attr_nest_start(request, RTA_METRICS);
  const auto put = [request](uint16_t type, uint32_t value) {
    if (value != 0) mnl_attr_put_u32(request, type, value);
  };
  put(RTAX_MTU, route.mtu);
  put(RTAX_ADVMSS, route.advmss);
  put(RTAX_INITCWND, route.initcwnd);
  put(RTAX_INITRWND, route.initrwnd);
  mnl_attr_nest_end(request, nest);
}

// What is wrong with the hops; "" if they were put.
std::string put_hops(nlmsghdr* request, int family, const std::vector<KernelHop>& hops) {
  nlattr* const nest = mnl_attr_nest_start(request, RTA_MULTIPATH);
  for (const KernelHop& hop : hops) {
    const size_t start = request->nlmsg_len;
    const unsigned index = if_nametoindex(hop.ifname.c_str());
    if (index == 0) return "there is no interface " + hop.ifname;
    auto* const next =
        static_cast<rtnexthop*>(mnl_nlmsg_put_extra_header(request, sizeof(rtnexthop)));
    next->rtnh_ifindex = static_cast<int>(index);
    next->rtnh_hops = static_cast<uint8_t>(hop.weight - 1);
    next->rtnh_flags = hop.is_onlink ? RTNH_F_ONLINK : 0;
    if (!put_gateway(request, family, hop.gateway)) return "\"" + hop.gateway + "\" is no gateway";
    next->rtnh_len = static_cast<uint16_t>(request->nlmsg_len - start);
  }
  mnl_attr_nest_end(request, nest);
  return "";
}

class NetlinkKernelNet final : public KernelNet {
 public:
  Result<std::vector<KernelNic>> nics() override {
    if (auto ready = connect(); !ready) return Error{ready.error()};
    return read_kernel_nics(netlink_.get());
  }

  Result<void> set_up(const std::string& ifname, bool up) override {
    const auto about = [&](const std::string& reason) {
      return Error{"cannot set " + ifname + (up ? " up: " : " down: ") + reason};
    };
    auto index = index_of(ifname);
    if (!index) return about(index.error());
    nlmsghdr* const request = netlink_->request(RTM_NEWLINK, 0);
    auto* const link =
        static_cast<ifinfomsg*>(mnl_nlmsg_put_extra_header(request, sizeof(ifinfomsg)));
    link->ifi_index = index.value();
    link->ifi_flags = up ? IFF_UP : 0;
    link->ifi_change = IFF_UP;
    const NetlinkRefusal refusal = netlink_->change(request);
    if (refusal.error != 0) return about(advice(refusal));
    return {};
  }

  Result<void> set_mtu(const std::string& ifname, uint32_t mtu) override {
    const auto about = [&](const std::string& reason) {
      return Error{"cannot set the MTU of " + ifname + " to " + std::to_string(mtu) + ": " +
                   reason};
    };
    auto index = index_of(ifname);
    if (!index) return about(index.error());
    nlmsghdr* const request = netlink_->request(RTM_NEWLINK, 0);
    auto* const link =
        static_cast<ifinfomsg*>(mnl_nlmsg_put_extra_header(request, sizeof(ifinfomsg)));
    link->ifi_index = index.value();
    mnl_attr_put_u32(request, IFLA_MTU, mtu);
    const NetlinkRefusal refusal = netlink_->change(request);
    if (refusal.error != 0) return about(advice(refusal));
    return {};
  }

  Result<void> add_address(const std::string& ifname, const KernelAddress& address) override {
    const auto about = [&](const std::string& reason) {
      return Error{"cannot add the address " + format_kernel_address(address) + " to " + ifname +
                   ": " + reason};
    };
    auto index = index_of(ifname);
    if (!index) return about(index.error());
    const int family = family_of(address.address);
    nlmsghdr* const request = netlink_->request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
    auto* const header =
        static_cast<ifaddrmsg*>(mnl_nlmsg_put_extra_header(request, sizeof(ifaddrmsg)));
    header->ifa_family = static_cast<uint8_t>(family);
    header->ifa_prefixlen = static_cast<uint8_t>(address.prefix_length);
    header->ifa_scope = address.scope;
    header->ifa_index = static_cast<uint32_t>(index.value());
    const std::string& end = address.peer.empty() ? address.address : address.peer;
    if (!put_ip(request, IFA_LOCAL, family, address.address) ||
        !put_ip(request, IFA_ADDRESS, family, end) ||
        (!address.broadcast.empty() &&
         !put_ip(request, IFA_BROADCAST, family, address.broadcast))) {
      return about("it is no address");
    }
    if (!address.label.empty()) mnl_attr_put_strz(request, IFA_LABEL, address.label.c_str());
    if (address.flags != 0) mnl_attr_put_u32(request, IFA_FLAGS, address.flags);
    if (address.metric != 0) mnl_attr_put_u32(request, IFA_RT_PRIORITY, address.metric);
    if (address.valid_s != kForever || address.preferred_s != kForever) {
      ifa_cacheinfo life{};
      life.ifa_valid = address.valid_s;
      life.ifa_prefered = address.preferred_s;
      mnl_attr_put(request, IFA_CACHEINFO, sizeof(life), &life);
    }
    const NetlinkRefusal refusal = netlink_->change(request);
    if (refusal.error != 0 && refusal.error != EEXIST) return about(advice(refusal));
    return {};
  }

  Result<void> add_route(const std::string& ifname, const KernelRoute& route) override {
    const auto about = [&](const std::string& reason) {
      return Error{"cannot add the route " + format_kernel_route(route) + " to " + ifname + ": " +
                   reason};
    };
    if (!route.lost.empty()) return about("\"" + route.lost + "\" of it is not remembered");
    auto index = index_of(ifname);
    if (!index) return about(index.error());
    nlmsghdr* const request = netlink_->request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
    const std::string wrong = put_route(request, index.value(), route);
    if (!wrong.empty()) return about(wrong);
    const NetlinkRefusal refusal = netlink_->change(request);
    if (refusal.error != 0 && refusal.error != EEXIST) return about(advice(refusal));
    return {};
  }

 private:
  // What is wrong with the route; "" if it was put.
  static std::string put_route(nlmsghdr* request, int index, const KernelRoute& route) {
    const bool is_default = route.destination == "default" || route.destination == "default6";
    const size_t slash = route.destination.find('/');
    const std::string network = route.destination.substr(0, slash);
    const int family = route.destination == "default6" ? AF_INET6 : family_of(network);
    auto* const header = static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(request, sizeof(rtmsg)));
    header->rtm_family = static_cast<uint8_t>(family);
    header->rtm_table = static_cast<uint8_t>(route.table < 256 ? route.table : RT_TABLE_UNSPEC);
    header->rtm_protocol = route.protocol;
    header->rtm_scope = route.scope;
    header->rtm_type = RTN_UNICAST;
    header->rtm_tos = route.tos;
    header->rtm_flags = route.is_onlink ? RTNH_F_ONLINK : 0;
    if (!is_default) {
      const auto length = slash == std::string::npos
                              ? std::nullopt
                              : config::parse_number(route.destination.substr(slash + 1), 0, 128);
      if (!length || !put_ip(request, RTA_DST, family, network)) return "it is no destination";
      header->rtm_dst_len = static_cast<uint8_t>(*length);
    }
    mnl_attr_put_u32(request, RTA_TABLE, route.table);
    if (route.metric != 0) mnl_attr_put_u32(request, RTA_PRIORITY, route.metric);
    if (!route.source.empty() && !put_ip(request, RTA_PREFSRC, family, route.source)) {
      return "its source is no address";
    }
    put_metrics(request, route);
    if (!route.hops.empty()) return put_hops(request, family, route.hops);
    mnl_attr_put_u32(request, RTA_OIF, static_cast<uint32_t>(index));
    return put_gateway(request, family, route.gateway) ? "" : "its gateway is no address";
  }

  static std::string advice(const NetlinkRefusal& refusal) {
    return refusal.text + (refusal.error == EPERM ? "; run as root" : "");
  }

  Result<void> connect() {
    if (netlink_ != nullptr) return {};
    auto opened = Netlink::open();
    if (!opened) return Error{opened.error()};
    netlink_ = std::move(opened.value());
    return {};
  }

  Result<int> index_of(const std::string& ifname) {
    if (auto ready = connect(); !ready) return Error{ready.error()};
    const unsigned index = if_nametoindex(ifname.c_str());
    if (index == 0) return Error{"there is no such interface"};
    return static_cast<int>(index);
  }

  std::unique_ptr<Netlink> netlink_;
};

}  // namespace

std::unique_ptr<KernelNet> make_netlink_net() { return std::make_unique<NetlinkKernelNet>(); }

}  // namespace mn::device
