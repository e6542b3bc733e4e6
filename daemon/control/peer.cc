// SPDX-License-Identifier: MIT
#include "control/peer.h"

#include <sys/socket.h>

#include <algorithm>

namespace mn::control {

bool read_peer(int fd, Peer* ret_peer) {
  struct ucred credentials {};
  socklen_t size = sizeof(credentials);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return false;
  // The kernel says how much room the groups need when there is too little.
  std::vector<gid_t> groups(32);
  for (;;) {
    size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) == 0) {
      groups.resize(size / sizeof(gid_t));
      break;
    }
    if (size / sizeof(gid_t) <= groups.size()) {
      groups.clear();
      break;
    }
    groups.resize(size / sizeof(gid_t));
  }
  groups.push_back(credentials.gid);
  *ret_peer = {credentials.pid, credentials.uid, std::move(groups)};
  return true;
}

bool peer_allowed(const Peer& peer, const AccessPolicy& policy, uid_t own_uid) {
  if (peer.uid == 0 || peer.uid == own_uid) return true;
  if ((policy.mode & S_IWOTH) != 0) return true;
  return (policy.mode & S_IWGRP) != 0 &&
         std::find(peer.groups.begin(), peer.groups.end(), policy.group) != peer.groups.end();
}

}  // namespace mn::control
