// SPDX-License-Identifier: MIT
// Session: one control connection, from hello to its end, which is also its channel's end. Reads
// one message at a time, checks all of it, and reads the next only when the answer is sent: a
// client that floods fills its own socket. Whatever breaks the protocol is answered with a reason
// and ends this session, nobody else's. Control thread; never blocks. Knows no event loop: its host
// tells when to read.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/time.h"
#include "base/unique_fd.h"
#include "control/peer.h"
#include "control/requests.h"
#include "ipc/control_protocol.h"

namespace mn::control {

constexpr Duration kHelloTimeout = seconds(5);

class Session;

// The event loop of a session, as the session needs it.
class SessionHost {
 public:
  virtual ~SessionHost() = default;
  // Whether on_readable is wanted. The host watches for the peer's end either way.
  virtual void set_reading(Session* session, bool reading) = 0;
  // One timer per session: calls on_timer once. Replaces an earlier one; a delay of 0 stops it.
  virtual void set_timer(Session* session, Duration delay) = 0;
  // The last call about this session; `reason` for the log, `is_fault`: worth a line.
  virtual void on_end(Session* session, const std::string& reason, bool is_fault) = 0;
};

// What sessions share.
struct SessionContext {
  Requests* requests = nullptr;
  ChannelRegistry* registry = nullptr;
  SessionHost* host = nullptr;
  int counters_fd = -1;
  uint64_t counters_size = 0;
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(UniqueFd fd, Peer peer, const SessionContext& context);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start();  // arms the hello timer; once the session is held by a shared_ptr
  // The client will get this as the answer to its first request, whatever that is.
  void deny(const Outcome& outcome) { denial_ = outcome; }

  // ---- Inputs. The caller holds a reference of its own while it calls.
  void on_readable();  // takes one message
  void on_hang_up();
  void on_timer();
  // Ends the session; a request that waits for its answer gets this one.
  void stop(int error, const std::string& reason);

  int fd() const { return fd_.get(); }
  const Peer& peer() const { return peer_; }
  ChannelId channel() const { return channel_; }  // 0: none
  bool ended() const { return state_ == State::kEnded; }

 private:
  enum class State : uint8_t { kHello, kReady, kAttached, kDetaching, kDetached, kEnded };

  void on_message(const ipc::ControlMessage& message);
  void on_hello(const ipc::Hello& hello);
  void on_attach();
  void on_attached(const Outcome& outcome);
  void on_detach();
  void on_information(const ipc::ControlMessage& message);
  void on_trace(const ipc::TraceRequest& request);
  void on_channel_request(const ipc::ControlMessage& message);

  // Answers what just came and ends the session.
  void refuse(int error, const std::string& reason);
  // The answer to the request in hand.
  void reply(ipc::ControlMessage message, std::span<const int> descriptors = {});
  void reply(const Outcome& outcome);
  bool send(ipc::ControlMessage* message, std::span<const int> descriptors);
  void end(const std::string& reason, bool is_fault);
  // For answers that come later: runs `f(self, arguments...)` if the session still lives.
  template <typename F>
  auto later(F f) {
    return [weak = weak_from_this(), f](const auto&... arguments) {
      if (const auto self = weak.lock(); self != nullptr && !self->ended())
        f(self.get(), arguments...);
    };
  }

  UniqueFd fd_;
  const Peer peer_;
  const SessionContext context_;
  State state_ = State::kHello;
  bool traces_ = false;           // the desk knows this session
  bool busy_ = false;             // a request is being worked on
  bool paused_ = false;           // and nothing is read meanwhile
  ipc::ControlHeader request_{};  // its header
  ChannelId channel_ = 0;
  Outcome denial_;
};

}  // namespace mn::control
