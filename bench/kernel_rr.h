// SPDX-License-Identifier: MIT
// Kernel sockets as comparators for msg_gen: request-response over TCP and UDP with the same sizes
// and windows, the same output, blocking or polling (non-blocking calls in a loop). Messages carry
// msg_gen's stamp, so they have at least 16 bytes.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <string>

#include "libmachnet/tools/reporter.h"
#include "libmachnet/tools/run_loop.h"

namespace mn::bench {

struct KernelOptions {
  std::string proto = "tcp";
  std::string local_ip = "0.0.0.0";
  std::string remote_ip;   // empty: server
  std::string congestion;  // TCP's control; empty: the system's
  uint64_t port = 9000;
  uint64_t msg_size = 64;
  uint64_t msg_window = 1;
  uint64_t msg_nr = UINT64_MAX;
  uint64_t threads = 1;
  uint64_t timeout_ms = 50;  // UDP: a request without an answer is lost then
  double duration_s = 0;
  double warmup_s = 0;
  bool poll = false;
  bool batch = false;  // one system call moves as many messages as it can
  bool json = false;

  bool is_client() const { return !remote_ip.empty(); }
};

constexpr uint64_t kSpinsPerClock = 256;  // empty polls between two looks at phase and clock
constexpr uint64_t kBatchMessages = 32;

sockaddr_in socket_address(const std::string& ip, uint64_t port);
void set_receive_timeout(int fd, long microseconds);
std::string socket_error(const std::string& what);

// One thread's work. Clients end when `loop` says so, servers too.
void tcp_client(const KernelOptions& options, tools::RunLoop* loop, tools::WorkerStats* stats);
void tcp_server(const KernelOptions& options, tools::RunLoop* loop, tools::WorkerStats* stats);
void udp_client(const KernelOptions& options, tools::RunLoop* loop, tools::WorkerStats* stats);
void udp_server(const KernelOptions& options, tools::RunLoop* loop, tools::WorkerStats* stats);

}  // namespace mn::bench
