// SPDX-License-Identifier: MIT
// Refusals that only an operator can cure, left by `machnet-nic --service bind` for machnetd to say
// and to end with. systemd tries a service again whose first step failed, whatever its exit code
// is; of the main process it knows that 78 is not to be tried again. A file that everybody may
// read and only root may write, gone with the next step or boot.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "device/sys_root.h"

namespace mn::device {

struct LeftRefusal {
  std::string nic;  // as configured
  std::string line;
};

// In place of what was left before; none: nothing is left.
Result<void> leave_refusals(const SysRoot& root, const std::vector<LeftRefusal>& refusals);
std::vector<LeftRefusal> left_refusals(const SysRoot& root);

}  // namespace mn::device
