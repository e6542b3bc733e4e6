// SPDX-License-Identifier: MIT
// Hugepages of one NUMA node: adds what is missing, and takes away again only what was added.
// Called by machnet-nic as root; blocking; keeps nothing (the caller remembers it in a SavedNic).
#pragma once

#include <cstdint>
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

// Makes `bytes` of hugepages free on `numa_node` (-1: wherever the kernel likes, recorded per
// node). That fewer were to be had is no error: `line` says so.
Result<HugepageGrant> reserve_hugepages(const SysRoot& root, uint64_t bytes, int numa_node);

// A line that says what was returned. Pages still in use stay, and the line says that.
Result<std::string> return_hugepages(const SysRoot& root, const std::vector<ReservedPages>& pages);

}  // namespace mn::device
