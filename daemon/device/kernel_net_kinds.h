// SPDX-License-Identifier: MIT
// The two kinds of KernelNet, each made in a file of its own; make_kernel_net chooses. Only for
// daemon/device itself and its tests.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "device/kernel_net.h"

namespace mn::device {

class Netlink;

// Talks to the kernel about the network namespace that the calling thread is in at the first call.
std::unique_ptr<KernelNet> make_netlink_net();

// Files in `directory`, as kernel_net.h describes them.
std::unique_ptr<KernelNet> make_file_net(const std::string& directory);

// All interfaces but loopback with what is on them, read through netlink.
Result<std::vector<KernelNic>> read_kernel_nics(Netlink* netlink);

}  // namespace mn::device
