// SPDX-License-Identifier: MIT
#include "config/ini_source.h"

#include <ini.h>

#include <algorithm>
#include <cstring>

namespace mn::config {
namespace {

constexpr std::string_view kBlank = " \t\r\f\v";

std::string_view trim(std::string_view s) {
  const size_t first = s.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return s.substr(first, s.find_last_not_of(kBlank) - first + 1);
}

class IniSource {
 public:
  IniSource(std::string_view text, const IniEvents& events) : rest_(text), events_(events) {
    if (rest_.starts_with("\xEF\xBB\xBF")) rest_.remove_prefix(3);
  }

  void run() {
    ini_parse_stream(&IniSource::read_line, this, &IniSource::handle, this);
    finish_line();
  }

 private:
  // inih's fgets. Gives only lines that inih can take whole; every other line becomes an empty one.
  static char* read_line(char* buffer, int size, void* self) {
    return static_cast<IniSource*>(self)->next_line(buffer, static_cast<size_t>(size));
  }

  static int handle(void* self_pointer, const char* /*section*/, const char* name,
                    const char* value) {
    auto* self = static_cast<IniSource*>(self_pointer);
    self->expects_value_ = false;
    self->events_.on_value(self->line_, name, value);
    return 1;
  }

  // inih did not call back for a line that should have held a value.
  void finish_line() {
    if (expects_value_) events_.on_bad_line(line_, "expected 'key = value' or '[section]'");
    expects_value_ = false;
  }

  char* next_line(char* buffer, size_t size) {
    finish_line();
    if (rest_.empty()) return nullptr;
    line_++;
    const size_t end = std::min(rest_.find('\n'), rest_.size());
    const std::string_view line = trim(rest_.substr(0, end));
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    const std::string_view out = accept(line, size);
    if (!out.empty()) memcpy(buffer, out.data(), out.size());
    memcpy(buffer + out.size(), "\n", 2);
    return buffer;
  }

  std::string_view accept(std::string_view line, size_t size) {
    if (line.empty() || line[0] == '#' || line[0] == ';') return {};
    if (line.find('\0') != std::string_view::npos) {
      events_.on_bad_line(line_, "the line holds a zero byte");
      return {};
    }
    if (line.size() + 4 > size) {
      events_.on_bad_line(line_, "the line is too long; at most 196 bytes");
      return {};
    }
    if (line[0] != '[') {
      if (in_bad_section_) return {};  // nobody knows whose it is; one error is enough
      expects_value_ = true;
      return line;
    }
    const size_t close = line.find(']');
    const std::string_view after =
        close == std::string_view::npos ? std::string_view{} : trim(line.substr(close + 1));
    if (close == std::string_view::npos || (!after.empty() && after[0] != ';' && after[0] != '#')) {
      in_bad_section_ = true;
      events_.on_bad_line(line_, "a section is written '[name]', alone on its line");
    } else {
      in_bad_section_ = false;
      events_.on_section(line_, std::string(trim(line.substr(1, close - 1))));
    }
    return {};
  }

  std::string_view rest_;
  const IniEvents& events_;
  int line_ = 0;
  bool expects_value_ = false;
  bool in_bad_section_ = false;
};

}  // namespace

void read_ini(std::string_view text, const IniEvents& events) { IniSource(text, events).run(); }

}  // namespace mn::config
