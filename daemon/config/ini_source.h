// SPDX-License-Identifier: MIT
// IniSource: hands a text to inih line by line and knows, while inih calls back, which line that
// was and which section it is in: inih's packages are built without line numbers in the callback,
// cut long names, continue a value on an indented line, and never tell of a section without keys.
// Used by parse_config only.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace mn::config {

struct IniEvents {
  std::function<void(int line, const std::string& section)> on_section;
  std::function<void(int line, const char* key, const char* value)> on_value;
  std::function<void(int line, const char* what)> on_bad_line;
};

void read_ini(std::string_view text, const IniEvents& events);

}  // namespace mn::config
