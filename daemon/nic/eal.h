// SPDX-License-Identifier: MIT
// Eal: DPDK's environment, started once per process with nothing shared with other processes and
// nothing written to disk, so that several services run on one machine and a killed one leaves
// nothing behind. Loads the driver libraries that are asked for and no others. Main thread. DPDK
// never prints: its error lines are kept and become part of our own errors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace mn::nic {

struct EalSettings {
  bool use_hugepages = false;
  uint64_t memory_bytes = 64 << 20;    // fixed at the start without hugepages, unused with
  std::vector<std::string> libraries;  // bus_vdev, mempool_ring, net_memif, ...
  bool single_file_segments = false;   // one file for all of its memory: memif shares that
  bool load_all_drivers = false;       // whatever is installed (a PCI device nobody knows)
  // PCI addresses and VMBus UUIDs of the devices allowed; none: no such bus at all.
  std::vector<std::string> bus_devices;
};

// At most once per process, also after a failure.
Result<void> start_eal(const EalSettings& settings);
// After all devices are closed. Harmless if EAL was never started.
void stop_eal();
bool eal_is_running();

// Bytes in free hugepages of the machine, as sysfs says.
uint64_t free_hugepage_bytes();

// The first error line DPDK wrote since the previous call, without its final newline; "" if none.
std::string take_dpdk_error();

}  // namespace mn::nic
