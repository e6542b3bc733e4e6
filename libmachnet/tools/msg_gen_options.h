// SPDX-License-Identifier: MIT
// What a user asks of msg_gen, checked. Filled once by main, read-only afterwards.
#pragma once

#include <cstdint>
#include <string>

namespace mn::tools {

struct MsgGenOptions {
  std::string local_ip = "0.0.0.0";
  std::string remote_ip;  // empty: server
  uint64_t local_port = 888;
  uint64_t remote_port = 888;
  uint64_t msg_size = 64;
  uint64_t msg_window = 8;
  uint64_t msg_nr = UINT64_MAX;
  uint64_t flows = 1;
  uint64_t threads = 1;
  uint64_t ports = 1;  // of the server
  double duration_s = 0;
  double warmup_s = 0;
  bool verify = false;
  bool wait = false;
  bool json = false;

  bool is_client() const { return !remote_ip.empty(); }
};

// True: go on. False: nothing is left to do, exit with *ret_exit_code (--help, --version, an error
// that is printed).
bool parse_msg_gen_options(int argc, char** argv, MsgGenOptions* options, int* ret_exit_code);

}  // namespace mn::tools
