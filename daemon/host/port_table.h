// SPDX-License-Identifier: MIT
// PortTable: who uses which UDP port of one local address: listeners, and the local ports of flows
// that we open. Owned by the control plane, its thread only. Pure: time is an argument. A port
// serves one owner; a port that was released rests for a while, so that late packets of its last
// flow meet nobody.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/fixed_array.h"
#include "base/index_list.h"
#include "base/time.h"

namespace mn::host {

struct PortTableConfig {
  // The dynamic ports of RFC 6335; a port outside them is given to listeners only.
  Port dynamic_first = 49152;
  Port dynamic_last = 65535;
  Duration linger = milliseconds(100);
  // Before it is chosen for a reason, perhaps for the same peer again: as long as a TIME-WAIT of
  // TCP usually takes, and longer than a service keeps a flow whose peer is silent.
  Duration rest = seconds(60);
  uint64_t seed = 0;  // of the order in which ports are given (RFC 6056: not to be guessed)
};

enum class PortStatus : uint8_t { kOk, kInUse, kInvalid };

// Whom a port belongs to, e.g. a session; 0 is nobody.
using PortOwner = uint64_t;

class PortTable {
 public:
  explicit PortTable(const PortTableConfig& config);

  // kInUse: listened on already (by anybody, the owner included), or the local port of a flow.
  PortStatus listen(Port port, PortOwner owner);
  // False: `owner` does not listen on it. The port is free at once, but for the rest after a flow.
  bool unlisten(Port port, PortOwner owner);
  PortOwner listener(Port port) const;  // 0: none

  // A port for a flow that we open; 0: all are in use or resting.
  Port allocate(Instant now, PortOwner owner);
  // This very port. False: it is not dynamic, in use, or has not rested since its last flow.
  bool take(Instant now, Port port, PortOwner owner);
  // The flow has ended. False: the port was no flow's.
  bool release(Instant now, Port port);

  uint32_t allocated_count() const { return allocated_count_; }

 private:
  void give(uint32_t port, PortOwner owner);
  enum class State : uint8_t { kFree, kListening, kFlow };
  struct Entry {
    PortOwner owner = 0;
    Instant free_since{INT64_MIN / 2};
    IndexLink free_link;
    State state = State::kFree;
  };
  static_assert(sizeof(Entry) == 32);
  bool is_dynamic(uint32_t port) const {
    return port >= config_.dynamic_first && port <= config_.dynamic_last;
  }

  PortTableConfig config_;
  FixedArray<Entry> entries_;  // one for each port
  // Free dynamic ports, the one that rested longest first.
  IndexList<Entry, &Entry::free_link> free_;
  uint32_t allocated_count_ = 0;
};

}  // namespace mn::host
