// SPDX-License-Identifier: MIT
// Why a NIC must not be taken: it would cut the operator or the host off, take a device that is not
// ours, or cannot work. Asked before anything is touched, and by `machnet-nic list`. Reads, changes
// nothing; each reason is one line that names the NIC and what to do about it.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/address.h"
#include "device/inventory.h"
#include "device/mode_choice.h"
#include "device/sys_root.h"

namespace mn::device {

struct RefusalFacts {
  std::string name;            // of the [nic] section to be changed
  bool force = false;          // the operator knows that it carries the default route or SSH
  Ipv4 address = 0;            // Machnet's own there; 0: one of the kernel's
  std::set<std::string> ours;  // devices that are Machnet's too, by bus address
};

// All of them, the most important first; empty: it may be taken.
std::vector<std::string> refusals(const SysRoot& root, const Inventory& inventory,
                                  const Candidate& nic, const ModeChoice& choice,
                                  const RefusalFacts& facts);

// A program other than the kernel has the device, or is meant to have it: the reason not to touch
// it; "": nobody has.
std::string held_by_other(const Candidate& nic, const ModeChoice& choice);

}  // namespace mn::device
