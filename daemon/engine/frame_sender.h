// SPDX-License-Identifier: MIT
// FrameSender: the engine's way out to the NIC. Hands out empty frames one at a time, collects the
// filled ones and passes them to the port in bursts: many small frames or a few large ones, so that
// the other side begins with the first while this one still makes the last. What the queue refuses
// is kept and tried again, in order; a queue that takes nothing for kStallLimit loses its frames,
// as a cable would. Engine thread.
#pragma once

#include <array>
#include <cstdint>

#include "base/time.h"
#include "nic/nic_port.h"

namespace mn {

class FrameSender {
 public:
  explicit FrameSender(NicPort* port) : port_(port) {}
  ~FrameSender();
  FrameSender(const FrameSender&) = delete;
  FrameSender& operator=(const FrameSender&) = delete;

  // Where the next frame may be written (MTU + Ethernet header bytes); nullptr: no frame or no room
  // in the queue now. The same place is returned until commit.
  uint8_t* begin(Instant now);
  // The frame at begin() is complete: `length` bytes, padded here to the Ethernet minimum.
  void commit(uint32_t length, bool offload_checksum);
  // The frame that was committed last, as long as it is here; nullptr: none.
  const uint8_t* last() const { return ready_count_ > 0 ? ready_[ready_count_ - 1].data : nullptr; }
  // last() has grown to `length` bytes.
  void extend(uint32_t length) {
    TxFrame& frame = ready_[ready_count_ - 1];
    ready_bytes_ += length - frame.length;
    frame.length = length;
  }
  // Passes everything collected to the port.
  void flush(Instant now);

  bool idle() const { return ready_count_ == 0; }
  uint64_t frames() const { return frames_; }
  uint64_t bytes() const { return bytes_; }
  uint64_t stalled_frames() const { return stalled_frames_; }

 private:
  static constexpr Duration kStallLimit = milliseconds(2);
  static constexpr uint64_t kBurstBytes = 16 * 1024;

  NicPort* port_;
  std::array<TxFrame, kBurstMax> spare_;  // empty frames, the last is next
  std::array<TxFrame, kBurstMax> ready_;  // filled frames, in order
  size_t spare_count_ = 0;
  size_t ready_count_ = 0;
  uint64_t ready_bytes_ = 0;  // since the last flush
  bool stalled_ = false;
  Instant stalled_since_;
  uint64_t frames_ = 0;
  uint64_t bytes_ = 0;
  uint64_t stalled_frames_ = 0;
};

}  // namespace mn
