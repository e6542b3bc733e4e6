// SPDX-License-Identifier: MIT
// What machnet.service may do beyond its unit file. A NIC that is told physical addresses
// (uio_hv_generic, vfio-pci without an IOMMU) takes capabilities that no other host should give
// the service, so they are not in the unit: `machnet-nic --service bind`, which knows what it
// bound, writes them into a drop-in of this boot, and systemd reads it before it starts machnetd.
// Root, main thread.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "device/saved_nic.h"
#include "device/sys_root.h"

namespace mn::device {

// The drop-in for these NICs; "": the unit file suffices.
std::string unit_rights(const std::vector<SavedNic>& taken);

// Where systemd looks for it.
std::string unit_rights_path(const SysRoot& root);

// Makes the drop-in what it should be, and has systemd read its units again if that was a change:
// true. What runs already keeps what it has.
Result<bool> put_unit_rights(const SysRoot& root, const std::vector<SavedNic>& taken);

}  // namespace mn::device
