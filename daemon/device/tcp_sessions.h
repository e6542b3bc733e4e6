// SPDX-License-Identifier: MIT
// Which of this host's addresses carry SSH sessions right now, as the kernel's tables of TCP
// connections tell. Reads procfs, changes nothing; machnet-nic's main thread.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "device/sys_root.h"

namespace mn::device {

// Local addresses of established connections to local port 22, without loopback ones.
std::set<std::string> ssh_addresses(const SysRoot& root);

// The same of the text of /proc/net/tcp or tcp6; lines that are none are passed over.
std::set<std::string> ssh_addresses_in(std::string_view table);

}  // namespace mn::device
