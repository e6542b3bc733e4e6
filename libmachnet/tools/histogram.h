// SPDX-License-Identifier: MIT
// Histogram: counts of durations in nanoseconds on a log-linear scale: 128 steps for each power of
// two, so a percentile is wrong by less than 1 %. One thread records; any other may take a snapshot
// at the same time and subtract an earlier one, so recording needs no lock and no reset.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mn::tools {

constexpr unsigned kHistogramStepBits = 7;
constexpr unsigned kHistogramValueBits =
    40;  // values from 2^40 ns (18 minutes) on share the last bucket
constexpr size_t kHistogramBuckets =
    (kHistogramValueBits - kHistogramStepBits + 1) * (size_t{1} << kHistogramStepBits);

// Plain counts, added and subtracted at will.
class HistogramSnapshot {
 public:
  HistogramSnapshot() : counts_(kHistogramBuckets, 0) {}

  uint64_t count() const { return count_; }
  double mean_ns() const;
  // The value that `fraction` (0..1) of the recorded ones do not exceed; 0 when nothing was
  // recorded.
  uint64_t percentile_ns(double fraction) const;
  uint64_t max_ns() const { return percentile_ns(1.0); }

  void add(const HistogramSnapshot& other);
  void subtract(const HistogramSnapshot& earlier);

 private:
  friend class Histogram;
  std::vector<uint64_t> counts_;
  uint64_t count_ = 0;
  uint64_t sum_ns_ = 0;
};

class Histogram {
 public:
  void record(uint64_t value_ns) {
    bump(counts_[bucket_of(value_ns)], 1);
    bump(sum_ns_, value_ns);
  }
  HistogramSnapshot snapshot() const;

  static size_t bucket_of(uint64_t value_ns) {
    if (value_ns >= (uint64_t{1} << kHistogramValueBits)) return kHistogramBuckets - 1;
    if (value_ns < (uint64_t{1} << kHistogramStepBits)) return value_ns;
    const unsigned shift =
        64 - static_cast<unsigned>(__builtin_clzll(value_ns)) - 1 - kHistogramStepBits;
    return ((size_t{shift} + 1) << kHistogramStepBits) +
           ((value_ns >> shift) - (uint64_t{1} << kHistogramStepBits));
  }
  // The largest value that falls into `bucket`.
  static uint64_t bucket_limit(size_t bucket);

 private:
  // One writer: no read-modify-write instruction is needed.
  static void bump(std::atomic<uint64_t>& counter, uint64_t n) {
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  std::array<std::atomic<uint64_t>, kHistogramBuckets> counts_{};
  std::atomic<uint64_t> sum_ns_{0};
};

}  // namespace mn::tools
