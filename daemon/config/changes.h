// SPDX-License-Identifier: MIT
// What is different between two configurations, key by key, and which of it takes effect without a
// restart. Pure: compares values, applies them to a Config, touches no service.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace mn::config {

struct Change {
  std::string section;  // machnet, or nic NAME
  std::string key;      // empty: the whole section came or went
  std::string before;   // as in the file; "absent" where there is none
  std::string after;
  bool reloadable = false;  // takes effect without a restart
};

// In the order of the tables of keys; sections that are only in one of the two last.
std::vector<Change> find_changes(const Config& before, const Config& after);

// "[nic eth1] idle: spin -> adaptive"
std::string describe(const Change& change);

// Takes over from `wanted` what takes effect without a restart, and nothing else.
void apply_reloadable(const Config& wanted, Config* running);

}  // namespace mn::config
