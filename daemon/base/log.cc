// SPDX-License-Identifier: MIT
#include "base/log.h"

#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

// Where a line stands in the source tells nobody what to do about it.
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace mn {
namespace {

constexpr size_t kLineMax = 1024;
constexpr size_t kFieldMax = 128;
constexpr size_t kFieldsMax = 6;

// Relaxed: a message more or less while the level changes does not matter.
std::atomic<LogLevel> log_level{LogLevel::kInfo};
// Relaxed: set before there are threads.
std::atomic<bool> stream_only{false};

struct LevelStyle {
  int priority;  // of syslog(3)
  const char* word;
  const char* colour;
};
constexpr LevelStyle kLevels[] = {{3, "error: ", "\x1b[1;31m"},
                                  {4, "warning: ", "\x1b[1;33m"},
                                  {6, "", ""},
                                  {7, "debug: ", "\x1b[2m"}};
constexpr char kColourEnd[] = "\x1b[0m";

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

// https://no-color.org; and terminals that say that they cannot.
bool stderr_has_colours() {
  const char* no_colour = getenv("NO_COLOR");
  const char* terminal = getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && (no_colour == nullptr || *no_colour == '\0') &&
         terminal != nullptr && strcmp(terminal, "dumb") != 0;
}

// A text of bounded size, always one line.
template <size_t kSize>
struct Line {
  char text[kSize];
  size_t size = 0;

  [[gnu::format(printf, 2, 3)]] void add(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    add_list(format, arguments);
    va_end(arguments);
  }

  [[gnu::format(printf, 2, 0)]] void add_list(const char* format, va_list arguments) {
    const size_t begin = size;
    const int wanted = vsnprintf(text + size, kSize - size, format, arguments);
    if (wanted <= 0) return;
    const size_t room = kSize - size - 1;
    size += static_cast<size_t>(wanted) < room ? static_cast<size_t>(wanted) : room;
    for (size_t i = begin; i < size; i++) {
      if (static_cast<unsigned char>(text[i]) < 0x20 || text[i] == 0x7f) text[i] = '?';
    }
  }

  // Without a look at what it holds; for what is ours. Room was left for it.
  void add_raw(const char* raw) {
    const size_t length = strlen(raw);
    if (length > kSize - size) return;
    memcpy(text + size, raw, length);
    size += length;
  }
};

// False: there is no journal to be reached, whatever standard error is.
bool send_to_journal(int priority, const LogEvent& event, const Line<kLineMax>& message) {
  Line<kFieldMax> fields[kFieldsMax];
  size_t count = 0;
  fields[count++].add("PRIORITY=%d", priority);
  if (event.message_id != nullptr) fields[count++].add("MESSAGE_ID=%s", event.message_id);
  if (event.nic != nullptr) fields[count++].add("NIC=%s", event.nic);
  if (event.flow != nullptr) fields[count++].add("FLOW=%s", event.flow);
  if (event.channel != 0) {
    fields[count++].add("CHANNEL=%llu", static_cast<unsigned long long>(event.channel));
  }
  iovec pieces[kFieldsMax + 1];
  for (size_t i = 0; i < count; i++) pieces[i] = {fields[i].text, fields[i].size};
  pieces[count] = {const_cast<char*>(message.text), message.size};
  return sd_journal_sendv(pieces, static_cast<int>(count) + 1) == 0;
}

[[gnu::format(printf, 3, 0)]] void write_line(LogLevel level, const LogEvent& event,
                                              const char* format, va_list arguments) {
  if (!log_enabled(level)) return;
  const int saved_errno = errno;
  const LevelStyle& style = kLevels[static_cast<size_t>(level)];
  const bool is_journal = stderr_is_journal();
  Line<kLineMax> line;
  if (is_journal && !stream_only.load(std::memory_order_relaxed)) {
    line.add("MESSAGE=");
    va_list copy;
    va_copy(copy, arguments);
    errno = saved_errno;  // for %m
    line.add_list(format, copy);
    va_end(copy);
    if (send_to_journal(style.priority, event, line)) {
      errno = saved_errno;
      return;
    }
    line.size = 0;
  }
  const bool is_coloured = !is_journal && *style.colour != '\0' && stderr_has_colours();
  Line<kLineMax + 32> out;
  if (is_coloured) out.add_raw(style.colour);
  // What the journal takes from a stream, sd-daemon(3).
  if (is_journal) line.add("<%d>", style.priority);
  if (!is_journal) line.add("%s", style.word);
  errno = saved_errno;
  line.add_list(format, arguments);
  memcpy(out.text + out.size, line.text, line.size);
  out.size += line.size;
  if (is_coloured) out.add_raw(kColourEnd);
  out.add_raw("\n");
  if (write(STDERR_FILENO, out.text, out.size) < 0) {
    // A log that cannot be written has nowhere to be reported.
  }
  errno = saved_errno;
}

}  // namespace

void set_log_level(LogLevel level) noexcept { log_level.store(level, std::memory_order_relaxed); }

void set_log_stream_only() noexcept { stream_only.store(true, std::memory_order_relaxed); }

bool log_enabled(LogLevel level) noexcept {
  return level <= log_level.load(std::memory_order_relaxed);
}

void log_event(LogLevel level, const LogEvent& event, const char* format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  write_line(level, event, format, arguments);
  va_end(arguments);
}

void log_error(const char* format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  write_line(LogLevel::kError, {}, format, arguments);
  va_end(arguments);
}

void log_warning(const char* format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  write_line(LogLevel::kWarning, {}, format, arguments);
  va_end(arguments);
}

void log_info(const char* format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  write_line(LogLevel::kInfo, {}, format, arguments);
  va_end(arguments);
}

void log_debug(const char* format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  write_line(LogLevel::kDebug, {}, format, arguments);
  va_end(arguments);
}

}  // namespace mn
