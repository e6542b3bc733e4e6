// SPDX-License-Identifier: MIT
// Prr: how much may be in flight while losses are repaired: Proportional Rate Reduction (RFC 9937,
// which replaces RFC 6937). After the window was reduced for a loss, packets leave in the
// proportion of the reduction to what arrives, spread over the round trip, instead of not at all
// until enough has arrived. If more was lost than the reduction asks for, one leaves for each that
// arrives, and one more where progress is safe: no burst of all that is missing. Plain data, one
// thread.
#pragma once

#include <algorithm>
#include <cstdint>

namespace mn::transport {

// A flow's packets after an acknowledgement, or a timer, and the search for losses that follows it.
struct Flight {
  uint32_t in_flight = 0;
  uint32_t acked = 0;     // just now; 0: a timer
  uint32_t lost = 0;      // found just now
  uint32_t sent = 0;      // since the flow began, repetitions counted, modulo 2^32
  uint32_t first = 0;     // the oldest not acknowledged
  bool answered = false;  // a packet that left after the window was reduced has arrived
};

class Prr {
 public:
  // `target`: the reduced window, the RFC's ssthresh.
  void start(uint32_t target, const Flight& flight) {
    target_ = target;
    flight_size_ = std::max(flight.in_flight + flight.lost + flight.acked, 1u);
    delivered_ = 0;
    sent_before_ = flight.sent;
    first_ = flight.first;
  }

  // How many packets may be in flight now: never fewer than there are.
  uint32_t window(const Flight& flight) {
    delivered_ += flight.acked;
    const uint32_t out = flight.sent - sent_before_;
    const bool safe = flight.first != first_ && flight.lost == 0;
    first_ = flight.first;
    uint32_t more = 0;
    if (flight.in_flight > target_) {
      const uint64_t due = (uint64_t{delivered_} * target_ + flight_size_ - 1) / flight_size_;
      more = due > out ? static_cast<uint32_t>(due) - out : 0;
    } else {
      const uint32_t unused = delivered_ > out ? delivered_ - out : 0;
      more = std::max(unused, flight.acked) + (safe ? 1 : 0);
      more = std::min(more, target_ - flight.in_flight);
    }
    if (out == 0) more = std::max(more, 1u);  // what was lost first goes out at once
    // With nothing in flight no acknowledgement would come to go on from.
    return std::max(flight.in_flight + more, 1u);
  }

 private:
  uint32_t target_ = 1;
  uint32_t flight_size_ = 1;  // RecoverFS: in flight when the loss was found
  uint32_t delivered_ = 0;    // since
  uint32_t sent_before_ = 0;
  uint32_t first_ = 0;
};

}  // namespace mn::transport
