// SPDX-License-Identifier: MIT
// Randomness from the kernel, for seeds and keys at start. It is a system call: the data plane gets
// a seed once and continues with base/prng.h or base/keyed_hash.h.
#pragma once

#include <cstdint>

namespace mn {

// Unpredictable; may wait for the kernel's entropy early in boot.
uint64_t random_seed() noexcept;

}  // namespace mn
