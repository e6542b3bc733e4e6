// SPDX-License-Identifier: MIT
// The calls that talk to the service, against a fake one. Those of the data path have their own
// tests.
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_daemon.h"
#include "fake_service.h"
#include "libmachnet/channel_state.h"

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

void init__service_or_none(void** state) {
  FakeService* s = service_of(state);
  assert_int_equal(machnet_init(), 0);
  s->version = 9;
  assert_int_equal(machnet_init(), -1);
  assert_int_equal(errno, EPROTONOSUPPORT);
  setenv(ipc::kSocketEnvironment, "/nonexistent/socket", 1);
  assert_int_equal(machnet_init(), -1);
  assert_int_equal(errno, ENOENT);
  assert_null(machnet_attach());
  assert_int_equal(errno, ENOENT);
}

void attach__and_detach(void** state) {
  FakeService* s = service_of(state);
  const int before = open_descriptors();
  void* channel = machnet_attach();
  assert_non_null(channel);
  char byte;
  assert_int_equal(machnet_recv(channel, &byte, 1, nullptr), 0);
  assert_true(machnet_fd(channel) >= 0);
  assert_int_equal(machnet_wait(channel, 1), 0);
  assert_int_equal(machnet_detach(channel), 0);
  assert_int_equal(s->requests[ipc::kControlDetach], 1);
  usleep(50000);  // the service closes its end
  assert_int_equal(open_descriptors(), before);
}

void attach__several_lanes(void** state) {
  FakeService* s = service_of(state);
  s->lane_count = ipc::kLanesMax;
  void* channel = machnet_attach();
  assert_non_null(channel);
  assert_int_equal(static_cast<Channel*>(channel)->lane_count, ipc::kLanesMax);
  assert_int_equal(machnet_detach(channel), 0);
}

void expect_attach_refused(int error) {
  errno = 0;
  assert_null(machnet_attach());
  assert_int_equal(errno, error);
}

void attach__unsealed_memory(void** state) {
  service_of(state)->seal = false;
  expect_attach_refused(EPROTO);
}

void attach__short_memory(void** state) {
  service_of(state)->missing_bytes = 1;
  expect_attach_refused(EPROTO);
}

void attach__missing_descriptors(void** state) {
  service_of(state)->missing_descriptors = 1;
  expect_attach_refused(EPROTO);
  service_of(state)->missing_descriptors = 3;
  expect_attach_refused(EPROTO);
}

void attach__impossible_shapes(void** state) {
  service_of(state)->shape.buffer_size = 65;
  expect_attach_refused(EPROTO);
  service_of(state)->shape = {64, 64, 1024, 8};
  service_of(state)->lane_count = 17;
  expect_attach_refused(EPROTO);
  service_of(state)->lane_count = 0;
  expect_attach_refused(EPROTO);
}

void attach__refused_or_hung_up(void** state) {
  service_of(state)->error = EDQUOT;
  expect_attach_refused(EDQUOT);
  service_of(state)->hang_up = true;
  expect_attach_refused(ECONNRESET);
}

void listen__arguments_and_answers(void** state) {
  FakeService* s = service_of(state);
  void* channel = machnet_attach();
  for (const char* address : {"", "10.0.0", "10.0.0.256", "host", "10.0.0.1 ", "::1"}) {
    assert_int_equal(machnet_listen(channel, address, 7), -1);
    assert_int_equal(errno, EINVAL);
  }
  assert_int_equal(machnet_listen(channel, "10.0.0.1", 0), -1);
  assert_int_equal(errno, EINVAL);
  assert_int_equal(machnet_listen(nullptr, "10.0.0.1", 7), -1);
  assert_int_equal(s->requests[ipc::kControlListen], 0);
  assert_int_equal(machnet_listen(channel, "10.1.2.3", 7), 0);
  assert_int_equal(s->last.endpoint.local_ip, 0x0a010203);
  assert_int_equal(s->last.endpoint.local_port, 7);
  assert_int_equal(machnet_unlisten(channel, "0.0.0.0", 7), 0);
  assert_int_equal(s->last.header.type, ipc::kControlUnlisten);
  assert_int_equal(s->last.endpoint.local_ip, 0);
  assert_int_equal(machnet_listen(channel, nullptr, 7), 0);
  s->error = EADDRINUSE;
  s->error_type = ipc::kControlListen;
  assert_int_equal(machnet_listen(channel, nullptr, 7), -1);
  assert_int_equal(errno, EADDRINUSE);
  assert_int_equal(machnet_detach(channel), 0);
}

