// SPDX-License-Identifier: MIT
// What msg_gen writes into its messages: from 16 bytes on a sequence number and a time stamp at the
// front; with --verify every other byte follows from sequence number and position, so that a lost,
// repeated, swapped or damaged message shows itself. Works on messages in any number of pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "machnet.h"

namespace mn::tools {

struct MessageStamp {
  uint64_t sequence = 0;
  uint64_t sent_ns = 0;
};
constexpr size_t kStampSize = sizeof(MessageStamp);

// Bytes before the pattern: a message too short for a stamp is all pattern.
constexpr size_t pattern_start(size_t message_size) {
  return message_size >= kStampSize ? kStampSize : 0;
}

void write_stamp(const MessageStamp& stamp, void* message);
// The first piece of a message with a stamp always holds the whole stamp or the stamp is gathered.
MessageStamp read_stamp(std::span<const MachnetIovec_t> pieces);

void fill_pattern(uint64_t sequence, size_t message_size, std::span<const MachnetIovec_t> pieces);
bool check_pattern(uint64_t sequence, size_t message_size, std::span<const MachnetIovec_t> pieces);

}  // namespace mn::tools
