// SPDX-License-Identifier: MIT
// The two halves of `machnetctl trace`: asking the service for the events of flows and keeping them
// in a file, and showing such a file (ipc/trace.h) to people and programs. Both return an exit code
// and have said on standard error what was wrong.
#pragma once

#include <string>

namespace mn::tools {

struct TraceOptions {
  std::string nic;            // empty: the first one
  std::string local, remote;  // ADDRESS, ADDRESS:PORT or :PORT; empty: any
  bool all = false;           // every flow
  double seconds = 0;         // 0: until SIGINT or SIGTERM
  std::string output;
};

int trace_record(const TraceOptions& options);
int trace_print(const std::string& path, bool json);

}  // namespace mn::tools
