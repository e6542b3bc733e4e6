// SPDX-License-Identifier: MIT
#include "transport/cubic.h"

#include <algorithm>

#include "transport/roots.h"

namespace mn::transport {

namespace {

// RFC 9438 section 4; windows in packets, times in seconds.
constexpr float kC = 0.4F;
constexpr float kBeta = 0.7F;
constexpr float kRenoIncrease = 3 * (1 - kBeta) / (1 + kBeta);
constexpr float kWindowMin = 2;
constexpr float kWindowFirst = 10;  // RFC 6928

float seconds_of(Duration d) { return static_cast<float>(d.ns) * 1e-9F; }

}  // namespace

void Cubic::start(uint32_t window_max) {
  *this = Cubic{};
  window_max_ = threshold_ = static_cast<float>(window_max);
  window_ = std::min(kWindowFirst, window_max_);
}

bool Cubic::on_ack(const AckSample& sample, const RttEstimator& rtt) {
  if (recovers()) {
    if (sample.holes) return false;
    recovery_ = Recovery::kNone;
    return true;
  }
  if (!sample.filled || window_ >= window_max_) return false;
  const auto packets = static_cast<float>(sample.acked_packets);
  if (window_ < threshold_) {
    window_ = std::min(window_ + packets, threshold_);
    return true;
  }
  if (!counting_) {
    counting_ = true;
    since_ = sample.now;
    reno_ = window_;
    peak_ = std::max(peak_, window_);
    plateau_s_ = cube_root((peak_ - window_) / kC);
  }
  const float t = seconds_of(sample.now - since_ + rtt.smoothed()) - plateau_s_;
  const float aim = std::clamp(kC * t * t * t + peak_, window_, 1.5F * window_);
  reno_ += (reno_ < peak_ ? kRenoIncrease : 1.0F) * packets / window_;
  window_ += (aim - window_) / window_ * packets;
  window_ = std::min(std::max(window_, reno_), window_max_);
  return true;
}

void Cubic::reduce(Instant now) {
  // Fast convergence: a flow that loses before its former peak gives room.
  peak_ = window_ < peak_ ? window_ * (1 + kBeta) / 2 : window_;
  before_ = window_;
  threshold_ = std::max(window_ * kBeta, kWindowMin);
  counting_ = false;
  reduced_at_ = now;
}

void Cubic::on_loss(Instant now) {
  reduce(now);
  window_ = std::min(window_, threshold_);
  recovery_ = Recovery::kNew;
  suspects_ = 0;
}

uint32_t Cubic::recover(const Flight& flight) {
  const auto target = static_cast<uint32_t>(window_);
  if (recovery_ == Recovery::kNew) prr_.start(target, flight);
  recovery_ = Recovery::kRunning;
  suspects_ += flight.lost;
  const uint32_t packets = prr_.window(flight);
  // The round trip of the loss is over (as in RFC 9002 section 7.3.2), and what is in flight has
  // grown to the window: no burst can follow.
  if (!flight.answered || packets < target) return packets;
  recovery_ = Recovery::kNone;
  return target;
}

void Cubic::on_timeout(Instant now, uint32_t n) {
  if (n <= 1) reduce(now);
  suspects_ = 1;
  window_ = std::min(window_, 1.0F);
  recovery_ = Recovery::kNone;
}

void Cubic::on_spurious(uint32_t packets) {
  suspects_ -= std::min(suspects_, packets);
  if (suspects_ > 0 || before_ == 0) return;
  window_ = std::max(window_, before_);
  threshold_ = std::max(threshold_, window_);
  before_ = 0;
  counting_ = false;
  recovery_ = Recovery::kNone;
}

}  // namespace mn::transport
