// SPDX-License-Identifier: MIT
#include "transport/swift.h"

#include <algorithm>

#include "transport/roots.h"

namespace mn::transport {

namespace {

// Below it a flow hears of the network too seldom to find back: a path that jitters by more than
// the target would keep it there. The paper goes down to 0.001, for incast that a tenth still
// serves.
constexpr float kWindowMin = 0.1F;
constexpr Duration kSilenceMax = milliseconds(10);  // between packets; a round trip if that is more
constexpr float kWindowFirst = 10;                  // RFC 6928
constexpr float kIncrease = 1;                      // packets per round trip
constexpr float kIncreaseShare = 0.25F;  // of a window of few packets, at most, per round trip
// Of the window in an epoch, where growing was found to lose packets.
constexpr float kIncreasePoliced = 1.0F / 128;
constexpr int kDoublingEpochs = 2;  // without losses
constexpr int kDoublingsMax = 6;
constexpr float kBeta = 0.8F;
constexpr float kDecreaseMax = 0.5F;

// The queue that is wanted: short beside the path, long beside what interrupts and schedulers of
// hosts add to an empty one.
constexpr int64_t kQueueMin = 50'000;
constexpr int64_t kQueueMax = 5'000'000;
// Mean deviations of the round trip that hosts which are late now and then may add to the target.
// A queue that has not been short for so many round trips stands, and its changes are no noise; nor
// are those that many flows make, whose windows are small: flow scaling has room for these.
constexpr int64_t kNoise = 3;
constexpr uint8_t kStandingRounds = 4;
constexpr float kNoisyWindow = 16;
constexpr uint8_t kSamplesNoisy = 16;
constexpr uint8_t kSamplesMin = 4;  // before delay is judged
constexpr float kScaleRange = 4;    // times the queue, at kScaleWindowMin
constexpr float kScaleWindowMin = 0.1F;
constexpr float kScaleWindowMax = 64;
// An acknowledgement is held for kAckDelayMax on purpose. More: the host is behind with its work.
constexpr int64_t kHostTarget = kAckDelayMax.ns + 200'000;

constexpr float kTolerance = 0.025F;
constexpr float kToleranceMax = 0.3F;
constexpr float kRandomMax = 0.25F;  // a larger share is never taken for random
constexpr float kRandomWindow = 0.25F;
constexpr float kRandomWindowMin = 3;  // packets: the losses of fewer are those of other flows
constexpr float kProbeMax = 0.006F;    // lost, and the window grows all the same
constexpr uint32_t kLossFew = 4;       // says nothing about a share
constexpr uint32_t kLossEpoch = 256;
constexpr uint32_t kHoldFor = 160;  // packets delivered for each lost
constexpr uint32_t kHoldMax = 8192;
constexpr float kHoldRounds = 1024;
constexpr float kCutMin = 0.1F;
constexpr float kCutMax = 0.9F;
constexpr uint8_t kLossyJudgements = 64;  // epochs without losses until they are forgotten

constexpr uint8_t kLookShiftFirst = 15;  // each 1.05 ms of 32 ns, then twice as long each time
constexpr uint8_t kLookShift = 19;       // 16.8 ms
constexpr uint8_t kLookShiftMax = 27;    // 4.3 s
constexpr int64_t kLookRounds = 128;     // at least
constexpr uint8_t kDrainRounds = 2;
constexpr float kDrainShare = 0.125F;

int64_t queue_wanted(int64_t base_ns) { return std::clamp(base_ns / 8, kQueueMin, kQueueMax); }

uint32_t clamped(int64_t ns) {
  return static_cast<uint32_t>(std::clamp<int64_t>(ns, 1, UINT32_MAX - 1));
}

}  // namespace

void Swift::start(Instant now, uint32_t window_max) {
  *this = Swift{};
  window_max_ = host_window_ = slow_start_max_ = static_cast<float>(window_max);
  window_ = std::min(kWindowFirst, window_max_);
  tolerance_ = kTolerance;
  round_end_ = now;
  look_shift_ = kLookShiftFirst;
}

float Swift::window() const {
  const float both = std::min(window_, host_window_);
  return __builtin_expect(draining_ > 0, 0) ? std::max(both * kDrainShare, std::min(both, 0.5F))
                                            : both;
}

bool Swift::on_ack(const AckSample& sample, const RttEstimator& rtt) {
  delivered_ += sample.acked_packets;
  if (__builtin_expect(hold_ > 0, 0)) hold_ -= std::min(hold_, sample.acked_packets);
  if (__builtin_expect(sample.rtt.ns == 0, 0)) return false;
  const uint32_t delay_ns = clamped(sample.rtt.ns);
  round_min_ns_ = std::min(round_min_ns_, delay_ns);
  samples_ = static_cast<uint8_t>(samples_ + (samples_ < kSamplesNoisy));
  bool changed = false;
  const bool may_grow = slow_start_ ? !is_long(delay_ns) : delay_ns < target_ns_ && hold_ == 0;
  if (sample.filled && window_ < window_max_ && may_grow && draining_ == 0) {
    grow(sample.acked_packets);
    changed = true;
  }
  if (sample.now < round_end_) return changed;
  return end_round(sample, rtt) || changed;
}

void Swift::grow(uint32_t acked) {
  const auto packets = static_cast<float>(acked);
  if (slow_start_) {
    window_ += packets;
    if (window_ >= slow_start_max_) slow_start_ = false;
  } else if (__builtin_expect(policed_, 0)) {
    // By packets delivered, not by round trips: of a small window many pass before losses are seen.
    // Slowly, and faster the longer nothing was lost.
    const int doublings = std::min((kLossyJudgements - lossy_) / kDoublingEpochs, kDoublingsMax);
    const float share = kIncreasePoliced * static_cast<float>(1 << doublings);
    window_ += window_ * share * packets / kLossEpoch;
  } else {
    // A packet per round trip would double a window of one, and 100 such flows the load.
    const float increase = std::min(kIncrease, window_ * kIncreaseShare);
    window_ += increase * packets / std::max(window_, 1.0F);
  }
  window_ = std::min(window_, window_max_);
}

uint32_t Swift::hold_max() const { return static_cast<uint32_t>(kHoldRounds * window_); }

void Swift::shrink(float factor) { window_ = std::max(window_ * factor, kWindowMin); }

bool Swift::end_round(const AckSample& sample, const RttEstimator& rtt) {
  const uint32_t base_ns = clamped(rtt.min().ns);
  if (round_min_ns_ - base_ns <= static_cast<uint32_t>(queue_wanted(base_ns))) {
    if (draining_ == 0) full_rounds_ = 0;
  } else if (full_rounds_ < UINT8_MAX) {
    full_rounds_++;
  }
  // Nearly always: no queue, no losses, nothing to learn. A smaller window moves its own target.
  const bool quiet = window_ >= kScaleWindowMax && full_rounds_ == 0 &&
                     round_min_ns_ <= target_ns_ && lost_ == 0 && base_ns == base_ns_ &&
                     delivered_ < kLossEpoch && sample.receiver_delay.ns <= kHostTarget &&
                     host_window_ >= window_max_ && draining_ == 0 &&
                     !crosses_epoch(sample.peer_time);
  round_end_ = sample.now + sample.rtt;
  if (__builtin_expect(quiet, 1)) {
    peer_time_ = sample.peer_time;
    round_min_ns_ = UINT32_MAX;
    samples_ = 0;
    return false;
  }
  if (loss_recent_ > 0) loss_recent_--;
  aim(rtt);
  // Fractions of packets count: 1.5 is one packet in every other round trip, and two in the rest.
  dither_ += 0.382F;
  if (dither_ >= 1) dither_ -= 1;
  judge_losses(sample.now);
  if (draining_ > 0) {
    draining_--;
    round_min_ns_ = UINT32_MAX;
    samples_ = 0;
  } else if (!look_for_base(sample) && samples_ >= samples_wanted(rtt)) {
    judge_delay(sample);
    round_min_ns_ = UINT32_MAX;
    samples_ = 0;
  }
  // Where a round trip is long, less than a packet in each would be next to nothing.
  const float packets = static_cast<float>(rtt.smoothed().ns) / static_cast<float>(kSilenceMax.ns);
  window_ = std::max(window_, std::min(packets, 1.0F));
  peer_time_ = sample.peer_time;
  aim(rtt);
  return true;
}

void Swift::judge_delay(const AckSample& sample) {
  if (is_long(round_min_ns_)) slow_start_ = false;
  if (round_min_ns_ > target_ns_ && target_ns_ != 0) {
    const auto delay = static_cast<float>(round_min_ns_);
    const float excess = (delay - static_cast<float>(target_ns_)) / delay;
    // Below one packet only while packets are lost, too: the delay of a window of one may well be
    // that of hosts, and then a smaller one would not shorten it.
    const float least = loss_recent_ > 0 ? kWindowMin : std::min(window_, 1.0F);
    window_ = std::max(window_ * (1 - std::min(kBeta * excess, kDecreaseMax)), least);
    hold_ = std::min(hold_, hold_max());
  }
  const auto hold_ns = static_cast<float>(sample.receiver_delay.ns);
  if (sample.receiver_delay.ns > kHostTarget) {
    const float excess = (hold_ns - static_cast<float>(kHostTarget)) / hold_ns;
    host_window_ = std::min(host_window_, std::max(window_, 2.0F));
    host_window_ = std::max(host_window_ * (1 - std::min(kBeta * excess, kDecreaseMax)), 1.0F);
  } else {
    host_window_ = std::min(host_window_ + std::max(1.0F, host_window_ / 8), window_max_);
  }
}

void Swift::judge_losses(Instant now) {
  if (settling_) {
    settling_ = false;
    delivered_ = lost_ = 0;
    return;
  }
  if (lost_ > 0 && !ripe_) {
    ripe_ = true;
    return;
  }
  const uint32_t total = delivered_ + lost_;
  const auto lost = static_cast<float>(lost_);
  const float share = total == 0 ? 0 : lost / static_cast<float>(total);
  if (lost > static_cast<float>(kLossFew) + tolerance_ * static_cast<float>(total)) {
    cut(now, share);
  } else if (total < kLossEpoch) {
    return;
  } else {
    if (lossy_ > 0 && share <= kProbeMax && --lossy_ == 0) policed_ = false;
    tolerance_ = std::max(kTolerance, std::min(tolerance_, (tolerance_ * 3 + 2 * share) / 4));
    // Perhaps it is our growth after all: slower. Where it was not long ago, back.
    if (share > kProbeMax) {
      hold_ = std::max(hold_, kLossEpoch / 2);
      if (policed_ && !is_random(share)) {
        shrink(1 - 2 * share);
        lossy_ = kLossyJudgements;
      }
    }
  }
  delivered_ = lost_ = 0;
}

// A much smaller window loses as large a share, and there is no queue: it is not ours to avoid, and
// is tolerated from now on.
bool Swift::is_random(float share) {
  if (window_ > series_window_ / 2) series_share_ = std::min(series_share_, share);
  if (is_long(round_min_ns_) || window_ < kRandomWindowMin ||
      window_ > series_window_ * kRandomWindow || share > kRandomMax ||
      share * 3 < series_share_ * 2) {
    return false;
  }
  tolerance_ = std::min(kToleranceMax, 1.5F * share + 0.01F);
  window_ = series_window_;
  series_window_ = 0;
  policed_ = false;
  hold_ = 0;
  return true;
}

void Swift::cut(Instant now, float share) {
  slow_start_ = false;
  lossy_ = kLossyJudgements;
  if (!policed_ || series_window_ == 0) {
    series_window_ = window_;
    series_share_ = share;
  }
  if (is_random(share)) return;
  window_before_ = window_;
  // To less than a packet each round trip only in steps.
  const float least = window_ > 1 ? 1 : kWindowMin;
  window_ = std::max(window_ * (1 - std::clamp(1.2F * share, kCutMin, kCutMax)), least);
  hold_ = std::min({kHoldFor * lost_, kHoldMax, hold_max()});
  if (is_long(round_min_ns_)) {
    hold_ = 0;  // the delay will say when there is room again
  } else {
    policed_ = true;
  }
  reduced_at_ = now;
  settling_ = true;
}

void Swift::on_timeout(Instant now, uint32_t n) {
  if (n <= 1) {
    window_before_ = window_;
    shrink(kDecreaseMax);
    slow_start_max_ = window_;
  } else {
    // Whatever was known about the path is old.
    window_ = std::min(window_, 1.0F);
    slow_start_ = true;
  }
  delivered_ = lost_ = 0;
  draining_ = 0;
  round_end_ = reduced_at_ = now;
}

void Swift::on_spurious(uint32_t packets) {
  lost_ -= std::min(lost_, packets);
  if (window_before_ == 0) return;
  window_ = std::max(window_, window_before_);
  window_before_ = 0;
  hold_ = 0;
  settling_ = false;
}

// What late hosts add to round trips.
int64_t Swift::noise_ns(const RttEstimator& rtt) const {
  if (full_rounds_ >= kStandingRounds || window_ < kNoisyWindow) return 0;
  return std::min(kNoise * rtt.variation().ns, kQueueMax);
}

uint8_t Swift::samples_wanted(const RttEstimator& rtt) const {
  const bool noisy = !slow_start_ && noise_ns(rtt) > queue_wanted(base_ns_);
  return noisy ? kSamplesNoisy : kSamplesMin;
}

// The target for the window as it is now.
void Swift::aim(const RttEstimator& rtt) {
  base_ns_ = clamped(rtt.min().ns);
  const auto queue = static_cast<float>(std::max(queue_wanted(base_ns_), noise_ns(rtt)));
  constexpr float kAtMin = 3.1622777F;  // 1 / sqrt(kScaleWindowMin)
  constexpr float kAtMax = 0.125F;      // 1 / sqrt(kScaleWindowMax)
  static_assert(kAtMax * kAtMax * kScaleWindowMax == 1);
  static_assert(kAtMin * kAtMin * kScaleWindowMin > 0.99999F &&
                kAtMin * kAtMin * kScaleWindowMin < 1.00001F);
  const float scale = (1 / square_root(window_) - kAtMax) / (kAtMin - kAtMax);
  const float scaled = std::clamp(scale, 0.0F, 1.0F) * kScaleRange * queue;
  target_ns_ = clamped(int64_t{base_ns_} + static_cast<int64_t>(queue + scaled));
}

// True: for the next round trips the window is small, so that an empty queue shows.
bool Swift::look_for_base(const AckSample& sample) {
  if (!crosses_epoch(sample.peer_time)) return false;
  if (look_shift_ < kLookShift ||
      (look_shift_ < kLookShiftMax &&
       (int64_t{32} << look_shift_) < int64_t{base_ns_} * kLookRounds)) {
    look_shift_++;
  }
  if (!sample.filled || slow_start_) return false;
  draining_ = kDrainRounds;
  return true;
}

}  // namespace mn::transport
