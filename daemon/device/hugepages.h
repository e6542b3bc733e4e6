// SPDX-License-Identifier: MIT
// Hugepages of one NUMA node: adds what is missing, and takes away again only what was added.
// Called by machnet-nic as root; blocking; keeps nothing (the caller remembers it in a SavedNic).
// What the administrator has reserved is used first and never taken away.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "device/saved_nic.h"
#include "device/sys_root.h"

namespace mn::device {

struct HugepageGrant {
  std::vector<ReservedPages> added;  // empty: enough were free already, or none were to be had
  bool is_enough = false;
  std::string line;  // what was asked, found, added, for the log
};

// Called with what is about to be added, before it is: so that it is found again after a crash. An
// error keeps everything as it is.
using RememberPages = std::function<Result<void>(const std::vector<ReservedPages>&)>;

// Makes `bytes` of hugepages free on `numa_node` (-1, or a node that the kernel does not show:
// wherever it likes, recorded per node). That fewer were to be had is no error: `line` says so, and
// what to do. Leaves the rest of the machine a part of its memory, whatever is asked for.
Result<HugepageGrant> reserve_hugepages(const SysRoot& root, uint64_t bytes, int numa_node,
                                        const RememberPages& remember = nullptr);

// A line that says what was returned. Pages still in use stay, and the line says that. The caller
// drops pages of an earlier boot (SavedNic::boot_id): they are gone, and nothing is to be returned.
Result<std::string> return_hugepages(const SysRoot& root, const std::vector<ReservedPages>& pages);

}  // namespace mn::device
