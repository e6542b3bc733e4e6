// SPDX-License-Identifier: MIT
#include "device/json.h"

#include <cstdio>

namespace mn::device {

std::string json_string(const std::string& value) {
  std::string quoted = "\"";
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (byte < 0x20 || byte >= 0x7f) {
      // Bytes, not characters: whatever a driver calls itself, the result is valid.
      char escaped[8];
      snprintf(escaped, sizeof escaped, "\\u%04x", byte);
      quoted += escaped;
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

void JsonWriter::begin_object() {
  body_ += is_first_object_ ? "\n  {" : ",\n  {";
  is_first_object_ = false;
  is_first_key_ = true;
}

void JsonWriter::end_object() { body_ += "}"; }

void JsonWriter::key(const char* name) {
  body_ += (is_first_key_ ? "" : ", ") + json_string(name) + ": ";
  is_first_key_ = false;
}

void JsonWriter::text(const char* name, const std::string& value) {
  key(name);
  body_ += json_string(value);
}

void JsonWriter::text_or_null(const char* name, const std::string& value) {
  key(name);
  body_ += value.empty() ? "null" : json_string(value);
}

void JsonWriter::number(const char* name, int64_t value) {
  key(name);
  body_ += std::to_string(value);
}

void JsonWriter::boolean(const char* name, bool value) {
  key(name);
  body_ += value ? "true" : "false";
}

void JsonWriter::list(const char* name, const std::vector<std::string>& values) {
  key(name);
  body_ += "[";
  for (size_t i = 0; i < values.size(); i++) body_ += (i == 0 ? "" : ", ") + json_string(values[i]);
  body_ += "]";
}

}  // namespace mn::device
