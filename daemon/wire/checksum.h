// SPDX-License-Identifier: MIT
// The Internet checksum (RFC 1071) over bytes that come in pieces of any length and alignment.
// InternetSum is a value: feed it the pieces in the order they have on the cable, then ask for the
// checksum. add_copy copies a piece while it is summed, so that payload is read from memory once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace mn::wire {

// The ones' complement sum of `size` bytes as 16-bit words in memory order, folded to 16 bits; an
// odd last byte counts as if a zero followed. 0 only if all bytes are 0.
uint16_t sum_bytes(const uint8_t* bytes, size_t size);
// The same, and copies the bytes to `out`, which does not overlap them.
uint16_t copy_and_sum(uint8_t* out, const uint8_t* bytes, size_t size);

class InternetSum {
 public:
  void add(std::span<const uint8_t> piece) {
    merge(sum_bytes(piece.data(), piece.size()), piece.size());
  }
  void add_copy(uint8_t* out, std::span<const uint8_t> piece) {
    merge(copy_and_sum(out, piece.data(), piece.size()), piece.size());
  }
  // Exactly 4 bytes, inlined; only while the number of bytes so far is even.
  void add_4(const uint8_t* at) {
    uint32_t word;
    memcpy(&word, at, sizeof word);
    sum_ += word;
  }
  // `count` zero bytes: they only move what follows to another offset.
  void add_zeros(size_t count) { odd_ ^= (count & 1) != 0; }
  // A 16-bit field of a pseudo-header; only while the number of bytes so far is even.
  void add_word(uint16_t value) { sum_ += __builtin_bswap16(value); }
  void add_words(uint32_t value) {
    add_word(static_cast<uint16_t>(value >> 16));
    add_word(static_cast<uint16_t>(value));
  }

  // The sum, not complemented: what a NIC wants in the checksum field for its offload.
  uint16_t folded() const { return __builtin_bswap16(fold(sum_)); }
  // What belongs in the checksum field. Over bytes that include a right checksum it is 0.
  uint16_t checksum() const { return static_cast<uint16_t>(~folded()); }

  static uint16_t fold(uint64_t sum) {
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(sum);
  }

 private:
  // A piece at an odd offset has its bytes in the other halves of the words: RFC 1071 section 2(B).
  void merge(uint16_t piece, size_t size) {
    sum_ += odd_ ? __builtin_bswap16(piece) : piece;
    odd_ ^= (size & 1) != 0;
  }

  uint64_t sum_ = 0;  // in memory order; 2^48 pieces fit
  bool odd_ = false;
};

}  // namespace mn::wire
