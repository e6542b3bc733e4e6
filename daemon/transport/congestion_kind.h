// SPDX-License-Identifier: MIT
// CongestionKind: which congestion control the flows of an engine run.
#pragma once

#include <cstdint>

namespace mn::transport {

enum class CongestionKind : uint8_t { kSwift, kCubic, kFixed };

}  // namespace mn::transport
