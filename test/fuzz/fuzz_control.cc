// SPDX-License-Identifier: MIT
// The control socket from one byte stream: several clients that connect, send right and wrong
// messages, half ones, too many, and die at any moment; engines that answer late or not. Afterwards
// everything is free again.
#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "support/control_bench.h"

namespace {

using mn::test::ControlBench;
using mn::test::FakeEngine;

constexpr size_t kClients = 3;
constexpr int kStepsMax = 64;

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool empty() const { return size_ == 0; }
  uint8_t next() {
    uint8_t byte = 0;
    take(&byte, 1);
    return byte;
  }
  void take(void* out, size_t n) {  // zeros past the end
    memset(out, 0, n);
    n = std::min(n, size_);
    if (n != 0) memcpy(out, data_, n);
    data_ += n;
    size_ -= n;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

void send_message(ControlBench* bench, ControlBench::Client* client, Bytes* bytes) {
  mn::ipc::ControlMessage message{};
  const uint16_t type = bytes->next() % 12;
  if (type == mn::ipc::kControlHello) {
    message.hello = {1, 1, 0};
  } else {
    bytes->take(message.bytes, 12);
  }
  bench->send(client, type, message);
}

void step(ControlBench* bench, ControlBench::Client** clients, Bytes* bytes) {
  const uint8_t action = bytes->next();
  ControlBench::Client*& client = clients[action % kClients];
  if (client == nullptr || !client->fd) client = bench->connect(action % kClients == 0 ? 0 : 1000);
  uint8_t raw[600];
  switch (action / kClients % 12) {
    case 0:
    case 1:
    case 2:
    case 3:
      return send_message(bench, client, bytes);
    case 4: {
      const size_t size = bytes->next() * 2u + 8;
      bytes->take(raw, std::min(size, size_t{40}));
      bench->send(client, raw, size);
      return;
    }
    case 5:
      return bench->close(client);
    case 6:
      if (const auto session = client->session; session && client->has_timer) session->on_timer();
      return;
    case 7:
      bench->engines[0]->connect = static_cast<FakeEngine::Connect>(bytes->next() % 3);
      return;
    case 8:
      bench->engines[1]->holds_drain = !bench->engines[1]->holds_drain;
      return;
    case 9:
      bench->engines[1]->refuses_lanes = !bench->engines[1]->refuses_lanes;
      return;
    case 10:
      if (mn::control::ChannelRecord* record = bench->registry->at(0)) {
        bench->engines[0]->events.try_push({.kind = mn::EngineEvent::Kind::kLaneViolated,
                                            .lane = record->channel->lane(0),
                                            .reason = "fuzz"});
      }
      return;
    default:
      mn::ipc::ControlMessage reply;
      bench->receive(client, &reply);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static ControlBench bench(mn::control::ChannelLimits{.channels = 3, .channels_per_user = 2});
  ControlBench::Client* clients[kClients] = {};
  Bytes bytes(data, size);
  for (int i = 0; i < kStepsMax && !bytes.empty(); i++) {
    step(&bench, clients, &bytes);
    // Sometimes the engines are late.
    bench.pump(i % 3 != 0);
    MN_ASSERT(bench.registry->count() <= 2 * kStepsMax);
  }
  for (auto* client : clients) {
    if (client != nullptr) bench.close(client);
  }
  bench.pump();
  MN_ASSERT(bench.registry->count() == 0);
  bench.reset();
  return 0;
}
