// SPDX-License-Identifier: MIT
#include "base/memory.h"

#include <sys/mman.h>

#include "base/assert.h"

namespace mn {

namespace {
// From this size on, huge pages save more address translations than they cost in unused memory.
constexpr size_t kHugePageHintSize = size_t{4} << 20;
}  // namespace

void* start_allocate(size_t bytes) noexcept {
  MN_ASSERT(bytes > 0);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  // Only a hint: kernels without transparent huge pages refuse it, and nothing changes.
  if (bytes >= kHugePageHintSize) static_cast<void>(madvise(memory, bytes, MADV_HUGEPAGE));
  return memory;
}

void start_free(void* memory, size_t bytes) noexcept {
  if (memory == nullptr) return;
  const int status = munmap(memory, bytes);
  MN_ASSERT(status == 0);  // fails for addresses that are no mapping's, nothing else
}

}  // namespace mn
