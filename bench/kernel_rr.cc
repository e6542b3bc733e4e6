// SPDX-License-Identifier: MIT
#include "kernel_rr.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "libmachnet/tools/flags.h"
#include "libmachnet/tools/message_pattern.h"

namespace mn::bench {

sockaddr_in socket_address(const std::string& ip, uint64_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, ip.c_str(), &address.sin_addr);
  return address;
}

void set_receive_timeout(int fd, long microseconds) {
  const timeval timeout{microseconds / 1'000'000, microseconds % 1'000'000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
}

std::string socket_error(const std::string& what) {
  return "kernel_rr: " + what + ": " + std::strerror(errno);
}

namespace {

// 0: go on, else exit code + 1.
int parse(int argc, char** argv, KernelOptions* options) {
  bool help = false;
  tools::FlagSet flags;
  flags.add_text("proto", &options->proto, "tcp or udp (default tcp)");
  flags.add_text("local_ip", &options->local_ip, "server: the address to listen on (default: any)");
  flags.add_text("remote_ip", &options->remote_ip,
                 "the server's address; without it: be the server");
  flags.add_text("congestion", &options->congestion,
                 "TCP's congestion control, as cubic or bbr (default: the system's)");
  flags.add_number("port", &options->port, 1, 65535, "the server's port (default 9000)");
  flags.add_number("msg_size", &options->msg_size, tools::kStampSize, 8 << 20,
                   "bytes of a message (default 64); the server needs it too");
  flags.add_number("msg_window", &options->msg_window, 1, 65536, "client: messages outstanding");
  flags.add_number("msg_nr", &options->msg_nr, 1, UINT64_MAX, "client: messages of each thread");
  flags.add_number("threads", &options->threads, 1, 64, "client: threads, a connection each");
  flags.add_number("timeout_ms", &options->timeout_ms, 1, 10000,
                   "UDP client: a request unanswered for so long is lost (default 50)");
  flags.add_seconds("duration", &options->duration_s, "end after so many seconds");
  flags.add_seconds("warmup", &options->warmup_s,
                    "leave so many seconds before out of the summary");
  flags.add_switch("poll", &options->poll, "spin on non-blocking calls");
  flags.add_switch("batch", &options->batch, "move up to 32 messages in one system call");
  flags.add_switch("json", &options->json, "print JSON, one object a line");
  flags.add_switch("help", &help, "this text");
  std::string error = flags.parse(argc, argv);
  if (error.empty() && options->proto != "tcp" && options->proto != "udp") {
    error = "--proto: '" + options->proto + "' is neither tcp nor udp";
  }
  if (!error.empty()) {
    std::fprintf(stderr, "kernel_rr: %s\n", error.c_str());
    return 3;
  }
  if (help) {
    std::puts("kernel_rr: request-response over kernel TCP and UDP, to compare msg_gen with.\n");
    flags.print_help(stdout);
    return 1;
  }
  return 0;
}

int run(const KernelOptions& options) {
  tools::RunLoop loop;
  const bool tcp = options.proto == "tcp";
  auto work =
      options.is_client() ? (tcp ? tcp_client : udp_client) : (tcp ? tcp_server : udp_server);
  const uint64_t threads_wanted = options.is_client() ? options.threads : 1;
  std::vector<std::unique_ptr<tools::WorkerStats>> stats;
  std::vector<tools::WorkerStats*> stats_list;
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < threads_wanted; i++) {
    stats.push_back(std::make_unique<tools::WorkerStats>());
    stats_list.push_back(stats.back().get());
  }
  for (tools::WorkerStats* worker : stats_list) {
    threads.emplace_back([&options, &loop, worker, work] {
      work(options, &loop, worker);
      loop.worker_done();
    });
  }
  std::string mode = options.poll ? "polling" : "blocking";
  if (options.batch) mode += ", batched";
  tools::Reporter reporter({options.proto, mode, options.is_client(), options.msg_size,
                            options.msg_window, threads_wanted, threads_wanted},
                           options.json);
  const int exit_code = loop.run(&reporter, stats_list, options.duration_s, options.warmup_s);
  for (std::thread& thread : threads) thread.join();
  return exit_code;
}

}  // namespace
}  // namespace mn::bench

int main(int argc, char** argv) {
  mn::bench::KernelOptions options;
  const int result = mn::bench::parse(argc, argv, &options);
  return result != 0 ? result - 1 : mn::bench::run(options);
}
