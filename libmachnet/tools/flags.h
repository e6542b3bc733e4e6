// SPDX-License-Identifier: MIT
// FlagSet: command line flags of the small programs. Understands --name value, --name=value, -name
// and dashes for underscores; switches take no value, or =true and =false. Every error is one
// sentence.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace mn::tools {

class FlagSet {
 public:
  void add_switch(const char* name, bool* target, const char* help);
  void add_text(const char* name, std::string* target, const char* help);
  void add_number(const char* name, uint64_t* target, uint64_t min, uint64_t max, const char* help);
  void add_seconds(const char* name, double* target, const char* help);

  // Empty: everything is understood. Otherwise what is wrong.
  std::string parse(int argc, char** argv) const;
  void print_help(FILE* out) const;

 private:
  enum class Kind { kSwitch, kText, kNumber, kSeconds };
  struct Flag {
    const char* name;
    Kind kind;
    void* target;
    uint64_t min;
    uint64_t max;
    const char* help;
  };
  const Flag* find(const std::string& name) const;
  static std::string assign(const Flag& flag, const std::string& value);
  std::vector<Flag> flags_;
};

}  // namespace mn::tools
