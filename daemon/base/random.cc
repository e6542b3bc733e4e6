// SPDX-License-Identifier: MIT
#include "base/random.h"

#include <sys/random.h>

#include <cerrno>

#include "base/assert.h"

namespace mn {

uint64_t random_seed() noexcept {
  uint64_t seed = 0;
  ssize_t got;
  do {
    got = getrandom(&seed, sizeof seed, 0);
  } while (got < 0 && errno == EINTR);  // a signal while the pool was not ready yet
  MN_ASSERT(got == static_cast<ssize_t>(sizeof seed));
  return seed;
}

}  // namespace mn
