// SPDX-License-Identifier: MIT
// For tests: whether everything the transport believes fits together. Looks at all flows; aborts at
// the first contradiction.
#pragma once

#include "transport/core.h"

namespace mn::transport {

void check_invariants(const Core& core);

}  // namespace mn::transport
