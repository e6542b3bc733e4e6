// SPDX-License-Identifier: MIT
#include "libmachnet/control_client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

namespace mn::client {

namespace {

// The socket is there before the NICs are up: a service that has just been started answers when it is ready.
constexpr int kHelloTimeoutMs = 10000;
constexpr int kErrnoMax = 4095;  // the kernel's own limit for an errno

int64_t now_ms() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

int fail(int error) {
  errno = error;
  return -1;
}

bool socket_address(sockaddr_un* ret_address) {
  const char* path = secure_getenv(ipc::kSocketEnvironment);
  if (path == nullptr || path[0] == '\0') path = ipc::kDefaultSocketPath;
  const size_t length = strlen(path);
  if (length >= sizeof ret_address->sun_path) return false;
  memset(ret_address, 0, sizeof *ret_address);
  ret_address->sun_family = AF_UNIX;
  memcpy(ret_address->sun_path, path, length + 1);
  return true;
}

// Takes every descriptor out of a message, those beyond the limit are closed.
void take_descriptors(msghdr* message, Descriptors* descriptors) {
  for (cmsghdr* c = CMSG_FIRSTHDR(message); c != nullptr; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
      if (descriptors != nullptr && descriptors->count < ipc::kDescriptorsMax) {
        descriptors->fd[descriptors->count++] = fd;
      } else {
        ::close(fd);
      }
    }
  }
}

}  // namespace

void Descriptors::close_all() {
  for (uint32_t i = 0; i < count; i++) {
    if (fd[i] >= 0) ::close(fd[i]);
  }
  count = 0;
}

int ControlClient::open() {
  sockaddr_un address;
  if (!socket_address(&address)) return fail(ENAMETOOLONG);
  fd_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return -1;
  // A full backlog makes connect wait; the send timeout bounds that (unix(7)).
  const timeval limit = {.tv_sec = kHelloTimeoutMs / 1000, .tv_usec = 0};
  setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  int status;
  do {
    status = connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  } while (status != 0 && errno == EINTR);
  if (status != 0 && errno == EAGAIN) errno = ETIMEDOUT;
  if (status == 0) status = hello();
  if (status != 0) {
    const int error = errno;
    close();
    return fail(error);
  }
  return 0;
}

void ControlClient::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

int ControlClient::hello() {
  ipc::ControlMessage message = {};
  message.header.type = ipc::kControlHello;
  message.hello.version_min = ipc::kControlVersionMin;
  message.hello.version_max = ipc::kControlVersionMax;
  if (request(&message, kHelloTimeoutMs) != 0) {
    // It took the connection and hung up: no service that we could talk to.
    return errno == ESHUTDOWN ? fail(ECONNRESET) : -1;
  }
  const uint16_t chosen = message.hello.version_min;
  if (chosen != message.hello.version_max || chosen < ipc::kControlVersionMin ||
      chosen > ipc::kControlVersionMax) {
    return fail(EPROTONOSUPPORT);
  }
  return 0;
}

int ControlClient::receive(ipc::ControlMessage* message, Descriptors* descriptors) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * ipc::kDescriptorsMax)];
  iovec piece = {.iov_base = message, .iov_len = sizeof *message};
  msghdr header = {};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t got;
  do {
    got = recvmsg(fd_, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return errno == EAGAIN ? 0 : fail(ESHUTDOWN);
  take_descriptors(&header, descriptors);
  if (got == 0) return fail(ESHUTDOWN);
  if (got != sizeof *message || (header.msg_flags & MSG_TRUNC) != 0 ||
      message->header.magic != ipc::kControlMagic || message->header.error < 0 ||
      message->header.error > kErrnoMax) {
    return fail(EPROTO);
  }
  if ((header.msg_flags & MSG_CTRUNC) != 0) {
    // Fewer descriptors than there was room for: this process may not have more.
    const bool limit = descriptors != nullptr && descriptors->count < ipc::kDescriptorsMax;
    return fail(limit ? EMFILE : EPROTO);
  }
  return 1;
}

int ControlClient::wait_reply(uint16_t type, uint32_t sequence, int64_t deadline_ms,
                              ipc::ControlMessage* message, Descriptors* descriptors) {
  for (;;) {
    const int got = receive(message, descriptors);
    if (got < 0) return -1;
    if (got == 1 && message->header.sequence == sequence) {
      return message->header.type == type ? 0 : fail(EPROTO);
    }
    if (got == 1) {
      if (descriptors != nullptr) descriptors->close_all();
      if (stale_reply_ != nullptr) stale_reply_(stale_context_, *message);
      continue;
    }
    const int64_t left = deadline_ms - now_ms();
    if (left <= 0) return fail(ETIMEDOUT);
    pollfd wait = {.fd = fd_, .events = POLLIN, .revents = 0};
    if (poll(&wait, 1, static_cast<int>(left)) < 0 && errno != EINTR) return -1;
  }
}

int ControlClient::request(ipc::ControlMessage* message, int timeout_ms,
                           Descriptors* ret_descriptors) {
  if (fd_ < 0) return fail(ENOTSUP);
  const int64_t deadline = now_ms() + timeout_ms;
  const uint16_t type = message->header.type;
  const uint32_t sequence = ++sequence_;
  message->header = {
      .magic = ipc::kControlMagic, .type = type, .reserved = 0, .sequence = sequence, .error = 0};
  ssize_t sent;
  do {
    sent = send(fd_, message, sizeof *message, MSG_NOSIGNAL);  // bounded by SO_SNDTIMEO
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return fail(errno == EAGAIN ? ETIMEDOUT : ESHUTDOWN);
  Descriptors none;
  Descriptors* descriptors = ret_descriptors != nullptr ? ret_descriptors : &none;
  int status = wait_reply(type, sequence, deadline, message, descriptors);
  if (status == 0 && message->header.error != 0) status = fail(message->header.error);
  const int error = errno;
  none.close_all();
  if (status != 0) descriptors->close_all();
  errno = error;
  return status;
}

int ControlClient::poll_alive() {
  if (fd_ < 0) return 0;
  ipc::ControlMessage message;
  for (;;) {
    const int got = receive(&message, nullptr);
    if (got <= 0) return got;
    if (stale_reply_ != nullptr) stale_reply_(stale_context_, message);
  }
}

}  // namespace mn::client
