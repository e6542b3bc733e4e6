// SPDX-License-Identifier: MIT
#include "libmachnet/control_client.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
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
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
