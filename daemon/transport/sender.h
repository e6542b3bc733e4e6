// SPDX-License-Identifier: MIT
// Sender: a flow's queue of segments, and how packets are cut from it: several small messages into
// one, long messages into full packets that may reach across buffers. Retransmission rebuilds the
// packet from its record. Congestion and receive windows decide how many; which packets are lost is
// decided in loss_detection.
#pragma once

#include "transport/core.h"

namespace mn::transport {

// The flow takes the buffer.
void enqueue(Core& core, Flow& flow, BufferIndex buffer, uint16_t length, bool last_segment);

// Each fills a view with one packet, or returns false: there is none that may be sent now.
bool transmit_lost(Core& core, Instant now, Flow& flow, TransmitView* view);
bool transmit_tail_probe(Core& core, Instant now, Flow& flow, TransmitView* view);
bool transmit_new(Core& core, Instant now, Flow& flow, TransmitView* view);

// The end of what a packet took from the queue.
struct Cut {
  BufferIndex next = kNoBuffer;  // the first buffer with bytes left
  uint32_t offset = 0;           // of these
  uint32_t length = 0;           // payload bytes, a bundle's table not counted
  uint8_t message_count = 0;     // > 0: a bundle
  bool last = false;             // the packet ends a message
};
// Bytes of one message from `offset` in `first` on, over as many buffers as `length_max` reaches.
Cut cut_bytes(Flow& flow, BufferIndex first, uint32_t offset, uint32_t length_max,
              TransmitView* view);
// As many whole messages as fit, at most `count_max`. With one message it is no bundle.
Cut cut_messages(Flow& flow, BufferIndex first, uint32_t count_max, TransmitView* view);

// The pause that the congestion window asked for is over.
void on_pace_deadline(Core& core, Flow& flow);
// A lost packet, taken out of its list, has left again: its record.
void note_sent_again(Core& core, Instant now, Flow& flow, Seqno s, SentPacket& packet);

// Something queued has not been in a packet yet.
inline bool has_unsent(const Flow& flow) {
  return flow.send_next != kNoBuffer || (flow.close_requested && !flow.close_sent);
}

// Completes the buffers that `packet`, the oldest outstanding, was the last to need.
void complete_packet(Flow& flow, const SentPacket& packet);
// The flow is over: every buffer and block goes back.
void return_buffers(Core& core, Flow& flow);

// ---- Lists through the sent packets
void list_push_back(Core& core, Flow& flow, SlotList& list, Seqno s);
// Behind the packet in slot `previous`; kEnd: at the front.
void list_insert_after(Core& core, Flow& flow, SlotList& list, uint16_t previous, Seqno s);
void list_remove(Core& core, Flow& flow, SlotList& list, Seqno s);
inline Seqno seqno_of_slot(const Flow& flow, uint16_t slot) {
  return flow.tx_first + ((slot - flow.tx_first.value) & (kWindowSlots - 1));
}

}  // namespace mn::transport
