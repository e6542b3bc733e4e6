// SPDX-License-Identifier: MIT
// The program machnet-nic without its main(): options, the configuration, one of the commands list,
// bind, unbind, status, and an exit code. Blocking, one thread. All that it says about what it does
// goes through `say`, so that the journal explains it; answers go to `out`.
#pragma once

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/log.h"
#include "base/result.h"
#include "device/metadata.h"
#include "device/sys_root.h"

namespace mn::device {

struct NicProgram {
  FILE* out = stdout;
  FILE* err = stderr;  // of wrong usage
  const char* version = "";
  std::function<void(LogLevel, const LogEvent& about, const std::string& line)> say;
  std::function<Result<MetadataNic>(const SysRoot&, const Mac&)> metadata;
  int interface_wait_ms = 10'000;
  int rename_wait_ms = 2'000;
};

enum NicExit { kNicOk = 0, kNicFailed = 1, kNicUsage = 2, kNicConfig = 78 };  // 78: EX_CONFIG

// `args` without the program's name.
int nic_command(const std::vector<std::string>& args, const NicProgram& program);

}  // namespace mn::device
