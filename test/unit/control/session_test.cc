// SPDX-License-Identifier: MIT
#include "control/session.h"

#include <unistd.h>

#include "bench_fixture.h"

namespace {

int setup(void** state) {
  mn::control::ChannelLimits limits;
  limits.channels = 6;
  limits.channels_per_user = 3;
  *state = new ControlBench(limits);
  return 0;
}

// The session has refused with `error`, told why, and ended as a fault.
void assert_refused(ControlBench* bench, Client* client, int error) {
  bench->pump();
  ControlMessage reply;
  assert_int_equal(bench->receive(client, &reply), 1);
  assert_int_equal(reply.header.error, error);
  assert_true(reply.reason[0] != '\0');
  assert_int_equal(bench->receive(client, &reply), -1);
  assert_null(client->session.get());
  assert_true(client->is_fault);
}

void hello__chooses_the_version(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->connect();
  ControlMessage message{};
  message.hello = {0, 9, 0};
  assert_int_equal(bench->request(client, ipc::kControlHello, &message), 0);
  assert_int_equal(message.hello.version_min, ipc::kControlVersionMax);
  assert_int_equal(message.hello.version_max, ipc::kControlVersionMax);
  assert_false(client->has_timer);
}

void hello__other_version_is_refused(void** state) {
  ControlBench* bench = bench_of(state);
  const ipc::Hello bad[] = {{2, 3, 0}, {0, 0, 0}, {3, 2, 0}, {0xffff, 0xffff, 0}};
  for (const ipc::Hello& hello : bad) {
    Client* client = bench->connect();
    ControlMessage message{};
    message.hello = hello;
    bench->send(client, ipc::kControlHello, message);
    assert_refused(bench, client, EPROTONOSUPPORT);
  }
}

void hello__comes_first_and_once(void** state) {
  ControlBench* bench = bench_of(state);
  for (uint16_t type = 2; type <= 11; type++) {
    Client* client = bench->connect();
    bench->send(client, type);
    assert_refused(bench, client, EPROTO);
  }
  Client* client = bench->connect();
  assert_int_equal(bench->hello(client), 0);
  bench->send(client, ipc::kControlHello);
  assert_refused(bench, client, EPROTO);
}

void hello__silence_ends_the_session(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->connect();
  assert_true(client->has_timer);
  client->session->on_timer();
  assert_null(client->session.get());
}

void message__wrong_size_is_refused(void** state) {
  ControlBench* bench = bench_of(state);
  static char bytes[4096];
  for (const size_t size : {1, 16, 511, 513, 4096}) {
    Client* client = bench->connect();
    assert_true(bench->send(client, bytes, size));
    assert_refused(bench, client, EPROTO);
  }
}

void message__garbage_is_refused(void** state) {
  ControlBench* bench = bench_of(state);
  Client* other = bench->attached();
  for (int kind = 0; kind < 5; kind++) {
    Client* client = bench->connect();
    assert_int_equal(bench->hello(client), 0);
    ControlMessage message{};
    message.header = {ipc::kControlMagic, ipc::kControlNicInfo, 0, 1, 0};
    if (kind == 0) message.header.magic = 1;
    if (kind == 1) message.header.type = 0;
    if (kind == 2) message.header.type = 99;
    if (kind == 3) message.header.reserved = 1;
    if (kind == 4) message.header.error = 5;
    bench->send(client, &message, sizeof(message));
    assert_refused(bench, client, EPROTO);
  }
  assert_int_equal(bench->request(other, ipc::kControlNicInfo), 0);  // nobody else noticed
}

void message__descriptors_are_refused_and_closed(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->connect();
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  ControlMessage message{};
  message.header = {ipc::kControlMagic, ipc::kControlHello, 0, 1, 0};
  message.hello = {1, 1, 0};
  iovec piece{&message, sizeof(message)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(rights), &ends[1], sizeof(int));
  assert_int_equal(sendmsg(client->fd.get(), &header, 0), sizeof(message));
  close(ends[1]);
  assert_refused(bench, client, EPROTO);
  char byte;
  assert_int_equal(read(ends[0], &byte, 1), 0);  // nobody holds the writing end any more
  close(ends[0]);
}

void flood__waits_in_the_clients_own_socket(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->attached();
  bench->engines[0]->connect = FakeEngine::Connect::kHold;
  ControlMessage message{};
  message.connect = {0, 0x0a000002, 9, 0};
  size_t sent = 0;
  while (sent < 10000 && bench->send(client, ipc::kControlConnect, message)) sent++;
  assert_true(sent < 10000);  // the kernel's limit, not ours
  bench->pump();
  assert_int_equal(bench->engines[0]->count(EngineCommand::Kind::kConnect), 1);
  assert_non_null(client->session.get());
}

void flood__not_reading_replies_ends_the_session(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->attached();
  for (int i = 0; i < 10000 && client->session != nullptr; i++) {
    bench->send(client, ipc::kControlNicInfo);
    bench->pump();
  }
  assert_null(client->session.get());
}

void attach__gives_memory_and_doorbells(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->connect();
  assert_int_equal(bench->hello(client), 0);
  ControlMessage message{};
  size_t descriptors = 0;
  assert_int_equal(bench->request(client, ipc::kControlAttach, &message, &descriptors), 0);
  assert_int_equal(message.channel.lane_count, 2);
  assert_int_equal(descriptors, 4);
  assert_true(message.channel.memory_size ==
              ipc::channel_size(message.channel.lanes, message.channel.lane_count));
}

void attach__a_second_time_is_refused(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->attached();
  assert_int_equal(bench->request(client, ipc::kControlAttach), EISCONN);
  assert_int_equal(bench->registry->count(), 1);
  assert_int_equal(bench->request(client, ipc::kControlNicInfo), 0);
}

void attach__quota_of_user_and_of_all(void** state) {
  ControlBench* bench = bench_of(state);
  for (int i = 0; i < 3; i++) assert_non_null(bench->attached(1000));
  Client* client = bench->connect(1000);
  assert_int_equal(bench->hello(client), 0);
  assert_int_equal(bench->request(client, ipc::kControlAttach), EDQUOT);
  for (int i = 0; i < 3; i++) assert_non_null(bench->attached(0));
  Client* last = bench->connect(0);
  assert_int_equal(bench->hello(last), 0);
  assert_int_equal(bench->request(last, ipc::kControlAttach), EDQUOT);
  assert_int_equal(bench->registry->count(), 6);
}

void attach__quota_comes_back(void** state) {
  ControlBench* bench = bench_of(state);
  for (int i = 0; i < 20; i++) {
    Client* client = bench->attached();
    assert_non_null(client);
    bench->close(client);
    bench->pump();
    assert_int_equal(bench->registry->count(), 0);
  }
}

void attach__an_engine_without_room_is_told(void** state) {
  ControlBench* bench = bench_of(state);
  bench->engines[1]->refuses_lanes = true;
  Client* client = bench->connect();
  assert_int_equal(bench->hello(client), 0);
  assert_int_equal(bench->request(client, ipc::kControlAttach), ENOBUFS);
  assert_int_equal(bench->registry->count(), 0);
  bench->engines[1]->refuses_lanes = false;
  assert_int_equal(bench->request(client, ipc::kControlAttach), 0);
}

void requests__need_a_channel(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->connect();
  assert_int_equal(bench->hello(client), 0);
  for (const uint16_t type : {ipc::kControlListen, ipc::kControlUnlisten, ipc::kControlConnect,
                              ipc::kControlFlowStats, ipc::kControlDetach}) {
    assert_int_equal(bench->request(client, type), ENOTCONN);
  }
}

void death__while_attaching(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->connect();
  assert_int_equal(bench->hello(client), 0);
  bench->send(client, ipc::kControlAttach);
  bench->pump(false);
  bench->close(client);
  bench->pump();
  assert_int_equal(bench->registry->count(), 0);
}

void death__while_connecting_frees_everything(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->attached();
  ControlMessage message{};
  message.endpoint = {0, 99, 0};
  assert_int_equal(bench->request(client, ipc::kControlListen, &message), 0);
  bench->engines[0]->connect = FakeEngine::Connect::kHold;
  message.connect = {0, 0x0a000002, 9, 0};
  bench->send(client, ipc::kControlConnect, message);
  bench->pump();
  assert_int_equal(bench->engines[0]->held.size(), 1);
  bench->close(client);
  bench->pump();
  assert_int_equal(bench->registry->count(), 0);
  assert_int_equal(bench->engines[0]->count(EngineCommand::Kind::kRemoveLane), 1);
  assert_int_equal(bench->engines[1]->count(EngineCommand::Kind::kRemoveLane), 1);
  Client* next = bench->attached();
  message.endpoint = {0, 99, 0};
  assert_int_equal(bench->request(next, ipc::kControlListen, &message), 0);
}

void violation__ends_only_its_session(void** state) {
  ControlBench* bench = bench_of(state);
  Client* bad = bench->attached();
  Client* good = bench->attached();
  EngineEvent event{.kind = EngineEvent::Kind::kLaneViolated,
                    .lane = bench->registry->at(0)->channel->lane(1),
                    .reason = "a buffer that is not its own"};
  bench->engines[1]->events.try_push(event);
  bench->pump();
  assert_null(bad->session.get());
  assert_true(bad->is_fault);
  assert_int_equal(bench->registry->count(), 1);
  assert_int_equal(bench->request(good, ipc::kControlNicInfo), 0);
}

void detach__answers_when_the_flows_are_gone(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->attached();
  bench->engines[1]->holds_drain = true;
  bench->send(client, ipc::kControlDetach);
  bench->pump();
  ControlMessage reply;
  assert_int_equal(bench->receive(client, &reply), 0);
  assert_true(client->has_timer);
  bench->engines[1]->answer(bench->engines[1]->held[0]);
  bench->engines[1]->held.clear();
  bench->pump();
  assert_int_equal(bench->receive(client, &reply), 1);
  assert_int_equal(reply.header.error, 0);
  assert_false(client->has_timer);
  assert_int_equal(bench->request(client, ipc::kControlListen), ENOTCONN);
}

void detach__says_when_a_peer_lingers(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->attached();
  bench->engines[0]->holds_drain = true;
  bench->send(client, ipc::kControlDetach);
  bench->pump();
  client->session->on_timer();
  ControlMessage reply;
  assert_int_equal(bench->receive(client, &reply), 1);
  assert_int_equal(reply.header.error, ETIMEDOUT);
  bench->close(client);
  bench->pump();
  assert_int_equal(bench->registry->count(), 0);
  assert_int_equal(bench->receive(client, &reply), -1);
}

void information__ends_with_enoent(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->attached(1234);
  ControlMessage message{};
  message.index = {1, 0};
  assert_int_equal(bench->request(client, ipc::kControlNicInfo, &message), 0);
  assert_string_equal(message.nic.name, "nic1");
  assert_int_equal(message.nic.link, ipc::kLinkUp);
  bench->engines[1]->link_is_up = false;
  message.index = {1, 0};
  assert_int_equal(bench->request(client, ipc::kControlNicInfo, &message), 0);
  assert_int_equal(message.nic.link, ipc::kLinkDown);
  message.index = {2, 0};
  assert_int_equal(bench->request(client, ipc::kControlNicInfo, &message), ENOENT);
  message.index = {0, 0};
  assert_int_equal(bench->request(client, ipc::kControlChannelInfo, &message), 0);
  assert_int_equal(message.channel_status.uid, 1234);
  message.index = {1, 0};
  assert_int_equal(bench->request(client, ipc::kControlChannelInfo, &message), ENOENT);
  message.index = {UINT32_MAX, 0};
  assert_int_equal(bench->request(client, ipc::kControlChannelInfo, &message), ENOENT);
  size_t descriptors = 0;
  assert_int_equal(bench->request(client, ipc::kControlCounters, &message, &descriptors), 0);
  assert_int_equal(descriptors, 1);
}

void deny__answers_the_first_request(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->connect();
  client->session->deny({EACCES, "not for you"});
  ControlMessage message{};
  message.hello = {1, 1, 0};
  bench->send(client, ipc::kControlHello, message);
  assert_refused(bench, client, EACCES);
}

int trace(ControlBench* bench, Client* client, uint32_t engine, size_t* ret_descriptors = nullptr) {
  ControlMessage message{};
  message.trace = {
      .engine = engine, .local_ip = 0, .remote_ip = 0, .local_port = 7, .remote_port = 0};
  return bench->request(client, ipc::kControlTrace, &message, ret_descriptors);
}

void trace__is_for_root(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->connect(1000);
  bench->hello(client);
  assert_int_equal(trace(bench, client, 0), EACCES);
  assert_int_equal(bench->engines[0]->count(EngineCommand::Kind::kTrace), 0);
}

void trace__one_for_each_engine_until_the_session_ends(void** state) {
  ControlBench* bench = bench_of(state);
  Client* first = bench->connect(0);
  Client* second = bench->connect(0);
  bench->hello(first);
  bench->hello(second);
  size_t descriptors = 0;
  assert_int_equal(trace(bench, first, 0, &descriptors), 0);
  assert_int_equal(descriptors, 1);
  const EngineCommand& begun = bench->engines[0]->seen.back();
  assert_true(begun.kind == EngineCommand::Kind::kTrace && begun.ring != nullptr);
  assert_int_equal(begun.tuple.local_port, 7);
  assert_int_equal(begun.ring->magic, ipc::kTraceMagic);
  assert_int_equal(begun.ring_capacity, begun.ring->capacity);
  assert_int_equal(trace(bench, first, 1), EBUSY);
  assert_int_equal(trace(bench, second, 0), EBUSY);
  assert_int_equal(trace(bench, second, 9), ENOENT);
  bench->close(first);
  bench->pump();
  assert_null(bench->engines[0]->seen.back().ring);
  assert_int_equal(trace(bench, second, 0), 0);
  assert_non_null(bench->engines[0]->seen.back().ring);
}

}  // namespace

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main() {
  const CMUnitTest tests[] = {
      TEST(hello__chooses_the_version),
      TEST(hello__other_version_is_refused),
      TEST(hello__comes_first_and_once),
      TEST(hello__silence_ends_the_session),
      TEST(message__wrong_size_is_refused),
      TEST(message__garbage_is_refused),
      TEST(message__descriptors_are_refused_and_closed),
      TEST(flood__waits_in_the_clients_own_socket),
      TEST(flood__not_reading_replies_ends_the_session),
      TEST(attach__gives_memory_and_doorbells),
      TEST(attach__a_second_time_is_refused),
      TEST(attach__quota_of_user_and_of_all),
      TEST(attach__quota_comes_back),
      TEST(attach__an_engine_without_room_is_told),
      TEST(requests__need_a_channel),
      TEST(death__while_attaching),
      TEST(death__while_connecting_frees_everything),
      TEST(violation__ends_only_its_session),
      TEST(detach__answers_when_the_flows_are_gone),
      TEST(detach__says_when_a_peer_lingers),
      TEST(information__ends_with_enoent),
      TEST(deny__answers_the_first_request),
      TEST(trace__is_for_root),
      TEST(trace__one_for_each_engine_until_the_session_ends),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
