// SPDX-License-Identifier: MIT
#include "wire/bundle.h"

#include "wire/bytes.h"

namespace mn::wire {

bool bundle_ok(std::span<const uint8_t> payload, size_t count) {
  if (count == 0 || count > kBundleMessagesMax) return false;
  size_t end = bundle_table_size(count);
  if (end > payload.size()) return false;
  // At most 255 lengths of 16 bits: the sum cannot overflow, so one comparison at the end is
  // enough.
  bool all_full = true;
  for (size_t i = 0; i < count; i++) {
    const size_t length = load_be16(payload.data() + 2 * i);
    all_full &= length != 0;
    end = bundle_align(end) + length;
  }
  return all_full && end == payload.size();
}

}  // namespace mn::wire
