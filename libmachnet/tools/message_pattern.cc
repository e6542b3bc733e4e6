// SPDX-License-Identifier: MIT
#include "libmachnet/tools/message_pattern.h"

#include <algorithm>
#include <cstring>

namespace mn::tools {
namespace {

// Eight bytes of the pattern: a multiplicative hash, different for each sequence number and
// position.
uint64_t pattern_word(uint64_t sequence, uint64_t index) {
  uint64_t x = (sequence + 1) * 0x9e3779b97f4a7c15u + index * 0xd6e8feb86659fd93u;
  x ^= x >> 32;
  return x * 0xd6e8feb86659fd93u;
}

// Calls `use(position in the pattern, bytes, count)` for runs that lie within one pattern word.
template <typename Use>
bool for_each_run(size_t message_size, std::span<const MachnetIovec_t> pieces, Use use) {
  const size_t skip = pattern_start(message_size);
  size_t at = 0;  // in the message
  for (const MachnetIovec_t& piece : pieces) {
    uint8_t* bytes = static_cast<uint8_t*>(piece.base);
    size_t i = at < skip ? std::min(skip - at, piece.len) : 0;
    while (i < piece.len) {
      const size_t position = at + i;
      const size_t run = std::min(piece.len - i, 8 - position % 8);
      if (!use(position, bytes + i, run)) return false;
      i += run;
    }
    at += piece.len;
  }
  return true;
}

}  // namespace

void write_stamp(const MessageStamp& stamp, void* message) {
  std::memcpy(message, &stamp, sizeof stamp);
}

MessageStamp read_stamp(std::span<const MachnetIovec_t> pieces) {
  MessageStamp stamp;
  uint8_t* out = reinterpret_cast<uint8_t*>(&stamp);
  size_t have = 0;
  for (const MachnetIovec_t& piece : pieces) {
    const size_t n = std::min(piece.len, kStampSize - have);
    std::memcpy(out + have, piece.base, n);
    have += n;
    if (have == kStampSize) break;
  }
  return stamp;
}

void fill_pattern(uint64_t sequence, size_t message_size, std::span<const MachnetIovec_t> pieces) {
  for_each_run(message_size, pieces, [sequence](size_t position, uint8_t* bytes, size_t count) {
    const uint64_t word = pattern_word(sequence, position / 8);
    std::memcpy(bytes, reinterpret_cast<const uint8_t*>(&word) + position % 8, count);
    return true;
  });
}

bool check_pattern(uint64_t sequence, size_t message_size, std::span<const MachnetIovec_t> pieces) {
  return for_each_run(
      message_size, pieces, [sequence](size_t position, const uint8_t* bytes, size_t count) {
        const uint64_t word = pattern_word(sequence, position / 8);
        return std::memcmp(bytes, reinterpret_cast<const uint8_t*>(&word) + position % 8, count) ==
               0;
      });
}

}  // namespace mn::tools
