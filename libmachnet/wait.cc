// SPDX-License-Identifier: MIT
#include "libmachnet/wait.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "libmachnet/message_io.h"

namespace mn::client {

namespace {

enum Source : uint32_t { kDoorbell = 0, kSession = 1 };

// An empty poll now and then reads the doorbell even if no ring is owed, in case somebody rang
// twice.
constexpr uint32_t kFdIdlePollsMax = 16;

int64_t now_ms() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

bool events_wait(const Channel* c) {
  // A program that never asks for events is told of each once: it would spin in machnet_wait.
  if (c->events_used) return c->events.size() != 0;
  return c->events.pushed() != c->events_told;
}

// After a refused send: are the buffers there that it needs?
bool room_waits(Channel* c) {
  if (c->room_wanted == 0) return false;
  Lane* lane = &c->lanes[c->room_lane];
  return tx_drain(c, lane) && lane->tx_free_count >= c->room_wanted;
}

// May set dead_errno.
bool something_waits(Channel* c) {
  return c->ready.flow != nullptr || events_wait(c) || room_waits(c) || receive_advance(c) ||
         events_wait(c);
}

// What the program is told once, it is told now.
void told(Channel* c) {
  c->events_told = c->events.pushed();
  if (room_waits(c)) c->room_wanted = 0;
}

uint32_t wishes(const Channel* c, const Lane& lane) {
  const bool room = c->room_wanted != 0 && c->room_lane == lane.index;
  return ipc::kWakeEntries | (room ? ipc::kWakeSpace : 0);
}

void announce_all(Channel* c) {
  for (uint32_t i = 0; i < c->lane_count; i++) {
    Lane* lane = &c->lanes[i];
    lane->announced = wishes(c, *lane);
    ipc::sleep_announce(&lane->header->application, lane->announced);
  }
}

// Counts the engines that have rung (or are about to: they take the wish first) since the
// announcement.
void collect_rings(Channel* c) {
  for (uint32_t i = 0; i < c->lane_count; i++) {
    Lane* lane = &c->lanes[i];
    if (lane->announced == 0 || ipc::sleep_announced(&lane->header->application)) continue;
    lane->announced = 0;
    c->fd_rings++;
  }
}

void end_all(Channel* c) {
  collect_rings(c);
  for (uint32_t i = 0; i < c->lane_count; i++) {
    c->lanes[i].announced = 0;
    ipc::sleep_end(&c->lanes[i].header->application);
  }
}

// Reads what rings there are: one number for each, or (an eventfd) their sum.
void take_rings(Channel* c) {
  uint64_t rings[32];
  uint64_t sum = 0;
  ssize_t n;
  do {
    n = read(c->application_fd, rings, sizeof rings);
    for (ssize_t i = 0; i < n / static_cast<ssize_t>(sizeof rings[0]); i++) sum += rings[i];
  } while (n == sizeof rings);
  c->fd_rings = sum >= c->fd_rings ? 0 : c->fd_rings - static_cast<uint32_t>(sum);
}

// Makes the program's descriptor readable, or not any more: our end of the doorbell is always writable.
bool fd_raise(const Channel* c, bool raised) {
  epoll_event event = {};
  event.events = raised ? uint32_t{EPOLLIN} | uint32_t{EPOLLOUT} : uint32_t{EPOLLIN};
  event.data.u32 = kDoorbell;
  return epoll_ctl(c->poll_fd, EPOLL_CTL_MOD, c->application_fd, &event) == 0;
}

int epoll_add(int epoll_fd, int fd, uint32_t events, Source source) {
  epoll_event event = {};
  event.events = events;
  event.data.u32 = source;
  return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

// `edge`: the doorbell wakes once for each ring, read or not.
int make_epoll(const Channel* c, bool edge) {
  if (c->application_fd < 0) {
    errno = ENOTSUP;
    return -1;
  }
  const int fd = epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) return -1;
  const uint32_t bell = edge ? uint32_t{EPOLLIN} | uint32_t{EPOLLET} : uint32_t{EPOLLIN};
  int status = epoll_add(fd, c->application_fd, bell, kDoorbell);
  if (status == 0 && c->control.fd() >= 0) {
    status = epoll_add(fd, c->control.fd(), EPOLLIN | EPOLLRDHUP, kSession);
  }
  if (status == 0) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

// Sleeps once. 1: look again, 0: time is up, -1.
int sleep_once(Channel* c, int64_t deadline, bool* ret_rung) {
  int left = -1;
  if (deadline >= 0) {
    const int64_t ms = deadline - now_ms();
    left = ms <= 0 ? 0 : ms > INT_MAX ? INT_MAX : static_cast<int>(ms);
  }
  epoll_event events[2];
  const int count = epoll_wait(c->wait_fd, events, 2, left);
  if (count < 0) return -1;
  for (int i = 0; i < count; i++) {
    if (events[i].data.u32 == kDoorbell) *ret_rung = true;
    if (events[i].data.u32 == kSession && channel_check_now(c) != 0) return -1;
  }
  return count > 0 || left != 0 ? 1 : 0;
}

}  // namespace

int wait_for_work(Channel* c, int timeout_ms) {
  if (c->dead_errno != 0 || channel_check(c) != 0) return channel_fail(c, c->dead_errno);
  bool found = something_waits(c);
  if (!found && timeout_ms != 0 && c->dead_errno == 0) {
    if (c->wait_fd < 0 && (c->wait_fd = make_epoll(c, true)) < 0) return -1;
    const int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
    for (int status = 1; !found && status == 1;) {
      bool rung = false;
      announce_all(c);
      found = something_waits(c);
      if (!found && c->dead_errno == 0) status = sleep_once(c, deadline, &rung);
      const int error = errno;
      end_all(c);
      if (rung) take_rings(c);  // a doorbell that is never read would be full one day
      if (!found) found = something_waits(c);
      if (c->dead_errno != 0) return channel_fail(c, c->dead_errno);
      if (status < 0 && !found) {
        errno = error;
        return -1;
      }
    }
  }
  if (c->dead_errno != 0) return channel_fail(c, c->dead_errno);
  if (!found) return 0;
  told(c);
  return 1;
}

int fd_open(Channel* c) {
  if (c->dead_errno != 0 || channel_check(c) != 0) return channel_fail(c, c->dead_errno);
  if (c->poll_fd < 0) {
    c->poll_fd = make_epoll(c, false);
    if (c->poll_fd < 0) return -1;
    c->fd_mode = true;
    c->fd_idle_polls = kFdIdlePollsMax;  // read what rings are left from machnet_wait
    // The program may poll at once: something may be waiting already.
    fd_prepare(c);
    if (c->dead_errno != 0) return channel_fail(c, c->dead_errno);
    fd_keep_raised(c);
  }
  return c->poll_fd;
}

void fd_prepare(Channel* c) {
  if (something_waits(c) || c->dead_errno != 0) return;
  collect_rings(c);
  // Read before the announcement: afterwards it could swallow the ring for what comes now. A ring
  // that was announced but has not reached the doorbell stays owed and is read the next time.
  if (c->fd_raised) c->fd_raised = !fd_raise(c, false);
  if (c->fd_rings > 0 || ++c->fd_idle_polls >= kFdIdlePollsMax) {
    take_rings(c);
    c->fd_idle_polls = 0;
  }
  bool announce = false;
  for (uint32_t i = 0; i < c->lane_count; i++) {
    announce |= c->lanes[i].announced != wishes(c, c->lanes[i]);
  }
  if (!announce) return;
  announce_all(c);
  something_waits(c);
}

void fd_keep_raised(Channel* c) {
  if (!something_waits(c) || c->dead_errno != 0) return;
  if (!c->fd_raised) c->fd_raised = fd_raise(c, true);
  told(c);
}

}  // namespace mn::client
