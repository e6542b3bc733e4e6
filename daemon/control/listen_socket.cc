// SPDX-License-Identifier: MIT
#include "control/listen_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "base/log.h"

namespace mn::control {
namespace {

constexpr int kBacklog = 1024;
constexpr int kLockTries = 100;  // 10 ms apart

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  return address;
}

UniqueFd new_socket() {
  return UniqueFd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

Error failed(const std::string& path, const char* what, int error) {
  return Error{"socket " + path + ": " + what + ": " + strerror(error)};
}

// Keeps two services that start at the same time from removing each other's socket. The lock is the
// directory's, so nothing is left behind. It is advice: whoever holds it for ever delays a start,
// no more.
UniqueFd lock_directory(const std::string& directory) {
  UniqueFd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int i = 0; fd && i < kLockTries && flock(fd.get(), LOCK_EX | LOCK_NB) != 0; i++) {
    const struct timespec pause { .tv_sec = 0, .tv_nsec = 10'000'000 };
    nanosleep(&pause, nullptr);
  }
  return fd;
}

Result<void> remove_stale(const std::string& path) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return failed(path, "cannot be looked at", errno);
  }
  if (!S_ISSOCK(status.st_mode)) {
    return Error{"socket " + path + ": a file that is no socket is in the way; remove it"};
  }
  const UniqueFd probe = new_socket();
  const sockaddr_un address = address_of(path);
  const int result =
      connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  // EAGAIN: its queue is full, so it lives. EPROTOTYPE: another kind of service.
  if (result == 0 || errno != ECONNREFUSED) {
    return Error{
        "socket " + path +
        ": another service uses it; stop that one, or choose another 'socket' in [machnet]"};
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return failed(path, "the one that an earlier service left cannot be removed", errno);
  }
  return {};
}

}  // namespace

Result<UniqueFd> ListenSocket::inherited() {
  const int count = sd_listen_fds(1);
  if (count <= 0) return UniqueFd();
  if (count > 1) return Error{"socket: the service manager passed more than one socket; pass one"};
  if (sd_is_socket(SD_LISTEN_FDS_START, AF_UNIX, SOCK_SEQPACKET, 1) <= 0) {
    return Error{
        "socket: the service manager passed one of another kind; use ListenSequentialPacket= with "
        "a path"};
  }
  UniqueFd fd(SD_LISTEN_FDS_START);
  const int flags = fcntl(fd.get(), F_GETFL);
  if (flags < 0 || fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return Error{std::string("socket: the inherited one is unusable: ") + strerror(errno)};
  }
  return fd;
}

void ListenSocket::take_policy_of_file(const SocketSettings& settings) {
  sockaddr_un address{};
  socklen_t size = sizeof(address);
  struct stat status {};
  if (getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      size <= offsetof(sockaddr_un, sun_path) || address.sun_path[0] == '\0') {
    return;  // without a file nobody but the settings can say
  }
  // A path that fills its field has no zero at its end.
  const std::string path(address.sun_path, strnlen(address.sun_path, sizeof(address.sun_path)));
  path_ = path;
  if (path != settings.path) {
    log_warning("'socket = %s' is not used: machnet.socket gives %s (ListenSequentialPacket=)",
                settings.path.c_str(), path.c_str());
  }
  if (stat(path.c_str(), &status) != 0) {
    log_warning("socket %s: cannot be looked at: %s; socket_group and socket_mode hold",
                path.c_str(), strerror(errno));
    return;
  }
  const mode_t mode = status.st_mode & 0777;
  if (settings.group && *settings.group != status.st_gid) {
    log_warning("'socket_group' is not used: machnet.socket decides (SocketGroup=)");
  }
  if (mode != settings.mode) {
    log_warning("'socket_mode = %04o' is not used: machnet.socket decides (SocketMode=%04o)",
                static_cast<unsigned>(settings.mode), static_cast<unsigned>(mode));
  }
  policy_ = {status.st_gid, mode};
}

Result<void> ListenSocket::bind_path(const SocketSettings& settings) {
  const std::string directory =
      settings.path.substr(0, std::max<size_t>(settings.path.rfind('/'), 1));
  if (mkdir(directory.c_str(), 0755) == 0) made_directory_ = directory;
  const UniqueFd lock = lock_directory(directory);
  if (!lock) return failed(settings.path, "its directory cannot be opened", errno);
  if (auto removed = remove_stale(settings.path); !removed) return removed;
  fd_ = new_socket();
  if (!fd_) return failed(settings.path, "cannot be made", errno);

  const sockaddr_un address = address_of(settings.path);
  // Nobody connects before group and mode are right. Nothing else runs yet that could make files.
  const mode_t old_mask = umask(0777);
  const int bound = bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int bind_error = errno;
  umask(old_mask);
  if (bound != 0) return failed(settings.path, "cannot be bound", bind_error);
  struct stat status {};
  if (lstat(settings.path.c_str(), &status) != 0) {
    return failed(settings.path, "vanished", errno);
  }
  path_ = settings.path;
  is_ours_ = true;
  device_ = status.st_dev;
  inode_ = status.st_ino;
  if (settings.group && chown(path_.c_str(), static_cast<uid_t>(-1), *settings.group) != 0) {
    return failed(path_, "cannot be given to 'socket_group'", errno);
  }
  if (chmod(path_.c_str(), settings.mode) != 0) return failed(path_, "mode cannot be set", errno);
  if (listen(fd_.get(), kBacklog) != 0) return failed(path_, "cannot be listened on", errno);
  return {};
}

Result<std::unique_ptr<ListenSocket>> ListenSocket::open(const SocketSettings& settings) {
  std::unique_ptr<ListenSocket> self(new ListenSocket);
  self->policy_ = {settings.group.value_or(getegid()), settings.mode};
  auto fd = inherited();
  if (!fd) return Error{fd.error()};
  if (fd.value()) {
    self->fd_ = std::move(fd.value());
    self->take_policy_of_file(settings);
    return self;
  }
  if (auto bound = self->bind_path(settings); !bound) return Error{bound.error()};
  return self;
}

void ListenSocket::close_and_remove() {
  struct stat status {};
  if (is_ours_ && lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
      status.st_ino == inode_) {
    unlink(path_.c_str());
  }
  if (!made_directory_.empty()) rmdir(made_directory_.c_str());
  is_ours_ = false;
  made_directory_.clear();
  fd_.reset();
}

ListenSocket::~ListenSocket() { close_and_remove(); }

}  // namespace mn::control
