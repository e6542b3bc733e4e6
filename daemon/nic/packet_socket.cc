// SPDX-License-Identifier: MIT
#include "nic/packet_socket.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include <cstdlib>

namespace mn::nic {

namespace {

std::set<int> open_descriptors() {
  std::set<int> all;
  DIR* const directory = opendir("/proc/self/fd");
  if (directory == nullptr) return all;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    const int fd = atoi(entry->d_name);
    if (fd != dirfd(directory)) all.insert(fd);
  }
  closedir(directory);
  return all;
}

bool is_socket_of(int fd, int family) {
  int domain = 0;
  socklen_t size = sizeof(domain);
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == family;
}

bool is_bound_to(int fd, int ifindex) {
  sockaddr_ll address{};
  socklen_t size = sizeof(address);
  return getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
         address.sll_ifindex == ifindex;
}

}  // namespace

PacketSockets::PacketSockets() : known_(open_descriptors()) {}

std::vector<int> PacketSockets::opened_since(int family, int ifindex) {
  std::vector<int> found;
  for (const int fd : open_descriptors()) {
    if (!known_.insert(fd).second || !is_socket_of(fd, family)) continue;
    if (family == AF_PACKET && !is_bound_to(fd, ifindex)) continue;  // AF_XDP tells nothing
    found.push_back(fd);
  }
  return found;
}

}  // namespace mn::nic
