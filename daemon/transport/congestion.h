// SPDX-License-Identifier: MIT
// CongestionControl: how many packets of a flow may be in flight. A small object inside each flow;
// it sees acknowledgements with their delay, losses and timeouts, and answers with a window.
// FixedWindow is the only one for now: it ignores everything it hears.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace mn::transport {

struct AckSample {
  Instant now;
  uint32_t acked_packets = 0;  // newly acknowledged, cumulatively or selectively
  Duration rtt{};              // with the receiver's hold time taken out; 0: no sample
  Duration receiver_delay{};   // the hold time
  uint32_t packets_in_flight = 0;
};

class FixedWindow {
 public:
  explicit FixedWindow(uint32_t window_packets = 0) : window_packets_(window_packets) {}
  void on_ack(const AckSample&) {}
  void on_loss(Instant, uint32_t /*lost_packets*/) {}
  void on_timeout(Instant) {}
  uint32_t window_packets() const { return window_packets_; }

 private:
  uint32_t window_packets_;
};

}  // namespace mn::transport
