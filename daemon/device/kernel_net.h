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

// IPv4 and IPv6 alike: an address with a ':' is IPv6. Numbers are the kernel's (rtnetlink(7)).
struct KernelAddress {
  std::string address;  // 10.0.0.2
  uint32_t prefix_length = 0;
  std::string peer;       // of a point-to-point interface; "" otherwise
  std::string broadcast;  // "": none
  std::string label;      // "": none
  uint8_t scope = 0;      // RT_SCOPE_*: 0 universe, 253 link, 254 host
  uint32_t flags = 0;     // IFA_F_* that mean something when it is added again
  bool operator==(const KernelAddress&) const = default;
};

struct KernelRoute {
  std::string destination;  // 10.1.0.0/16; "default", "default6"
  std::string gateway;      // "": on the link
  std::string source;       // preferred source address; "": none
  uint32_t metric = 0;
  uint32_t table = 254;    // RT_TABLE_MAIN
  uint8_t protocol = 3;    // RTPROT_BOOT
  uint8_t scope = 0;       // RT_SCOPE_*
  bool is_onlink = false;  // RTNH_F_ONLINK
  uint32_t mtu = 0;        // RTAX_MTU; 0: none
  bool operator==(const KernelRoute&) const = default;
};

struct KernelNic {
  std::string ifname;
  int index = 0;
  Mac mac{};
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

// FileKernelNet reads DIR/IFNAME, one file per interface: lines `mac aa:bb:cc:dd:ee:ff`, `mtu
// 1500`, `up yes`, `link yes`, `kind veth`, `master br0`, `address A/LEN [broadcast B] [label L]
// [scope N] [flags N] [peer P]`, `route DEST [via G] [src S] [metric N] [table N] [proto N] [scope
// N] [onlink] [mtu N]`; repeated address and route lines; a key that is not there has the default
// of the struct. What is put back is written there.
std::unique_ptr<KernelNet> make_kernel_net(const SysRoot& root);

// The words after `address` and `route` above; the files of saved_nic.h use the same.
std::string format_kernel_address(const KernelAddress& address);
std::string format_kernel_route(const KernelRoute& route);
Result<KernelAddress> parse_kernel_address(const std::string& text);
Result<KernelRoute> parse_kernel_route(const std::string& text);

}  // namespace mn::device
