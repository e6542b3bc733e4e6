// SPDX-License-Identifier: MIT
// The kernel's clock, for the control plane; an engine's thread reads it by way of its EngineClock.
// Read by threads' outermost loops, which hand the time down as an argument; the transport, the
// host and the wire never see this header.
#pragma once

#include "base/time.h"

namespace mn {

// Monotonic time: never goes back; does not advance while the machine is suspended.
// About 20 ns, no system call where the kernel offers a vDSO clock.
Instant clock_now() noexcept;

}  // namespace mn
