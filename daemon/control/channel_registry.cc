// SPDX-License-Identifier: MIT
#include "control/channel_registry.h"

#include <errno.h>

#include <algorithm>
#include <iterator>

#include "base/clock.h"
#include "base/log.h"
#include "control/route.h"

namespace mn::control {
namespace {

std::vector<const EngineFacts*> facts_of(std::span<const std::unique_ptr<EngineLink>> engines) {
  std::vector<const EngineFacts*> facts;
  for (const auto& engine : engines) facts.push_back(&engine->facts());
  return facts;
}

Outcome over_quota(uid_t uid, uint64_t limit, const char* what, const char* key) {
  return {EDQUOT, "user " + std::to_string(uid) + " has " + std::to_string(limit) + " " + what +
                      ", which is the limit (" + key + " in the service's configuration)"};
}

// The limit may have been lowered below what is in use.
bool exceeds(uint64_t more, uint64_t in_use, uint64_t limit) {
  return in_use > limit || more > limit - in_use;
}

// Half of an address's dynamic ports: the other half is for others, whoever lets the ends of flows
// lie and so holds their ports.
constexpr uint32_t kPortsPerUser = 8192;

// Counts the answers of several engines; the last one calls `done` with the first error.
struct Gathered {
  size_t left = 0;
  int error = 0;
};

}  // namespace

ChannelRegistry::ChannelRegistry(std::span<const std::unique_ptr<EngineLink>> engines,
                                 const ChannelLimits& limits, uint64_t seed)
    : engines_(engines), facts_(facts_of(engines)), limits_(limits), ports_(facts_, seed) {
  for (const auto& engine : engines_) {
    engine->on_event = [this](const EngineEvent& event) { on_event(event); };
  }
}

Outcome ChannelRegistry::check_quota(uid_t uid, uint64_t memory_bytes) const {
  if (total_.channels >= limits_.channels) {
    return {EDQUOT, "the service has " + std::to_string(limits_.channels) +
                        " channels, which is its limit"};
  }
  if (exceeds(memory_bytes, total_.memory_bytes, limits_.memory_bytes)) {
    return {EDQUOT, "the channels of the service have reached the limit of their memory"};
  }
  if (uid == 0) return {};
  const Usage& usage = usage_of(uid);
  if (usage.channels >= limits_.channels_per_user) {
    return over_quota(uid, usage.channels, "channels", "channels_per_user");
  }
  if (exceeds(memory_bytes, usage.memory_bytes, limits_.memory_bytes_per_user)) {
    return over_quota(uid, usage.memory_bytes >> 20, "MiB of channels", "memory_per_user");
  }
  return {};
}

const ChannelRegistry::Usage& ChannelRegistry::usage_of(uid_t uid) const {
  static const Usage kNothing;
  const auto it = users_.find(uid);
  return it == users_.end() ? kNothing : it->second;
}

Outcome ChannelRegistry::may_listen(const ChannelRecord& record) const {
  const uid_t uid = record.owner.uid;
  const uint32_t held = usage_of(uid).listeners;
  if (uid == 0 || held < limits_.listeners_per_user) return {};
  return over_quota(uid, held, "listeners", "listeners_per_user");
}

Outcome ChannelRegistry::may_connect(const ChannelRecord& record) const {
  const uid_t uid = record.owner.uid;
  const Usage& usage = usage_of(uid);
  if (uid == 0) return {};
  if (usage.flows >= limits_.flows_per_user) {
    return over_quota(uid, usage.flows, "open flows", "flows_per_user");
  }
  if (usage.ports < std::max(limits_.flows_per_user, kPortsPerUser)) return {};
  return {EDQUOT, "user " + std::to_string(uid) + " holds " + std::to_string(usage.ports) +
                      " local ports, of ended flows, too, until its programs receive the ends"};
}

void ChannelRegistry::hold_listener(ChannelRecord* record,
                                    const ChannelRecord::Listener& listener) {
  record->listeners.push_back(listener);
  users_[record->owner.uid].listeners++;
}

void ChannelRegistry::drop_listener(ChannelRecord* record, Ipv4 ip, Port port) {
  const auto dropped =
      std::erase_if(record->listeners, [ip, port](const ChannelRecord::Listener& listener) {
        return listener.ip == ip && listener.port == port;
      });
  if (dropped == 0) return;
  users_[record->owner.uid].listeners--;
  ports_.unlisten(ip, port, record->id);
}

void ChannelRegistry::hold_local_port(ChannelRecord* record, Ipv4 ip, Port port) {
  if (record->local_ports.emplace(std::pair(ip, port), true).second) {
    Usage& usage = users_[record->owner.uid];
    usage.flows++;
    usage.ports++;
  }
}

bool ChannelRegistry::drop_local_port(ChannelRecord* record, Ipv4 ip, Port port) {
  end_local_flow(record, ip, port);
  if (record->local_ports.erase({ip, port}) == 0) return false;
  users_[record->owner.uid].ports--;
  ports_.release(clock_now(), ip, port);
  return true;
}

void ChannelRegistry::end_local_flow(ChannelRecord* record, Ipv4 ip, Port port) {
  const auto it = record->local_ports.find({ip, port});
  if (it == record->local_ports.end() || !it->second) return;
  it->second = false;
  users_[record->owner.uid].flows--;
}

uint32_t ChannelRegistry::flows() const {
  uint32_t flows = 0;
  for (const auto& [id, record] : records_) {
    for (uint32_t i = 0; i < record->channel->lane_count(); i++) {
      flows += record->channel->lane(i)->flows_in_use();
    }
  }
  return flows;
}

Outcome ChannelRegistry::create(const Owner& owner, ChannelId* ret_id, Done on_ready) {
  std::vector<ipc::LaneShape> shapes;
  for (const EngineFacts* engine : facts_) shapes.push_back(engine->shape);
  const uint64_t size = ipc::channel_size(shapes.data(), static_cast<uint32_t>(shapes.size()));
  if (Outcome refused = check_quota(owner.uid, size); !refused.ok()) return refused;
  auto channel = Channel::create(shapes);
  if (!channel) return {ENOMEM, channel.error()};

  auto record = std::make_unique<ChannelRecord>();
  record->id = next_id_++;
  record->owner = owner;
  record->channel = std::move(channel.value());
  Usage& user = users_[owner.uid];
  for (Usage* usage : {&user, &total_}) {
    usage->channels++;
    usage->memory_bytes += record->channel->memory_size();
  }
  const auto gathered = std::make_shared<Gathered>();
  gathered->left = engines_.size();
  for (uint32_t i = 0; i < engines_.size(); i++) {
    Lane* lane = record->channel->lane(i);
    by_lane_[lane] = record.get();
    engines_[i]->send(
        {.kind = EngineCommand::Kind::kAddLane, .lane = lane},
        [gathered, on_ready](const EngineEvent& event) {
          if (event.error != 0) gathered->error = event.error;
          if (--gathered->left > 0) return;
          on_ready(gathered->error == 0
                       ? Outcome{}
                       : Outcome{gathered->error, "an engine has no room for the channel"});
        });
  }
  *ret_id = record->id;
  records_.emplace(record->id, std::move(record));
  return {};
}

void ChannelRegistry::free_listeners(ChannelRecord* record) {
  // Commands are taken in order: whoever gets the port now listens after the engine has forgotten
  // this one.
  for (const auto& listener : record->listeners) {
    ports_.unlisten(listener.ip, listener.port, record->id);
  }
  users_[record->owner.uid].listeners -= static_cast<uint32_t>(record->listeners.size());
  record->listeners.clear();
}

void ChannelRegistry::drain(ChannelId id, std::function<void()> on_drained) {
  ChannelRecord* record = find(id);
  if (record == nullptr) return;
  free_listeners(record);
  const auto gathered = std::make_shared<Gathered>();
  gathered->left = engines_.size();
  for (uint32_t i = 0; i < engines_.size(); i++) {
    engines_[i]->send({.kind = EngineCommand::Kind::kDrainLane, .lane = record->channel->lane(i)},
                      [gathered, on_drained](const EngineEvent&) {
                        if (--gathered->left == 0) on_drained();
                      });
  }
}

void ChannelRegistry::remove(ChannelId id) {
  ChannelRecord* record = find(id);
  if (record == nullptr) return;
  free_listeners(record);
  record->leaving = true;
  record->on_violation = nullptr;
  record->lanes_unremoved = static_cast<uint32_t>(engines_.size());
  for (uint32_t i = 0; i < engines_.size(); i++) {
    engines_[i]->send({.kind = EngineCommand::Kind::kRemoveLane, .lane = record->channel->lane(i)},
                      [this, id](const EngineEvent&) { on_lane_removed(id); });
  }
}

void ChannelRegistry::on_lane_removed(ChannelId id) {
  const auto it = records_.find(id);
  if (it == records_.end() || --it->second->lanes_unremoved > 0) return;
  ChannelRecord& record = *it->second;
  while (!record.local_ports.empty()) {
    const auto [ip, port] = record.local_ports.begin()->first;
    drop_local_port(&record, ip, port);
  }
  for (uint32_t i = 0; i < engines_.size(); i++) by_lane_.erase(record.channel->lane(i));
  const auto user = users_.find(record.owner.uid);
  for (Usage* usage : {&user->second, &total_}) {
    usage->channels--;
    usage->memory_bytes -= record.channel->memory_size();
  }
  if (user->second.channels == 0) users_.erase(user);
  records_.erase(it);
  if (records_.empty() && on_idle_) on_idle_();
}

void ChannelRegistry::on_event(const EngineEvent& event) {
  const auto it = by_lane_.find(event.lane);
  if (it == by_lane_.end()) return;
  ChannelRecord* record = it->second;
  if (event.kind == EngineEvent::Kind::kFlowEnded) {
    // The port of a listener that is gone may be that of a flow that we opened since.
    if (!event.accepted) end_local_flow(record, event.tuple.local_ip, event.tuple.local_port);
    if (log_enabled(LogLevel::kDebug)) {
      const std::string flow = format_flow(event.tuple);
      log_event(LogLevel::kDebug, {.channel = record->id, .flow = flow.c_str()},
                "channel %llu: flow %s ended", static_cast<unsigned long long>(record->id),
                flow.c_str());
    }
  } else if (event.kind == EngineEvent::Kind::kPortFree) {
    drop_local_port(record, event.tuple.local_ip, event.tuple.local_port);
  } else if (event.kind == EngineEvent::Kind::kLaneViolated && record->on_violation) {
    // A copy: the callback ends the session, which resets the original.
    const auto on_violation = record->on_violation;
    on_violation(event.reason != nullptr ? event.reason : "unknown");
  }
}

ChannelRecord* ChannelRegistry::find(ChannelId id) {
  const auto it = records_.find(id);
  return it == records_.end() || it->second->leaving ? nullptr : it->second.get();
}

ChannelRecord* ChannelRegistry::at(uint32_t index) {
  if (index >= records_.size()) return nullptr;  // without a walk that a client could ask for
  for (auto& [id, record] : records_) {
    if (!record->leaving && index-- == 0) return record.get();
  }
  return nullptr;
}

}  // namespace mn::control
