// SPDX-License-Identifier: MIT
#include "wire/checksum.h"

#include <cstring>

namespace mn::wire {
namespace {

// 16-bit words may be added as parts of wider words, carries and all: 2^16 = 1 in ones' complement
// (RFC 1071 section 2(C)). Vectors hold 64-bit lanes; the 32-bit halves of each are added apart, so
// that no carry is lost below 2^32 additions.
typedef uint64_t Vector16 __attribute__((vector_size(16)));
typedef uint64_t Vector32 __attribute__((vector_size(32)));
constexpr uint64_t kLow = 0xffffffff;

// Always inlined, so that it is compiled for the instruction set of the function it is used in.
// Vectors never cross a function boundary: how they are passed depends on the instruction set.
template <typename Vector, bool kCopy>
[[gnu::always_inline]] inline uint16_t sum_impl(uint8_t* out, const uint8_t* bytes, size_t size) {
  uint64_t sum = 0;
  if (size >= sizeof(Vector)) {
    Vector low{}, high{};
    while (size >= 4 * sizeof(Vector)) {
      Vector a, b, c, d;  // not an array: the compiler would keep that in memory
      memcpy(&a, bytes, sizeof a);
      memcpy(&b, bytes + sizeof a, sizeof b);
      memcpy(&c, bytes + 2 * sizeof a, sizeof c);
      memcpy(&d, bytes + 3 * sizeof a, sizeof d);
      if constexpr (kCopy) {
        memcpy(out, &a, sizeof a);
        memcpy(out + sizeof a, &b, sizeof b);
        memcpy(out + 2 * sizeof a, &c, sizeof c);
        memcpy(out + 3 * sizeof a, &d, sizeof d);
        out += 4 * sizeof a;
      }
      low += ((a & kLow) + (b & kLow)) + ((c & kLow) + (d & kLow));
      high += ((a >> 32) + (b >> 32)) + ((c >> 32) + (d >> 32));
      bytes += 4 * sizeof a;
      size -= 4 * sizeof a;
    }
    while (size >= sizeof(Vector)) {
      Vector part;
      memcpy(&part, bytes, sizeof part);
      if constexpr (kCopy) {
        memcpy(out, &part, sizeof part);
        out += sizeof part;
      }
      low += part & kLow;
      high += part >> 32;
      bytes += sizeof part;
      size -= sizeof part;
    }
    low += high;
    for (size_t lane = 0; lane < sizeof(Vector) / 8; lane++) sum += low[lane];
  }
  while (size >= 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    if constexpr (kCopy) {
      memcpy(out, &word, 8);
      out += 8;
    }
    sum += (word & kLow) + (word >> 32);
    bytes += 8;
    size -= 8;
  }
  if (size & 4) {
    uint32_t word;
    memcpy(&word, bytes, 4);
    if constexpr (kCopy) {
      memcpy(out, &word, 4);
      out += 4;
    }
    sum += word;
    bytes += 4;
  }
  if (size & 2) {
    uint16_t word;
    memcpy(&word, bytes, 2);
    if constexpr (kCopy) {
      memcpy(out, &word, 2);
      out += 2;
    }
    sum += word;
    bytes += 2;
  }
  if (size & 1) {
    if constexpr (kCopy) *out = *bytes;
    sum += *bytes;  // the low half in memory order
  }
  return InternetSum::fold(sum);
}

#if defined(__x86_64__)
#define MN_WIRE_AVX2 1
template <bool kCopy>
[[gnu::target("avx2")]] uint16_t sum_avx2(uint8_t* out, const uint8_t* bytes, size_t size) {
  return sum_impl<Vector32, kCopy>(out, bytes, size);
}
#endif

template <bool kCopy>
[[gnu::always_inline]] inline uint16_t sum_any(uint8_t* out, const uint8_t* bytes, size_t size) {
#if MN_WIRE_AVX2
  // Not an ifunc (target_clones): those run before the sanitizers' runtime is ready. Below this
  // size the wide vectors gain nothing.
  if (size >= 256 && __builtin_cpu_supports("avx2")) return sum_avx2<kCopy>(out, bytes, size);
#endif
  return sum_impl<Vector16, kCopy>(out, bytes, size);
}

}  // namespace

uint16_t sum_bytes(const uint8_t* bytes, size_t size) {
  return sum_any<false>(nullptr, bytes, size);
}

uint16_t copy_and_sum(uint8_t* out, const uint8_t* bytes, size_t size) {
  return sum_any<true>(out, bytes, size);
}

}  // namespace mn::wire
