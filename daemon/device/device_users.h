// SPDX-License-Identifier: MIT
// Which process has a device open that is bound to vfio-pci or uio_hv_generic. To take the driver
// from such a device would block until the process ends. Reads procfs and sysfs, changes nothing.
#pragma once

#include <string>
#include <vector>

#include "device/saved_nic.h"
#include "device/sys_root.h"

namespace mn::device {

// Where the files of a bound device are: /dev/vfio/GROUP, /dev/uioN. They need not exist.
std::vector<std::string> device_files(const SysRoot& root, Bus bus, const std::string& device);

// The first one, as in "process 1234 (machnetd)"; "": none.
std::string device_user(const SysRoot& root, Bus bus, const std::string& device);

}  // namespace mn::device
