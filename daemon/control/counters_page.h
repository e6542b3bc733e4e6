// SPDX-License-Identifier: MIT
// CountersPage: the one memfd with the counters of every engine. Made at start by main, outlives
// the engines. The service alone can write it: the descriptor that clients get is sealed against
// writable mappings, resizing and write().
#pragma once

#include <memory>

#include "base/result.h"
#include "base/unique_fd.h"
#include "ipc/shm_counters.h"

namespace mn::control {

class CountersMemory {
 public:
  static Result<std::unique_ptr<CountersMemory>> create(uint32_t engine_count);
  ~CountersMemory();
  CountersMemory(const CountersMemory&) = delete;
  CountersMemory& operator=(const CountersMemory&) = delete;

  int fd() const { return fd_.get(); }
  uint64_t size() const { return sizeof(ipc::CountersPage); }
  ipc::EngineCounters* engine(uint32_t index) { return &page_->engines[index]; }

 private:
  CountersMemory() = default;
  UniqueFd fd_;
  ipc::CountersPage* page_ = nullptr;
};

}  // namespace mn::control
