// SPDX-License-Identifier: MIT
#include "libmachnet/tools/flags.h"

#include <cctype>
#include <cerrno>
#include <cstdlib>

namespace mn::tools {

void FlagSet::add_switch(const char* name, bool* target, const char* help) {
  flags_.push_back({name, Kind::kSwitch, target, 0, 0, help});
}
void FlagSet::add_text(const char* name, std::string* target, const char* help) {
  flags_.push_back({name, Kind::kText, target, 0, 0, help});
}
void FlagSet::add_number(const char* name, uint64_t* target, uint64_t min, uint64_t max,
                         const char* help) {
  flags_.push_back({name, Kind::kNumber, target, min, max, help});
}
void FlagSet::add_seconds(const char* name, double* target, const char* help) {
  flags_.push_back({name, Kind::kSeconds, target, 0, 0, help});
}

const FlagSet::Flag* FlagSet::find(const std::string& name) const {
  for (const Flag& flag : flags_) {
    if (name == flag.name) return &flag;
  }
  return nullptr;
}

std::string FlagSet::assign(const Flag& flag, const std::string& value) {
  const std::string where = "--" + std::string(flag.name) + ": ";
  char* end = nullptr;
  switch (flag.kind) {
    case Kind::kSwitch:
      if (value != "true" && value != "false" && value != "1" && value != "0") {
        return where + "'" + value + "' is neither true nor false";
      }
      *static_cast<bool*>(flag.target) = value == "true" || value == "1";
      return "";
    case Kind::kText:
      *static_cast<std::string*>(flag.target) = value;
      return "";
    case Kind::kNumber: {
      errno = 0;
      const unsigned long long number = std::strtoull(value.c_str(), &end, 10);
      const bool is_number = !value.empty() && std::isdigit(static_cast<unsigned char>(value[0])) &&
                             *end == '\0' && errno == 0;
      if (!is_number || number < flag.min || number > flag.max) {
        return where + "'" + value + "' is no number from " + std::to_string(flag.min) + " to " +
               std::to_string(flag.max);
      }
      *static_cast<uint64_t*>(flag.target) = number;
      return "";
    }
    case Kind::kSeconds: {
      const double number = std::strtod(value.c_str(), &end);
      if (value.empty() || *end != '\0' || !(number >= 0 && number <= 1e9)) {
        return where + "'" + value + "' is no number of seconds";
      }
      *static_cast<double*>(flag.target) = number;
      return "";
    }
  }
  return "";
}

std::string FlagSet::parse(int argc, char** argv) const {
  for (int i = 1; i < argc; i++) {
    const std::string word = argv[i];
    const size_t dashes = word.rfind("--", 0) == 0 ? 2 : 1;
    if (word[0] != '-' || word.size() == dashes) return "unexpected '" + word + "'; see --help";
    const size_t equals = word.find('=');
    std::string name = word.substr(dashes, equals == std::string::npos ? equals : equals - dashes);
    for (char& c : name) {
      if (c == '-') c = '_';
    }
    const Flag* flag = find(name);
    if (flag == nullptr) return "unknown flag '" + word + "'; see --help";
    std::string value = "true";
    if (equals != std::string::npos) {
      value = word.substr(equals + 1);
    } else if (flag->kind != Kind::kSwitch) {
      if (i + 1 == argc) return word + " needs a value";
      value = argv[++i];
    }
    const std::string error = assign(*flag, value);
    if (!error.empty()) return error;
  }
  return "";
}

void FlagSet::print_help(FILE* out) const {
  for (const Flag& flag : flags_) {
    std::string left = "--" + std::string(flag.name);
    if (flag.kind == Kind::kText) left += " TEXT";
    if (flag.kind == Kind::kNumber) left += " N";
    if (flag.kind == Kind::kSeconds) left += " S";
    std::fprintf(out, "  %-20s %s\n", left.c_str(), flag.help);
  }
}

}  // namespace mn::tools
