// SPDX-License-Identifier: MIT
#include "control/trace_desk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/clock.h"

namespace mn::control {

namespace {

int64_t wall_clock_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

Result<std::shared_ptr<TraceMemory>> TraceMemory::create() {
  const auto failed = [] {
    return Error{std::string("no memory for a trace: ") + strerror(errno)};
  };
  std::shared_ptr<TraceMemory> memory(new TraceMemory);
  memory->fd_.reset(memfd_create("machnet-trace", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory->fd_ || ftruncate(memory->fd(), static_cast<off_t>(size())) != 0) return failed();
  // All of it now: the engine must not meet a page that is not there.
  void* mapping =
      mmap(nullptr, size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, memory->fd(), 0);
  if (mapping == MAP_FAILED) return failed();
  memory->ring_ = static_cast<ipc::TraceRing*>(mapping);
  // After our own mapping: it stays writable, no other can become so.
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
  if (fcntl(memory->fd(), F_ADD_SEALS, kSeals) != 0) return failed();
  memory->ring_->magic = ipc::kTraceMagic;
  memory->ring_->version = ipc::kTraceVersion;
  memory->ring_->record_size = sizeof(ipc::TraceRecord);
  memory->ring_->capacity = kCapacity;
  return memory;
}

TraceMemory::~TraceMemory() {
  if (ring_ != nullptr) munmap(ring_, size());
}

void TraceDesk::start(const void* owner, const ipc::TraceRequest& request, TraceDone done) {
  if (request.engine >= registry_->engines().size()) {
    return done({ENOENT, "there is no further engine"}, {}, -1);
  }
  const auto taken = [&request](const Running& r) { return r.engine == request.engine; };
  if (std::any_of(running_.begin(), running_.end(), taken)) {
    return done({EBUSY, "somebody else traces this NIC; one at a time"}, {}, -1);
  }
  auto memory = TraceMemory::create();
  if (!memory) return done({ENOMEM, memory.error()}, {}, -1);
  running_.push_back({owner, request.engine, memory.value()});
  registry_->engines()[request.engine]->send({.kind = EngineCommand::Kind::kTrace,
                                              .tuple = {.local_ip = request.local_ip,
                                                        .remote_ip = request.remote_ip,
                                                        .local_port = request.local_port,
                                                        .remote_port = request.remote_port},
                                              .ring = memory.value()->ring(),
                                              .ring_capacity = TraceMemory::kCapacity,
                                              .engine = static_cast<uint16_t>(request.engine)},
                                             [lent = memory.value(), done](const EngineEvent&) {
                                               done({},
                                                    {.memory_size = TraceMemory::size(),
                                                     .capacity = TraceMemory::kCapacity,
                                                     .reserved = 0,
                                                     .clock_ns = clock_now().ns,
                                                     .wall_clock_ns = wall_clock_ns()},
                                                    lent->fd());
                                             });
}

void TraceDesk::stop(const void* owner) {
  for (size_t i = 0; i < running_.size();) {
    if (running_[i].owner != owner) {
      i++;
      continue;
    }
    const Running ended = running_[i];
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
    // The answer holds the memory until the engine has let go of it.
    registry_->engines()[ended.engine]->send({.kind = EngineCommand::Kind::kTrace},
                                             [lent = ended.memory](const EngineEvent&) {});
  }
}

}  // namespace mn::control
