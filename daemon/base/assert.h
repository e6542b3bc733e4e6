// SPDX-License-Identifier: MIT
// MN_ASSERT: programmer errors, checked in every build. Prints the place and aborts.
// Never put a value that another process, another host or a file can choose into it: such values
// are checked, refused and counted instead.
#pragma once

namespace mn {
[[noreturn]] void assert_failed(const char* expression, const char* file, int line) noexcept;
}  // namespace mn

#define MN_ASSERT(expression)                         \
  (__builtin_expect(static_cast<bool>(expression), 1) \
       ? static_cast<void>(0)                         \
       : ::mn::assert_failed(#expression, __FILE__, __LINE__))
