// SPDX-License-Identifier: MIT
// Integers in network byte order (most significant byte first) at any address, and nothing else.
// Callers have checked that the bytes exist.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "base/address.h"

namespace mn::wire {

static_assert(std::endian::native == std::endian::little, "the loads below swap");

inline uint16_t load_be16(const uint8_t* at) {
  uint16_t value;
  memcpy(&value, at, sizeof value);
  return __builtin_bswap16(value);
}
inline uint32_t load_be32(const uint8_t* at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return __builtin_bswap32(value);
}
inline uint64_t load_be64(const uint8_t* at) {
  uint64_t value;
  memcpy(&value, at, sizeof value);
  return __builtin_bswap64(value);
}

inline void store_be16(uint8_t* at, uint16_t value) {
  value = __builtin_bswap16(value);
  memcpy(at, &value, sizeof value);
}
inline void store_be32(uint8_t* at, uint32_t value) {
  value = __builtin_bswap32(value);
  memcpy(at, &value, sizeof value);
}
inline void store_be64(uint8_t* at, uint64_t value) {
  value = __builtin_bswap64(value);
  memcpy(at, &value, sizeof value);
}

inline Mac load_mac(const uint8_t* at) {
  Mac mac;
  memcpy(mac.bytes.data(), at, mac.bytes.size());
  return mac;
}
inline void store_mac(uint8_t* at, const Mac& mac) {
  memcpy(at, mac.bytes.data(), mac.bytes.size());
}

}  // namespace mn::wire
