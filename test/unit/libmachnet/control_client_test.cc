// SPDX-License-Identifier: MIT
#include "libmachnet/control_client.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake_daemon.h"
#include "fake_service.h"

namespace mn::client {
namespace {

FakeService* service_of(void** state) { return static_cast<FakeService*>(*state); }

int open_descriptors() {
  int count = 0;
  DIR* directory = opendir("/proc/self/fd");
  while (readdir(directory) != nullptr) count++;
  closedir(directory);
  return count;
}

void open__no_service(void** state) {
  (void)state;
  ControlClient client;
  setenv(ipc::kSocketEnvironment, "/nonexistent/socket", 1);
  assert_int_equal(client.open(), -1);
  assert_int_equal(errno, ENOENT);
  static char long_path[300];
  memset(long_path, 'a', sizeof long_path - 1);
  setenv(ipc::kSocketEnvironment, long_path, 1);
  assert_int_equal(client.open(), -1);
  assert_int_equal(errno, ENAMETOOLONG);
}

void open__other_version(void** state) {
  FakeService* s = service_of(state);
  s->version = 7;
  ControlClient client;
  assert_int_equal(client.open(), -1);
  assert_int_equal(errno, EPROTONOSUPPORT);
}

void open__reply_of_the_wrong_size_or_magic(void** state) {
  FakeService* s = service_of(state);
  ControlClient client;
  s->reply_size = 100;
  assert_int_equal(client.open(), -1);
  assert_int_equal(errno, EPROTO);
  s->reply_size = sizeof(ipc::ControlMessage);
  s->magic = 1;
  assert_int_equal(client.open(), -1);
  assert_int_equal(errno, EPROTO);
}

struct Stale {
  uint32_t count = 0;
  uint32_t flow = 0;
};

void request__skips_replies_that_came_too_late(void** state) {
  FakeService* s = service_of(state);
  ControlClient client;
  assert_int_equal(client.open(), 0);
  Stale stale;
  client.on_stale_reply(
      [](void* context, const ipc::ControlMessage& reply) {
        static_cast<Stale*>(context)->count++;
        static_cast<Stale*>(context)->flow = reply.flow.flow;
      },
      &stale);
  s->stale_first = true;
  ipc::ControlMessage message = {};
  message.header.type = ipc::kControlFlowStats;
  assert_int_equal(client.request(&message, 1000), 0);
  assert_int_equal(message.flow_stats.mss, 1460);
  assert_int_equal(stale.count, 1);
  assert_int_equal(stale.flow, ipc::flow_ref(5, 1));
  client.close();
}

void request__deadline(void** state) {
  FakeService* s = service_of(state);
  ControlClient client;
  assert_int_equal(client.open(), 0);
  s->silent = true;
  ipc::ControlMessage message = {};
  message.header.type = ipc::kControlListen;
  assert_int_equal(client.request(&message, 50), -1);
  assert_int_equal(errno, ETIMEDOUT);
  assert_int_equal(client.poll_alive(), 0);
  client.close();
}

void request__refusal_and_end(void** state) {
  FakeService* s = service_of(state);
  ControlClient client;
  assert_int_equal(client.open(), 0);
  s->error = EADDRINUSE;
  ipc::ControlMessage message = {};
  message.header.type = ipc::kControlListen;
  assert_int_equal(client.request(&message, 1000), -1);
  assert_int_equal(errno, EADDRINUSE);
  s->hang_up = true;
  message.header.type = ipc::kControlListen;
  assert_int_equal(client.request(&message, 1000), -1);
  assert_int_equal(errno, ESHUTDOWN);
  assert_int_equal(client.poll_alive(), -1);
  assert_int_equal(errno, ESHUTDOWN);
  client.close();
}

// Descriptors that nobody asked for are closed.
void request__unwanted_descriptors(void** state) {
  (void)state;
  ControlClient client;
  assert_int_equal(client.open(), 0);
  usleep(20000);  // let the service's own copies settle
  const int before = open_descriptors();
  for (int i = 0; i < 5; i++) {
    ipc::ControlMessage message = {};
    message.header.type = ipc::kControlAttach;
    assert_int_equal(client.request(&message, 1000), 0);
  }
  usleep(20000);
  assert_int_equal(open_descriptors(), before);
  client.close();
}

// A reply to request number 1 with three descriptors, there before it is asked for.
void send_descriptors(int socket) {
  ipc::ControlMessage message = {};
  message.header = {.magic = ipc::kControlMagic,
                    .type = ipc::kControlAttach,
                    .reserved = 0,
                    .sequence = 1,
                    .error = 0};
  const int fds[3] = {socket, socket, socket};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)] = {};
  iovec piece = {.iov_base = &message, .iov_len = sizeof message};
  msghdr header = {};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof fds);
  memcpy(CMSG_DATA(rights), fds, sizeof fds);
  assert_int_equal(sendmsg(socket, &header, 0), sizeof message);
}

// A process at its limit is told so: nothing is wrong with the service.
void request__no_room_for_descriptors(void** state) {
  (void)state;
  int ends[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  send_descriptors(ends[1]);
  ControlClient client;
  client.adopt(ends[0]);
  rlimit all;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
  rlimit two_more = all;
  const int next = dup(ends[0]);
  close(next);
  two_more.rlim_cur = static_cast<rlim_t>(next) + 2;
  const int before = open_descriptors();
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &two_more), 0);
  ipc::ControlMessage message = {};
  message.header.type = ipc::kControlAttach;
  Descriptors descriptors;
  const int status = client.request(&message, 1000, &descriptors);
  const int error = errno;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
  assert_int_equal(status, -1);
  assert_int_equal(error, EMFILE);
  assert_int_equal(descriptors.count, 0);
  assert_int_equal(open_descriptors(), before);
  client.close();
  close(ends[1]);
}

}  // namespace
}  // namespace mn::client

int main() {
  using namespace mn::client;
#define MN_CASE(f) cmocka_unit_test_setup_teardown(f, setup_service, teardown_service)
  const CMUnitTest tests[] = {
      cmocka_unit_test(open__no_service),
      MN_CASE(open__other_version),
      MN_CASE(open__reply_of_the_wrong_size_or_magic),
      MN_CASE(request__skips_replies_that_came_too_late),
      MN_CASE(request__deadline),
      MN_CASE(request__refusal_and_end),
      MN_CASE(request__unwanted_descriptors),
      cmocka_unit_test(request__no_room_for_descriptors),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
