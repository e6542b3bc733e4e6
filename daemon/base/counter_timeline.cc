// SPDX-License-Identifier: MIT
#include "base/counter_timeline.h"

#include <algorithm>

namespace mn {

namespace {

// 100 MHz to 10 GHz, in 2^-32 ns for a tick: nothing else counts a processor's cycles.
constexpr uint64_t kRateMin = (uint64_t{1} << 32) / 10;
constexpr uint64_t kRateMax = (uint64_t{1} << 32) * 10;
// What a rate may be wrong by before it is a jump, in ticks of a thousand; time servers steer the
// kernel's clock by half of that at most.
constexpr int64_t kDriftPart = 1000;
constexpr uint64_t kTicksMax = uint64_t{1} << 60;  // more: the counter went back

}  // namespace

Instant CounterTimeline::correct(uint64_t ticks, Instant kernel) {
  if (has_given_up()) return kernel_time(kernel);
  if (!anchored_) return restart(ticks, kernel);
  if (!uses_counter()) return measure(ticks, kernel);

  const uint64_t elapsed = ticks - base_ticks_;
  if (elapsed > kTicksMax) return step(ticks, kernel);
  // After its time the working off would do more than it should: asleep, nobody ended it.
  const uint64_t slewed = std::min(elapsed, valid_ticks_);
  const Duration passed{ticks_to_ns(slewed, rate_) + ticks_to_ns(elapsed - slewed, measured_)};
  const Duration error = kernel - Instant{base_ns_} - passed;
  const Duration most = kSlewMax + passed / kDriftPart;
  if (error > most || error < Duration{} - most) return step(ticks, kernel);
  steps_in_row_ = 0;
  if (kernel.ns - anchor_ns_ >= kMeasureMin.ns && !take_rate(ticks, kernel)) {
    return step(ticks, kernel);
  }
  return run_on(ticks, std::max(base_ns_ + passed.ns, last_ns_), error);
}

// Until there is enough for a rate the kernel's clock is the time.
Instant CounterTimeline::measure(uint64_t ticks, Instant kernel) {
  if (kernel.ns - anchor_ns_ < kMeasureMin.ns) return kernel_time(kernel);
  if (!take_rate(ticks, kernel)) return step(ticks, kernel);
  const Instant now = kernel_time(kernel);
  return run_on(ticks, now.ns, kernel - now);
}

// From the anchor to here, which is the next anchor. False: no counter of cycles does that.
bool CounterTimeline::take_rate(uint64_t ticks, Instant kernel) {
  const uint64_t counted = ticks - anchor_ticks_;
  const auto ns = static_cast<uint64_t>(kernel.ns - anchor_ns_);
  if (counted == 0 || counted > kTicksMax) return false;
  const Wide rate = (static_cast<Wide>(ns) << kRateBits) / counted;
  if (rate < kRateMin || rate > kRateMax) return false;
  measured_ = static_cast<uint64_t>(rate);
  anchor_ticks_ = ticks;
  anchor_ns_ = kernel.ns;
  return true;
}

// Goes on from (`ticks`, `ns`) with the measured rate, and works `error` off until the next check.
Instant CounterTimeline::run_on(uint64_t ticks, int64_t ns, Duration error) {
  const int64_t slew = std::clamp(error.ns, -kSlewMax.ns, kSlewMax.ns);
  const auto wanted = static_cast<Wide>(kCheckPeriod.ns + slew);
  base_ticks_ = ticks;
  base_ns_ = last_ns_ = ns;
  rate_ = static_cast<uint64_t>(measured_ * wanted / static_cast<uint64_t>(kCheckPeriod.ns));
  valid_ticks_ = (static_cast<uint64_t>(kCheckPeriod.ns) << kRateBits) / measured_;
  return {ns};
}

Instant CounterTimeline::step(uint64_t ticks, Instant kernel) {
  steps_++;
  steps_in_row_++;
  return restart(ticks, kernel);
}

Instant CounterTimeline::restart(uint64_t ticks, Instant kernel) {
  anchored_ = true;
  anchor_ticks_ = ticks;
  anchor_ns_ = kernel.ns;
  valid_ticks_ = 0;
  return kernel_time(kernel);
}

// Where the counter had run ahead the time stands still until the kernel's clock is there.
Instant CounterTimeline::kernel_time(Instant kernel) {
  last_ns_ = std::max(last_ns_, kernel.ns);
  return {last_ns_};
}

}  // namespace mn
