// SPDX-License-Identifier: MIT
// The daemon's end of a channel against an application that writes anything anywhere. The input is
// a program: writes into the channel's memory between steps of an honest engine. Whatever is
// written, the lane hands out only buffers, flows and lengths that exist, and its buffers stay
// accounted for.
#include <stdint.h>
#include <string.h>

#include <memory>
#include <vector>

#include "base/assert.h"
#include "channel/channel.h"

namespace ipc = mn::ipc;

namespace {

constexpr ipc::LaneShape kShape{
    .tx_buffers = 4, .rx_buffers = 4, .buffer_size = 64, .flow_slots = 4};

struct Model {
  std::unique_ptr<mn::Channel> channel;
  mn::Lane* lane;
  uint8_t* base;
  std::vector<uint32_t> sending;  // tx buffers the engine holds
  std::vector<uint32_t> holding;  // rx buffers put, not delivered
  std::vector<uint32_t> flows;    // references of open flows

  Model() {
    auto made = mn::Channel::create({&kShape, 1});
    MN_ASSERT(made.ok());
    channel = std::move(made.value());
    lane = channel->lane(0);
    base = const_cast<uint8_t*>(lane->tx_bytes(0).data()) - ipc::lane_offsets(kShape).tx_data;
  }

  void take_submissions() {
    mn::Submission s;
    for (int i = 0; i < 64 && lane->next_submission(&s); i++) {
      MN_ASSERT(s.handle >= 100 && s.handle < 200);
      if (s.kind != mn::Submission::Kind::kSend) continue;
      MN_ASSERT(s.buffer < kShape.tx_buffers && s.length > 0 && s.length <= kShape.buffer_size);
      for (uint32_t held : sending) MN_ASSERT(held != s.buffer);
      sending.push_back(s.buffer);
    }
  }

  void step(uint8_t action, uint8_t argument) {
    switch (action % 7) {
      case 0:
        take_submissions();
        return;
      case 1:
        lane->take_releases(argument);
        if (argument % 2 == 0 && lane->has_released()) lane->take_released();
        return;
      case 2:
        if (sending.empty()) return;
        lane->tx_done(sending.back());
        sending.pop_back();
        return;
      case 3: {
        const uint32_t buffer = lane->rx_put({&argument, 1});
        if (buffer != mn::transport::kNoBuffer) holding.push_back(buffer);
        return;
      }
      case 4:
        if (holding.empty() || flows.empty()) return;
        lane->rx_deliver(flows[argument % flows.size()],
                         {.buffer = holding.back(), .length = 1, .flags = 3, .message_count = 0});
        holding.pop_back();
        return;
      case 5: {
        const uint32_t flow = lane->flow_reserve(100 + argument % 100, {});
        if (flow != mn::transport::kNoFlow) flows.push_back(flow);
        return;
      }
      case 6:
        if (flows.empty()) return;
        lane->flow_ended(flows.back(), argument % 6);
        flows.pop_back();
        return;
    }
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Model model;
  const size_t writable = ipc::lane_offsets(kShape).size;
  for (size_t at = 0; at + 4 <= size; at += 4) {
    const uint8_t op = data[at];
    if (op < 128) {
      model.step(op, data[at + 1]);
      continue;
    }
    // A write of 1 to 16 bytes that follow, anywhere in the lane; small offsets hit the rings.
    const size_t offset = (data[at + 1] | data[at + 2] << 8) % writable;
    size_t length = 1 + data[at + 3] % 16;
    if (length > size - at - 4) length = size - at - 4;
    if (length > writable - offset) length = writable - offset;
    memcpy(model.base + offset, data + at + 4, length);
    at += (length + 3) / 4 * 4;
  }
  MN_ASSERT(model.lane->rx_free() + model.holding.size() <= kShape.rx_buffers);
  return 0;
}
