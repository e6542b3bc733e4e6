// SPDX-License-Identifier: MIT
// Capabilities: the pieces of root's power (capabilities(7)) that this thread, and all that it
// makes later, may use. Giving them up is for ever. Main thread, at start, before there are others.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace mn {

// A set: bit N is capability N of <linux/capability.h>.
using Capabilities = uint64_t;

constexpr Capabilities capability(int number) { return Capabilities{1} << number; }

Capabilities held_capabilities();  // permitted, that is: they can be used
// Gives up all others, so that nothing gets them back, what this process executes included.
Result<void> keep_capabilities(Capabilities kept);
// "CAP_NET_ADMIN CAP_NET_RAW"; numbers for those that have no name here.
std::string format_capabilities(Capabilities set);

}  // namespace mn
