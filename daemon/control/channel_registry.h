// SPDX-License-Identifier: MIT
// ChannelRegistry: every channel of the service from attach to the moment when no engine knows it
// any more, and what each holds: memory, listeners, local ports. Enforces the quotas. Control
// thread only; steps that need the engines are finished by their answers, nothing waits.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "channel/channel.h"
#include "control/engine_link.h"
#include "control/outcome.h"
#include "control/port_book.h"

namespace mn::control {

// Per user, so that one cannot keep the others out; root is bound by the totals only. Memory counts
// as mapped: a channel's pages are taken when its application first uses them.
struct ChannelLimits {
  uint32_t channels = 4096;
  uint32_t channels_per_user = 2048;
  uint64_t memory_bytes = UINT64_MAX;
  uint64_t memory_bytes_per_user = UINT64_MAX;
  uint32_t flows_per_user = UINT32_MAX;  // that its applications opened, not those they accepted
  uint32_t listeners_per_user = UINT32_MAX;
};

struct Owner {
  pid_t pid = 0;
  uid_t uid = 0;
};

using ChannelId = uint64_t;

struct ChannelRecord {
  struct Listener {
    Ipv4 ip = 0;
    Port port = 0;
    std::vector<uint32_t> engines;
  };

  ChannelId id = 0;
  Owner owner;
  std::unique_ptr<Channel> channel;
  std::vector<Listener> listeners;
  // Of flows that it opened. False: the flow has ended, which the application has yet to hear of.
  std::map<std::pair<Ipv4, Port>, bool> local_ports;
  uint32_t lanes_unremoved = 0;  // while leaving: engines that still know it
  bool leaving = false;
  // The application broke the channel's protocol: `reason` is static text.
  std::function<void(const char* reason)> on_violation;
};

class ChannelRegistry {
 public:
  ChannelRegistry(std::span<const std::unique_ptr<EngineLink>> engines, const ChannelLimits& limits,
                  uint64_t seed);

  // On success *ret_id is valid at once and `on_ready` is called when every engine serves its lane,
  // or one refused (then the caller removes it). EDQUOT, ENOMEM.
  Outcome create(const Owner& owner, ChannelId* ret_id, Done on_ready);
  // Closes the flows in order, frees the listeners; `on_drained` when no flow is left.
  void drain(ChannelId id, std::function<void()> on_drained);
  // Resets what is left. The id is invalid at once; the memory goes when the last engine let go of
  // it.
  void remove(ChannelId id);
  // Holds from now on; what is held already beyond it stays.
  void set_limits(const ChannelLimits& limits) { limits_ = limits; }

  // Whether the channel's user may hold one more; EDQUOT.
  Outcome may_listen(const ChannelRecord& record) const;
  Outcome may_connect(const ChannelRecord& record) const;
  // The port book has the port already. The reverse gives it back, too.
  void hold_listener(ChannelRecord* record, const ChannelRecord::Listener& listener);
  void drop_listener(ChannelRecord* record, Ipv4 ip, Port port);
  void hold_local_port(ChannelRecord* record, Ipv4 ip, Port port);
  bool drop_local_port(ChannelRecord* record, Ipv4 ip, Port port);  // false: it holds no such port
  // The flow counts no more; its port is held until it is dropped.
  void end_local_flow(ChannelRecord* record, Ipv4 ip, Port port);

  ChannelRecord* find(ChannelId id);  // nullptr: unknown, or leaving
  ChannelRecord* at(uint32_t index);  // in the order of attaching; nullptr past the last
  size_t count() const { return records_.size(); }  // leaving ones included
  uint32_t flows() const;                           // of all channels, now
  void on_idle(std::function<void()> callback) { on_idle_ = std::move(callback); }

  PortBook& ports() { return ports_; }
  std::span<const std::unique_ptr<EngineLink>> engines() const { return engines_; }
  std::span<const EngineFacts* const> facts() const { return facts_; }

 private:
  struct Usage {
    uint32_t channels = 0;
    uint64_t memory_bytes = 0;
    uint32_t flows = 0;
    uint32_t ports = 0;  // of these, and of ended ones of which the application has yet to hear
    uint32_t listeners = 0;
  };

  Outcome check_quota(uid_t uid, uint64_t memory_bytes) const;
  void on_event(const EngineEvent& event);
  void free_listeners(ChannelRecord* record);
  const Usage& usage_of(uid_t uid) const;
  void on_lane_removed(ChannelId id);

  std::span<const std::unique_ptr<EngineLink>> engines_;
  std::vector<const EngineFacts*> facts_;
  ChannelLimits limits_;
  PortBook ports_;
  ChannelId next_id_ = 1;
  std::map<ChannelId, std::unique_ptr<ChannelRecord>> records_;
  std::unordered_map<const Lane*, ChannelRecord*> by_lane_;
  std::unordered_map<uid_t, Usage> users_;
  Usage total_;
  std::function<void()> on_idle_;
};

}  // namespace mn::control
