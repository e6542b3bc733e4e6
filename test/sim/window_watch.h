// SPDX-License-Identifier: MIT
// WindowWatch: reads the packets that a simulated host sends and receives, and fails the run when
// it sends more than its peer offered, or a packet larger than either end can take. It knows the
// wire format and nothing of the transport.
#pragma once

#include <cstdint>
#include <map>
#include <span>

#include "base/address.h"

namespace mn::test {

class WindowWatch {
 public:
  WindowWatch(int host, uint32_t payload_max) : host_(host), payload_max_(payload_max) {}
  void on_received(const FourTuple& tuple, std::span<const uint8_t> packet);
  void on_sent(const FourTuple& tuple, std::span<const uint8_t> packet);
  uint64_t checked() const { return checked_; }

 private:
  struct Flow {
    bool valid = false;           // tag_ is ours and the edge is known
    uint32_t tag = 0;             // what packets to us carry
    uint32_t first_sequence = 0;  // ours
    uint32_t edge = 0;            // first sequence number beyond the window
    bool has_edge = false;
    bool has_offer = false;  // a kOpen was received: its window counts from our first sequence
    uint16_t offer = 0;
  };
  void raise(Flow* flow, uint32_t edge);
  int host_;
  uint32_t payload_max_;
  uint64_t checked_ = 0;
  std::map<FourTuple, Flow> flows_;
};

}  // namespace mn::test