void connect__flow_is_ready(void** state) {
  FakeService* s = service_of(state);
  void* channel = machnet_attach();
  MachnetFlow_t flow;
  assert_int_equal(machnet_connect(channel, nullptr, "10.0.0.2", 0, &flow), -1);
  assert_int_equal(errno, EINVAL);
  assert_int_equal(machnet_connect(channel, nullptr, "0.0.0.0", 7, &flow), -1);
  assert_int_equal(machnet_connect(channel, nullptr, nullptr, 7, &flow), -1);
  assert_int_equal(machnet_connect(channel, nullptr, "10.0.0.2", 7, nullptr), -1);
  assert_int_equal(errno, EINVAL);
  assert_int_equal(machnet_connect(channel, nullptr, "10.0.0.2", 7, &flow), 0);
  assert_true(same_flow(flow, test_flow(1)));
  assert_int_equal(machnet_send(channel, flow, "x", 1), 0);
  MachnetFlowStats_t stats;
  assert_int_equal(machnet_flow_stats(channel, flow, &stats), 0);
  assert_int_equal(stats.tx_messages, 11);
  assert_int_equal(stats.mss, 1460);
  assert_int_equal(machnet_flow_stats(channel, test_flow(2), &stats), -1);
  assert_int_equal(errno, ENOTCONN);
  // It has ended, which the channel has not heard of yet.
  s->error = ENOENT;
  s->error_type = ipc::kControlFlowStats;
  stats.mss = 7;
  assert_int_equal(machnet_flow_stats(channel, flow, &stats), -1);
  assert_int_equal(errno, ENOENT);
  assert_int_equal(stats.mss, 7);
  s->error = ECONNREFUSED;
  s->error_type = ipc::kControlConnect;
  assert_int_equal(machnet_connect(channel, nullptr, "10.0.0.2", 8, &flow), -1);
  assert_int_equal(errno, ECONNREFUSED);
  assert_int_equal(machnet_detach(channel), 0);
}

// A connect's answer that comes after its deadline opens no flow: it is closed.
void connect__abandoned_flow_is_closed(void** state) {
  FakeService* s = service_of(state);
  Channel* channel = static_cast<Channel*>(machnet_attach());
  s->stale_first = true;
  assert_int_equal(machnet_listen(channel, nullptr, 7), 0);
  const ipc::LaneOffsets at = ipc::lane_offsets(s->shape);
  uint8_t* base = static_cast<uint8_t*>(channel->memory) + ipc::kFirstLaneOffset;
  ipc::Consumer16 submit(reinterpret_cast<ipc::Entry16*>(base + at.submit),
                         ipc::submit_capacity(s->shape));
  ipc::Item16 item;
  assert_true(submit.pop(&item));
  assert_int_equal(item.a, ipc::flow_ref(5, 1));
  assert_int_equal(ipc::entry_type(item.word), ipc::kSubmitClose);
  assert_int_equal(machnet_send(channel, test_flow(5), "x", 1), -1);
  assert_int_equal(machnet_detach(channel), 0);
}

void detach__reports_what_was_lost(void** state) {
  FakeService* s = service_of(state);
  void* channel = machnet_attach();
  s->error = ETIMEDOUT;
  assert_int_equal(machnet_detach(channel), -1);
  assert_int_equal(errno, ETIMEDOUT);
  assert_int_equal(machnet_detach(nullptr), -1);
  assert_int_equal(errno, EINVAL);
}

void service_dies__every_call_says_so(void** state) {
  FakeService* s = service_of(state);
  void* channel = machnet_attach();
  s->hang_up = true;
  assert_int_equal(machnet_listen(channel, nullptr, 7), -1);
  assert_int_equal(errno, ESHUTDOWN);
  char byte;
  assert_int_equal(machnet_recv(channel, &byte, 1, nullptr), -1);
  assert_int_equal(errno, ESHUTDOWN);
  assert_int_equal(machnet_wait(channel, -1), -1);
  assert_int_equal(errno, ESHUTDOWN);
  assert_int_equal(machnet_detach(channel), -1);
  assert_int_equal(errno, ESHUTDOWN);
}

void version__is_a_version(void** state) {
  (void)state;
  int major, minor, patch;
  assert_int_equal(sscanf(machnet_version(), "%d.%d.%d", &major, &minor, &patch), 3);
}

}  // namespace
}  // namespace mn::client

int main() {
  using namespace mn::client;
#define MN_CASE(f) cmocka_unit_test_setup_teardown(f, setup_service, teardown_service)
  const CMUnitTest tests[] = {
      MN_CASE(init__service_or_none),
      MN_CASE(attach__and_detach),
      MN_CASE(attach__several_lanes),
      MN_CASE(attach__unsealed_memory),
      MN_CASE(attach__short_memory),
      MN_CASE(attach__missing_descriptors),
      MN_CASE(attach__impossible_shapes),
      MN_CASE(attach__refused_or_hung_up),
      MN_CASE(listen__arguments_and_answers),
      MN_CASE(connect__flow_is_ready),
      MN_CASE(connect__abandoned_flow_is_closed),
      MN_CASE(detach__reports_what_was_lost),
      MN_CASE(service_dies__every_call_says_so),
      cmocka_unit_test(version__is_a_version),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
