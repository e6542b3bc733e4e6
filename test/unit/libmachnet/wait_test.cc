// SPDX-License-Identifier: MIT
#include "libmachnet/wait.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "fake_daemon.h"
#include "libmachnet/channel_state.h"

namespace mn::client {
namespace {

FakeDaemon* daemon_of(void** state) { return static_cast<FakeDaemon*>(*state); }

int64_t now_ms() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

bool readable(int fd, int timeout_ms = 0) {
  pollfd p = {.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&p, 1, timeout_ms) == 1;
}

ssize_t receive(FakeDaemon* d) {
  char text[64];
  return machnet_recv(d->channel, text, sizeof text, nullptr);
}

// Runs `work` on a thread of its own, 20 ms from now.
struct Later {
  FakeDaemon* d;
  void (*work)(FakeDaemon*);
  pthread_t thread;
  Later(FakeDaemon* daemon, void (*f)(FakeDaemon*)) : d(daemon), work(f) {
    pthread_create(&thread, nullptr, run, this);
  }
  static void* run(void* self) {
    usleep(20000);
    Later* later = static_cast<Later*>(self);
    later->work(later->d);
    return nullptr;
  }
  void join() { pthread_join(thread, nullptr); }
};

void wait__time_passes_without_cpu(void** state) {
  FakeDaemon* d = daemon_of(state);
  rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  const int64_t start = now_ms();
  assert_int_equal(machnet_wait(d->channel, 100), 0);
  const int64_t took = now_ms() - start;
  getrusage(RUSAGE_SELF, &after);
  assert_true(took >= 100 && took < 1000);
  const long cpu_us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
                      after.ru_utime.tv_usec - before.ru_utime.tv_usec;
  assert_true(cpu_us < 20000);
  assert_int_equal(machnet_wait(d->channel, 0), 0);
}

void wait__message_is_there(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->message(d->connect(0), 0, 8, 'x');
  assert_int_equal(machnet_wait(d->channel, -1), 1);
  assert_int_equal(machnet_wait(d->channel, 0), 1);  // until it is received
  assert_int_equal(receive(d), 8);
  assert_int_equal(machnet_wait(d->channel, 0), 0);
}

void wait__message_comes(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0);
  for (int i = 0; i < 3; i++) {
    Later later(d, [](FakeDaemon* daemon) {
      daemon->message(ipc::flow_ref(0, 1), 0, 8, 'x');
      daemon->ring_application();
    });
    const int status = machnet_wait(d->channel, 5000);
    later.join();
    assert_int_equal(status, 1);
    assert_int_equal(receive(d), 8);
    assert_int_equal(d->count_released(), 1);
  }
}

void wait__beginning_of_a_message_does_not_wake(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0);
  Later later(d, [](FakeDaemon* daemon) {
    daemon->segment(ipc::flow_ref(0, 1), 0, 8, 'x', ipc::kFirstSegment);
    daemon->ring_application();
  });
  assert_int_equal(machnet_wait(d->channel, 100), 0);
  later.join();
}

void wait__service_dies(void** state) {
  FakeDaemon* d = daemon_of(state);
  Later later(d, [](FakeDaemon* daemon) {
    close(daemon->session[1]);
    daemon->session[1] = -1;
  });
  const int64_t start = now_ms();
  const int status = machnet_wait(d->channel, 5000);
  const int error = errno;
  later.join();
  assert_int_equal(status, -1);
  assert_int_equal(error, ESHUTDOWN);
  assert_true(now_ms() - start < 1000);
}

void on_alarm(int) {}

void wait__signal(void** state) {
  FakeDaemon* d = daemon_of(state);
  struct sigaction action = {};
  action.sa_handler = on_alarm;
  sigaction(SIGALRM, &action, nullptr);
  ualarm(20000, 0);
  assert_int_equal(machnet_wait(d->channel, 5000), -1);
  assert_int_equal(errno, EINTR);
}

void wait__room_after_a_refused_send(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0);
  for (uint32_t i = 0; i < kTestTxBuffers; i++) {
    assert_int_equal(machnet_send(d->channel, test_flow(0), "x", 1), 0);
  }
  assert_int_equal(machnet_wait(d->channel, 0), 0);
  static char two[2 * kTestBufferSize];
  assert_int_equal(machnet_send(d->channel, test_flow(0), two, sizeof two), -1);
  assert_int_equal(errno, EAGAIN);
  assert_int_equal(machnet_wait(d->channel, 20), 0);
  ipc::Item16 item;
  assert_true(d->submitted(&item));
  d->lanes[0].complete.push(item.b);
  assert_int_equal(machnet_wait(d->channel, 20), 0);  // one buffer is not enough
  assert_true(d->submitted(&item));
  d->lanes[0].complete.push(item.b);
  assert_int_equal(machnet_wait(d->channel, 0), 1);
  assert_int_equal(machnet_wait(d->channel, 0), 0);  // said once
  assert_int_equal(machnet_send(d->channel, test_flow(0), two, sizeof two), 0);
}

void wait__announces_what_it_wants(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0);
  static uint32_t wants;
  for (int round = 0; round < 2; round++) {
    Later later(
        d, [](FakeDaemon* daemon) { wants = daemon->lanes[0].header->application.wants.load(); });
    assert_int_equal(machnet_wait(d->channel, 60), 0);
    later.join();
    assert_int_equal(wants, round == 0 ? int{ipc::kWakeEntries} : int{ipc::kWakeAny});
    int status = 0;
    while (status == 0) status = machnet_send(d->channel, test_flow(0), "x", 1);
    assert_int_equal(errno, EAGAIN);
  }
  assert_int_equal(d->lanes[0].header->application.wants.load(), 0);
}

