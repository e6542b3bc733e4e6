// SPDX-License-Identifier: MIT
#include "libmachnet/tools/msg_gen_options.h"

#include <cstdio>

#include "libmachnet/tools/flags.h"
#include "machnet.h"

namespace mn::tools {
namespace {

constexpr uint64_t kWindowLimit = 65536;
constexpr uint64_t kFlowsLimit = 16384;
constexpr uint64_t kThreadsLimit = 256;

constexpr char kIntroduction[] =
    "msg_gen: sends messages over Machnet and measures round trips.\n"
    "\n"
    "  server:  msg_gen --local_ip 10.0.0.2\n"
    "  client:  msg_gen --local_ip 10.0.0.1 --remote_ip 10.0.0.2 [--msg_size N] [--msg_window N]\n"
    "\n"
    "The server answers each message with the same bytes. The machnetd it uses is the one of\n"
    "MACHNET_SOCKET, by default /run/machnet/machnet.sock. Ctrl-C ends either with a summary.\n"
    "\n";

std::string check(const MsgGenOptions& options) {
  if (options.flows < options.threads && options.is_client()) {
    return "--threads: more threads than flows; give at least as many --flows";
  }
  const uint64_t first = options.is_client() ? options.remote_port : options.local_port;
  const uint64_t count = options.is_client() ? options.ports : options.threads;
  if (first + count - 1 > 65535) return "the ports end beyond 65535";
  return "";
}

}  // namespace

bool parse_msg_gen_options(int argc, char** argv, MsgGenOptions* options, int* ret_exit_code) {
  bool help = false;
  bool version = false;
  FlagSet flags;
  flags.add_text("local_ip", &options->local_ip, "this host's address (default: any)");
  flags.add_text("remote_ip", &options->remote_ip,
                 "the server's address; without it: be the server");
  flags.add_number("local_port", &options->local_port, 1, 65535,
                   "server: listen here (default 888); thread i listens on local_port + i");
  flags.add_number("remote_port", &options->remote_port, 1, 65535,
                   "client: the server's port (default 888)");
  flags.add_number("msg_size", &options->msg_size, 1, MACHNET_MSG_MAX_LEN,
                   "client: bytes of a message (default 64)");
  flags.add_number("msg_window", &options->msg_window, 1, kWindowLimit,
                   "client: messages outstanding on each flow (default 8)");
  flags.add_number("msg_nr", &options->msg_nr, 1, UINT64_MAX,
                   "client: messages to send, all flows together (default: no limit)");
  flags.add_switch("verify", &options->verify, "client: fill messages and check what comes back");
  flags.add_seconds("duration", &options->duration_s, "end after so many seconds");
  flags.add_seconds("warmup", &options->warmup_s,
                    "leave so many seconds before --duration out of the summary");
  flags.add_number("flows", &options->flows, 1, kFlowsLimit, "client: flows (default 1)");
  flags.add_number("threads", &options->threads, 1, kThreadsLimit,
                   "threads, each with a channel of its own (default 1)");
  flags.add_number("ports", &options->ports, 1, kThreadsLimit,
                   "client: spread flows over so many ports from remote_port on (default 1)");
  flags.add_switch("wait", &options->wait, "block in machnet_wait instead of polling");
  flags.add_switch("json", &options->json, "print JSON, one object a line");
  flags.add_switch("help", &help, "this text");
  flags.add_switch("version", &version, "print the library's version");

  std::string error = flags.parse(argc, argv);
  if (error.empty() && !help && !version) error = check(*options);
  if (!error.empty()) {
    std::fprintf(stderr, "msg_gen: %s\n", error.c_str());
    *ret_exit_code = 2;
    return false;
  }
  *ret_exit_code = 0;
  if (help) {
    std::fputs(kIntroduction, stdout);
    flags.print_help(stdout);
  } else if (version) {
    std::printf("msg_gen %s\n", machnet_version());
  }
  return !help && !version;
}

}  // namespace mn::tools
