// SPDX-License-Identifier: MIT
// NeighborTable: which MAC address answers for an on-link IPv4 address (RFC 826; RFC 1122
// section 2.3.2 for how entries age and how often may be asked). One host has one; engine thread
// only. It decides when to ask and what to believe, but sends nothing: poll_request says which ARP
// requests are due. Time is an argument, memory is taken at construction, every operation is
// constant time.
//
//   incomplete --answer--> reachable --age--> stale (unused) --used--> probing --answer-->
//   reachable
//        |                     `----- age, while used, or doubt() -----^  |
//        `--no answer--> failed <------------------ no answer ------------'
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/fixed_array.h"
#include "base/index_list.h"
#include "base/index_pool.h"
#include "base/keyed_hash.h"
#include "base/time.h"

namespace mn::host {

// Names an entry: index and generation, so that the name of a recycled entry is recognised. 0 names
// none.
using Path = uint32_t;
constexpr Path kNoPath = 0;

struct NeighborConfig {
  uint32_t entries_max = 4096;             // at most 65536
  Duration request_interval = seconds(1);  // RFC 1122: not more than one a second to one address
  uint32_t requests_max = 3;  // broadcasts without an answer until an address has failed
  Duration reachable_time = seconds(30);  // how long an answer is believed without a new one
  Duration failed_time = seconds(1);      // how long a failure is remembered before asking again
  uint64_t seed = 0;                      // of the hash over addresses
};

enum class NeighborState : uint8_t { kFree, kIncomplete, kReachable, kStale, kProbing, kFailed };

enum class ResolveStatus : uint8_t {
  kReady,        // frames can be sent
  kPending,      // asked; an event follows
  kUnreachable,  // nobody answers, or there is no way to this address
  kNoRoom,       // too many unanswered or referenced entries: try later
};

struct NextHop {
  ResolveStatus status = ResolveStatus::kUnreachable;
  Path path = kNoPath;  // kReady, kPending
};

struct NeighborEvent {
  bool ready = false;  // false: failed
  Ipv4 next_hop = 0;
  Path path = kNoPath;
};

struct NeighborRequest {
  Ipv4 ip = 0;
  Mac destination{};  // broadcast, or the known address when it is only verified
};

class NeighborTable {
 public:
  explicit NeighborTable(const NeighborConfig& config);

  NextHop resolve(Instant now, Ipv4 ip);

  // For every transmitted packet: a few instructions. False: the path was recycled, or has failed:
  // resolve again. Also notes the use, which keeps the entry fresh.
  bool path_mac(Path path, Mac* ret_mac) {
    const uint32_t index = path & kIndexMask;
    if (index >= fast_.size()) return false;
    Fast& fast = fast_[index];
    if (fast.path != path || path == kNoPath) return false;
    *ret_mac = fast.mac;
    fast.used = true;
    if (fast.stale) [[unlikely]]
      start_probing(index);
    return true;
  }

  // An ARP packet said so. `create_entry`: an unknown address is worth remembering (it asks for us,
  // RFC 826). `answers`: it is a reply sent to us: proof that the entry is right, if we had asked.
  void learn(Instant now, Ipv4 ip, Mac mac, bool create_entry, bool answers);
  // A packet from `ip` came with this source address: a hint that is used until ARP knows better.
  Path learn_from_traffic(Instant now, Ipv4 ip, Mac mac);
  // Something above suspects that nothing arrives: asks the neighbour again, at most once in a
  // request_interval.
  void doubt(Instant now, Path path);

  Instant next_deadline() const;
  void on_deadline(Instant now);
  bool poll_request(Instant now, NeighborRequest* ret_request);
  bool poll_event(NeighborEvent* ret_event);
  bool has_request() const { return !ask_.empty(); }
  bool has_event() const { return !events_.empty(); }

  NeighborState state(Ipv4 ip) const;  // kFree: unknown
  uint32_t size() const { return pool_.used_count(); }

 private:
  // What the transmit path reads: 16 bytes, four to a cache line.
  struct Fast {
    Path path = kNoPath;  // kNoPath while there is no usable MAC
    Mac mac{};
    bool used = false;   // since the entry was last looked at
    bool stale = false;  // the next use starts a verification
  };
  struct Entry {
    Ipv4 ip = 0;
    uint16_t generation = 0;  // 1.. once used
    NeighborState state = NeighborState::kFree;
    uint8_t requests = 0;  // since the current question began
    bool event_ready = false;
    uint32_t hash_next = IndexPool::kNone;
    Instant deadline{};  // kIncomplete, kProbing: next request; kReachable: end of belief; kFailed:
                         // of memory
    Instant asked_at{INT64_MIN / 2};
    IndexLink timer_link, lru_link, ask_link, event_link;
  };
  static constexpr uint32_t kIndexMask = 0xffff;
  static constexpr size_t kDeadlinesPerCall = 64;

  using TimerList = IndexList<Entry, &Entry::timer_link>;

  uint32_t bucket(Ipv4 ip) const;
  uint32_t find(Ipv4 ip) const;
  uint32_t create(Ipv4 ip);
  void recycle(uint32_t index);
  Path path_of(uint32_t index) const { return uint32_t{entries_[index].generation} << 16 | index; }
  uint32_t index_of(Path path) const;
  void publish(uint32_t index, Mac mac, bool stale);
  void unpublish(uint32_t index) { fast_[index].path = kNoPath; }
  void set_timer(TimerList& list, uint32_t index, Instant deadline);
  void cancel_timer(uint32_t index);
  void set_lru(uint32_t index);
  void ask(uint32_t index);
  void stop_asking(uint32_t index);
  void start_incomplete(uint32_t index);
  void start_probing(uint32_t index);
  void set_mac(Instant now, uint32_t index, Mac mac, bool stale);
  void set_failed(Instant now, uint32_t index);
  void tell(uint32_t index, bool ready);
  void on_request_deadline(Instant now, uint32_t index);
  void on_age_deadline(uint32_t index);

  NeighborConfig config_;
  KeyedHash hash_;
  IndexPool pool_;
  FixedArray<Entry> entries_;
  FixedArray<Fast> fast_;
  FixedArray<uint32_t> buckets_;
  uint32_t incomplete_count_ = 0;
  // All timers of a list run equally long, so a list in order of insertion is in order of deadline.
  TimerList retry_timers_;
  TimerList age_timers_;
  IndexList<Entry, &Entry::lru_link> lru_;  // entries that may be recycled, oldest first
  IndexList<Entry, &Entry::ask_link> ask_;  // requests due
  IndexList<Entry, &Entry::event_link> events_;
};

}  // namespace mn::host
