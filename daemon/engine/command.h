// SPDX-License-Identifier: MIT
// What the control plane asks of an engine and what it hears back: plain values on two SpscQueues,
// the only way between the two. Every command with a cookie is answered by exactly one event with
// it.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/spsc_queue.h"
#include "ipc/trace.h"
#include "transport/transport.h"

namespace mn {

class Lane;

struct EngineCommand {
  enum class Kind : uint8_t {
    kAddLane,     // lane; answered kDone. The engine uses the lane until kLaneRemoved
    kDrainLane,   // lane; closes its flows in order, removes listeners; answered kLaneDrained when
                  // no flow is left. The lane stays until kRemoveLane, which may come before the
                  // answer
    kRemoveLane,  // lane; resets what is left; answered kLaneRemoved: the engine has no pointer to
                  // it any more
    kListen,      // lane, ip, port; answered kDone
    kUnlisten,    // lane, ip, port; answered kDone
    kConnect,  // lane, tuple (local port chosen by the control plane); answered kConnected or kDone
               // with an error (ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENOBUFS, EADDRINUSE,
               // ECONNABORTED: lane removed), or kMoved if it does not `settle`
    kFlowStats,  // lane, flow; answered kFlowStats or kDone with ENOENT
    kTrace,  // ring (nullptr: ends it), ring_capacity, engine, tuple (fields that are 0 fit every
             // flow); answered kDone: the engine has no pointer to an earlier ring any more
    kStop,   // resets all flows, tells the peers; answered kDone when the packets have left
  } kind = Kind::kAddLane;
  uint64_t cookie = 0;
  Lane* lane = nullptr;
  FourTuple tuple{};  // kListen, kUnlisten: local_ip and local_port
  transport::FlowRef flow = 0;
  ipc::TraceRing* ring = nullptr;
  uint32_t ring_capacity = 0;
  uint16_t engine = 0;  // as records name it
  bool settles = true;  // kConnect: here, wherever its packets arrive
};

struct EngineEvent {
  enum class Kind : uint8_t {
    kDone,          // error: 0 or an errno
    kConnected,     // flow, tuple
    kMoved,         // tuple, engine: the answer came to that one's queue: connect there
    kFlowStats,     // stats
    kLaneDrained,   // lane
    kLaneRemoved,   // lane
    kLaneViolated,  // lane, reason (static text): the application broke the channel's protocol; no
                    // cookie. The engine has stopped polling the lane; the control plane ends the
                    // session and removes it
    kFlowEnded,     // lane, tuple, accepted; answers nothing
    kPortFree,  // lane, tuple of a flow that we opened: the application has heard of its end; no
                // cookie. May come before kFlowEnded
  } kind = Kind::kDone;
  uint64_t cookie = 0;
  Lane* lane = nullptr;
  FourTuple tuple{};
  transport::FlowRef flow = 0;
  int error = 0;
  uint32_t engine = 0;    // its number among its NIC's
  bool accepted = false;  // the peer opened the flow: its local port is a listener's
  const char* reason = nullptr;
  transport::FlowSnapshot stats{};
};

using EngineCommandQueue = SpscQueue<EngineCommand, 1024>;
// More than all lanes can owe answers at one time (engine.h, push_event).
using EngineEventQueue = SpscQueue<EngineEvent, 8192>;

}  // namespace mn
