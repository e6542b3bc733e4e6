// SPDX-License-Identifier: MIT
// KernelNet: what the kernel knows about the network interfaces of this namespace, and the few
// things that are done to one: up and down, MTU, addresses and routes put back. NetlinkKernelNet
// asks the kernel itself; FileKernelNet reads and writes files, for tests. Owned by the program,
// main thread; blocking; caches nothing; decides nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "device/sys_root.h"

namespace mn::device {

constexpr uint32_t kForever = 0xffffffff;  // a lifetime without end, as the kernel writes it

// IPv4 and IPv6 alike: an address with a ':' is IPv6. Numbers are the kernel's (rtnetlink(7)).
struct KernelAddress {
  std::string address;  // 10.0.0.2
  uint32_t prefix_length = 0;
  std::string peer;       // of a point-to-point interface; "" otherwise
  std::string broadcast;  // "": none
  std::string label;      // "": none
  uint8_t scope = 0;      // RT_SCOPE_*: 0 universe, 253 link, 254 host
  uint32_t flags = 0;     // IFA_F_* that mean something when it is added again
  uint32_t metric = 0;    // of the route to its network; 0: the kernel's default
  // What is left of a lease. Given back as it was: the lease's owner renews it or it runs out.
  uint32_t valid_s = kForever;
  uint32_t preferred_s = kForever;
  bool operator==(const KernelAddress&) const = default;
};

// One of the ways of a route that has several, perhaps through other interfaces.
struct KernelHop {
  std::string ifname;
  std::string gateway;  // "": on the link
  uint32_t weight = 1;
  bool is_onlink = false;
  bool operator==(const KernelHop&) const = default;
};

struct KernelRoute {
  std::string destination;  // 10.1.0.0/16; "default", "default6"
  std::string gateway;      // "": on the link
  std::string source;       // preferred source address; "": none
  uint32_t metric = 0;
  uint32_t table = 254;    // RT_TABLE_MAIN
  uint8_t protocol = 3;    // RTPROT_BOOT
  uint8_t scope = 0;       // RT_SCOPE_*
  uint8_t tos = 0;         // type of service it is for
  bool is_onlink = false;  // RTNH_F_ONLINK
  uint32_t mtu = 0;        // RTAX_MTU; 0: none; likewise the following
  uint32_t advmss = 0;
  uint32_t initcwnd = 0;
  uint32_t initrwnd = 0;
  std::vector<KernelHop> hops;  // not empty: several ways, and `gateway` is not used
  std::string lost;             // what this struct has no room for, one word; "": nothing
  bool operator==(const KernelRoute&) const = default;
};

struct KernelNic {
  std::string ifname;
  int index = 0;
  Mac mac{};
  Mac permanent_mac{};  // the hardware's own; all zeros: the kernel does not say
  uint32_t mtu = 0;
  bool is_up = false;     // IFF_UP
  bool has_link = false;  // IFF_LOWER_UP
  std::string kind;       // IFLA_INFO_KIND: veth, bridge, vlan ...; "" of real devices
  std::string master;     // the bridge or bond it belongs to; ""
  std::vector<KernelAddress> addresses;
  std::vector<KernelRoute>
      routes;  // of every table but local, unicast, in an order to add them again
};

class KernelNet {
 public:
  virtual ~KernelNet() = default;

  // All of this namespace but the loopback interface, in the kernel's order.
  virtual Result<std::vector<KernelNic>> nics() = 0;

  virtual Result<void> set_up(const std::string& ifname, bool up) = 0;
  virtual Result<void> set_mtu(const std::string& ifname, uint32_t mtu) = 0;
  // What is there already is no error.
  virtual Result<void> add_address(const std::string& ifname, const KernelAddress& address) = 0;
  virtual Result<void> add_route(const std::string& ifname, const KernelRoute& route) = 0;
};

// FileKernelNet reads DIR/IFNAME, one file per interface: lines `mac aa:bb:cc:dd:ee:ff`,
// `permanent aa:bb:cc:dd:ee:ff`, `mtu 1500`, `up yes`, `link yes`, `kind veth`, `master br0`,
// repeated `address` and `route` lines as written below; a key that is not there has the default of
// the struct. `refuse mtu|up|address|route` lines make such a change fail. What is put back is
// written there.
std::unique_ptr<KernelNet> make_kernel_net(const SysRoot& root);

// The words after `address` and `route`; the files of saved_nic.h use the same:
//   A/LEN [peer P] [broadcast B] [label L] [scope N] [flags N] [metric N] [valid S] [preferred S]
//   DEST [via G] [src S] [metric N] [table N] [proto N] [scope N] [tos N] [onlink] [mtu N]
//     [advmss N] [initcwnd N] [initrwnd N] [lost WORD] [nexthop dev IF [via G] [weight N]
//     [onlink]]...
std::string format_kernel_address(const KernelAddress& address);
std::string format_kernel_route(const KernelRoute& route);
Result<KernelAddress> parse_kernel_address(const std::string& text);
Result<KernelRoute> parse_kernel_route(const std::string& text);

// Whether what is bound for anywhere goes through it (an IPv4 default route of the main table).
bool carries_default_route(const KernelNic& nic);

// Where packets for hosts beyond the link go: the gateway of the default route through the NIC
// (main table first, then the smallest metric), a host on the link that a /32 address has a route
// to, or the only gateway of all other routes but those to link-local addresses. A second NIC has
// often no default route, and Machnet, which has one gateway of a NIC, takes the router it has. 0:
// there is none, or the routes do not agree.
Ipv4 gateway_of(const KernelNic& nic);

// The first IPv4 address of scope universe, which is the one packets carry; nullptr: none.
const KernelAddress* primary_address(const KernelNic& nic);

// Gives `ifname` the MTU, addresses, routes and up-or-down of `had`, in an order in which the
// kernel takes them; what is there already stays. Tries everything; a line for each thing that
// could not be given back, with the reason. Empty: all is as it was.
std::vector<std::string> restore_network(KernelNet* net, const std::string& ifname,
                                         const KernelNic& had);

}  // namespace mn::device
