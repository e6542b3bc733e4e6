// SPDX-License-Identifier: MIT
// Messages for whoever runs the service, one line each: to the system journal, with fields that can
// be searched for, when standard error is the journal; otherwise to standard error, with a word
// ("warning: "), coloured on a terminal. For the control plane and start-up; any thread; a line is
// one write. The data plane never calls it.
#pragma once

#include <cstdint>

namespace mn {

enum class LogLevel : uint8_t { kError, kWarning, kInfo, kDebug };

// Messages above this level are dropped; kInfo at start.
void set_log_level(LogLevel level) noexcept;
bool log_enabled(LogLevel level) noexcept;

// From now on to standard error only, with the journal's priority in front where that is the
// journal. For a program that ends with its message: the journal reads an entry of its own protocol
// later, and knows no unit of a process that is gone; a stream has told its unit when it was
// connected.
void set_log_stream_only() noexcept;

// What a message is about, for the journal's fields MESSAGE_ID, NIC, CHANNEL and FLOW; what is
// null or 0 is left out. The text says it too, for those who read it elsewhere.
struct LogEvent {
  const char* message_id = nullptr;  // one of base/log_ids.h
  const char* nic = nullptr;         // as configured
  uint64_t channel = 0;
  const char* flow = nullptr;  // 10.0.0.1:49152-10.0.0.2:31580
};

[[gnu::format(printf, 3, 4)]] void log_event(LogLevel level, const LogEvent& event,
                                             const char* format, ...) noexcept;

// No final newline in the format. Control characters (a log forged by a strange string) become '?';
// lines longer than about 1,000 bytes are cut.
[[gnu::format(printf, 1, 2)]] void log_error(const char* format, ...) noexcept;
[[gnu::format(printf, 1, 2)]] void log_warning(const char* format, ...) noexcept;
[[gnu::format(printf, 1, 2)]] void log_info(const char* format, ...) noexcept;
[[gnu::format(printf, 1, 2)]] void log_debug(const char* format, ...) noexcept;

}  // namespace mn
