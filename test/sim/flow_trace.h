// SPDX-License-Identifier: MIT
// FlowTrace: a file in the format of `machnetctl trace`, with what the transports of a simulation
// say of their flows. One for the process, made by sim_main when asked for; hosts ask for it when
// they start.
#pragma once

#include <cstdio>
#include <vector>

#include "ipc/trace.h"

namespace mn::test {

class FlowTrace {
 public:
  static constexpr uint32_t kCapacity = 1 << 16;  // records between two calls of save

  static bool open(const char* path);  // from now on `current` is not nullptr
  static FlowTrace* current();
  static void close();  // says so if records are missing

  ipc::TraceRing* ring() { return ring_; }
  void save();

 private:
  std::vector<uint64_t> memory_;
  ipc::TraceRing* ring_ = nullptr;
  uint64_t next_ = 0;
  uint64_t lost_ = 0;
  FILE* file_ = nullptr;
};

}  // namespace mn::test
