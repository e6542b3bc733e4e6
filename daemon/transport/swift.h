// SPDX-License-Identifier: MIT
// Swift: a window steered by delay (Kumar et al., "Swift: Delay is Simple and Effective for
// Congestion Control in the Datacenter", SIGCOMM 2020): it grows by a packet per round trip while
// the delay is below a target and shrinks in proportion to the excess, at most once per round trip;
// the target is higher for small windows (flow scaling), which makes flows fair; windows below one
// packet are paced by the caller. Plain data inside a flow, one thread, no clock.
//
// Where it differs from the paper, because clouds tell neither hops nor hardware timestamps:
// - The base of the target is the smallest round trip seen, not a constant. Now and then the flow
//   drains its own share of the queue for a moment, so that one that came late to a full queue
//   corrects its idea of an empty one (the slowdowns of LEDBAT++). All flows to one host do that
//   at the same moment, or none of many would see anything: they go by the clock in its packets.
// - Delay counts as too long when every sample of a round trip was (as Copa's standing delay): a
//   host that is scheduled late now and then is no congestion.
// - The target has room for the variation of round trips while the queue is short every few of
//   them: hosts that are late are no congestion, and a queue that stands is.
// - Slow start until the first round trip that had a queue throughout (as HyStart, RFC 9406).
// - A few lost packets are no congestion: see on_loss.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "transport/congestion_sample.h"

namespace mn::transport {

class Swift {
 public:
  void start(Instant now, uint32_t window_max);
  // True: window() may have changed.
  bool on_ack(const AckSample& sample, const RttEstimator& rtt);
  // Losses are counted and judged once per round trip. While no more is lost than `tolerance` of
  // what is sent the window stays: a delay-based control needs no losses to find the end of a
  // queue, and random loss says nothing about one. More: the window shrinks by the share that was
  // lost. With a queue, delay does the rest. Without (policers and short queues lose without
  // delaying) the window is at what gets through: it grows slowly, by packets delivered, and each
  // 256 packets of which more than 0.6 % are lost shrink it. If a quarter of the window loses about
  // as large a share the losses are not ours to avoid: the window is restored, and the tolerance
  // raised.
  // Only packets sent after reduced_at count.
  void on_loss(uint32_t lost_packets) {
    if (lost_ == 0) {  // the share counts from the first on, and for a round trip at least
      delivered_ = 0;
      ripe_ = false;
    }
    lost_ += lost_packets;
    loss_recent_ = kLossRecent;
  }
  Instant reduced_at() const { return reduced_at_; }
  // The n-th retransmission timeout in a row.
  void on_timeout(Instant now, uint32_t n);
  // Of what was taken for lost, `packets` had only been late (RFC 4015: the window is restored).
  void on_spurious(uint32_t packets);
  float window() const;
  // What rounds a window of more than a packet to whole ones.
  float dither() const { return dither_; }

 private:
  static constexpr uint8_t kLossRecent = 8;  // round trips

  bool end_round(const AckSample& sample, const RttEstimator& rtt);
  void grow(uint32_t acked);
  void shrink(float factor);
  uint32_t hold_max() const;
  void judge_delay(const AckSample& sample);
  void judge_losses(Instant now);
  // Delay of more than half of the queue that is wanted.
  bool is_long(uint32_t delay_ns) const {
    return delay_ns > base_ns_ + (target_ns_ - base_ns_) / 2;
  }
  bool is_random(float share);
  void cut(Instant now, float share);
  int64_t noise_ns(const RttEstimator& rtt) const;
  uint8_t samples_wanted(const RttEstimator& rtt) const;
  void aim(const RttEstimator& rtt);
  bool look_for_base(const AckSample& sample);
  bool crosses_epoch(uint32_t peer_time) const {
    return (peer_time >> look_shift_) != (peer_time_ >> look_shift_);
  }

  float window_ = 1;       // what the network takes
  float host_window_ = 1;  // what the receiving host takes
  float window_max_ = 1;
  float slow_start_max_ = 1;
  float window_before_ = 0;  // the last loss or timeout; 0: nothing to undo
  float series_window_ = 0;  // when the losses began that reductions have not ended
  float tolerance_ = 0;
  float dither_ = 0;  // 0 to 1
  uint32_t target_ns_ = 0;
  uint32_t base_ns_ = 0;  // of target_ns_
  uint32_t round_min_ns_ = UINT32_MAX;
  uint32_t delivered_ = 0;  // and lost: since losses were judged last
  uint32_t lost_ = 0;
  uint32_t hold_ = 0;  // packets to deliver before the window may grow again
  Instant round_end_;
  Instant reduced_at_;       // for losses or a timeout
  uint32_t peer_time_ = 0;   // in the last packet, units of 32 ns
  float series_share_ = 0;   // lost when the series began
  uint8_t look_shift_ = 0;   // the queue is drained each 2^look_shift_ units of the peer's time
  uint8_t samples_ = 0;      // of round_min_ns_, counted to a few
  uint8_t draining_ = 0;     // round trips left
  uint8_t full_rounds_ = 0;  // since the queue was short last
  uint8_t lossy_ = 0;        // > 0: more was lost than is tolerated, not long ago
  uint8_t loss_recent_ = 0;  // > 0: something was taken for lost in the last round trips
  bool slow_start_ : 1 = true;
  bool policed_ : 1 = false;   // lossy, and there was no queue
  bool ripe_ : 1 = false;      // losses may be judged
  bool settling_ : 1 = false;  // losses of this round trip were on their way before the reduction
};

}  // namespace mn::transport
