// SPDX-License-Identifier: MIT
// Lets the service, which is nobody in particular, open the device files of a NIC that machnet-nic
// has bound: /dev/vfio/GROUP, /dev/uioN. The kernel makes them for root. They belong to the
// service's user alone, not to its group, whose members are applications. They vanish with the
// binding, so there is nothing to give back.
#pragma once

#include <string>

#include "base/result.h"
#include "device/saved_nic.h"
#include "device/sys_root.h"

namespace mn::device {

// Harmless if there are no such files, or no such user: then machnetd runs as root.
Result<void> let_service_open(const SysRoot& root, Bus bus, const std::string& device);

}  // namespace mn::device
