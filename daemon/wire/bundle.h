// SPDX-License-Identifier: MIT
// A bundle: several whole small messages in one packet. The payload is a table of `count` lengths
// (16 bits, network byte order), padded with zeros to a multiple of 8, then the messages, each
// starting at a multiple of 8 from the payload's start (zero padding between them, none after the
// last). The receiver's daemon checks the table once and hands the payload to the application as it
// is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace mn::wire {

constexpr size_t kBundleMessagesMax = 255;

constexpr size_t bundle_align(size_t n) { return (n + 7) & ~size_t{7}; }
constexpr size_t bundle_table_size(size_t count) { return bundle_align(2 * count); }

// Payload bytes of a bundle, message by message: start with 0 messages and 0 data bytes.
struct BundleSize {
  size_t count = 0;
  size_t data = 0;                                      // messages with the padding between them
  constexpr size_t with(size_t message_length) const {  // total if one more is added
    return bundle_table_size(count + 1) + bundle_align(data) + message_length;
  }
  constexpr void add(size_t message_length) {
    data = bundle_align(data) + message_length;
    count++;
  }
  constexpr size_t total() const { return bundle_table_size(count) + data; }
};

// True if `payload` is a bundle of exactly `count` messages, each of at least 1 byte, ending at its
// end. What stands in the padding is not looked at.
bool bundle_ok(std::span<const uint8_t> payload, size_t count);

}  // namespace mn::wire
