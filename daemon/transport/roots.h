// SPDX-License-Identifier: MIT
// Roots of positive numbers to a few parts in a million, without the mathematics library, which
// pure code does not ask for. Newton's method from a guess that halves or thirds the exponent.
#pragma once

#include <bit>
#include <cstdint>

namespace mn::transport {

constexpr float square_root(float x) {
  if (x <= 0) return 0;
  float root = std::bit_cast<float>((std::bit_cast<uint32_t>(x) >> 1) + 0x1fbd1df5);
  for (int i = 0; i < 3; i++) root = 0.5F * (root + x / root);
  return root;
}

constexpr float cube_root(float x) {
  if (x <= 0) return 0;
  float root = std::bit_cast<float>(std::bit_cast<uint32_t>(x) / 3 + 0x2a5137a0);
  for (int i = 0; i < 4; i++) root = (2 * root + x / (root * root)) / 3;
  return root;
}

static_assert(square_root(2) > 1.414F && square_root(2) < 1.4143F);
static_assert(cube_root(27) > 2.9999F && cube_root(27) < 3.0001F);

}  // namespace mn::transport
