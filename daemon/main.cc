// SPDX-License-Identifier: MIT
// machnetd: reads the options and the configuration, prepares the process (signals, limits), and
// hands over to the Service. Nothing is decided here.
#include <getopt.h>
#include <signal.h>
#include <sys/resource.h>

#include <cstdio>

#include "base/log.h"
#include "base/log_ids.h"
#include "nic_plan.h"
#include "service.h"

namespace mn {
namespace {

// sysexits.h and systemd.exec(5) know 78 as "configuration error", in the file or in what it asks
// for; the unit does not restart it.
enum ExitCode { kExitOk = 0, kExitFailed = 1, kExitUsage = 2, kExitConfig = 78 };

struct Options {
  ConfigSource source;
  bool check_only = false;
};

void print_usage(FILE* out) {
  fputs(
      "usage: machnetd [--config FILE] [--check-config]\n"
      "  --config FILE    read FILE instead of /etc/machnet.conf\n"
      "  --check-config   say whether the file is right, and do nothing else\n"
      "  --version        print the version\n"
      "  --help           print this\n",
      out);
}

// -1: go on; otherwise the exit code.
int parse_options(int argc, char** argv, Options* ret_options) {
  static const option kOptions[] = {{"config", required_argument, nullptr, 'c'},
                                    {"check-config", no_argument, nullptr, 'k'},
                                    {"version", no_argument, nullptr, 'v'},
                                    {"help", no_argument, nullptr, 'h'},
                                    {nullptr, 0, nullptr, 0}};
  for (int c; (c = getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    switch (c) {
      case 'c':
        ret_options->source = {optarg, false};
        break;
      case 'k':
        ret_options->check_only = true;
        break;
      case 'v':
        puts("machnetd " MN_VERSION);
        return kExitOk;
      case 'h':
        print_usage(stdout);
        return kExitOk;
      default:
        print_usage(stderr);
        return kExitUsage;
    }
  }
  if (optind == argc) return -1;
  fprintf(stderr, "machnetd: unexpected argument '%s'\n", argv[optind]);
  print_usage(stderr);
  return kExitUsage;
}

// Each channel takes a few descriptors; the default limit is one for programs that use select().
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Before any thread is made: they inherit it, and the event loop alone takes the signals. A reload
// that is asked for during the start waits for its end.
void block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

int run(int argc, char** argv) {
  Options options;
  const int early_exit = parse_options(argc, argv, &options);
  if (early_exit >= 0) return early_exit;
  block_signals();
  if (options.check_only) set_log_stream_only();  // an error is its last word
  auto config = load(options.source, log_id::kConfigRefused);
  if (!config) return kExitConfig;
  if (options.check_only) {
    printf("%s: the configuration is right\n", options.source.file.c_str());
    return kExitOk;
  }
  set_log_level(config.value().log_level);
  if (was_refused(config.value())) return kExitConfig;
  raise_descriptor_limit();
  Service service(std::move(options.source), std::move(config.value()));
  if (const auto served = service.run(); !served) {
    if (!served.error().empty()) log_error("%s", served.error().c_str());
    return kExitFailed;
  }
  return kExitOk;
}

}  // namespace
}  // namespace mn

int main(int argc, char** argv) { return mn::run(argc, argv); }
