// SPDX-License-Identifier: MIT
#include "sim/window_watch.h"

#include "support/array_store.h"
#include "wire/packet_header.h"

namespace mn::test {

using wire::PacketType;

void WindowWatch::raise(Flow* flow, uint32_t edge) {
  if (flow->has_edge && static_cast<int32_t>(edge - flow->edge) <= 0) return;
  flow->edge = edge;
  flow->has_edge = true;
}

void WindowWatch::on_received(const FourTuple& tuple, std::span<const uint8_t> bytes) {
  wire::Packet packet;
  if (wire::parse_packet(bytes, &packet) != wire::ParseStatus::kOk) return;
  Flow& flow = flows_[tuple];
  const wire::PacketHeader& header = packet.header;
  wire::Options options;
  if (header.type == PacketType::kOpen && wire::parse_options(packet.payload, &options)) {
    if (!flow.has_offer || options.window > flow.offer) flow.offer = options.window;
    flow.has_offer = true;
    return;
  }
  if (!flow.valid || header.tag != flow.tag || header.type == PacketType::kReset) return;
  if (header.type == PacketType::kOpenAck) {
    if (wire::parse_options(packet.payload, &options))
      raise(&flow, flow.first_sequence + options.window);
    return;
  }
  raise(&flow, header.ack + header.window);
}

void WindowWatch::on_sent(const FourTuple& tuple, std::span<const uint8_t> bytes) {
  wire::Packet packet;
  const wire::ParseStatus status = wire::parse_packet(bytes, &packet);
  SIM_CHECK(status == wire::ParseStatus::kOk,
            "host %d sends a packet that does not parse (status %d, %zu bytes, type %d)", host_,
            static_cast<int>(status), bytes.size(), bytes.empty() ? -1 : bytes[0]);
  SIM_CHECK(bytes.size() <= wire::kHeaderSize + payload_max_,
            "host %d sends %zu bytes, at most %zu fit the smaller MTU", host_, bytes.size(),
            wire::kHeaderSize + payload_max_);
  Flow& flow = flows_[tuple];
  const wire::PacketHeader& header = packet.header;
  if (header.type == PacketType::kOpen || header.type == PacketType::kOpenAck) {
    wire::Options options;
    SIM_CHECK(wire::parse_options(packet.payload, &options), "host %d sends bad options", host_);
    SIM_CHECK(options.tag != 0, "host %d sends tag 0", host_);
    if (flow.valid && flow.tag == options.tag) return;
    const Flow old = flow;
    flow = Flow{};
    flow.valid = true;
    flow.tag = options.tag;
    flow.first_sequence = options.first_sequence;
    if (header.type == PacketType::kOpenAck && old.has_offer)
      raise(&flow, options.first_sequence + old.offer);
    return;
  }
  const bool is_data = header.type == PacketType::kData || header.type == PacketType::kPart;
  if (!is_data || !flow.valid) return;
  SIM_CHECK(flow.has_edge, "host %d sends data before it knows a window", host_);
  SIM_CHECK(static_cast<int32_t>(header.sequence - flow.edge) < 0,
            "host %d sends sequence %u, the window offered ends before %u", host_, header.sequence,
            flow.edge);
  checked_++;
}

}  // namespace mn::test
