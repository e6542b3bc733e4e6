// SPDX-License-Identifier: MIT
#include "base/clock.h"

#include <ctime>

#include "base/assert.h"

namespace mn {

Instant clock_now() noexcept {
  timespec now;
  const int status = clock_gettime(CLOCK_MONOTONIC, &now);
  MN_ASSERT(status == 0);  // fails for unknown clocks only
  return Instant{int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec};
}

}  // namespace mn
