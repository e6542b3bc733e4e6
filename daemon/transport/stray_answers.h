// SPDX-License-Identifier: MIT
// StrayAnswers: answers to packets that belong to no flow, kept for the next transmit: resets, of
// which there are few a second, and the cookies that openers must return while handshakes are many
// (RFC 4987 section 3.6). No state is kept for whoever asked. One thread.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/time.h"

namespace mn::transport {

struct TransmitView;

struct StrayReset {
  FourTuple tuple;
  uint32_t path;
  uint32_t tag;
  uint32_t sequence;
  uint8_t flags;
};

struct StrayCookie {
  FourTuple tuple;
  uint32_t path;
  uint32_t tag;  // the opener's
  uint32_t ack;  // the opener's first sequence number
  uint64_t cookie;
};

class StrayAnswers {
 public:
  // Dropped when there are too many: whoever forges packets gets few resets, and no more cookies
  // than leave before more are asked for. A cookie is as long as what asked for it.
  void queue_reset(Instant now, const StrayReset& reset);
  void queue_cookie(const StrayCookie& cookie);

  bool empty() const { return count_ == 0; }
  // Not empty. `mss`: of this host.
  void transmit(Instant now, uint16_t mss, TransmitView* view);

 private:
  struct Waiting {
    FourTuple tuple;
    uint32_t path;
    uint32_t tag;
    uint32_t number;
    uint8_t flags;
    uint64_t cookie;  // 0: a reset
  };
  static constexpr uint32_t kWaitingMax = 64;
  static constexpr uint32_t kBurst = 128;                 // resets
  static constexpr Duration kInterval = milliseconds(1);  // one more

  void push(const Waiting& answer);

  Waiting waiting_[kWaitingMax] = {};
  uint32_t head_ = 0;
  uint32_t count_ = 0;
  uint32_t tokens_ = kBurst;
  Instant refilled_at_{};
};

}  // namespace mn::transport
