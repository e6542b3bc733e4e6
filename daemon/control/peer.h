// SPDX-License-Identifier: MIT
// Peer: who is at the other end of a control connection, as the kernel says (never the client), and
// whether that process may use the service.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <vector>

namespace mn::control {

struct Peer {
  pid_t pid = 0;
  uid_t uid = 0;
  std::vector<gid_t> groups;  // the primary one and the supplementary ones, at connect time
};

// False: the kernel would not say.
bool read_peer(int fd, Peer* ret_peer);

struct AccessPolicy {
  gid_t group = 0;     // the socket's
  mode_t mode = 0660;  // the socket's
};

// Root, the service's own user, members of the socket's group if its mode lets them, everybody if
// its mode does. The file's permissions say the same; this holds also where a socket was inherited
// or its mode changed.
bool peer_allowed(const Peer& peer, const AccessPolicy& policy, uid_t own_uid);

}  // namespace mn::control
