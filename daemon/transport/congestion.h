// SPDX-License-Identifier: MIT
// Congestion: how many packets of a flow may be in flight. A small object inside each flow, one
// thread: it sees acknowledgements with their delay, losses and timeouts, and answers with a
// window. Which control does that is chosen per engine; they are plain structs in a union, because
// a virtual call and an allocation per flow would cost more than most of them do. A window below
// one packet is a pause between packets, which the caller's timer ends (release).
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"
#include "transport/congestion_kind.h"
#include "transport/congestion_sample.h"
#include "transport/cubic.h"
#include "transport/swift.h"

namespace mn::transport {

class Congestion {
 public:
  Congestion() : swift_() {}

  void start(CongestionKind kind, Instant now, uint32_t window_max);

  // Whole packets; 0: paced, and the time has not come.
  uint32_t window_packets() const { return window_packets_; }
  // The window held the sender back.
  void on_filled(Instant now) { filled_at_ = now; }

  // `sample.filled` is ours to know.
  void on_ack(const AckSample& sample, const RttEstimator& estimator) {
    if (kind_ != CongestionKind::kFixed) steer(sample, estimator);
  }
  // Packets sent before belong to losses that were answered.
  Instant reduced_at() const {
    return kind_ == CongestionKind::kSwift   ? swift_.reduced_at()
           : kind_ == CongestionKind::kCubic ? cubic_.reduced_at()
                                             : Instant{};
  }
  // Sent after reduced_at.
  void on_loss(Instant now, uint32_t lost_packets);
  // While losses are repaired, after each search for losses: the window follows what is delivered.
  // Only Cubic reduces its window in one step for a loss: Swift's reduction is the share that was
  // lost, which is no longer in flight either.
  bool recovers() const { return kind_ == CongestionKind::kCubic && cubic_.recovers(); }
  void recover(const Flight& flight) {
    window_packets_ = static_cast<uint16_t>(cubic_.recover(flight));
  }
  // `n`: in a row.
  void on_timeout(Instant now, uint32_t n);
  // So many packets that had been taken for lost were only late.
  void on_spurious(uint32_t packets);

  // After on_ack. The pause before the next packet; 0: none.
  bool waits() const { return window_packets_ == 0; }
  Duration pause() const { return pause_; }
  void release() { window_packets_ = std::max<uint16_t>(window_packets_, 1); }

 private:
  float window() const {
    return kind_ == CongestionKind::kSwift ? swift_.window() : cubic_.window();
  }
  void steer(AckSample sample, const RttEstimator& estimator);
  void apply(float window, Duration round_trip);

  uint16_t window_packets_ = 1;
  CongestionKind kind_ = CongestionKind::kFixed;
  Instant filled_at_;
  Duration pause_{};
  union {
    Swift swift_;
    Cubic cubic_;
  };
};

}  // namespace mn::transport
