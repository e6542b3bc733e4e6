// SPDX-License-Identifier: MIT
#include "control/requests.h"

#include <set>
#include <vector>

#include "bench_fixture.h"

namespace {

int setup(void** state) {
  *state = new ControlBench;
  return 0;
}

int ask(ControlBench* bench, Client* client, uint16_t type, uint32_t ip, uint16_t port) {
  ControlMessage message{};
  message.endpoint = {ip, port, 0};
  return bench->request(client, type, &message);
}

int connect(ControlBench* bench, Client* client, uint32_t local, uint32_t remote,
            ipc::FlowInfo* ret_flow) {
  ControlMessage message{};
  message.connect = {local, remote, 31580, 0};
  const int error = bench->request(client, ipc::kControlConnect, &message);
  *ret_flow = message.flow;
  return error;
}

void listen__goes_to_the_engines_of_the_address(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->attached();
  assert_int_equal(ask(bench, client, ipc::kControlListen, 0, 1), 0);
  assert_int_equal(bench->engines[0]->count(EngineCommand::Kind::kListen), 1);
  assert_int_equal(bench->engines[1]->count(EngineCommand::Kind::kListen), 1);
  assert_int_equal(ask(bench, client, ipc::kControlListen, 0x0a000101, 2), 0);
  assert_int_equal(bench->engines[0]->count(EngineCommand::Kind::kListen), 1);
  assert_int_equal(bench->engines[1]->count(EngineCommand::Kind::kListen), 2);
  assert_int_equal(ask(bench, client, ipc::kControlListen, 0x7f000001, 3), 0);
  assert_int_equal(bench->engines[0]->count(EngineCommand::Kind::kListen), 2);
  assert_int_equal(ask(bench, client, ipc::kControlListen, 0x0a000009, 4), EADDRNOTAVAIL);
  assert_int_equal(ask(bench, client, ipc::kControlListen, 0, 0), EINVAL);
}

void listen__a_port_serves_one(void** state) {
  ControlBench* bench = bench_of(state);
  Client* one = bench->attached();
  Client* two = bench->attached();
  assert_int_equal(ask(bench, one, ipc::kControlListen, 0x0a000001, 80), 0);
  assert_int_equal(ask(bench, two, ipc::kControlListen, 0x0a000001, 80), EADDRINUSE);
  assert_int_equal(ask(bench, two, ipc::kControlListen, 0, 80), EADDRINUSE);
  assert_int_equal(ask(bench, two, ipc::kControlListen, 0x0a000101, 80), 0);
  assert_int_equal(ask(bench, two, ipc::kControlUnlisten, 0x0a000001, 80), ENOENT);
  assert_int_equal(ask(bench, one, ipc::kControlUnlisten, 0x0a000001, 80), 0);
  assert_int_equal(ask(bench, one, ipc::kControlUnlisten, 0x0a000001, 80), ENOENT);
  assert_int_equal(ask(bench, two, ipc::kControlListen, 0x0a000001, 80), 0);
}

void connect__chooses_nic_and_port(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->attached();
  ipc::FlowInfo a{}, b{};
  assert_int_equal(connect(bench, client, 0, 0x0a000105, &a), 0);
  assert_int_equal(a.lane, 1);
  assert_int_equal(a.local_ip, 0x0a000101);
  assert_int_equal(a.remote_port, 31580);
  assert_int_equal(a.flow, 77);
  assert_int_equal(connect(bench, client, 0, 0x0a000105, &b), 0);
  assert_true(a.local_port != 0 && b.local_port != 0 && a.local_port != b.local_port);
  assert_int_equal(connect(bench, client, 0, 0x0b000001, &a), ENETUNREACH);
  assert_int_equal(connect(bench, client, 0x0a000077, 0x0a000105, &a), EADDRNOTAVAIL);
}

void connect__failure_gives_the_port_back(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->attached();
  bench->engines[0]->connect = FakeEngine::Connect::kRefuse;
  ipc::FlowInfo flow{};
  assert_int_equal(connect(bench, client, 0, 0x0a000002, &flow), ECONNREFUSED);
  assert_int_equal(bench->registry->at(0)->local_ports.size(), 0);
}

void connect__end_of_the_flow_gives_the_port_back(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->attached();
  ipc::FlowInfo flow{};
  assert_int_equal(connect(bench, client, 0, 0x0a000002, &flow), 0);
  assert_int_equal(bench->registry->at(0)->local_ports.size(), 1);
  EngineEvent event{.kind = EngineEvent::Kind::kFlowEnded,
                    .cookie = 1,
                    .lane = bench->registry->at(0)->channel->lane(0),
                    .tuple = {flow.local_ip, flow.remote_ip, flow.local_port, flow.remote_port}};
  bench->engines[0]->events.try_push(event);
  bench->pump();
  assert_int_equal(bench->registry->at(0)->local_ports.size(), 1);
  event.kind = EngineEvent::Kind::kPortFree;  // the application has heard of it
  bench->engines[0]->events.try_push(event);
  bench->pump();
  assert_int_equal(bench->registry->at(0)->local_ports.size(), 0);
}

// Two engines of one NIC, which steers by something that nobody can read.
struct Steered {
  ControlBench bench{{}, 2, true};
  Client* client = bench.attached();
  bool turned = false;

