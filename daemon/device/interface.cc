// SPDX-License-Identifier: MIT
#include "device/interface.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

namespace mn::device {

namespace {

// A socket only to send ioctls through; -1 if there is none to be had.
class IoctlSocket {
 public:
  IoctlSocket() : fd_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {}
  ~IoctlSocket() {
    if (fd_ >= 0) close(fd_);
  }
  IoctlSocket(const IoctlSocket&) = delete;
  IoctlSocket& operator=(const IoctlSocket&) = delete;

  bool call(unsigned long request, ifreq* request_data) const {
    return ioctl(fd_, request, request_data) == 0;
  }

 private:
  int fd_;
};

ifreq request_for(const std::string& name) {
  ifreq request{};
  memcpy(request.ifr_name, name.data(), name.size());  // callers checked the length
  return request;
}

std::optional<Mac> parse_mac(const std::string& text) {
  Mac mac;
  unsigned bytes[6];
  int used = 0;
  if (sscanf(text.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x%n", &bytes[0], &bytes[1], &bytes[2], &bytes[3],
             &bytes[4], &bytes[5], &used) != 6 ||
      static_cast<size_t>(used) != text.size()) {
    return std::nullopt;
  }
  for (size_t i = 0; i < 6; ++i) mac.bytes[i] = static_cast<uint8_t>(bytes[i]);
  return mac;
}

std::string device_address(const std::string& name) {
  const std::string link = "/sys/class/net/" + name + "/device";
  char target[256];
  const ssize_t length = readlink(link.c_str(), target, sizeof(target));
  if (length <= 0) return "";
  const std::string_view view(target, static_cast<size_t>(length));
  return std::string(view.substr(view.rfind('/') + 1));
}

int numa_node(const std::string& name) {
  const std::string path = "/sys/class/net/" + name + "/device/numa_node";
  int node = -1;
  if (FILE* file = fopen(path.c_str(), "re")) {
    if (fscanf(file, "%d", &node) != 1) node = -1;
    fclose(file);
  }
  return node;
}

std::optional<Interface> read_interface(const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ) return std::nullopt;
  const IoctlSocket socket;
  ifreq request = request_for(name);
  if (!socket.call(SIOCGIFINDEX, &request)) return std::nullopt;
  Interface found;
  found.name = name;
  found.index = request.ifr_ifindex;
  if (socket.call(SIOCGIFHWADDR, &request)) {
    memcpy(found.mac.bytes.data(), request.ifr_hwaddr.sa_data, found.mac.bytes.size());
  }
  if (socket.call(SIOCGIFMTU, &request)) found.mtu = static_cast<uint32_t>(request.ifr_mtu);
  if (socket.call(SIOCGIFFLAGS, &request)) found.is_up = (request.ifr_flags & IFF_UP) != 0;

  ethtool_drvinfo driver{};
  driver.cmd = ETHTOOL_GDRVINFO;
  request.ifr_data = reinterpret_cast<char*>(&driver);
  if (socket.call(SIOCETHTOOL, &request)) {
    found.driver.assign(driver.driver, strnlen(driver.driver, sizeof(driver.driver)));
  }
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  request.ifr_data = reinterpret_cast<char*>(&channels);
  if (socket.call(SIOCETHTOOL, &request) && channels.combined_count + channels.rx_count > 0) {
    found.queues = channels.combined_count + channels.rx_count;
    found.tx_queues = std::max(channels.combined_count + channels.tx_count, 1u);
    found.queues_max =
        std::max(channels.max_combined + std::min(channels.max_rx, channels.max_tx), 1u);
    found.has_combined_queues = channels.combined_count > 0;
  }
  found.numa_node = numa_node(name);
  found.bus_address = device_address(name);
  return found;
}

template <typename Predicate>
std::optional<Interface> first_interface(Predicate matches) {
  struct if_nameindex* const all = if_nameindex();
  if (all == nullptr) return std::nullopt;
  std::optional<Interface> found;
  for (const struct if_nameindex* entry = all; entry->if_index != 0 && !found; ++entry) {
    std::optional<Interface> candidate = read_interface(entry->if_name);
    if (candidate && matches(*candidate)) found = candidate;
  }
  if_freenameindex(all);
  return found;
}

Error no_interface(const std::string& name) {
  return Error{"no network interface \"" + name +
               "\" in this network namespace; `ip link` lists them"};
}

}  // namespace

