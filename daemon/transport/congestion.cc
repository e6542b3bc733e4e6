// SPDX-License-Identifier: MIT
#include "transport/congestion.h"

#include <new>

namespace mn::transport {

namespace {

// The longest pause of a paced flow, beyond its round trip: a peer is asked often enough to notice
// that it lives, and that the path is free again.
constexpr Duration kPauseMax = milliseconds(20);

}  // namespace

void Congestion::start(CongestionKind kind, Instant now, uint32_t window_max) {
  kind_ = kind;
  pause_ = {};
  switch (kind) {
    case CongestionKind::kSwift:
      new (&swift_) Swift;
      swift_.start(now, window_max);
      window_packets_ = static_cast<uint16_t>(swift_.window());
      return;
    case CongestionKind::kCubic:
      new (&cubic_) Cubic;
      cubic_.start(window_max);
      window_packets_ = static_cast<uint16_t>(cubic_.window());
      return;
    case CongestionKind::kFixed:
      window_packets_ = static_cast<uint16_t>(window_max);
      return;
  }
}

void Congestion::apply(float window, Duration round_trip) {
  if (__builtin_expect(window >= 1, 1)) {
    const float dither = kind_ == CongestionKind::kSwift ? swift_.dither() : 0;
    window_packets_ = static_cast<uint16_t>(window + dither);
    pause_ = {};
    return;
  }
  // One packet each round_trip / window: an acknowledgement comes after a round trip, the pause is
  // the rest.
  const auto trip = static_cast<float>(round_trip.ns);
  pause_ = std::min(Duration{static_cast<int64_t>(trip / window - trip)}, kPauseMax);
  window_packets_ = pause_.ns > 0 ? 0 : 1;
}

void Congestion::steer(AckSample sample, const RttEstimator& estimator) {
  sample.filled = sample.now - filled_at_ <= estimator.smoothed() * 2;
  const bool changed = kind_ == CongestionKind::kSwift ? swift_.on_ack(sample, estimator)
                                                       : cubic_.on_ack(sample, estimator);
  if (changed || __builtin_expect(pause_.ns > 0, 0)) apply(window(), estimator.smoothed());
}

void Congestion::on_loss(Instant now, uint32_t lost_packets) {
  if (kind_ == CongestionKind::kSwift) swift_.on_loss(lost_packets);
  if (kind_ != CongestionKind::kCubic) return;
  cubic_.on_loss(now);
  window_packets_ = static_cast<uint16_t>(cubic_.window());
}

void Congestion::on_timeout(Instant now, uint32_t n) {
  if (kind_ == CongestionKind::kFixed) return;
  if (kind_ == CongestionKind::kSwift) {
    swift_.on_timeout(now, n);
  } else {
    cubic_.on_timeout(now, n);
  }
  // The timeout was pause enough.
  window_packets_ = static_cast<uint16_t>(std::max(window(), 1.0F));
}

void Congestion::on_spurious(uint32_t packets) {
  if (kind_ == CongestionKind::kFixed) return;
  if (kind_ == CongestionKind::kSwift) {
    swift_.on_spurious(packets);
  } else {
    cubic_.on_spurious(packets);
  }
  window_packets_ = std::max(window_packets_, static_cast<uint16_t>(window()));
}

}  // namespace mn::transport
