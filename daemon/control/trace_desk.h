// SPDX-License-Identifier: MIT
// TraceDesk: lends the memory that an engine writes its trace to (ipc/trace.h). Each trace belongs
// to a session; an engine has one at a time. The memory goes when the session has ended and the
// engine has said that it writes there no more. Control thread; never blocks. Who may ask is the
// session's business.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/channel_registry.h"
#include "control/outcome.h"
#include "ipc/control_protocol.h"
#include "ipc/trace.h"

namespace mn::control {

// One memfd, which the service alone can write.
class TraceMemory {
 public:
  static constexpr uint32_t kCapacity =
      1 << 18;  // records: 8 MiB, tens of milliseconds of a full NIC

  static Result<std::shared_ptr<TraceMemory>> create();
  ~TraceMemory();
  TraceMemory(const TraceMemory&) = delete;
  TraceMemory& operator=(const TraceMemory&) = delete;

  int fd() const { return fd_.get(); }
  static uint64_t size() { return ipc::TraceRing::size_for(kCapacity); }
  ipc::TraceRing* ring() { return ring_; }

 private:
  TraceMemory() = default;
  UniqueFd fd_;
  ipc::TraceRing* ring_ = nullptr;
};

class TraceDesk {
 public:
  explicit TraceDesk(ChannelRegistry* registry) : registry_(registry) {}

  using TraceDone = std::function<void(const Outcome&, const ipc::TraceInfo&, int fd)>;
  // ENOENT past the last engine, EBUSY, ENOMEM. `owner`: whom stop will name.
  void start(const void* owner, const ipc::TraceRequest& request, TraceDone done);
  void stop(const void* owner);

 private:
  struct Running {
    const void* owner;
    uint32_t engine;
    std::shared_ptr<TraceMemory> memory;
  };

  ChannelRegistry* const registry_;
  std::vector<Running> running_;
};

}  // namespace mn::control
