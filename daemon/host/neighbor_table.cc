// SPDX-License-Identifier: MIT
#include "host/neighbor_table.h"

#include <algorithm>
#include <bit>

#include "base/assert.h"

namespace mn::host {
namespace {

constexpr uint32_t kNone = IndexPool::kNone;
// How many recently used entries eviction passes over before it takes one all the same.
constexpr int kSecondChances = 8;

}  // namespace

NeighborTable::NeighborTable(const NeighborConfig& config)
    : config_(config),
      hash_(config.seed, ~config.seed),
      pool_(config.entries_max),
      entries_(config.entries_max),
      fast_(config.entries_max),
      buckets_(std::bit_ceil(size_t{config.entries_max})) {
  MN_ASSERT(config.entries_max > 0 && config.entries_max <= kIndexMask + 1);
  for (uint32_t& head : buckets_) head = kNone;
}

// ---- Entries

uint32_t NeighborTable::bucket(Ipv4 ip) const {
  return static_cast<uint32_t>(hash_(ip) & (buckets_.size() - 1));
}

uint32_t NeighborTable::find(Ipv4 ip) const {
  uint32_t index = buckets_[bucket(ip)];
  while (index != kNone && entries_[index].ip != ip) index = entries_[index].hash_next;
  return index;
}

uint32_t NeighborTable::index_of(Path path) const {
  const uint32_t index = path & kIndexMask;
  if (index >= entries_.size() || !pool_.in_use(index) || path_of(index) != path) return kNone;
  return index;
}

NeighborState NeighborTable::state(Ipv4 ip) const {
  const uint32_t index = find(ip);
  return index == kNone ? NeighborState::kFree : entries_[index].state;
}

// kNone: every entry is pinned. The new entry's state is the caller's to set.
uint32_t NeighborTable::create(Ipv4 ip) {
  if (pool_.free_count() == 0) {
    for (int i = 0; i < kSecondChances && !lru_.empty() && fast_[lru_.front()].used; i++) {
      fast_[lru_.front()].used = false;
      lru_.move_to_back(entries_, lru_.front());
    }
    if (lru_.empty()) return kNone;
    recycle(lru_.front());
  }
  const uint32_t index = pool_.take();
  Entry& entry = entries_[index];
  const uint16_t generation = entry.generation == UINT16_MAX ? 1 : entry.generation + 1;
  entry = Entry{};
  entry.ip = ip;
  entry.generation = generation;
  fast_[index] = Fast{};
  uint32_t& head = buckets_[bucket(ip)];
  entry.hash_next = head;
  head = index;
  return index;
}

void NeighborTable::recycle(uint32_t index) {
  Entry& entry = entries_[index];
  MN_ASSERT(!entry.event_link.linked());
  cancel_timer(index);
  stop_asking(index);
  unpublish(index);
  lru_.remove(entries_, index);
  uint32_t* at = &buckets_[bucket(entry.ip)];
  while (*at != index) at = &entries_[*at].hash_next;
  *at = entry.hash_next;
  entry.state = NeighborState::kFree;
  pool_.give_back(index);
}

// Entries that somebody counts on are not in the list: those with a question open, and those whose
// event was not fetched yet.
void NeighborTable::set_lru(uint32_t index) {
  Entry& entry = entries_[index];
  const bool may_go = entry.state != NeighborState::kIncomplete && !entry.event_link.linked();
  if (may_go == entry.lru_link.linked()) return;
  if (!may_go) {
    lru_.remove(entries_, index);
  } else if (entry.state == NeighborState::kFailed) {
    lru_.push_front(entries_, index);
  } else {
    lru_.push_back(entries_, index);
  }
}

void NeighborTable::publish(uint32_t index, Mac mac, bool stale) {
  Fast& fast = fast_[index];
  fast.path = path_of(index);
  fast.mac = mac;
  fast.stale = stale;
}

void NeighborTable::set_timer(TimerList& list, uint32_t index, Instant deadline) {
  MN_ASSERT(list.empty() || entries_[list.back()].deadline <= deadline);  // time never goes back
  entries_[index].deadline = deadline;
  list.push_back(entries_, index);
}

void NeighborTable::cancel_timer(uint32_t index) {
  Entry& entry = entries_[index];
  if (!entry.timer_link.linked()) return;
  TimerList& list = entry.state == NeighborState::kReachable ? age_timers_ : retry_timers_;
  list.remove(entries_, index);
}

void NeighborTable::ask(uint32_t index) {
  if (!entries_[index].ask_link.linked()) ask_.push_back(entries_, index);
}

void NeighborTable::stop_asking(uint32_t index) {
  if (entries_[index].ask_link.linked()) ask_.remove(entries_, index);
}

void NeighborTable::tell(uint32_t index, bool ready) {
  Entry& entry = entries_[index];
  entry.event_ready = ready;
  if (!entry.event_link.linked()) events_.push_back(entries_, index);
}

// ---- Transitions. Each leaves timers, lists and the published MAC as its new state wants them.

void NeighborTable::start_incomplete(uint32_t index) {
  Entry& entry = entries_[index];
  // Whoever waited for the last answer, not fetched yet, now waits for this one.
  if (entry.event_link.linked()) events_.remove(entries_, index);
  entry.state = NeighborState::kIncomplete;
  entry.requests = 0;
  incomplete_count_++;
  ask(index);
  set_lru(index);
}

void NeighborTable::start_probing(uint32_t index) {
  Entry& entry = entries_[index];
  cancel_timer(index);
  entry.state = NeighborState::kProbing;
  entry.requests = 0;
  fast_[index].stale = false;
  ask(index);
}

// `stale` false: ARP answered us. True: a hint, good for sending, to be verified when it is used.
void NeighborTable::set_mac(Instant now, uint32_t index, Mac mac, bool stale) {
  Entry& entry = entries_[index];
  cancel_timer(index);
  stop_asking(index);
  if (entry.state == NeighborState::kIncomplete) {
    incomplete_count_--;
    tell(index, true);
  }
  entry.state = stale ? NeighborState::kStale : NeighborState::kReachable;
  publish(index, mac, stale);
  if (!stale) set_timer(age_timers_, index, now + config_.reachable_time);
  set_lru(index);
  if (entry.lru_link.linked()) lru_.move_to_back(entries_, index);
}

void NeighborTable::set_failed(Instant now, uint32_t index) {
  Entry& entry = entries_[index];
  if (entry.state == NeighborState::kIncomplete) {
    incomplete_count_--;
    tell(index, false);
  }
  entry.state = NeighborState::kFailed;
  entry.deadline = now + config_.failed_time;
  fast_[index] = Fast{};
  if (entry.lru_link.linked()) lru_.remove(entries_, index);  // so that it comes in at the front
  set_lru(index);
}

// ---- Inputs

NextHop NeighborTable::resolve(Instant now, Ipv4 ip) {
  uint32_t index = find(ip);
  // Destinations that nobody answers for must not push out those that work.
  const bool may_ask = incomplete_count_ < std::max(config_.entries_max / 4, 1u);
  if (index == kNone) {
    if (!may_ask || (index = create(ip)) == kNone) return {ResolveStatus::kNoRoom, kNoPath};
    start_incomplete(index);
    return {ResolveStatus::kPending, path_of(index)};
  }
  Entry& entry = entries_[index];
  if (entry.state == NeighborState::kFailed) {
    if (now < entry.deadline) return {ResolveStatus::kUnreachable, kNoPath};
    if (!may_ask) return {ResolveStatus::kNoRoom, kNoPath};
    start_incomplete(index);
  }
  if (entry.state == NeighborState::kIncomplete) return {ResolveStatus::kPending, path_of(index)};
  if (entry.lru_link.linked()) lru_.move_to_back(entries_, index);
  fast_[index].used = true;
  if (fast_[index].stale) start_probing(index);
  return {ResolveStatus::kReady, path_of(index)};
}

void NeighborTable::learn(Instant now, Ipv4 ip, Mac mac, bool create_entry, bool answers) {
  uint32_t index = find(ip);
  if (index == kNone) {
    if (!create_entry || (index = create(ip)) == kNone) return;
    set_mac(now, index, mac, true);
    return;
  }
  const Entry& entry = entries_[index];
  // Only an answer to a question of ours proves that our packets arrive there.
  const bool asked = entry.state == NeighborState::kIncomplete ||
                     entry.state == NeighborState::kProbing ||
                     now - entry.asked_at <= config_.request_interval;
  const bool proves = answers && asked;
  const bool known = fast_[index].path != kNoPath && fast_[index].mac == mac;
  if (proves || !known) set_mac(now, index, mac, !proves);
}

Path NeighborTable::learn_from_traffic(Instant now, Ipv4 ip, Mac mac) {
  uint32_t index = find(ip);
  if (index == kNone) {
    if ((index = create(ip)) == kNone) return kNoPath;
    set_mac(now, index, mac, true);
    return path_of(index);
  }
  if (entries_[index].lru_link.linked()) lru_.move_to_back(entries_, index);
  switch (entries_[index].state) {
    case NeighborState::kIncomplete:
    case NeighborState::kFailed:
    case NeighborState::kStale:
      set_mac(now, index, mac, true);
      break;
    case NeighborState::kReachable:
    case NeighborState::kProbing:
    case NeighborState::kFree:
      // ARP said otherwise, and is believed until it takes that back.
      if (fast_[index].mac != mac) doubt(now, path_of(index));
      break;
  }
  return path_of(index);
}

void NeighborTable::doubt(Instant now, Path path) {
  const uint32_t index = index_of(path);
  if (index == kNone) return;
  const Entry& entry = entries_[index];
  if (entry.state != NeighborState::kReachable && entry.state != NeighborState::kStale) return;
  if (now - entry.asked_at >= config_.request_interval) start_probing(index);
}

// ---- Deadlines and outputs

Instant NeighborTable::next_deadline() const {
  Instant next = Instant::never();
  for (const TimerList* list : {&retry_timers_, &age_timers_}) {
    if (!list->empty()) next = std::min(next, entries_[list->front()].deadline);
  }
  return next;
}

void NeighborTable::on_deadline(Instant now) {
  // Bounded: what is left keeps next_deadline in the past.
  for (size_t i = 0; i < kDeadlinesPerCall; i++) {
    if (!retry_timers_.empty() && entries_[retry_timers_.front()].deadline <= now) {
      on_request_deadline(now, retry_timers_.pop_front(entries_));
    } else if (!age_timers_.empty() && entries_[age_timers_.front()].deadline <= now) {
      on_age_deadline(age_timers_.pop_front(entries_));
    } else {
      return;
    }
  }
}

void NeighborTable::on_request_deadline(Instant now, uint32_t index) {
  const Entry& entry = entries_[index];
  // A verification begins with one request to the known address itself.
  const uint32_t requests_max =
      config_.requests_max + (entry.state == NeighborState::kProbing ? 1 : 0);
  if (entry.requests >= requests_max) {
    set_failed(now, index);
  } else {
    ask(index);
  }
}

void NeighborTable::on_age_deadline(uint32_t index) {
  Entry& entry = entries_[index];
  Fast& fast = fast_[index];
  if (!fast.used) {
    entry.state = NeighborState::kStale;
    fast.stale = true;
    return;
  }
  fast.used = false;
  if (entry.lru_link.linked()) lru_.move_to_back(entries_, index);
  start_probing(index);
}

bool NeighborTable::poll_request(Instant now, NeighborRequest* ret_request) {
  while (!ask_.empty()) {
    const uint32_t index = ask_.pop_front(entries_);
    Entry& entry = entries_[index];
    set_timer(retry_timers_, index, now + config_.request_interval);
    // Whatever made the question begin anew, one address hears one request per interval.
    if (now - entry.asked_at < config_.request_interval) continue;
    const bool verify = entry.state == NeighborState::kProbing && entry.requests == 0;
    entry.requests++;
    entry.asked_at = now;
    ret_request->ip = entry.ip;
    ret_request->destination = verify ? fast_[index].mac : kBroadcastMac;
    return true;
  }
  return false;
}

bool NeighborTable::poll_event(NeighborEvent* ret_event) {
  const uint32_t index = events_.pop_front(entries_);
  if (index == kNone) return false;
  ret_event->ready = entries_[index].event_ready;
  ret_event->next_hop = entries_[index].ip;
  ret_event->path = path_of(index);
  set_lru(index);
  return true;
}

}  // namespace mn::host
