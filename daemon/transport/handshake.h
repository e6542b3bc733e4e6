// SPDX-License-Identifier: MIT
// Handshake: kOpen, kOpenAck and the first packet after it, with options and tags. Whoever forges a
// sender's address never gets past a half-open flow, of which there are few and for a short time:
// when half_open_max of them wait, or slots for flows run short, kOpen is answered with a cookie
// and nothing is kept until it comes back.
#pragma once

#include "transport/core.h"
#include "wire/packet_header.h"

namespace mn::transport {

RequestStatus open_flow(Core& core, Instant now, const FourTuple& tuple, MessageStore* store,
                        uint64_t cookie, uint32_t path, FlowHandle* ret_flow);

// A kOpen; `flow`: what the tuple names already, or nullptr.
PacketVerdict on_open(Core& core, Instant now, const FourTuple& tuple, const wire::Packet& packet,
                      uint32_t path, Flow* flow);
// Any packet with the right tag for a flow that is opening, a reset excepted.
PacketVerdict on_packet_opening(Core& core, Instant now, Flow& flow, const wire::Packet& packet);
// A packet with a wrong tag while opening: our earlier life's flow still stands at the peer.
// True: `packet` accepts our kOpen, and is refused.
bool give_up_open(Core& core, Instant now, Flow& flow, const wire::Packet& packet);
void on_challenge(Core& core, Instant now, Flow& flow, const wire::PacketHeader& header);
// The peer has shown that it got our kOpenAck.
void confirm_half_open(Core& core, Instant now, Flow& flow);

bool transmit_handshake(Core& core, Instant now, Flow& flow, TransmitView* view);

}  // namespace mn::transport
