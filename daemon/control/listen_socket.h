// SPDX-License-Identifier: MIT
// ListenSocket: the service's address. Made at start (or inherited from the service manager),
// removed at stop unless it is not ours any more. Two services never share an address: a live one
// is recognised by connecting to it, what a dead one left is removed.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/peer.h"

namespace mn::control {

struct SocketSettings {
  std::string path;
  std::optional<gid_t> group;  // nothing: the service's own
  mode_t mode = 0660;
};

class ListenSocket {
 public:
  // Takes the socket of LISTEN_FDS if there is one; then `settings` only says what clients may do.
  static Result<std::unique_ptr<ListenSocket>> open(const SocketSettings& settings);
  ~ListenSocket();
  ListenSocket(const ListenSocket&) = delete;
  ListenSocket& operator=(const ListenSocket&) = delete;

  int fd() const { return fd_.get(); }
  const AccessPolicy& policy() const { return policy_; }
  void close_and_remove();  // at once; the destructor does the same

 private:
  ListenSocket() = default;
  static Result<UniqueFd> inherited();
  Result<void> bind_path(const SocketSettings& settings);

  UniqueFd fd_;
  AccessPolicy policy_;
  std::string path_;  // empty: nothing to remove
  dev_t device_ = 0;  // of the file that we made
  ino_t inode_ = 0;
  std::string made_directory_;  // empty: it was there
};

}  // namespace mn::control
