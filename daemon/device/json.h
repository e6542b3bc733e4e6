// SPDX-License-Identifier: MIT
// JsonWriter: an array of flat objects, written as it is told. No numbers beyond integers, no
// nesting but arrays of strings; what is not printable is escaped. Owned by the one who writes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mn::device {

class JsonWriter {
 public:
  void begin_object();
  void end_object();
  void text(const char* key, const std::string& value);
  void text_or_null(const char* key, const std::string& value);  // "" becomes null
  void number(const char* key, int64_t value);
  void boolean(const char* key, bool value);
  void list(const char* key, const std::vector<std::string>& values);

  // The whole array, with a final newline.
  std::string finish() const { return "[" + body_ + (body_.empty() ? "]\n" : "\n]\n"); }

 private:
  void key(const char* name);

  std::string body_;
  bool is_first_object_ = true;
  bool is_first_key_ = true;
};

std::string json_string(const std::string& value);  // with its quotes

}  // namespace mn::device
