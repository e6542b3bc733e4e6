// SPDX-License-Identifier: MIT
// Memory for construction time: zeroed pages straight from the kernel, for tables that live as long
// as the object that owns them. Called by constructors and destructors only, from any thread;
// FixedArray is the usual way to it. It never grows or moves what it gave out.
#pragma once

#include <cstddef>

namespace mn {

// `bytes` of zeros, page-aligned; nullptr when the kernel refuses. 0 bytes is a programmer error.
[[nodiscard]] void* start_allocate(size_t bytes) noexcept;
// `bytes` as in start_allocate. nullptr is ignored.
void start_free(void* memory, size_t bytes) noexcept;

}  // namespace mn
