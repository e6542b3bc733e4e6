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
  // Takes the socket of LISTEN_FDS if there is one. Then path, mode and group are what its file
  // says, the service manager's choice; where `settings` differ, a line of the log says so.
  static Result<std::unique_ptr<ListenSocket>> open(const SocketSettings& settings);
  ~ListenSocket();
  ListenSocket(const ListenSocket&) = delete;
  ListenSocket& operator=(const ListenSocket&) = delete;

  int fd() const { return fd_.get(); }
  const AccessPolicy& policy() const { return policy_; }
  const std::string& path() const { return path_; }
  void close_and_remove();  // at once; the destructor does the same

 private:
  ListenSocket() = default;
  static Result<UniqueFd> inherited();
  void take_policy_of_file(const SocketSettings& settings);
  Result<void> bind_path(const SocketSettings& settings);

  UniqueFd fd_;
  AccessPolicy policy_;
  std::string path_;
  bool is_ours_ = false;  // the file is, and is removed at the end
  dev_t device_ = 0;      // of the file that we made
  ino_t inode_ = 0;
  std::string made_directory_;  // empty: it was there
};

}  // namespace mn::control
