// SPDX-License-Identifier: MIT
#include "control/requests.h"

#include <errno.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/clock.h"
#include "base/log.h"
#include "control/route.h"

namespace mn::control {
namespace {

constexpr int kPortTries = 4;

std::string format_endpoint(Ipv4 ip, Port port) {
  return format_ipv4(ip) + ":" + std::to_string(port);
}

Outcome gone() { return {ECONNABORTED, "the channel is being closed"}; }

const char* connect_reason(int error) {
  switch (error) {
    case ECONNREFUSED:
      return "refused: nobody listens there";
    case ETIMEDOUT:
      return "no answer from its service; is machnetd running there, and UDP let through?";
    case EHOSTUNREACH:
      return "no answer to ARP: wrong address, or no host there";
    case ENOBUFS:
      return "an engine has no room for another flow";
    case EADDRINUSE:
      return "no local port free for it";
    case ECONNABORTED:
      return "the channel was closed";
    default:
      return strerror(error);
  }
}

void log_opened(ChannelId id, const FourTuple& tuple, const std::string& nic) {
  if (!log_enabled(LogLevel::kDebug)) return;
  const std::string flow = format_flow(tuple);
  log_event(LogLevel::kDebug, {.nic = nic.c_str(), .channel = id, .flow = flow.c_str()},
            "channel %llu: flow %s opened", static_cast<unsigned long long>(id), flow.c_str());
}

// Shared by the answers of the engines that one listen went to.
struct Listening {
  size_t left = 0;
  int error = 0;
};

}  // namespace

void Requests::listen(ChannelId id, const ipc::Endpoint& endpoint, Done done) {
  ChannelRecord* record = registry_->find(id);
  if (record == nullptr) return done(gone());
  ChannelRecord::Listener listener{endpoint.local_ip, endpoint.local_port, {}};
  if (listener.port == 0) return done({EINVAL, "port 0 cannot be listened on; choose 1 to 65535"});
  const Outcome found = engines_for_listen(registry_->facts(), listener.ip, &listener.engines);
  if (!found.ok()) return done(found);
  if (Outcome refused = registry_->may_listen(*record); !refused.ok()) return done(refused);
  if (registry_->ports().listen(listener.ip, listener.port, id) != host::PortStatus::kOk) {
    return done({EADDRINUSE, format_endpoint(listener.ip, listener.port) + " is in use"});
  }
  registry_->hold_listener(record, listener);
  const auto listening = std::make_shared<Listening>();
  listening->left = listener.engines.size();
  for (const uint32_t engine : listener.engines) {
    registry_->engines()[engine]->send(
        {.kind = EngineCommand::Kind::kListen,
         .lane = record->channel->lane(engine),
         .tuple = {.local_ip = listener.ip, .local_port = listener.port}},
        [this, id, listener, listening, done](const EngineEvent& event) {
          if (event.error != 0) listening->error = event.error;
          if (--listening->left == 0) finish_listen(id, listener, listening->error, done);
        });
  }
}

void Requests::finish_listen(ChannelId id, const ChannelRecord::Listener& listener, int error,
                             const Done& done) {
  if (error == 0) return done({});
  const ipc::Endpoint endpoint{listener.ip, listener.port, 0};
  const std::string where = format_endpoint(listener.ip, listener.port);
  unlisten(id, endpoint, [done, error, where](const Outcome&) {
    done({error, where + ": an engine has no room for another listener"});
  });
}

void Requests::unlisten(ChannelId id, const ipc::Endpoint& endpoint, Done done) {
  ChannelRecord* record = registry_->find(id);
  if (record == nullptr) return done(gone());
  const auto it = std::find_if(
      record->listeners.begin(), record->listeners.end(), [&endpoint](const auto& listener) {
        return listener.ip == endpoint.local_ip && listener.port == endpoint.local_port;
      });
  if (it == record->listeners.end()) {
    return done({ENOENT, "this channel does not listen on " +
                             format_endpoint(endpoint.local_ip, endpoint.local_port)});
  }
  const ChannelRecord::Listener listener = *it;
  // Free at once: the engines take the commands in order.
  registry_->drop_listener(record, listener.ip, listener.port);
  const auto listening = std::make_shared<Listening>();
  listening->left = listener.engines.size();
  for (const uint32_t engine : listener.engines) {
    registry_->engines()[engine]->send(
        {.kind = EngineCommand::Kind::kUnlisten,
         .lane = record->channel->lane(engine),
         .tuple = {.local_ip = listener.ip, .local_port = listener.port}},
        [listening, done](const EngineEvent&) {
          if (--listening->left == 0) done({});
        });
  }
}

void Requests::connect(ChannelId id, const ipc::ConnectRequest& request, ConnectDone done) {
  if (registry_->find(id) == nullptr) return done(gone(), {});
  if (request.remote_port == 0) return done({EINVAL, "no flow can be opened to port 0"}, {});
  Route route;
  const Outcome found =
      route_for_connect(registry_->facts(), request.local_ip, request.remote_ip, &route);
  if (!found.ok()) return done(found, {});
  const FourTuple wanted{route.local_ip, request.remote_ip, 0, request.remote_port};
  try_connect(id, wanted, next_engine_of(route), kPortTries, std::move(done));
}

// Engines of a NIC take turns; loopback has one.
uint32_t Requests::next_engine_of(const Route& route) {
  const EngineFacts& facts = *registry_->facts()[route.engine];
  if (facts.of == 1 || route.local_ip != facts.address) return route.engine;
  return route.engine - facts.index + turn_++ % facts.of;
}

// One that is known to bring the peer's packets to `engine`, or any. 0: none is free.
Port Requests::choose_port(ChannelId id, const FourTuple& wanted, uint32_t engine) {
  PortBook& ports = registry_->ports();
  const Instant now = clock_();
  if (registry_->facts()[engine]->of > 1) {
    for (const LearnedPorts::Found& known : learned_.of(wanted)) {
      if (known.engine == engine && ports.take(now, wanted.local_ip, known.port, id)) {
        return known.port;
      }
    }
  }
  return ports.allocate(now, wanted.local_ip, id);
}

void Requests::try_connect(ChannelId id, const FourTuple& wanted, uint32_t engine, int tries,
                           ConnectDone done) {
  ChannelRecord* record = registry_->find(id);
  if (record == nullptr) return done(gone(), {});
  if (Outcome refused = registry_->may_connect(*record); !refused.ok()) return done(refused, {});
  FourTuple tuple = wanted;
  tuple.local_port = choose_port(id, wanted, engine);
  if (tuple.local_port == 0) {
    return done({EADDRNOTAVAIL, "all local ports of " + format_ipv4(tuple.local_ip) +
                                    " are in use; close flows, or use another NIC"},
                {});
  }
  registry_->hold_local_port(record, tuple.local_ip, tuple.local_port);
  open_flow(id, tuple, engine, registry_->facts()[engine]->of == 1, tries, std::move(done));
}

// The first answer may come to another engine's queue: then that one opens the flow, and keeps it
// wherever its answer comes to.
void Requests::open_flow(ChannelId id, const FourTuple& tuple, uint32_t engine, bool settles,
                         int tries, ConnectDone done) {
  ChannelRecord* record = registry_->find(id);
  if (record == nullptr) return done(gone(), {});
  registry_->engines()[engine]->send(
      {.kind = EngineCommand::Kind::kConnect,
       .lane = record->channel->lane(engine),
       .tuple = tuple,
       .settles = settles},
      [this, id, tuple, engine, settles, tries, done](const EngineEvent& event) {
        if (event.kind == EngineEvent::Kind::kMoved) {
          const uint32_t first = engine - registry_->facts()[engine]->index;
          learned_.learn(tuple, first + event.engine);
          return open_flow(id, tuple, first + event.engine, true, tries, done);
        }
        if (event.kind == EngineEvent::Kind::kConnected) {
          if (!settles) learned_.learn(tuple, engine);
          log_opened(id, tuple, registry_->facts()[engine]->nic);
          return done({}, {.lane = engine,
                           .flow = event.flow,
                           .local_ip = tuple.local_ip,
                           .remote_ip = tuple.remote_ip,
                           .local_port = tuple.local_port,
                           .remote_port = tuple.remote_port});
        }
        // A channel that left meanwhile gives its ports back itself.
        ChannelRecord* owner = registry_->find(id);
        if (owner != nullptr) {
          registry_->drop_local_port(owner, tuple.local_ip, tuple.local_port);
        }
        if (event.error == EADDRINUSE && tries > 1) {
          return try_connect(id, tuple, engine, tries - 1, done);
        }
        const int error = event.error != 0 ? event.error : ECONNABORTED;
        done({error,
              format_endpoint(tuple.remote_ip, tuple.remote_port) + ": " + connect_reason(error)},
             {});
      });
}

void Requests::flow_stats(ChannelId id, const ipc::FlowQuery& query, StatsDone done) {
  ChannelRecord* record = registry_->find(id);
  if (record == nullptr) return done(gone(), {});
  if (query.lane >= registry_->engines().size()) {
    return done({EINVAL, "the channel has no lane " + std::to_string(query.lane)}, {});
  }
  registry_->engines()[query.lane]->send(
      {.kind = EngineCommand::Kind::kFlowStats,
       .lane = record->channel->lane(query.lane),
       .flow = query.flow},
      [done](const EngineEvent& event) {
        if (event.kind != EngineEvent::Kind::kFlowStats) {
          return done({event.error != 0 ? event.error : ENOENT, "the flow has ended"}, {});
        }
        const transport::FlowSnapshot& s = event.stats;
        done({}, {.tx_messages = s.tx_messages,
                  .tx_bytes = s.tx_bytes,
                  .rx_messages = s.rx_messages,
                  .rx_bytes = s.rx_bytes,
                  .tx_packets = s.tx_packets,
                  .rx_packets = s.rx_packets,
                  .retransmitted_packets = s.retransmitted_packets,
                  .timeouts = s.timeouts,
                  .rtt_smoothed_ns = static_cast<uint64_t>(s.rtt_smoothed.ns),
                  .rtt_min_ns = static_cast<uint64_t>(s.rtt_min.ns),
                  .rto_ns = static_cast<uint64_t>(s.rto.ns),
                  .window_packets = s.window_packets,
                  .packets_in_flight = s.packets_in_flight,
                  .tx_queued_bytes = s.tx_queued_bytes,
                  .mss = s.mss,
                  .reserved = 0});
      });
}

Outcome Requests::nic_info(uint32_t index, ipc::NicInfo* ret_info) const {
  size_t engine_index = 0;  // of the NIC's first engine
  for (uint32_t left = index; left > 0 && engine_index < registry_->facts().size(); left--) {
    engine_index += registry_->facts()[engine_index]->of;
  }
  if (engine_index >= registry_->facts().size()) return {ENOENT, "there is no further NIC"};
  const EngineFacts& facts = *registry_->facts()[engine_index];
  ipc::NicInfo info{};
  snprintf(info.name, sizeof(info.name), "%s", facts.nic.c_str());
  snprintf(info.driver, sizeof(info.driver), "%s", facts.driver.c_str());
  info.address = facts.address;
  info.prefix_length = facts.prefix_length;
  info.gateway = facts.gateway;
  info.mtu = facts.mtu;
  memcpy(info.mac, facts.mac.bytes.data(), sizeof(info.mac));
  info.engines = static_cast<uint16_t>(facts.of);
  const EngineLink& engine = *registry_->engines()[engine_index];
  info.link = !engine.tells_link()  ? ipc::kLinkUnknown
              : engine.link_is_up() ? ipc::kLinkUp
                                    : ipc::kLinkDown;
  *ret_info = info;
  return {};
}

Outcome Requests::channel_info(uint32_t index, ipc::ChannelStatus* ret_status) const {
  const ChannelRecord* record = registry_->at(index);
  if (record == nullptr) return {ENOENT, "there is no further channel"};
  uint32_t flows = 0;
  for (uint32_t i = 0; i < record->channel->lane_count(); i++) {
    flows += record->channel->lane(i)->flows_in_use();
  }
  *ret_status = {.pid = record->owner.pid,
                 .uid = record->owner.uid,
                 .flows = flows,
                 .listeners = static_cast<uint32_t>(record->listeners.size()),
                 .memory_size = record->channel->memory_size()};
  return {};
}

}  // namespace mn::control
