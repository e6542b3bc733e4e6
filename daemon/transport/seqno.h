// SPDX-License-Identifier: MIT
// Seqno: the number of a packet of a flow, modulo 2^32. A type of its own, because comparing such
// numbers as integers is wrong once they wrap: order is the sign of the difference (RFC 1982),
// right while the two are less than 2^31 apart.
#pragma once

#include <cstdint>

namespace mn::transport {

struct Seqno {
  uint32_t value = 0;

  constexpr bool operator==(const Seqno&) const = default;
  constexpr Seqno operator+(uint32_t n) const { return {value + n}; }
  // How far this one is after `other`; negative: before.
  constexpr int32_t operator-(Seqno other) const {
    return static_cast<int32_t>(value - other.value);
  }
  constexpr Seqno& operator++() {
    value++;
    return *this;
  }
};

constexpr bool before(Seqno a, Seqno b) { return a - b < 0; }
constexpr Seqno later_of(Seqno a, Seqno b) { return before(a, b) ? b : a; }

}  // namespace mn::transport
