// SPDX-License-Identifier: MIT
#include "transport/core.h"

#include <algorithm>
#include <new>

namespace mn::transport {

namespace {

TransportConfig bounded(TransportConfig config) {
  MN_ASSERT(config.flows_max >= 1 && config.flows_max <= kFlowsMax);
  MN_ASSERT(config.mss >= wire::kMssMin);
  config.window_packets_max = std::clamp<uint32_t>(config.window_packets_max, 1, kWindowMax);
  return config;
}

uint32_t worst_case_blocks(const TransportConfig& config) {
  return config.flows_max * blocks_per_flow(config.window_packets_max);
}

}  // namespace

Core::Core(const TransportConfig& wanted)
    : config(bounded(wanted)),
      flow_memory(config.flows_max),
      generations(config.flows_max),
      flow_pool(config.flows_max),
      table(flow_at(0), config.flows_max, KeyedHash(wanted.seed, 1)(0),
            KeyedHash(wanted.seed, 1)(1)),
      tx_blocks(worst_case_blocks(config)),
      rx_blocks(worst_case_blocks(config)),
      listeners(config.listeners_max),
      secret(wanted.seed, 0x6d61636e6574) {}

Flow* Core::take_flow() {
  uint32_t index = flow_pool.take();
  if (index == IndexPool::kNone) {
    // An acceptor of late duplicates is worth less than a new flow. One whose event nobody has
    // taken yet keeps its slot.
    for (int tries = 8; tries > 0 && flow_pool.free_count() == 0; tries--) {
      Link* oldest = lingering.front();
      if (oldest == nullptr) return nullptr;
      Flow* victim = MN_FLOW_OF(oldest, store_link);
      victim->lingering = false;
      victim->ack_now = false;
      release_if_done(victim);
    }
    index = flow_pool.take();
    if (index == IndexPool::kNone) return nullptr;
  }
  flows_touched = std::max(flows_touched, index + 1);
  uint16_t& generation = generations[index];
  generation = generation >= (1u << (32 - kFlowIndexBits)) - 1 ? 1 : generation + 1;
  Flow* flow = new (&flow_memory[index]) Flow();
  flow->handle = index | (uint32_t{generation} << kFlowIndexBits);
  return flow;
}

void Core::release_if_done(Flow* flow) {
  MN_ASSERT(flow->state == FlowState::kDead);
  if (!flow->lingering) {
    flow->store_link.unlink();
    if (flow->in_table) {
      table.remove(flow);
      flow->in_table = false;
    }
    wheel.clear(&flow->timer);
    if (!flow->reset_due) flow->ready_link.unlink();
  }
  if (flow->lingering || flow->reset_due || flow->event_link.linked()) return;
  const uint32_t index = index_of(flow->handle);
  flow->state = FlowState::kFree;
  flow->handle = 0;
  flow_pool.give_back(index);
}

// A keyed hash of a counter: numbers that who has seen some of them cannot continue.
uint32_t Core::random() { return static_cast<uint32_t>(secret(++secrets_used)); }

uint32_t Core::random_tag() {
  uint32_t tag = 0;
  while (tag == 0) tag = random() >> config.engine_bits << config.engine_bits | config.engine;
  return tag;
}

void Core::attach(Flow* flow, MessageStore* store) {
  flow->store = store;
  flow->group = &state_of(store);
  flow->group->flows.push_back(&flow->store_link);
  flow->group->flow_count++;
  flow->chunks = store->tx_chunks();
}

void Core::post_event(Flow* flow) {
  if (!flow->event_link.linked()) events.push_back(&flow->event_link);
}

}  // namespace mn::transport
