// SPDX-License-Identifier: MIT
#include "engine_unit.h"

#include <errno.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "base/random.h"
#include "channel/channel.h"
#include "nic/nic_system.h"

namespace mn {
namespace {

constexpr int kHeaders = 20 + 8 + 32;  // IPv4, UDP and ours: what an MTU holds besides payload
// 100 Gbit/s times 30 us; half the second-level cache of common servers.
constexpr uint32_t kWindowBytes = 384 * 1024;

transport::CongestionKind congestion_kind(const NicPlan& plan) {
  using transport::CongestionKind;
  if (plan.is_local) return CongestionKind::kFixed;  // there is no network
  switch (plan.congestion) {
    case config::Congestion::kSwift:
      return CongestionKind::kSwift;
    case config::Congestion::kCubic:
      return CongestionKind::kCubic;
    case config::Congestion::kFixed:
      break;
  }
  return CongestionKind::kFixed;
}

EngineConfig engine_config(const NicPlan& plan, const NicFacts& nic,
                           const EngineSettings& settings) {
  EngineConfig config;
  config.group = settings.group;
  config.index = settings.index;
  config.address = plan.address;
  config.prefix_length = plan.prefix_length;
  config.gateway = plan.gateway;
  config.serves_loopback = settings.serves_loopback;
  config.transport.mss = static_cast<uint16_t>(nic.mtu - kHeaders);
  // A full window of one flow fits the receive queue of a peer like us, with room for another's,
  // and a core's cache: every copy of a larger one comes from memory. Without a NIC there is no
  // queue; the default stands.
  if (!plan.is_local) {
    const uint32_t fits_cache = kWindowBytes / nic.mtu;
    config.transport.window_packets_max =
        std::clamp<uint32_t>(nic.rx_queue_depth / 2, 32, std::max<uint32_t>(32, fits_cache));
  }
  config.transport.congestion = congestion_kind(plan);
  config.transport.seed = random_seed();
  return config;
}

// A processor for each, where there are enough.
std::vector<int> cpus_of(const NicPlan& plan, uint32_t index) {
  if (plan.cpus.size() < plan.engines || plan.engines == 1) return plan.cpus;
  return {plan.cpus[index]};
}

}  // namespace

IdleMode idle_mode(config::Idle idle) {
  return idle == config::Idle::kSpin ? IdleMode::kSpin : IdleMode::kAdaptive;
}

Result<EngineUnit> make_engine(const NicPlan& plan, const std::string& driver, NicPort* port,
                               const EngineSettings& settings, ipc::EngineCounters* counters) {
  const NicFacts& nic = port->facts();
  EngineUnit unit;
  unit.facts = {.nic = plan.name,
                .driver = driver,
                .address = plan.address,
                .prefix_length = plan.prefix_length,
                .gateway = plan.gateway,
                .mtu = nic.mtu,
                .mac = nic.mac,
                .serves_loopback = settings.serves_loopback,
                .shape = lane_shape_for(static_cast<uint16_t>(nic.mtu - kHeaders)),
                .index = settings.index,
                .of = settings.group == nullptr ? 1 : settings.group->size()};
  unit.port = plan.is_local ? nullptr : port;
  unit.notify.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!unit.notify) return Error{std::string("engine: no descriptor: ") + strerror(errno)};
  unit.engine = std::make_unique<Engine>(engine_config(plan, nic, settings), port, counters,
                                         unit.notify.get());
  EngineThreadConfig thread;
  thread.idle = idle_mode(plan.idle);
  thread.cpus = cpus_of(plan, settings.index);
  thread.name = "mn-" + plan.name;
  if (settings.group != nullptr) {
    const std::string number = "/" + std::to_string(settings.index);
    thread.name = thread.name.substr(0, 15 - number.size()) + number;
  }
  thread.use_counter = settings.use_counter;
  if (!plan.is_local) {
    thread.enter = [] {
      if (!nic::nic_thread_enter()) log_error("an engine thread could not register with DPDK");
    };
    thread.leave = nic::nic_thread_leave;
  }
  unit.thread = std::make_unique<EngineThread>(unit.engine.get(), std::move(thread));
  return unit;
}

std::unique_ptr<control::EngineLink> link_to(const EngineUnit& unit) {
  Engine* engine = unit.engine.get();
  const EngineThread* thread = unit.thread.get();
  control::EngineDoor door{.commands = &engine->commands(),
                           .events = &engine->events(),
                           .notify_fd = unit.notify.get(),
                           .wake = [engine] { engine->wake(); },
                           .heartbeat = [thread] { return thread->heartbeat(); },
                           .link_is_up = nullptr};
  if (unit.port != nullptr) {
    door.link_is_up = [port = unit.port] { return port->link_is_up(); };
    door.nic_resets = [port = unit.port] { return port->resets(); };
  }
  return std::make_unique<control::EngineLink>(unit.facts, std::move(door));
}

}  // namespace mn