  Steered() {
    for (auto& engine : bench.engines) {
      engine->queue_of = [this](mn::Port port) { return (port >> 3 & 1) ^ uint32_t { turned }; };
    }
  }
  size_t connects() const {
    return bench.engines[0]->count(EngineCommand::Kind::kConnect) +
           bench.engines[1]->count(EngineCommand::Kind::kConnect);
  }
  // Opens `count` flows to a port, and closes them. Returns how often an engine was asked.
  size_t open(int count, std::set<uint32_t>* ret_ports = nullptr) {
    const size_t before = connects();
    std::vector<ipc::FlowInfo> flows(static_cast<size_t>(count));
    for (ipc::FlowInfo& flow : flows) {
      assert_int_equal(connect(&bench, client, 0, 0x0a000002, &flow), 0);
      assert_int_equal(flow.lane, (flow.local_port >> 3 & 1) ^ uint32_t{turned});
      if (ret_ports != nullptr) ret_ports->insert(flow.local_port);
    }
    for (const ipc::FlowInfo& flow : flows) {
      bench.engines[flow.lane]->events.try_push(
          {.kind = EngineEvent::Kind::kPortFree,
           .lane = bench.registry->at(0)->channel->lane(flow.lane),
           .tuple = {flow.local_ip, flow.remote_ip, flow.local_port, flow.remote_port}});
    }
    bench.pump();
    return connects() - before;
  }
};

void connect__moves_to_where_the_answer_comes(void**) {
  Steered s;
  const size_t asked = s.open(40);
  assert_true(asked > 40 && asked < 80);
}

// Whose packets are known to come to the right queue is not moved again.
void connect__remembers_ports_of_the_peer(void**) {
  Steered s;
  std::set<uint32_t> first, second;
  s.open(40, &first);
  ControlBench::clock_ahead = mn::seconds(59);
  assert_true(s.open(40, &second) > 40);  // none has rested
  for (const uint32_t port : second) assert_int_equal(first.count(port), 0);
  ControlBench::clock_ahead = mn::seconds(122);
  first.merge(second);
  std::set<uint32_t> third;
  assert_int_equal(s.open(20, &third), 20);
  for (const uint32_t port : third) assert_int_equal(first.count(port), 1);
}

void connect__learns_again_when_the_nic_steers_otherwise(void**) {
  Steered s;
  s.open(40);
  s.turned = true;
  ControlBench::clock_ahead = mn::seconds(61);
  assert_int_equal(s.open(20), 40);  // each is sent elsewhere
  for (int i = 2; i < 8; i++) {
    ControlBench::clock_ahead = mn::seconds(61) * i;
    s.open(20);
  }
  ControlBench::clock_ahead = mn::seconds(61) * 8;
  assert_int_equal(s.open(20), 20);
}

void flow_stats__of_a_living_flow(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->attached();
  ControlMessage message{};
  message.flow_query = {0, 77};
  assert_int_equal(bench->request(client, ipc::kControlFlowStats, &message), 0);
  assert_int_equal(message.flow_stats.mss, 1440);
  message.flow_query = {0, 78};
  assert_int_equal(bench->request(client, ipc::kControlFlowStats, &message), ENOENT);
  message.flow_query = {2, 77};
  assert_int_equal(bench->request(client, ipc::kControlFlowStats, &message), EINVAL);
}

// What the stack held before is nobody's business.
void reply__is_zero_where_nothing_is_said(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->connect();
  ControlMessage message;
  memset(&message, 0xee, sizeof(message));
  message.hello = {ipc::kControlVersionMin, ipc::kControlVersionMax, 0};
  assert_int_equal(bench->request(client, ipc::kControlHello, &message), 0);
  const uint8_t zeros[sizeof(message)] = {};
  assert_memory_equal(message.bytes + sizeof(ipc::Hello), zeros,
                      sizeof(message.bytes) - sizeof(ipc::Hello));
  assert_memory_equal(message.reason, zeros, sizeof(message.reason));
  memset(&message, 0xee, sizeof(message));
  message.index = {0, 0};
  assert_int_equal(bench->request(client, ipc::kControlNicInfo, &message), 0);
  assert_memory_equal(message.bytes + sizeof(ipc::NicInfo), zeros,
                      sizeof(message.bytes) - sizeof(ipc::NicInfo));
  assert_int_equal(message.nic.reserved, 0);
  memset(&message, 0xee, sizeof(message));
  assert_int_equal(bench->request(client, ipc::kControlDetach, &message), ENOTCONN);
  assert_memory_equal(message.bytes, zeros, sizeof(message.bytes));
  const size_t said = strlen(message.reason);
  assert_memory_equal(message.reason + said, zeros, sizeof(message.reason) - said);
}

void engine_link__more_commands_than_the_queue_holds(void** state) {
  ControlBench* bench = bench_of(state);
  Client* client = bench->attached();
  static int answers;
  answers = 0;
  for (int i = 0; i < 3000; i++) {
    bench->requests->flow_stats(client->session->channel(), {0, 77},
                                [](const auto&, const auto&) { answers++; });
  }
  bench->pump();
  assert_int_equal(answers, 3000);
}

}  // namespace

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main() {
  const CMUnitTest tests[] = {
      TEST(listen__goes_to_the_engines_of_the_address),
      TEST(listen__a_port_serves_one),
      TEST(connect__chooses_nic_and_port),
      TEST(connect__failure_gives_the_port_back),
      TEST(connect__end_of_the_flow_gives_the_port_back),
      cmocka_unit_test(connect__moves_to_where_the_answer_comes),
      cmocka_unit_test(connect__remembers_ports_of_the_peer),
      cmocka_unit_test(connect__learns_again_when_the_nic_steers_otherwise),
      TEST(flow_stats__of_a_living_flow),
      TEST(reply__is_zero_where_nothing_is_said),
      TEST(engine_link__more_commands_than_the_queue_holds),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
