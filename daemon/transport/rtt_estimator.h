// SPDX-License-Identifier: MIT
// RttEstimator: smoothed round-trip time, its variation and the retransmission timeout (RFC 6298),
// and the smallest recent round trip (the measure of reordering, RFC 8985). Samples come from
// timestamp echoes, so a sample of a retransmitted packet is as good as any (RFC 7323 section 4).
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace mn::transport {

constexpr Duration kAckDelayMax = microseconds(100);  // an acknowledgement is held no longer
constexpr Duration kRtoMin = milliseconds(1);
constexpr Duration kRtoMax = milliseconds(500);
constexpr Duration kRtoInitial = milliseconds(10);  // no sample yet
constexpr Duration kTailProbeMin = microseconds(200);

class RttEstimator {
 public:
  void on_sample(Instant now, Duration rtt) {
    if (smoothed_.ns == 0) {
      smoothed_ = rtt;
      variation_ = rtt / 2;
    } else {
      const int64_t error = rtt.ns - smoothed_.ns;
      variation_.ns += ((error < 0 ? -error : error) - variation_.ns) / 4;
      smoothed_.ns += error / 8;
      if (smoothed_.ns <= 0) smoothed_.ns = 1;
    }
    if (rtt <= min_ || now - min_at_ > kMinLifetime || min_.ns == 0) {
      min_ = rtt;
      min_at_ = now;
    } else if (rtt.ns <= min_.ns + min_.ns / 8 + kMinSlack.ns) {
      min_at_ = now;  // the path is what it was
    }
    const Duration spread{std::max<int64_t>(4 * variation_.ns, 1000)};
    rto_ = std::clamp(smoothed_ + spread + kAckDelayMax, kRtoMin, kRtoMax);
    // Twice the round trip (RFC 8985 section 7.2), more where the round trip varies (RFC 9002
    // section 6.2.1), and never beyond the timeout that would do the same with more effect.
    const Duration wait{std::max(2 * smoothed_.ns, smoothed_.ns + spread.ns)};
    tail_probe_ = std::min(std::max(wait + kAckDelayMax, kTailProbeMin), rto_);
  }

  bool has_sample() const { return smoothed_.ns != 0; }
  Duration smoothed() const { return smoothed_; }
  Duration variation() const { return variation_; }
  Duration min() const { return min_; }
  Instant min_at() const { return min_at_; }  // when it was last seen, about
  Duration rto() const { return rto_; }
  Duration tail_probe() const { return tail_probe_; }  // how long without an ack before a probe

 private:
  static constexpr Duration kMinLifetime = seconds(10);  // a route may get longer
  static constexpr Duration kMinSlack = microseconds(2);

  Duration smoothed_{};
  Duration variation_{};
  Duration min_{};
  Instant min_at_{};
  Duration rto_ = kRtoInitial;
  Duration tail_probe_ = kRtoInitial;
};

}  // namespace mn::transport
