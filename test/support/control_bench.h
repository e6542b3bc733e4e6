// SPDX-License-Identifier: MIT
// ControlBench: a control plane without threads, event loop or data plane: real sessions on socket
// pairs, a real registry and real channels, and engines that are played by the test. Used by the
// unit tests of control/ and by the fuzz target of the control socket.
#pragma once

#include <errno.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "channel/channel.h"
#include "control/session.h"
#include "support/fake_engine.h"

namespace mn::test {

class ControlBench final : public control::SessionHost {
 public:
  static inline Duration clock_ahead{};  // of the requests
  // What the test holds of one connection. `session` is null once it has ended.
  struct Client {
    UniqueFd fd;  // the application's end
    std::shared_ptr<control::Session> session;
    bool reading = true;
    bool has_timer = false;
    bool is_fault = false;
    std::string end_reason;
  };

  // Engines of a NIC each, or of one.
  explicit ControlBench(const control::ChannelLimits& limits = {}, uint32_t engine_count = 2,
                        bool one_nic = false) {
    for (uint32_t i = 0; i < engine_count; i++) {
      engines.push_back(std::make_unique<FakeEngine>());
      FakeEngine* engine = engines.back().get();
      control::EngineFacts facts;
      facts.nic = "nic" + std::to_string(i);
      facts.driver = "fake";
      facts.address = 0x0a000001 + (i << 8);  // 10.0.0.1/24, 10.0.1.1/24
      facts.prefix_length = 24;
      facts.mtu = 1500;
      facts.serves_loopback = i == 0;
      if (one_nic) {
        facts.nic = "nic0";
        facts.address = 0x0a000001;
        facts.index = engine->index = i;
        facts.of = engine_count;
      }
      facts.shape = {.tx_buffers = 8, .rx_buffers = 8, .buffer_size = 64, .flow_slots = 8};
      links_.push_back(std::make_unique<control::EngineLink>(
          facts, control::EngineDoor{&engine->commands, &engine->events, -1, [] {},
                                     [engine] { return engine->heartbeat; },
                                     [engine] { return engine->link_is_up; }}));
    }
    registry = std::make_unique<control::ChannelRegistry>(links_, limits, 1);
    clock_ahead = {};
    requests = std::make_unique<control::Requests>(registry.get(),
                                                   [] { return clock_now() + clock_ahead; });
  }
  ~ControlBench() override {
    for (auto& client : clients_) close(client.get());
    pump();
  }

  // As new, once every client is closed: building a bench takes milliseconds.
  void reset() {
    clients_.clear();
    ended_.clear();
    for (auto& engine : engines) {
      engine->connect = FakeEngine::Connect::kAccept;
      engine->refuses_lanes = engine->holds_drain = false;
      engine->seen.clear();
      engine->held.clear();
    }
  }

  Client* connect(uid_t uid = 1000) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
      return nullptr;
    clients_.push_back(std::make_unique<Client>());
    Client* client = clients_.back().get();
    client->fd.reset(fds[0]);
    const control::SessionContext context{requests.get(), registry.get(), this, 0, 4096};
    control::Peer peer;
    peer.pid = 4711;
    peer.uid = uid;
    client->session = std::make_shared<control::Session>(UniqueFd(fds[1]), peer, context);
    client->session->start();
    return client;
  }

  // The application dies.
  void close(Client* client) {
    client->fd.reset();
    if (const auto session = client->session) session->on_hang_up();
  }

  // Runs sessions and engines until nothing moves.
  void pump(bool with_engines = true) {
    for (bool moved = true; moved;) {
      moved = false;
      for (size_t i = 0; i < clients_.size(); i++) {
        const auto session = clients_[i]->session;
        char byte;
        while (session && !session->ended() && clients_[i]->reading &&
               recv(session->fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0) {
          session->on_readable();
          moved = true;
        }
      }
      for (size_t i = 0; i < engines.size() && with_engines; i++) {
        while (engines[i]->step()) moved = true;
        const bool has_events = !engines[i]->events.empty();
        links_[i]->drain();
        moved = moved || has_events;
      }
    }
  }

  bool send(Client* client, const void* bytes, size_t size) {
    return ::send(client->fd.get(), bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT) ==
           static_cast<ssize_t>(size);
  }
  bool send(Client* client, uint16_t type, ipc::ControlMessage message = {}) {
    message.header = {ipc::kControlMagic, type, 0, ++sequence_, 0};
    return send(client, &message, sizeof(message));
  }
  // 1: a reply, 0: none, -1: the connection is closed. Descriptors are counted and closed.
  int receive(Client* client, ipc::ControlMessage* ret_message, size_t* ret_descriptors = nullptr) {
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * ipc::kDescriptorsMax)];
    iovec piece{ret_message, sizeof(*ret_message)};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    ssize_t n = recvmsg(client->fd.get(), &header, MSG_DONTWAIT);
    // Linux reports unread requests that went down with the service's end once, then the replies.
    if (n < 0 && errno == ECONNRESET) n = recvmsg(client->fd.get(), &header, MSG_DONTWAIT);
    size_t count = 0;
    cmsghdr* rights = n > 0 ? CMSG_FIRSTHDR(&header) : nullptr;
    if (rights != nullptr) {
      count = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(rights) + i * sizeof(int), sizeof(fd));
        ::close(fd);
      }
    }
    if (ret_descriptors != nullptr) *ret_descriptors = count;
    if (n > 0) return 1;
    return n < 0 && errno == EAGAIN ? 0 : -1;
  }
  // Sends, lets everything run, and gives the reply's error; -1: no reply.
  int request(Client* client, uint16_t type, ipc::ControlMessage* message = nullptr,
              size_t* ret_descriptors = nullptr) {
    ipc::ControlMessage none{};
    if (message == nullptr) message = &none;
    if (!send(client, type, *message)) return -1;
    pump();
    if (receive(client, message, ret_descriptors) != 1 || message->header.type != type ||
        message->header.sequence != sequence_) {
      return -1;
    }
    return message->header.error;
  }
  int hello(Client* client) {
    ipc::ControlMessage message{};
    message.hello = {ipc::kControlVersionMin, ipc::kControlVersionMax, 0};
    return request(client, ipc::kControlHello, &message);
  }
  Client* attached(uid_t uid = 1000) {
    Client* client = connect(uid);
    return hello(client) == 0 && request(client, ipc::kControlAttach) == 0 ? client : nullptr;
  }

  // ---- SessionHost
  void set_reading(control::Session* session, bool reading) override {
    find(session)->reading = reading;
  }
  void set_timer(control::Session* session, Duration delay) override {
    if (Client* client = find(session)) client->has_timer = delay.ns != 0;
  }
  void on_end(control::Session* session, const std::string& reason, bool is_fault) override {
    Client* client = find(session);
    client->end_reason = reason;
    client->is_fault = is_fault;
    ended_.push_back(std::move(client->session));  // not destroyed within its own call
  }

  std::span<const std::unique_ptr<control::EngineLink>> links() const { return links_; }

  std::vector<std::unique_ptr<FakeEngine>> engines;
  std::unique_ptr<control::ChannelRegistry> registry;
  std::unique_ptr<control::Requests> requests;

 private:
  Client* find(control::Session* session) {
    for (auto& client : clients_) {
      if (client->session.get() == session) return client.get();
    }
    return nullptr;
  }

  std::vector<std::unique_ptr<control::EngineLink>> links_;
  std::vector<std::shared_ptr<control::Session>> ended_;
  std::vector<std::unique_ptr<Client>> clients_;
  uint32_t sequence_ = 0;
};

}  // namespace mn::test
