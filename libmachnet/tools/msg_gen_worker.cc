// SPDX-License-Identifier: MIT
#include "libmachnet/tools/msg_gen_worker.h"

#include <arpa/inet.h>
#include <sched.h>

namespace mn::tools {
namespace {

constexpr unsigned kSpinPasses =
    0;  // before the first sched_yield: spinning keeps the service off the processor
constexpr int kWaitMs = 100;  // bounds how late a worker sees the end of the run

std::string format_ip(uint32_t ip) {
  const in_addr address{htonl(ip)};
  char text[INET_ADDRSTRLEN] = "?";
  inet_ntop(AF_INET, &address, text, sizeof text);
  return text;
}

}  // namespace

std::string system_error(const std::string& what) {
  const int error = errno;
  std::string text = "msg_gen: " + what + ": " + std::strerror(error);
  if (error == ENOENT || error == ECONNREFUSED) {
    text += " (is machnetd running, and does MACHNET_SOCKET name its socket?)";
  }
  if (error == EACCES) text += " (is this user in the group of machnetd's socket?)";
  return text;
}

std::string format_flow(const MachnetFlow_t& flow) {
  return format_ip(flow.src_ip) + ":" + std::to_string(flow.src_port) + " -> " +
         format_ip(flow.dst_ip) + ":" + std::to_string(flow.dst_port);
}

const char* describe_event(uint32_t type) {
  switch (type) {
    case MACHNET_EVENT_ACCEPTED:
      return "accepted";
    case MACHNET_EVENT_CLOSED:
      return "closed by the peer";
    case MACHNET_EVENT_RESET:
      return "reset: the peer's application or service is gone";
    case MACHNET_EVENT_DEAD:
      return "dead: the peer's host does not answer";
    default:
      return "ended";
  }
}

bool IdleStep::step() {
  empty_passes_++;
  if (wait_) return machnet_wait(channel_, kWaitMs) >= 0 || errno == EINTR;
  if (empty_passes_ > kSpinPasses) sched_yield();
  return true;
}

}  // namespace mn::tools
