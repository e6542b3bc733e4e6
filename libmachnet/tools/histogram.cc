// SPDX-License-Identifier: MIT
#include "libmachnet/tools/histogram.h"

#include <cmath>

namespace mn::tools {

double HistogramSnapshot::mean_ns() const {
  return count_ == 0 ? 0.0 : static_cast<double>(sum_ns_) / static_cast<double>(count_);
}

uint64_t HistogramSnapshot::percentile_ns(double fraction) const {
  if (count_ == 0) return 0;
  uint64_t wanted = static_cast<uint64_t>(std::ceil(fraction * static_cast<double>(count_)));
  if (wanted == 0) wanted = 1;
  if (wanted > count_) wanted = count_;
  uint64_t seen = 0;
  for (size_t bucket = 0; bucket < counts_.size(); bucket++) {
    seen += counts_[bucket];
    if (seen >= wanted) return Histogram::bucket_limit(bucket);
  }
  return Histogram::bucket_limit(counts_.size() - 1);
}

void HistogramSnapshot::add(const HistogramSnapshot& other) {
  for (size_t i = 0; i < counts_.size(); i++) counts_[i] += other.counts_[i];
  count_ += other.count_;
  sum_ns_ += other.sum_ns_;
}

void HistogramSnapshot::subtract(const HistogramSnapshot& earlier) {
  for (size_t i = 0; i < counts_.size(); i++) counts_[i] -= earlier.counts_[i];
  count_ -= earlier.count_;
  sum_ns_ -= earlier.sum_ns_;
}

HistogramSnapshot Histogram::snapshot() const {
  HistogramSnapshot copy;
  for (size_t i = 0; i < counts_.size(); i++) {
    copy.counts_[i] = counts_[i].load(std::memory_order_relaxed);
    copy.count_ += copy.counts_[i];
  }
  copy.sum_ns_ = sum_ns_.load(std::memory_order_relaxed);
  return copy;
}

uint64_t Histogram::bucket_limit(size_t bucket) {
  const uint64_t steps = uint64_t{1} << kHistogramStepBits;
  if (bucket < steps) return bucket;
  const unsigned shift = static_cast<unsigned>(bucket >> kHistogramStepBits) - 1;
  const uint64_t step = bucket & (steps - 1);
  return ((steps + step + 1) << shift) - 1;
}

}  // namespace mn::tools
