// SPDX-License-Identifier: MIT
// msg_gen: a message generator (client) and its echoing server over Machnet, to try a network and
// to measure it. Uses the public API and nothing else.
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "libmachnet/tools/msg_gen_client.h"
#include "libmachnet/tools/msg_gen_options.h"
#include "libmachnet/tools/msg_gen_server.h"
#include "libmachnet/tools/reporter.h"
#include "libmachnet/tools/run_loop.h"
#include "machnet.h"

namespace mn::tools {
namespace {

void announce(const MsgGenOptions& options, double setup_ms) {
  const auto port = static_cast<unsigned long long>(options.local_port);
  const auto threads = static_cast<unsigned long long>(options.threads);
  const char* address = options.local_ip.c_str();
  if (options.is_client() && !options.json) {
    std::printf("msg_gen: %llu flow(s) to %s connected in %.1f ms; %llu bytes, window %llu\n",
                static_cast<unsigned long long>(options.flows), options.remote_ip.c_str(), setup_ms,
                static_cast<unsigned long long>(options.msg_size),
                static_cast<unsigned long long>(options.msg_window));
  } else if (!options.is_client() && options.json) {
    std::printf("{\"type\":\"listening\",\"address\":\"%s\",\"port\":%llu,\"ports\":%llu}\n",
                address, port, threads);
  } else if (!options.is_client() && threads == 1) {
    std::printf("msg_gen: listening on %s:%llu\n", address, port);
  } else if (!options.is_client()) {
    std::printf("msg_gen: listening on %s:%llu to %llu\n", address, port, port + threads - 1);
  }
  std::fflush(stdout);
}

bool prepare(ClientWorker* worker, std::string* ret_error) { return worker->connect(ret_error); }
bool prepare(ServerWorker* worker, std::string* ret_error) { return worker->listen(ret_error); }

template <typename Worker>
int run_workers(const MsgGenOptions& options) {
  RunLoop loop;
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<WorkerStats*> stats;
  const uint64_t start = clock_ns();
  for (uint64_t i = 0; i < options.threads; i++) {
    workers.push_back(std::make_unique<Worker>(options, i, &loop));
    stats.push_back(workers.back()->stats());
    std::string error;
    if (!prepare(workers.back().get(), &error)) {
      std::fprintf(stderr, "%s\n", error.c_str());
      return 1;
    }
  }
  announce(options, static_cast<double>(clock_ns() - start) / 1e6);
  Reporter reporter({"machnet", options.wait ? "waiting" : "polling", options.is_client(),
                     options.msg_size, options.msg_window, options.flows, options.threads},
                    options.json);
  std::vector<std::thread> threads;
  for (auto& worker : workers) threads.emplace_back([&worker] { worker->run(); });
  const int exit_code = loop.run(&reporter, stats, options.duration_s, options.warmup_s);
  for (std::thread& thread : threads) thread.join();
  return exit_code;
}

}  // namespace
}  // namespace mn::tools

int main(int argc, char** argv) {
  using namespace mn::tools;
  MsgGenOptions options;
  int exit_code = 0;
  if (!parse_msg_gen_options(argc, argv, &options, &exit_code)) return exit_code;
  if (machnet_init() != 0) {
    std::fprintf(stderr, "%s\n", system_error("cannot reach machnetd").c_str());
    return 1;
  }
  return options.is_client() ? run_workers<ClientWorker>(options)
                             : run_workers<ServerWorker>(options);
}
