// SPDX-License-Identifier: MIT
// How mode af_xdp gets its XDP program onto an interface and, above all, off it again. DPDK's
// driver attaches one for each of its devices, knowing that device's sockets only and in a way that
// outlives the process; XdpLink replaces them by one for all, attached by a descriptor, which the
// kernel ends with the process, whatever kills it. Main thread, start and stop only.
#pragma once

#include <string>
#include <utility>
#include <vector>

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

// The driver attaches its program only where there is none: so between two of its devices.
void detach_program(const device::Interface& interface);

class XdpLink {
 public:
  XdpLink() = default;
  ~XdpLink() { release(); }
  XdpLink(XdpLink&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  XdpLink& operator=(XdpLink&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  // Puts the program in `program_file` in the place of the driver's: it gives the frames of queue i
  // to sockets[i]. Between the two frames go to the kernel's own stack, which does not know our
  // address: nothing has been sent to us yet anyway. `warning` says if the kernel has no such
  // attachments: then the program outlives a killed process, and the driver removes it otherwise.
  static Result<XdpLink> attach(const device::Interface& interface, int program_file,
                                const std::vector<int>& sockets, std::string* warning);
  void release();  // detaches

 private:
  int fd_ = -1;
};

}  // namespace mn::nic
