// SPDX-License-Identifier: MIT
#include "base/assert.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace mn {

void assert_failed(const char* expression, const char* file, int line) noexcept {
  // One write, straight to the descriptor: whatever is broken, stdio's locks and buffers may be
  // too.
  char text[512];
  const int length =
      snprintf(text, sizeof text, "%s:%d: assertion failed: %s\n", file, line, expression);
  if (length > 0) {
    const size_t size =
        static_cast<size_t>(length) < sizeof text ? static_cast<size_t>(length) : sizeof text - 1;
    if (write(STDERR_FILENO, text, size) < 0) {
      // Nobody is left to tell; the abort says enough.
    }
  }
  abort();
}

}  // namespace mn
