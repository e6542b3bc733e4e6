// SPDX-License-Identifier: MIT
// gather: the bytes of a TransmitView, one after the other, as they go on the cable. Payload lies
// in memory that an application may write to at any time, so gather_and_sum reads each byte once:
// what is summed is what is sent.
#pragma once

#include <cstdint>
#include <cstring>

#include "transport/transport.h"
#include "wire/checksum.h"

namespace mn {

// Writes header, table and pieces to `out`; returns the byte after the last one.
inline uint8_t* gather(const transport::TransmitView& view, uint8_t* out) {
  memcpy(out, view.header.data(), view.header_size);
  out += view.header_size;
  if (view.table_size > 0) {
    memcpy(out, view.table.data(), view.table_size);
    out += view.table_size;
  }
  for (size_t i = 0; i < view.piece_count; i++) {
    const auto& piece = view.pieces[i];
    memcpy(out, piece.data, piece.length);
    out += piece.length;
    for (uint16_t pad = 0; pad < piece.pad; pad++) *out++ = 0;
  }
  return out;
}

// The same, and adds the bytes to `sum`.
inline uint8_t* gather_and_sum(const transport::TransmitView& view, uint8_t* out,
                               wire::InternetSum* sum) {
  const auto add = [&](const uint8_t* bytes, size_t size) {
    sum->add_copy(out, {bytes, size});
    out += size;
  };
  add(view.header.data(), view.header_size);
  if (view.table_size > 0) add(view.table.data(), view.table_size);
  for (size_t i = 0; i < view.piece_count; i++) {
    const auto& piece = view.pieces[i];
    add(piece.data, piece.length);
    for (uint16_t pad = 0; pad < piece.pad; pad++) *out++ = 0;
    sum->add_zeros(piece.pad);
  }
  return out;
}

}  // namespace mn
