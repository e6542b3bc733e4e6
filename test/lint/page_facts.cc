// SPDX-License-Identifier: MIT
// What the code knows and pages describe, for the lint test that compares them (man.py):
//   page_facts keys           each key: section, name, default, reload or restart, what is allowed
//   page_facts check < FILE   the errors of a configuration; exit code 1 if there are any
//   page_facts counters       the names of the counters
// Asks the code itself: the tables of config/keys.h, parse_config, MN_COUNTERS. Never run by users.
#include <cstdio>
#include <string>

#include "config/config.h"
#include "config/keys.h"
#include "ipc/shm_counters.h"

namespace {

using namespace mn::config;

template <typename Keys, typename Defaults>
void print_keys(const char* section, const Keys& keys, const Defaults& defaults) {
  for (const auto& key : keys) {
    printf("%s\t%s\t%s\t%s\t%s\n", section, key.name, key.show(defaults).c_str(),
           key.reloadable ? "reload" : "restart", key.allowed);
  }
}

int check() {
  std::string text;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, stdin)) > 0;) text.append(buffer, n);
  const Loaded loaded = parse_config(text, "stdin");
  for (const std::string& error : loaded.errors) puts(error.c_str());
  return loaded.errors.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc == 2 ? argv[1] : "";
  if (command == "check") return check();
  if (command == "keys") {
    print_keys("machnet", machnet_keys(), Config{});
    print_keys("nic", nic_keys(), NicConfig{});
    return 0;
  }
  if (command == "counters") {
#define MN_PRINT(name, help) puts(#name);
    MN_COUNTERS(MN_PRINT)
#undef MN_PRINT
    return 0;
  }
  fputs("usage: page_facts keys | check | counters\n", stderr);
  return 2;
}
