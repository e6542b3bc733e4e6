// SPDX-License-Identifier: MIT
// Messages for whoever runs the service, to standard error: one line each, with a "<N>" priority
// prefix when standard error is the system journal (sd-daemon(3)) and a word ("warning: ")
// otherwise. For the control plane and start-up; any thread; a line is one write. The data plane
// never calls it.
#pragma once

#include <cstdint>

namespace mn {

enum class LogLevel : uint8_t { kError, kWarning, kInfo, kDebug };

// Messages above this level are dropped; kInfo at start.
void set_log_level(LogLevel level) noexcept;
bool log_enabled(LogLevel level) noexcept;

// No final newline in the format. Control characters (a log forged by a strange string) become '?';
// lines longer than about 1,000 bytes are cut.
[[gnu::format(printf, 1, 2)]] void log_error(const char* format, ...) noexcept;
[[gnu::format(printf, 1, 2)]] void log_warning(const char* format, ...) noexcept;
[[gnu::format(printf, 1, 2)]] void log_info(const char* format, ...) noexcept;
[[gnu::format(printf, 1, 2)]] void log_debug(const char* format, ...) noexcept;

}  // namespace mn
