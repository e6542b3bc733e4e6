// SPDX-License-Identifier: MIT
// What congestion controls hear of an acknowledgement.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "transport/rtt_estimator.h"

namespace mn::transport {

struct AckSample {
  Instant now;
  uint32_t acked_packets = 0;  // newly acknowledged, cumulatively or selectively
  Duration rtt{};              // with the receiver's hold time taken out; 0: no sample
  Duration receiver_delay{};   // the hold time
  uint32_t peer_time = 0;      // of the acknowledgement, by the peer's clock, units of 32 ns
  bool filled = false;         // the window held the sender back in this round trip or the last
  bool holes = false;          // the peer waits for something that is lost, late or sent again
};

}  // namespace mn::transport
