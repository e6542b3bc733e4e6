// SPDX-License-Identifier: MIT
#include "device/netlink.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

#include "device/text.h"

namespace mn::device {

namespace {

constexpr size_t kRequestBytes = 8 << 10;
constexpr size_t kAnswerBytes = 64 << 10;  // the kernel fills at most 32 KiB of a dump at once
constexpr int kTries = 8;                  // of a dump that changes while it is read
constexpr timeval kPatience = {.tv_sec = 5, .tv_usec = 0};

// What the kernel says besides the number, as in "Nexthop has invalid gateway"; "" if nothing.
std::string explanation(const nlmsghdr* message) {
  if ((message->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return "";
  const auto* const error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
  size_t offset = sizeof(nlmsgerr);
  if ((message->nlmsg_flags & NLM_F_CAPPED) == 0) offset += error->msg.nlmsg_len - NLMSG_HDRLEN;
  if (offset > mnl_nlmsg_get_payload_len(message)) return "";
  const Attributes<NLMSGERR_ATTR_MSG> found = attributes_of<NLMSGERR_ATTR_MSG>(message, offset);
  const nlattr* const text = found[NLMSGERR_ATTR_MSG];
  if (text == nullptr || mnl_attr_validate(text, MNL_TYPE_NUL_STRING) < 0) return "";
  return printable(mnl_attr_get_str(text), 120);
}

}  // namespace

Netlink::Netlink(mnl_socket* socket) : socket_(socket), out_(kRequestBytes), in_(kAnswerBytes) {}

Result<std::unique_ptr<Netlink>> Netlink::open() {
  std::unique_ptr<Netlink> netlink(new Netlink(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC)));
  mnl_socket* const socket = netlink->socket_.get();
  if (socket == nullptr || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
    return Error{std::string("cannot ask the kernel about its network (netlink): ") +
                 strerror(errno)};
  }
  // Both only make errors clearer and endless waits end.
  const int on = 1;
  mnl_socket_setsockopt(socket, NETLINK_EXT_ACK, const_cast<int*>(&on), sizeof(on));
  setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience));
  return netlink;
}

nlmsghdr* Netlink::request(uint16_t type, uint16_t flags) {
  nlmsghdr* const header = mnl_nlmsg_put_header(out_.data());
  header->nlmsg_type = type;
  header->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  return header;
}

Netlink::Outcome Netlink::receive_dump(const std::function<void(const nlmsghdr*)>& each,
                                       std::string* ret_error) {
  bool interrupted = false;
  for (;;) {
    const ssize_t received = mnl_socket_recvfrom(socket_.get(), in_.data(), in_.size());
    if (received < 0) {
      if (errno == EINTR) continue;
      *ret_error = errno == EAGAIN ? "the kernel does not answer" : strerror(errno);
      return Outcome::kFailed;
    }
    int left = static_cast<int>(received);
    const nlmsghdr* message = reinterpret_cast<const nlmsghdr*>(in_.data());
    for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
      if (message->nlmsg_seq != sequence_) continue;  // of an earlier, broken off one
      if ((message->nlmsg_flags & NLM_F_DUMP_INTR) != 0) interrupted = true;
      if (message->nlmsg_type == NLMSG_DONE) {
        return interrupted ? Outcome::kAgain : Outcome::kDone;
      }
      if (message->nlmsg_type == NLMSG_ERROR) {
        const auto* const error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
        *ret_error = strerror(-error->error);
        return Outcome::kFailed;
      }
      each(message);
    }
  }
}

Result<void> Netlink::dump(const nlmsghdr* request, const std::function<void()>& begin,
                           const std::function<void(const nlmsghdr*)>& each) {
  nlmsghdr* const header = reinterpret_cast<nlmsghdr*>(out_.data());
  MN_ASSERT(request == header);
  header->nlmsg_flags |= NLM_F_DUMP;
  for (int tries = 0; tries < kTries; tries++) {
    header->nlmsg_seq = ++sequence_;
    if (mnl_socket_sendto(socket_.get(), header, header->nlmsg_len) < 0) {
      return Error{strerror(errno)};
    }
    begin();
    std::string error;
    switch (receive_dump(each, &error)) {
      case Outcome::kDone:
        return {};
      case Outcome::kFailed:
        return Error{error};
      case Outcome::kAgain:
        break;
    }
  }
  return Error{"it changes all the time"};
}

NetlinkRefusal Netlink::change(nlmsghdr* request) {
  request->nlmsg_flags |= NLM_F_ACK;
  request->nlmsg_seq = ++sequence_;
  if (mnl_socket_sendto(socket_.get(), request, request->nlmsg_len) < 0) {
    return {errno, strerror(errno)};
  }
  for (;;) {
    const ssize_t received = mnl_socket_recvfrom(socket_.get(), in_.data(), in_.size());
    if (received < 0) {
      if (errno == EINTR) continue;
      return {errno, errno == EAGAIN ? "the kernel does not answer" : strerror(errno)};
    }
    int left = static_cast<int>(received);
    const nlmsghdr* message = reinterpret_cast<const nlmsghdr*>(in_.data());
    for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
      if (message->nlmsg_seq != sequence_ || message->nlmsg_type != NLMSG_ERROR) continue;
      const int error = -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message))->error;
      if (error == 0) return {};
      const std::string more = explanation(message);
      return {error, strerror(error) + (more.empty() ? "" : " (" + more + ")")};
    }
  }
}

}  // namespace mn::device
