// SPDX-License-Identifier: MIT
// LaneSet: the lanes an engine serves, and when to look at them. A hot lane's rings are read in
// every poll; a parked one's are not: its application rings the doorbell. Lanes are parked when the
// engine sleeps, or one by one when many are hot and this one has been quiet, so that a poll costs
// what the busy lanes cost. Also the engine's sleep: one epoll descriptor for doorbells, commands
// and the NIC. Engine thread.
#pragma once

#include <cstdint>
#include <vector>

#include "base/time.h"
#include "channel/lane.h"

namespace mn {

class LaneSet {
 public:
  static constexpr uint32_t kLanesMax = 4096;

  // `command_fd`: an eventfd that wakes the engine; `nic_fd`: -1 or readable when packets wait.
  LaneSet(int command_fd, int nic_fd);
  ~LaneSet();
  LaneSet(const LaneSet&) = delete;
  LaneSet& operator=(const LaneSet&) = delete;

  bool add(Lane* lane);  // false: full
  void remove(Lane* lane);
  bool contains(const Lane* lane) const;
  // Stops reading a lane whose application broke the rules; it stays a member until removed.
  void silence(Lane* lane);

  // Hot lanes, by position; the order changes when lanes come and go.
  uint32_t hot_count() const { return static_cast<uint32_t>(hot_.size()); }
  Lane* hot(uint32_t position) { return entries_[hot_[position]].lane; }
  // After each look: parks the lane at `position` if it has been quiet for long and many are hot.
  // True: it was parked, another lane stands at `position` now.
  bool looked(uint32_t position, bool found_work);
  // Makes parked lanes hot whose doorbell rang. Cheap when nothing is parked.
  void collect_doorbells();

  // Announces sleep on every hot lane. False: an entry waits, nobody sleeps.
  bool announce_sleep();
  // Blocks until a descriptor is readable or the time is over; then ends the announcement.
  void sleep(Duration longest);
  void end_sleep();

  int epoll_fd() const { return epoll_fd_; }
  Lane** news_head() { return &news_; }

 private:
  static constexpr uint32_t kHotWithoutParking = 32;
  static constexpr uint32_t kQuietLooks = 2000;
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Entry {
    Lane* lane = nullptr;
    uint32_t hot_position = kNone;
    uint32_t quiet_looks = 0;
    bool silenced = false;
  };

  uint32_t find(const Lane* lane) const;
  void make_hot(uint32_t index);
  void leave_hot(uint32_t index);
  void drain_events(int timeout_ms_or_now, const Duration* longest);

  int epoll_fd_ = -1;
  int command_fd_;
  std::vector<Entry> entries_;  // kLanesMax, made at construction
  std::vector<uint32_t> free_;  // indices of unused entries
  std::vector<uint32_t> hot_;   // indices of hot entries, capacity reserved
  uint32_t parked_count_ = 0;
  Lane* news_ = nullptr;
};

}  // namespace mn
