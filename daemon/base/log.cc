// SPDX-License-Identifier: MIT
#include "base/log.h"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace mn {
namespace {

constexpr size_t kLineMax = 1024;

// Relaxed: a message more or less while the level changes does not matter.
std::atomic<LogLevel> log_level{LogLevel::kInfo};

struct LevelName {
  const char* journal;
  const char* terminal;
};
// Priorities of syslog(3).
constexpr LevelName kLevelNames[] = {
    {"<3>", "error: "}, {"<4>", "warning: "}, {"<6>", ""}, {"<7>", "debug: "}};

// JOURNAL_STREAM names the journal's socket as device:inode; it is inherited by children whose
// stderr may have been redirected since, hence the comparison (systemd.exec(5)).
bool stderr_is_journal() {
  const char* stream = getenv("JOURNAL_STREAM");
  if (stream == nullptr) return false;
  char* end = nullptr;
  const unsigned long long device = strtoull(stream, &end, 10);
  if (end == stream || *end != ':') return false;
  const char* inode_text = end + 1;
  const unsigned long long inode = strtoull(inode_text, &end, 10);
  struct stat status;
  return end != inode_text && *end == '\0' && fstat(STDERR_FILENO, &status) == 0 &&
         status.st_dev == device && status.st_ino == inode;
}

void write_line(LogLevel level, const char* format, va_list arguments) {
  if (!log_enabled(level)) return;
  const int saved_errno = errno;
  const LevelName& name = kLevelNames[static_cast<size_t>(level)];
  char line[kLineMax];
  size_t size = static_cast<size_t>(
      snprintf(line, sizeof line, "%s", stderr_is_journal() ? name.journal : name.terminal));
  const size_t body = size;
  errno = saved_errno;  // for %m
  const int wanted = vsnprintf(line + size, sizeof line - size, format, arguments);
  if (wanted > 0) {
    const size_t room = sizeof line - size - 1;
    size += static_cast<size_t>(wanted) < room ? static_cast<size_t>(wanted) : room;
  }
  for (size_t i = body; i < size; i++) {
    if (static_cast<unsigned char>(line[i]) < 0x20 || line[i] == 0x7f) line[i] = '?';
  }
  line[size++] = '\n';  // in the place of vsnprintf's final zero
  if (write(STDERR_FILENO, line, size) < 0) {
    // A log that cannot be written has nowhere to be reported.
  }
  errno = saved_errno;
}

}  // namespace

void set_log_level(LogLevel level) noexcept { log_level.store(level, std::memory_order_relaxed); }

bool log_enabled(LogLevel level) noexcept {
  return level <= log_level.load(std::memory_order_relaxed);
}

void log_error(const char* format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  write_line(LogLevel::kError, format, arguments);
  va_end(arguments);
}

void log_warning(const char* format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  write_line(LogLevel::kWarning, format, arguments);
  va_end(arguments);
}

void log_info(const char* format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  write_line(LogLevel::kInfo, format, arguments);
  va_end(arguments);
}

void log_debug(const char* format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  write_line(LogLevel::kDebug, format, arguments);
  va_end(arguments);
}

}  // namespace mn