bool is_pci_address(const std::string& text) {
  unsigned domain = 0, bus = 0, slot = 0, function = 0;
  int used = 0;
  if (sscanf(text.c_str(), "%4x:%2x:%2x.%1x%n", &domain, &bus, &slot, &function, &used) == 4 &&
      static_cast<size_t>(used) == text.size()) {
    return true;
  }
  used = 0;
  return sscanf(text.c_str(), "%2x:%2x.%1x%n", &bus, &slot, &function, &used) == 3 &&
         static_cast<size_t>(used) == text.size();
}

std::string full_pci_address(const std::string& text) {
  const bool has_domain = text.find(':') != text.rfind(':');
  return has_domain ? text : "0000:" + text;
}

Result<Interface> find_interface(const std::string& name) {
  if (std::optional<Interface> found = read_interface(name)) return *found;
  if (const std::optional<Mac> mac = parse_mac(name)) {
    std::optional<Interface> found =
        first_interface([&](const Interface& candidate) { return candidate.mac == *mac; });
    if (found) return *found;
  } else if (is_pci_address(name)) {
    const std::string address = full_pci_address(name);
    std::optional<Interface> found = first_interface(
        [&](const Interface& candidate) { return candidate.bus_address == address; });
    if (found) return *found;
  }
  return no_interface(name);
}

bool interface_is_running(const std::string& name) {
  const IoctlSocket socket;
  ifreq request = request_for(name);
  if (!socket.call(SIOCGIFFLAGS, &request)) return errno != ENODEV;
  const int flags = request.ifr_flags;
  if ((flags & IFF_UP) == 0) return false;
  // The carrier itself where the driver tells: IFF_RUNNING may lag a second behind it.
  ethtool_value link{};
  link.cmd = ETHTOOL_GLINK;
  request.ifr_data = reinterpret_cast<char*>(&link);
  if (socket.call(SIOCETHTOOL, &request)) return link.data != 0;
  return (flags & IFF_RUNNING) != 0;
}

Result<void> set_interface_up(const Interface& interface) {
  const IoctlSocket socket;
  ifreq request = request_for(interface.name);
  if (!socket.call(SIOCGIFFLAGS, &request)) return no_interface(interface.name);
  if ((request.ifr_flags & IFF_UP) != 0) return {};
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (!socket.call(SIOCSIFFLAGS, &request)) {
    return Error{"cannot bring up " + interface.name + ": " + strerror(errno) +
                 "; run as root or with CAP_NET_ADMIN, or `ip link set " + interface.name + " up`"};
  }
  return {};
}

Result<void> set_interface_mtu(const Interface& interface, uint32_t mtu) {
  if (interface.mtu == mtu) return {};
  const IoctlSocket socket;
  ifreq request = request_for(interface.name);
  request.ifr_mtu = static_cast<int>(mtu);
  if (!socket.call(SIOCSIFMTU, &request)) {
    return Error{"cannot set the MTU of " + interface.name + " from " +
                 std::to_string(interface.mtu) + " to " + std::to_string(mtu) + ": " +
                 strerror(errno) + "; try a smaller mtu, or run with CAP_NET_ADMIN"};
  }
  return {};
}

bool kernel_has_address(const Interface& interface, Ipv4 address) {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return false;
  bool found = false;
  for (const ifaddrs* entry = all; entry != nullptr && !found; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET) continue;
    if (interface.name != entry->ifa_name) continue;
    sockaddr_in kernel;
    memcpy(&kernel, entry->ifa_addr, sizeof(kernel));
    found = ntohl(kernel.sin_addr.s_addr) == address;
  }
  freeifaddrs(all);
  return found;
}

}  // namespace mn::device
