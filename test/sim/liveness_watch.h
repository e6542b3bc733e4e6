// SPDX-License-Identifier: MIT
// LivenessWatch: reads the packets of both hosts of a transport run and judges every flow that is
// given up as timed out. The contract: a host may give a flow up only when, for dead_timeout, it
// asked and heard nothing; or one packet was missing all that time while later ones wait; or its
// close did not get on for a minute. And the network must be to blame: a host that was asked
// answers, and what is missing is sent again. Knows the wire format and nothing of the transport.
#pragma once

#include <cstdint>
#include <map>
#include <span>

#include "base/address.h"
#include "base/time.h"

namespace mn::test {

class LivenessWatch {
 public:
  // `tuple` as `host` sees it. Packets that were damaged or dropped on the way are not received.
  void on_sent(int host, Instant now, const FourTuple& tuple, std::span<const uint8_t> packet);
  void on_received(int host, Instant now, const FourTuple& tuple, std::span<const uint8_t> packet);
  void on_restart(int host);  // its flows are gone
  // The transport ends the flow of `tuple` with kEndTimeout, now.
  void check_given_up(int host, Instant now, const FourTuple& tuple, Duration dead_timeout);
  uint64_t checked() const { return checked_; }

 private:
  // One end of a flow, as its packets tell.
  struct End {
    bool valid = false;
    uint32_t tag = 0;  // what packets to it carry
    Instant heard_at{};
    // It sent a reset, or its host started anew: strays get an answer when there is room.
    bool gone = false;
    bool close_came = false;  // the peer's: once it is acknowledged this end's flow is over
    uint32_t close_sequence = 0;
    // It asked and was not heard: since when, and how often.
    Instant waits_since = Instant::never();
    uint32_t asked = 0;
    // It was asked, and has not sent anything since.
    Instant owes_since = Instant::never();
    // Its cumulative ack: since when it stands there, how often that packet came.
    uint32_t ack = 0;
    Instant ack_since{};
    uint32_t missing_came = 0;
    // The peer's cumulative ack: since when, and how often the packet after it was sent.
    uint32_t peer_ack = 0;
    Instant peer_ack_since{};
    uint32_t peer_missing_sent = 0;
    bool may_send = true;  // the peer has room, as far as this end was told
  };
  End& end_of(int host, const FourTuple& tuple) { return ends_[host][tuple]; }

  std::map<FourTuple, End> ends_[2];
  uint64_t checked_ = 0;
};

}  // namespace mn::test
