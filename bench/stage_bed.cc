// SPDX-License-Identifier: MIT
#include "stage_bed.h"

#include <sys/mman.h>

#include <algorithm>

#include "base/assert.h"

namespace mn::bench {
namespace {

constexpr Ipv4 kNetwork = 0x0a000000;
constexpr uint16_t kHeaders = 20 + 8 + 32;  // IPv4, UDP, ours
constexpr Port kServerPort = 888;
constexpr Port kClientPort = 10000;  // of the first flow
constexpr int kPollsMax = 10'000'000;

EngineConfig engine_config(Ipv4 address, const BedOptions& options) {
  EngineConfig config;
  config.address = address;
  config.prefix_length = 24;
  config.transport.mss = static_cast<uint16_t>(options.mtu - kHeaders);
  config.transport.seed = address;
  return config;
}

}  // namespace

BedHost::BedHost(uint8_t number, const BedOptions& options)
    : address_(kNetwork + number),
      port_(number, options.mtu, options.checksum_offload),
      engine_(std::make_unique<Engine>(engine_config(address_, options), &port_, &counters_, -1)) {
  ipc::LaneShape shape = lane_shape_for(static_cast<uint16_t>(options.mtu - kHeaders));
  shape.flow_slots = std::max(shape.flow_slots, options.flows);
  auto channel = Channel::create({&shape, 1});
  MN_ASSERT(channel.ok());
  channel_ = std::move(channel.value());
  mapping_ = mmap(nullptr, channel_->memory_size(), PROT_READ | PROT_WRITE, MAP_SHARED,
                  channel_->memory_fd(), 0);
  MN_ASSERT(mapping_ != MAP_FAILED);
  const int engine_fd = channel_->engine_fd(0);
  client::ChannelParts parts;
  parts.memory = mapping_;
  parts.memory_size = channel_->memory_size();
  parts.shapes = &shape;
  parts.lane_count = 1;
  parts.application_fd = channel_->application_fd();
  parts.engine_fds = &engine_fd;
  application_ = client::channel_from_memory(parts);
  MN_ASSERT(application_ != nullptr);
}

BedHost::~BedHost() {
  client::channel_free(application_);
  engine_.reset();  // before the lane that it reads
  munmap(mapping_, channel_->memory_size());
}

StageBed::StageBed(const BedOptions& options)
    : tick_(options.tick), client_(1, options), server_(2, options) {
  client_.port().join(&server_.port());
  EngineCommand add;
  add.kind = EngineCommand::Kind::kAddLane;
  add.lane = client_.lane();
  command(&client_, add);
  add.lane = server_.lane();
  command(&server_, add);
}

MachnetFlow_t StageBed::connect() {
  if (connected_ == 0) {
    EngineCommand listen;
    listen.kind = EngineCommand::Kind::kListen;
    listen.lane = server_.lane();
    listen.tuple.local_ip = server_.address();
    listen.tuple.local_port = kServerPort;
    command(&server_, listen);
  }
  const Port port = static_cast<Port>(kClientPort + connected_++);
  EngineCommand open;
  open.kind = EngineCommand::Kind::kConnect;
  open.lane = client_.lane();
  open.tuple = {client_.address(), server_.address(), port, kServerPort};
  const EngineEvent event = command(&client_, open);
  const MachnetFlow_t flow = {client_.address(), server_.address(), port, kServerPort};
  const bool registered = client::register_flow(client_.application_channel(), 0, event.flow, flow);
  MN_ASSERT(registered);
  return flow;
}

EngineEvent StageBed::command(BedHost* host, EngineCommand command) {
  command.cookie = ++cookie_;
  const bool pushed = host->engine().commands().try_push(command);
  MN_ASSERT(pushed);
  return run_until_event(host, command.cookie);
}

EngineEvent StageBed::run_until_event(BedHost* host, uint64_t cookie) {
  for (int i = 0; i < kPollsMax; i++) {
    client_.engine().poll_once(tick());
    server_.engine().poll_once(tick());
    EngineEvent event;
    if (host->engine().events().try_pop(&event) && event.cookie == cookie) {
      MN_ASSERT(event.error == 0);
      return event;
    }
  }
  MN_ASSERT(false && "an engine does not answer a command");
  return {};
}

}  // namespace mn::bench
