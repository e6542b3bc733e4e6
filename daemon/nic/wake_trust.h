// SPDX-License-Identifier: MIT
// WakeTrust: whether a device's receive interrupt may be relied on for a long sleep. Some drivers
// offer one that never comes (DPDK's net_e1000_em with MSI-X), so it has to prove itself: it is
// trusted once it was there when packets were, and not any more when packets were there without it.
// Belongs to the port; engine thread.
#pragma once

#include <cstddef>

namespace mn::nic {

class WakeTrust {
 public:
  // A sleep is over; `signalled`: the interrupt came.
  void on_slept(bool signalled) {
    signalled_ = signalled;
    just_slept_ = true;
  }
  // What the look at the queue after it found.
  void on_received(size_t packets) {
    if (!just_slept_) return;
    just_slept_ = false;
    if (packets > 0) trusted_ = signalled_;
  }
  bool trusted() const { return trusted_; }

 private:
  bool trusted_ = false;
  bool just_slept_ = false;
  bool signalled_ = false;
};

}  // namespace mn::nic
