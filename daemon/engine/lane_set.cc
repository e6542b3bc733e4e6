// SPDX-License-Identifier: MIT
#include "engine/lane_set.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>

#include "base/assert.h"

namespace mn {

namespace {
constexpr uint64_t kCommandTag = UINT64_MAX;
constexpr uint64_t kNicTag = UINT64_MAX - 1;

// Doorbells of applications are watched for edges and never read: who holds the other end could
// clear the O_NONBLOCK that both share, empty the counter between our look and our read, and so
// stop the engine in read().
void watch(int epoll_fd, int fd, uint64_t tag, uint32_t events = EPOLLIN) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = tag;
  MN_ASSERT(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

void drain(int eventfd) {
  uint64_t count = 0;
  // EAGAIN is fine: somebody else's wake-up was collected already.
  [[maybe_unused]] const ssize_t n = read(eventfd, &count, sizeof count);
}
}  // namespace

LaneSet::LaneSet(int command_fd, int nic_fd) : command_fd_(command_fd), entries_(kLanesMax) {
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  MN_ASSERT(epoll_fd_ >= 0);
  watch(epoll_fd_, command_fd, kCommandTag);
  if (nic_fd >= 0) watch(epoll_fd_, nic_fd, kNicTag);
  free_.reserve(kLanesMax);
  hot_.reserve(kLanesMax);
  for (uint32_t i = kLanesMax; i-- > 0;) free_.push_back(i);
}

LaneSet::~LaneSet() { close(epoll_fd_); }

uint32_t LaneSet::find(const Lane* lane) const {
  for (uint32_t i = 0; i < kLanesMax; i++) {
    if (entries_[i].lane == lane) return i;
  }
  return kNone;
}

bool LaneSet::contains(const Lane* lane) const { return find(lane) != kNone; }

bool LaneSet::add(Lane* lane) {
  MN_ASSERT(lane != nullptr && !contains(lane));
  if (free_.empty()) return false;
  const uint32_t index = free_.back();
  free_.pop_back();
  entries_[index] = {.lane = lane};
  watch(epoll_fd_, lane->engine_fd(), index, EPOLLIN | EPOLLET);
  lane->link_news(&news_);
  parked_count_++;
  make_hot(index);
  return true;
}

void LaneSet::remove(Lane* lane) {
  const uint32_t index = find(lane);
  MN_ASSERT(index != kNone);
  leave_hot(index);
  parked_count_--;
  lane->link_news(nullptr);
  epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, lane->engine_fd(), nullptr);
  entries_[index] = {};
  free_.push_back(index);
}

void LaneSet::silence(Lane* lane) {
  const uint32_t index = find(lane);
  MN_ASSERT(index != kNone);
  entries_[index].silenced = true;
  epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, lane->engine_fd(), nullptr);
  leave_hot(index);
}

void LaneSet::make_hot(uint32_t index) {
  Entry& entry = entries_[index];
  if (entry.hot_position != kNone || entry.silenced || entry.lane == nullptr) return;
  entry.lane->end_sleep();
  entry.quiet_looks = 0;
  entry.hot_position = static_cast<uint32_t>(hot_.size());
  hot_.push_back(index);
  parked_count_--;
}

void LaneSet::leave_hot(uint32_t index) {
  Entry& entry = entries_[index];
  if (entry.hot_position == kNone) return;
  const uint32_t last = hot_.back();
  hot_[entry.hot_position] = last;
  entries_[last].hot_position = entry.hot_position;
  hot_.pop_back();
  entry.hot_position = kNone;
  parked_count_++;
}

bool LaneSet::looked(uint32_t position, bool found_work) {
  Entry& entry = entries_[hot_[position]];
  if (found_work) {
    entry.quiet_looks = 0;
    return false;
  }
  if (++entry.quiet_looks < kQuietLooks || hot_.size() <= kHotWithoutParking) return false;
  Lane* lane = entry.lane;
  lane->announce_sleep();
  if (lane->has_input()) {
    lane->end_sleep();
    entry.quiet_looks = 0;
    return false;
  }
  leave_hot(hot_[position]);
  return true;
}

void LaneSet::drain_events(int timeout_ms_or_now, const Duration* longest) {
  std::array<epoll_event, 64> events;
  int n = 0;
  if (longest == nullptr) {
    n = epoll_wait(epoll_fd_, events.data(), events.size(), timeout_ms_or_now);
  } else {
    const timespec wait{.tv_sec = longest->ns / 1'000'000'000,
                        .tv_nsec = longest->ns % 1'000'000'000};
    n = epoll_pwait2(epoll_fd_, events.data(), events.size(), &wait, nullptr);
  }
  for (int i = 0; i < n; i++) {
    const uint64_t tag = events[static_cast<size_t>(i)].data.u64;
    if (tag == kNicTag) continue;  // the next poll reads the packets
    if (tag == kCommandTag) {
      drain(command_fd_);
      continue;
    }
    MN_ASSERT(tag < kLanesMax);
    Entry& entry = entries_[tag];
    if (entry.lane == nullptr) continue;
    make_hot(static_cast<uint32_t>(tag));
  }
}

void LaneSet::collect_doorbells() {
  if (parked_count_ > 0) drain_events(0, nullptr);
}

bool LaneSet::announce_sleep() {
  for (const uint32_t index : hot_) entries_[index].lane->announce_sleep();
  for (const uint32_t index : hot_) {
    if (!entries_[index].lane->has_input()) continue;
    end_sleep();
    return false;
  }
  return true;
}

void LaneSet::sleep(Duration longest) {
  if (longest.ns < 0) longest = {};
  drain_events(0, &longest);
  end_sleep();
}

void LaneSet::end_sleep() {
  for (const uint32_t index : hot_) entries_[index].lane->end_sleep();
}

}  // namespace mn
