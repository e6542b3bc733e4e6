// SPDX-License-Identifier: MIT
// StageBed: two hosts in one thread: on each an application's channel, a lane and an Engine, joined
// by a lossless wire. The caller drives every part itself, in the order it likes, under a clock of
// its own; the application's ends are `void*` channels for the public API.
#pragma once

#include <cstdint>
#include <memory>

#include "base/time.h"
#include "channel/channel.h"
#include "engine/engine.h"
#include "ipc/shm_counters.h"
#include "libmachnet/channel.h"
#include "machnet.h"
#include "wire_port.h"

namespace mn::bench {

struct BedOptions {
  uint16_t mtu = 1500;
  bool checksum_offload = false;
  uint32_t flows = 1;  // that connect() will be asked for
  Duration tick = nanoseconds(500);
};

class BedHost {
 public:
  BedHost(uint8_t number, const BedOptions& options);
  ~BedHost();
  BedHost(const BedHost&) = delete;
  BedHost& operator=(const BedHost&) = delete;

  Engine& engine() { return *engine_; }
  WirePort& port() { return port_; }
  Lane* lane() { return channel_->lane(0); }
  void* application() { return application_; }
  client::Channel* application_channel() { return application_; }
  Ipv4 address() const { return address_; }
  const ipc::LaneShape& shape() const { return channel_->shape(0); }

 private:
  Ipv4 address_;
  WirePort port_;
  ipc::EngineCounters counters_{};
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Channel> channel_;
  void* mapping_ = nullptr;  // the application's, a second one of the same memory
  client::Channel* application_ = nullptr;
};

class StageBed {
 public:
  explicit StageBed(const BedOptions& options);

  BedHost& client() { return client_; }
  BedHost& server() { return server_; }
  // A flow from the client's channel to the server's, usable at once.
  MachnetFlow_t connect();
  // Time moves only here.
  Instant tick() {
    now_ = now_ + tick_;
    return now_;
  }

 private:
  // Polls both engines until `host`'s has an event for `cookie`.
  EngineEvent run_until_event(BedHost* host, uint64_t cookie);
  EngineEvent command(BedHost* host, EngineCommand command);

  Instant now_{1'000'000'000};
  const Duration tick_;
  uint32_t connected_ = 0;
  uint64_t cookie_ = 0;
  BedHost client_;
  BedHost server_;
};

}  // namespace mn::bench
