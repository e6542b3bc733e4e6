// SPDX-License-Identifier: MIT
// The keys of the configuration file: name, what is allowed, and the function that checks a value
// and stores it. One table per kind of section; the parser and its messages know no key but by
// these. Each key can also be written back, so that two configurations can be compared.
#pragma once

#include <span>
#include <string>

#include "config/config.h"

namespace mn::config {

// A setter's answer: nothing, or what is wrong with the value.
using Fault = const char*;

struct MachnetKey {
  const char* name;
  const char* allowed;
  Fault (*set)(Config*, const std::string&);
  std::string (*show)(const Config&);  // as it could stand in the file
  bool reloadable = false;             // takes effect without a restart
};
struct NicKey {
  const char* name;
  const char* allowed;
  Fault (*set)(NicConfig*, const std::string&);
  std::string (*show)(const NicConfig&);
  bool reloadable = false;
};

std::span<const MachnetKey> machnet_keys();
std::span<const NicKey> nic_keys();

}  // namespace mn::config
