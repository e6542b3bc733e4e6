// SPDX-License-Identifier: MIT
// Cubic: the window that the hosts of the Internet use (RFC 9438): after a loss it grows with the
// cube of the time towards where the loss was, slowly there, and faster beyond. Delay is not looked
// at, so a queue is filled until it overflows. Plain data inside a flow, one thread, no clock.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "transport/congestion_sample.h"
#include "transport/prr.h"

namespace mn::transport {

class Cubic {
 public:
  void start(uint32_t window_max);
  // True: window() may have changed.
  bool on_ack(const AckSample& sample, const RttEstimator& rtt);
  // Of packets sent after reduced_at: the window shrinks once for what was in flight at one time.
  void on_loss(Instant now);
  // Losses are being repaired: window() stands, and the flow may have what recover() returns in
  // flight, which is asked after each search for losses.
  bool recovers() const { return recovery_ != Recovery::kNone; }
  uint32_t recover(const Flight& flight);
  Instant reduced_at() const { return reduced_at_; }
  // The n-th retransmission timeout in a row.
  void on_timeout(Instant now, uint32_t n);
  // Of what was taken for lost, `packets` had only been late. When all had, the last reduction had
  // no reason and is undone. One alone says little: a peer with many gaps cannot name all it has.
  void on_spurious(uint32_t packets);
  float window() const { return window_; }

 private:
  enum class Recovery : uint8_t { kNone, kNew, kRunning };

  void reduce(Instant now);

  float window_ = 1;
  float window_max_ = 1;
  float threshold_ = 0;  // of slow start
  float peak_ = 0;       // W_max
  float plateau_s_ = 0;  // K: from the reduction to the peak
  float reno_ = 0;       // W_est: what Reno would have by now
  float before_ = 0;     // the last reduction; 0: nothing to undo
  Prr prr_;
  Recovery recovery_ = Recovery::kNone;
  bool counting_ = false;
  Instant since_;  // the epoch's start, while counting_
  Instant reduced_at_;
  uint32_t suspects_ = 0;  // packets for which the window was reduced, and none that was late
};

}  // namespace mn::transport
