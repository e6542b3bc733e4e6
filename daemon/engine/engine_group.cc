// SPDX-License-Identifier: MIT
#include "engine/engine_group.h"

#include <unistd.h>

#include <bit>
#include <cstring>

#include "base/assert.h"

namespace mn {

namespace {
constexpr uint32_t kTurn = 8;  // frames of one engine, before others': a flood there is not first
}

EngineGroup::EngineGroup(uint32_t engines)
    : engines_(engines), rings_(engines * engines), members_(new Member[engines]) {
  MN_ASSERT(engines >= 1 && engines <= kEnginesMax);
  for (uint32_t from = 0; from < engines; from++) {
    for (uint32_t to = 0; to < engines; to++) {
      if (from != to) rings_[from * engines + to] = std::make_unique<Ring>();
    }
  }
}

bool EngineGroup::push(uint32_t from, uint32_t to, const HandedFrame& handed) {
  if (!ring_between(from, to).try_push(handed)) return false;
  members_[from].news |= uint32_t{1} << to;
  return true;
}

bool EngineGroup::hand_over(uint32_t from, uint32_t to, const RxFrame& frame) {
  size_t& may_hand = members_[from].may_hand;
  if (may_hand == 0 && (may_hand = not_held(from)) == 0) return false;
  HandedFrame handed;
  handed.frame = frame;
  handed.frame.udp_checksum_ok = true;
  handed.arrived_at = from;
  if (!push(from, to, handed)) return false;
  may_hand--;
  return true;
}

// How many more frames may be handed over now. Copies of short ones count too, which harms nobody.
size_t EngineGroup::not_held(uint32_t from) {
  size_t held = 0;
  for (uint32_t to = 0; to < engines_; to++) {
    if (to != from) held += ring_between(from, to).size();
  }
  return held < kHeldMax ? kHeldMax - held : 0;
}

uint32_t EngineGroup::copy_to_others(uint32_t from, std::span<const uint8_t> frame) {
  HandedFrame handed;
  MN_ASSERT(!frame.empty() && frame.size() <= handed.bytes.size());
  handed.arrived_at = from;
  handed.copied = static_cast<uint32_t>(frame.size());
  memcpy(handed.bytes.data(), frame.data(), frame.size());
  uint32_t lost = 0;
  for (uint32_t to = 0; to < engines_; to++) {
    if (to != from) lost += !push(from, to, handed);
  }
  return lost;
}

void EngineGroup::ring(uint32_t from) {
  uint32_t news = members_[from].news;
  if (news == 0) return;
  members_[from].news = 0;
  // What was pushed is seen by who announces its sleep after this, or its announcement is seen
  // here: pairs with the fence in announce_sleep.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (; news != 0; news &= news - 1) {
    Member& member = members_[std::countr_zero(news)];
    if (!member.asleep.load(std::memory_order_relaxed) || member.wake_fd < 0) continue;
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = write(member.wake_fd, &one, sizeof one);
  }
}

bool EngineGroup::take(uint32_t to, HandedFrame* ret_frame) {
  Member& member = members_[to];
  for (uint32_t looked = 0; looked <= engines_;
       looked++) {  // back to the first, whose turn is over
    const uint32_t from = member.next;
    if (from != to && member.served < kTurn && ring_between(from, to).try_pop(ret_frame)) {
      member.served++;
      return true;
    }
    member.served = 0;
    member.next = from + 1 == engines_ ? 0 : from + 1;
  }
  return false;
}

bool EngineGroup::announce_sleep(uint32_t to) {
  members_[to].asleep.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with the fence in ring
  for (uint32_t from = 0; from < engines_; from++) {
    if (from == to || ring_between(from, to).empty()) continue;
    end_sleep(to);
    return false;
  }
  return true;
}

void EngineGroup::end_sleep(uint32_t to) {
  members_[to].asleep.store(false, std::memory_order_relaxed);
}

}  // namespace mn
