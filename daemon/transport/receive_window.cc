// SPDX-License-Identifier: MIT
// How much a flow's peer may send: what the store's free buffers allow, shared between the flows
// that receive.
#include <algorithm>

#include "transport/receiver.h"
#include "transport/trace.h"

namespace mn::transport {

namespace {

// Less than this is not worth opening a window for (the silly window of RFC 1122 section 4.2.3.3).
uint32_t window_worth(uint32_t rx_capacity) { return std::clamp<uint32_t>(rx_capacity / 8, 1, 16); }

}  // namespace

uint16_t offer_window(Core& core, Flow& flow) {
  StoreState& s = *flow.group;
  const uint32_t free = flow.store->rx_free();
  const uint32_t capacity = flow.store->rx_capacity();
  const uint32_t reserve = capacity / 4;
  uint32_t window = 0;
  if (free > reserve && free - reserve >= window_worth(capacity)) {
    window = free - reserve;
    const uint32_t sharing = std::max({s.receivers_now, s.receivers_before, s.starved_count});
    // Twice the share: not all of them use what they are offered, and the reserve absorbs it if
    // they do.
    if (sharing > 2) window = std::max<uint32_t>(1, 2 * window / sharing);
  }
  // Holes below what has arrived are filled from the reserve.
  if (flow.rx_early > 0 && free > 0) {
    window = std::max(window, static_cast<uint32_t>(flow.rx_end - flow.rx_next));
  }
  window = std::min(window, core.config.window_packets_max);
  flow.rx_offered = static_cast<uint16_t>(window);
  flow.rx_limit = later_of(flow.rx_limit, flow.rx_next + window);
  // At least every second one (RFC 1122 section 4.2.3.2), however small the window: a sender that
  // it holds up says so in the packet.
  flow.ack_every = static_cast<uint8_t>(std::clamp<uint32_t>(window / 4, 2, 16));
  const bool starved = window == 0;
  if (__builtin_expect(starved != flow.starved, 0)) {
    flow.starved = starved;
    MN_TRACE(core, flow, kTraceStarved, starved, 0);
    if (starved) {
      s.starved.push_back(&flow.starved_link);
      s.starved_count++;
    } else {
      flow.starved_link.unlink();
      s.starved_count--;
    }
  }
  return flow.rx_offered;
}

void on_space(Core& core, StoreState& store) {
  uint32_t granted = 0;
  // At most once round the list. A flow leaves it when the ack with its window leaves.
  for (uint32_t i = store.starved_count; i > 0; i--) {
    Flow& flow = *MN_FLOW_OF(store.starved.front(), starved_link);
    const uint32_t free = flow.store->rx_free();
    const uint32_t capacity = flow.store->rx_capacity();
    const uint32_t reserve = capacity / 4;
    if (free <= reserve || free - reserve < window_worth(capacity)) return;
    granted += std::max<uint32_t>(1, (free - reserve) / store.starved_count);
    if (granted > free - reserve) return;
    store.starved.move_to_back(&flow.starved_link);
    ask_for_ack(core, flow);
  }
}

}  // namespace mn::transport
