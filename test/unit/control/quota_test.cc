// SPDX-License-Identifier: MIT
// Limits on what one user may hold, as the applications of that user see them.
#include "bench_fixture.h"

namespace {

mn::control::ChannelLimits limits;

int setup(void** state) {
  limits = {};
  limits.channels_per_user = 3;
  limits.flows_per_user = 2;
  limits.listeners_per_user = 2;
  *state = new ControlBench(limits);
  return 0;
}

// The reply's error; a refusal names the key.
int listen_on(ControlBench* bench, Client* client, uint16_t port, ControlMessage* message,
              uint16_t type = ipc::kControlListen) {
  *message = {};
  message->endpoint = {.local_ip = 0, .local_port = port, .reserved = 0};
  return bench->request(client, type, message);
}

int connect(ControlBench* bench, Client* client, ControlMessage* message) {
  *message = {};
  message->connect = {.local_ip = 0, .remote_ip = 0x0a000009, .remote_port = 5, .reserved = 0};
  return bench->request(client, ipc::kControlConnect, message);
}

void listen__counts_for_the_user(void** state) {
  ControlBench* bench = bench_of(state);
  Client* first = bench->attached();
  Client* second = bench->attached();
  ControlMessage message;
  assert_int_equal(listen_on(bench, first, 1, &message), 0);
  assert_int_equal(listen_on(bench, second, 2, &message), 0);
  assert_int_equal(listen_on(bench, second, 3, &message), EDQUOT);
  assert_string_equal(message.reason,
                      "user 1000 has 2 listeners, which is the limit (listeners_per_user in the "
                      "service's configuration)");
  assert_int_equal(listen_on(bench, bench->attached(1001), 3, &message), 0);
  // What was given back can be had again: by a request, by the end of a channel.
  assert_int_equal(listen_on(bench, first, 1, &message, ipc::kControlUnlisten), 0);
  assert_int_equal(listen_on(bench, second, 4, &message), 0);
  bench->close(second);
  bench->pump();
  assert_int_equal(listen_on(bench, first, 2, &message), 0);
  assert_int_equal(listen_on(bench, first, 4, &message), 0);
  assert_int_equal(listen_on(bench, first, 5, &message), EDQUOT);
}

void listen__a_refusal_of_an_engine_is_not_counted(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->attached();
  ControlMessage message;
  for (int i = 0; i < 3; i++) {
    assert_int_equal(listen_on(bench, client, 1, &message, ipc::kControlUnlisten), ENOENT);
    assert_int_equal(listen_on(bench, client, 0, &message), EINVAL);
  }
  assert_int_equal(listen_on(bench, client, 1, &message), 0);
  assert_int_equal(listen_on(bench, client, 1, &message), EADDRINUSE);
  assert_int_equal(listen_on(bench, client, 2, &message), 0);
}

void connect__counts_until_the_flow_ends(void** state) {
  ControlBench* bench = bench_of(state);
  Client* first = bench->attached();
  Client* second = bench->attached();
  ControlMessage message;
  bench->engines[0]->connect = FakeEngine::Connect::kRefuse;
  for (int i = 0; i < 3; i++) {
    assert_int_equal(connect(bench, first, &message), ECONNREFUSED);
  }
  bench->engines[0]->connect = FakeEngine::Connect::kAccept;
  assert_int_equal(connect(bench, first, &message), 0);
  const ipc::FlowInfo flow = message.flow;
  assert_int_equal(connect(bench, second, &message), 0);
  assert_int_equal(connect(bench, second, &message), EDQUOT);
  assert_non_null(strstr(message.reason, "2 open flows"));
  assert_non_null(strstr(message.reason, "flows_per_user"));

  mn::EngineEvent ended{
      .kind = mn::EngineEvent::Kind::kFlowEnded,
      .lane = bench->registry->at(0)->channel->lane(0),
      .tuple = {flow.local_ip, flow.remote_ip, flow.local_port, flow.remote_port}};
  bench->engines[0]->events.try_push(ended);
  bench->pump();
  assert_int_equal(connect(bench, second, &message), 0);
  ended.kind = mn::EngineEvent::Kind::kPortFree;  // nothing is counted twice
  bench->engines[0]->events.try_push(ended);
  bench->pump();
  assert_int_equal(connect(bench, first, &message), EDQUOT);
  bench->close(second);
  bench->pump();
  assert_int_equal(connect(bench, first, &message), 0);
}

// An accepted flow has the port of its listener, which may have become that of a connect.
void connect__counts_though_an_accepted_flow_of_its_port_ends(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->attached();
  ControlMessage message;
  assert_int_equal(connect(bench, client, &message), 0);
  const ipc::FlowInfo flow = message.flow;
  assert_int_equal(connect(bench, client, &message), 0);
  const auto ended = [&](bool accepted) {
    bench->engines[0]->events.try_push({.kind = mn::EngineEvent::Kind::kFlowEnded,
                                        .lane = bench->registry->at(0)->channel->lane(0),
                                        .tuple = {flow.local_ip, 0x0a000077, flow.local_port, 7},
                                        .accepted = accepted});
    bench->pump();
  };
  ended(true);
  assert_int_equal(connect(bench, client, &message), EDQUOT);
  ended(false);
  assert_int_equal(connect(bench, client, &message), 0);
}

// Ports are for all users of an address: who keeps those of ended flows keeps them from others.
void connect__one_user_cannot_take_all_ports(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->attached();
  ControlMessage message;
  int error = 0;
  int connected = 0;
  ipc::FlowInfo flow{};
  for (; connected < 16384; connected++) {
    error = connect(bench, client, &message);
    if (error != 0) break;
    flow = message.flow;
    bench->engines[0]->events.try_push(
        {.kind = mn::EngineEvent::Kind::kFlowEnded,  // and no kPortFree: its slot is kept
         .lane = bench->registry->at(0)->channel->lane(0),
         .tuple = {flow.local_ip, flow.remote_ip, flow.local_port, flow.remote_port}});
    bench->pump();
  }
  assert_int_equal(error, EDQUOT);
  assert_int_equal(connected, 8192);
  assert_string_equal(message.reason,
                      "user 1000 holds 8192 local ports, of ended flows, too, until its programs "
                      "receive the ends");
  assert_int_equal(connect(bench, bench->attached(1001), &message), 0);
  bench->engines[0]->events.try_push(
      {.kind = mn::EngineEvent::Kind::kPortFree,
       .lane = bench->registry->at(0)->channel->lane(0),
       .tuple = {flow.local_ip, flow.remote_ip, flow.local_port, flow.remote_port}});
  bench->pump();
  assert_int_equal(connect(bench, client, &message), 0);
}

void root__is_not_bound(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = nullptr;
  for (int i = 0; i < 5; i++) client = bench->attached(0);
  ControlMessage message;
  for (uint16_t i = 1; i < 5; i++) {
    assert_int_equal(listen_on(bench, client, i, &message), 0);
    assert_int_equal(connect(bench, client, &message), 0);
  }
}

void set_limits__holds_for_what_comes(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->attached();
  ControlMessage message;
  assert_int_equal(connect(bench, client, &message), 0);
  assert_int_equal(connect(bench, client, &message), 0);
  limits.flows_per_user = 1;
  limits.channels_per_user = 1;
  limits.memory_bytes_per_user = 1;  // far below what is in use
  bench->registry->set_limits(limits);
  assert_int_equal(connect(bench, client, &message), EDQUOT);
  Client* other = bench->connect();
  assert_int_equal(bench->hello(other), 0);
  message = {};
  assert_int_equal(bench->request(other, ipc::kControlAttach, &message), EDQUOT);
  assert_non_null(strstr(message.reason, "channels_per_user"));
  limits.flows_per_user = 3;
  limits.channels_per_user = 9;
  bench->registry->set_limits(limits);
  assert_int_equal(connect(bench, client, &message), 0);
  message = {};
  assert_int_equal(bench->request(other, ipc::kControlAttach, &message), EDQUOT);
  assert_non_null(strstr(message.reason, "memory_per_user"));
  limits.memory_bytes_per_user = UINT64_MAX;
  bench->registry->set_limits(limits);
  assert_int_equal(bench->request(other, ipc::kControlAttach), 0);
}

void memory__of_all_lowered_below_what_is_in_use(void** state) {
  ControlBench* bench = bench_of(state);
  assert_non_null(bench->attached());
  limits.memory_bytes = 1;
  bench->registry->set_limits(limits);
  Client* client = bench->connect(0);
  assert_int_equal(bench->hello(client), 0);
  assert_int_equal(bench->request(client, ipc::kControlAttach), EDQUOT);
}

void memory__binds_the_first_channel_too(void** state) {
  ControlBench* bench = bench_of(state);
  limits.memory_bytes_per_user = 1;
  bench->registry->set_limits(limits);
  Client* client = bench->connect();
  assert_int_equal(bench->hello(client), 0);
  assert_int_equal(bench->request(client, ipc::kControlAttach), EDQUOT);
}

}  // namespace

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main() {
  const CMUnitTest tests[] = {
      TEST(listen__counts_for_the_user),
      TEST(listen__a_refusal_of_an_engine_is_not_counted),
      TEST(connect__counts_until_the_flow_ends),
      TEST(connect__counts_though_an_accepted_flow_of_its_port_ends),
      TEST(connect__one_user_cannot_take_all_ports),
      TEST(root__is_not_bound),
      TEST(set_limits__holds_for_what_comes),
      TEST(memory__of_all_lowered_below_what_is_in_use),
      TEST(memory__binds_the_first_channel_too),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
