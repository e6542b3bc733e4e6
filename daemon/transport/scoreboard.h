// SPDX-License-Identifier: MIT
// Scoreboard: what the peer's acknowledgements say about the packets we sent: buffers that may go
// back, round-trip times, the peer's window, and evidence for loss detection. An ack for what was
// never sent is refused whole.
#pragma once

#include <span>

#include "transport/core.h"
#include "wire/packet_header.h"

namespace mn::transport {

enum class AckVerdict : uint8_t {
  kAccepted,
  kImpossible,  // acknowledges what was not sent: not from an honest peer
  kClosed,      // the last thing outstanding was our close: the flow has ended
};

AckVerdict on_ack(Core& core, Instant now, Flow& flow, const wire::Packet& packet);

// A round-trip sample from the packet's timestamp echo; its length, 0 if the packet has none.
Duration sample_rtt(const Core& core, Instant now, Flow& flow, const wire::PacketHeader& header);

}  // namespace mn::transport