void wait__events(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->open(0);
  assert_int_equal(machnet_wait(d->channel, 0), 1);
  assert_int_equal(machnet_wait(d->channel, 0), 0);  // told once: this program may not want events
  d->open(1);
  assert_int_equal(machnet_wait(d->channel, 0), 1);
  MachnetEvent_t event;
  assert_int_equal(machnet_next_event(d->channel, &event), 1);
  assert_int_equal(machnet_wait(d->channel, 0), 1);  // it does
  assert_int_equal(machnet_next_event(d->channel, &event), 1);
  assert_int_equal(machnet_wait(d->channel, 0), 0);
}

void fd__message_comes(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  const int fd = machnet_fd(d->channel);
  assert_true(fd >= 0);
  assert_int_equal(machnet_fd(d->channel), fd);
  assert_false(readable(fd));
  for (uint32_t i = 0; i < 100; i++) {
    assert_int_equal(receive(d), 0);
    assert_false(readable(fd));
    d->message(ref, i % kTestRxBuffers, 8, 'x');
    d->ring_application();
    assert_true(readable(fd));
    assert_int_equal(receive(d), 8);
  }
  assert_int_equal(receive(d), 0);
  assert_false(readable(fd));
}

void fd__message_between_looking_and_polling(void** state) {
  FakeDaemon* d = daemon_of(state);
  const uint32_t ref = d->connect(0);
  d->message(ref, 0, 8, 'x');
  const int fd = machnet_fd(d->channel);
  assert_true(readable(fd));  // without a bell: it was there before
  assert_int_equal(receive(d), 8);
  assert_int_equal(receive(d), 0);
  assert_false(readable(fd));
}

// The engine takes the wish, then is slow to write: the descriptor must calm down all the same.
void fd__late_ring(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0);
  const int fd = machnet_fd(d->channel);
  assert_int_equal(receive(d), 0);
  assert_true(ipc::wake_needed(&d->lanes[0].header->application, ipc::kWakeEntries));
  assert_int_equal(receive(d), 0);
  const uint64_t one = 1;
  assert_int_equal(write(d->application_fd, &one, sizeof one), sizeof one);
  assert_true(readable(fd));
  assert_int_equal(receive(d), 0);
  assert_false(readable(fd));
}

void fd__ring_that_nobody_owes(void** state) {
  FakeDaemon* d = daemon_of(state);
  const int fd = machnet_fd(d->channel);
  const uint64_t one = 1;
  assert_int_equal(write(d->application_fd, &one, sizeof one), sizeof one);
  int polls = 0;
  while (readable(fd) && polls < 100) {
    assert_int_equal(receive(d), 0);
    polls++;
  }
  assert_true(polls < 100);
}

void fd__events_and_messages(void** state) {
  FakeDaemon* d = daemon_of(state);
  const int fd = machnet_fd(d->channel);
  MachnetEvent_t event;
  assert_int_equal(machnet_next_event(d->channel, &event), 0);
  const uint32_t ref = d->open(0);
  d->message(ref, 0, 8, 'x');
  d->ring_application();
  assert_true(readable(fd));
  assert_int_equal(receive(d), 8);
  assert_int_equal(receive(d), 0);
  assert_true(readable(fd));  // the event still waits
  assert_int_equal(machnet_next_event(d->channel, &event), 1);
  d->message(ref, 1, 8, 'x');
  assert_int_equal(machnet_next_event(d->channel, &event), 0);
  assert_true(readable(fd));  // the message
  assert_int_equal(receive(d), 8);
  assert_int_equal(receive(d), 0);
  assert_false(readable(fd));
}

void fd__service_dies(void** state) {
  FakeDaemon* d = daemon_of(state);
  const int fd = machnet_fd(d->channel);
  assert_int_equal(receive(d), 0);
  close(d->session[1]);
  d->session[1] = -1;
  assert_true(readable(fd));
  usleep(2000);
  assert_int_equal(receive(d), -1);
  assert_int_equal(errno, ESHUTDOWN);
}

void fd__room(void** state) {
  FakeDaemon* d = daemon_of(state);
  d->connect(0);
  const int fd = machnet_fd(d->channel);
  int status = 0;
  while (status == 0) status = machnet_send(d->channel, test_flow(0), "x", 1);
  assert_int_equal(receive(d), 0);
  assert_false(readable(fd));
  d->complete_all();
  assert_true(ipc::wake_needed(&d->lanes[0].header->application, ipc::kWakeSpace));
  const uint64_t one = 1;
  assert_int_equal(write(d->application_fd, &one, sizeof one), sizeof one);
  assert_true(readable(fd));
  assert_int_equal(machnet_send(d->channel, test_flow(0), "x", 1), 0);
  assert_int_equal(receive(d), 0);
  assert_false(readable(fd));
}

}  // namespace
}  // namespace mn::client

int main() {
  using namespace mn::client;
#define MN_CASE(f) cmocka_unit_test_setup_teardown(f, setup_daemon, teardown_daemon)
  const CMUnitTest tests[] = {
      MN_CASE(wait__time_passes_without_cpu),
      MN_CASE(wait__message_is_there),
      MN_CASE(wait__message_comes),
      MN_CASE(wait__beginning_of_a_message_does_not_wake),
      MN_CASE(wait__service_dies),
      MN_CASE(wait__signal),
      MN_CASE(wait__room_after_a_refused_send),
      MN_CASE(wait__announces_what_it_wants),
      MN_CASE(wait__events),
      MN_CASE(fd__message_comes),
      MN_CASE(fd__message_between_looking_and_polling),
      MN_CASE(fd__late_ring),
      MN_CASE(fd__ring_that_nobody_owes),
      MN_CASE(fd__events_and_messages),
      MN_CASE(fd__service_dies),
      MN_CASE(fd__room),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
