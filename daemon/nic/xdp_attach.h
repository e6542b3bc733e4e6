// SPDX-License-Identifier: MIT
// How mode af_xdp gets its XDP program onto an interface and, above all, off it again. DPDK's
// driver attaches in a way that outlives the process; XdpLink replaces that by an attachment owned
// by a descriptor, which the kernel ends with the process, whatever kills it. Main thread, start
// and stop only.
#pragma once

#include <string>
#include <utility>

#include "base/address.h"
#include "base/result.h"
#include "device/interface.h"

namespace mn::nic {

// A descriptor of an anonymous file with the steering program for `address` (0: all frames), to be
// given to the driver as /proc/self/fd/N. The caller closes it.
Result<int> open_steering_program(Ipv4 address);

// Makes sure that no XDP program is on the interface: one of ours whose process died is removed
// (true), a living one's or a stranger's is an error.
Result<bool> remove_stale_program(const device::Interface& interface);

class XdpLink {
 public:
  XdpLink() = default;
  ~XdpLink() { release(); }
  XdpLink(XdpLink&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  XdpLink& operator=(XdpLink&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  // After the driver has attached its program: takes the attachment over. If that fails the program
  // is still attached, and would stay after a kill; the error says so.
  static Result<XdpLink> take_over(const device::Interface& interface);
  void release();  // detaches

 private:
  int fd_ = -1;
};

}  // namespace mn::nic
