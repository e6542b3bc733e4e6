// SPDX-License-Identifier: MIT
#include "control/counters_page.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

namespace mn::control {
namespace {

constexpr uint32_t kCounterCount = sizeof(ipc::EngineCounters) / sizeof(uint64_t);
#define MN_COUNT_ONE(name, help) +1
constexpr uint32_t kCounterNames = 0 MN_COUNTERS(MN_COUNT_ONE);
#undef MN_COUNT_ONE
static_assert(kCounterNames <= kCounterCount);

}  // namespace

Result<std::unique_ptr<CountersMemory>> CountersMemory::create(uint32_t engine_count) {
  MN_ASSERT(engine_count <= ipc::kCounterEnginesMax);
  std::unique_ptr<CountersMemory> memory(new CountersMemory);
  memory->fd_.reset(memfd_create("machnet-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory->fd_ || ftruncate(memory->fd(), static_cast<off_t>(memory->size())) != 0) {
    return Error{std::string("counters: no memory: ") + strerror(errno)};
  }
  void* mapping =
      mmap(nullptr, memory->size(), PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd(), 0);
  if (mapping == MAP_FAILED) return Error{std::string("counters: no memory: ") + strerror(errno)};
  memory->page_ = static_cast<ipc::CountersPage*>(mapping);
  // After our own mapping: it stays writable, no other can become so.
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
  if (fcntl(memory->fd(), F_ADD_SEALS, kSeals) != 0) {
    return Error{std::string("counters: cannot be sealed (Linux 5.1 or later is needed): ") +
                 strerror(errno)};
  }
  memory->page_->magic = ipc::kCountersMagic;
  memory->page_->version = ipc::kCountersVersion;
  memory->page_->engine_count = engine_count;
  memory->page_->counters_per_engine = kCounterNames;
  return memory;
}

CountersMemory::~CountersMemory() {
  if (page_ != nullptr) munmap(page_, size());
}

}  // namespace mn::control
