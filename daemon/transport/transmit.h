// SPDX-License-Identifier: MIT
// Common to every packet of a flow: the header with what it acknowledges and offers.
#pragma once

#include "transport/core.h"
#include "wire/packet_header.h"

namespace mn::transport {

// Whose packet it is and where it goes.
void address_view(Instant now, const Flow& flow, TransmitView* view);

// Header fields of a packet of `flow` that do not depend on its content. Writes header and, where
// they fit with the payload, SACK ranges into the view.
struct PacketSpec {
  wire::PacketType type;
  uint8_t flags = 0;
  uint8_t message_count = 0;
  Seqno sequence;
  uint32_t payload_length = 0;
};
void write_header(Core& core, Instant now, Flow& flow, const PacketSpec& spec, TransmitView* view);

// Next packet of one flow; false: it has nothing to send now.
bool transmit_flow(Core& core, Instant now, Flow& flow, TransmitView* view);
// Of the whole engine.
bool transmit_next(Core& core, Instant now, TransmitView* view);

}  // namespace mn::transport
