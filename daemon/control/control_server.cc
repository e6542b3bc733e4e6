// SPDX-License-Identifier: MIT
#include "control/control_server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <unordered_map>

#include "base/clock.h"
#include "base/log_ids.h"
#include "control/event_source.h"
#include "control/fault_log.h"
#include "control/link_watch.h"
#include "control/route.h"
#include "control/service_manager.h"
#include "control/session.h"

namespace mn::control {
namespace {

constexpr int kAcceptsPerTurn = 16;
constexpr int kSessionsPerTurn = 64;  // one message of each
constexpr uint32_t kDeniedMax = 64;   // connections beyond a limit that are told so

// Answers of engines before new work; requests of sessions before new sessions.
constexpr int64_t kEnginePriority = -10;
constexpr int64_t kSessionPriority = 0;
constexpr int64_t kAcceptPriority = 10;

Error loop_error(const char* what, int result) {
  return Error{std::string("event loop: ") + what + ": " + strerror(-result)};
}

}  // namespace

class ControlServer::Impl final : public SessionHost {
 public:
  Impl(const ServerSettings& settings, std::unique_ptr<ListenSocket> socket,
       std::vector<std::unique_ptr<EngineLink>> engines)
      : settings_(settings),
        socket_(std::move(socket)),
        engines_(std::move(engines)),
        registry_(engines_, settings_.channels, settings_.seed),
        requests_(&registry_),
        context_{&requests_, &registry_, this, settings_.counters_fd, settings_.counters_size},
        links_(engines_, [this] { manager_.status_changed(); }),
        manager_(EngineWatch(engines_), [this] { return status(); }) {}

  ~Impl() override {
    // The engines have stopped: what the sessions' ends would ask them is not answered any more.
    while (!connections_.empty()) {
      const auto session = connections_.begin()->second.session;
      session->stop(ECONNRESET, "the service stops");
    }
  }

  Result<void> open();
  Result<void> run();
  void set_limits(const ChannelLimits& channels, uint32_t connections_per_user) {
    registry_.set_limits(channels);
    settings_.connections_per_user = connections_per_user;
  }

  void set_reading(Session* session, bool reading) override;
  void set_timer(Session* session, Duration delay) override;
  void on_end(Session* session, const std::string& reason, bool is_fault) override;

 private:
  struct Connection {
    std::shared_ptr<Session> session;
    EventSource timer;
  };

  static int on_engine(sd_event_source*, int, uint32_t, void* link) {
    static_cast<EngineLink*>(link)->drain();
    return 0;
  }
  static int on_accept(sd_event_source*, int, uint32_t, void* self) {
    static_cast<Impl*>(self)->accept_some();
    return 0;
  }
  static int on_sessions(sd_event_source*, int, uint32_t, void* self) {
    static_cast<Impl*>(self)->serve_sessions();
    return 0;
  }
  static int on_session_timer(sd_event_source*, uint64_t, void* connection);
  static int on_signal(sd_event_source*, const signalfd_siginfo* info, void* self) {
    static_cast<Impl*>(self)->stop(info->ssi_signo);
    return 0;
  }
  static int on_hang_up(sd_event_source*, const signalfd_siginfo*, void* self) {
    static_cast<Impl*>(self)->reload();
    return 0;
  }
  static int on_stop_timeout(sd_event_source*, uint64_t, void* self) {
    log_event(
        LogLevel::kWarning, {.message_id = log_id::kStopForced},
        "not every engine has ended its flows in time; their peers will find out by themselves");
    return sd_event_exit(static_cast<Impl*>(self)->loop_.get(), 0);
  }

  void serve_sessions();
  void accept_some();
  void refuse_for_lack_of_descriptors();
  void admit(UniqueFd fd);
  void stop(uint32_t signal_number);
  void reload();
  std::string served() const;
  ServiceManager::Status status() const;

  ServerSettings settings_;
  EventLoop loop_;
  std::unique_ptr<ListenSocket> socket_;
  std::vector<std::unique_ptr<EngineLink>> engines_;
  ChannelRegistry registry_;
  Requests requests_;
  const SessionContext context_;
  LinkWatch links_;
  ServiceManager manager_;
  std::vector<EventSource> sources_;  // of engines and signals
  // Sessions have an epoll of their own inside the loop's: sd-event collects all that is ready
  // before it dispatches one, so a crowd that leaves at once would cost the square of its size.
  UniqueFd session_epoll_;
  EventSource session_source_;
  EventSource accept_source_;
  EventSource stop_timer_;
  UniqueFd spare_fd_;  // given up to refuse a client when no descriptor is left
  std::unordered_map<Session*, Connection> connections_;
  std::unordered_map<uid_t, uint32_t> connections_of_user_;
  FaultLog fault_log_;
  size_t engines_running_ = 0;
  std::string reload_error_;  // of the last one; empty: it was a good one
  bool stopping_ = false;
};

Result<void> ControlServer::Impl::open() {
  int result = loop_.open();
  if (result < 0) return loop_error("cannot be made", result);
  spare_fd_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  for (const auto& engine : engines_) {
    EventSource& source = sources_.emplace_back();
    result = sd_event_add_io(loop_.get(), source.put(), engine->notify_fd(), EPOLLIN, on_engine,
                             engine.get());
    if (result < 0) return loop_error("an engine", result);
    sd_event_source_set_priority(source.get(), kEnginePriority);
  }
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
    result = sd_event_add_signal(loop_.get(), sources_.emplace_back().put(), number,
                                 number == SIGHUP ? on_hang_up : on_signal, this);
    if (result < 0) return loop_error("a signal", result);
  }
  session_epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!session_epoll_) return loop_error("the sessions", -errno);
  result = sd_event_add_io(loop_.get(), session_source_.put(), session_epoll_.get(), EPOLLIN,
                           on_sessions, this);
  if (result < 0) return loop_error("the sessions", result);
  sd_event_source_set_priority(session_source_.get(), kSessionPriority);
  result =
      sd_event_add_io(loop_.get(), accept_source_.put(), socket_->fd(), EPOLLIN, on_accept, this);
  if (result < 0) return loop_error("the socket", result);
  sd_event_source_set_priority(accept_source_.get(), kAcceptPriority);
  return {};
}

Result<void> ControlServer::Impl::run() {
  if (auto started = links_.start(loop_.get()); !started) return started;
  log_event(LogLevel::kInfo, {.message_id = log_id::kServing}, "%s; socket %s", served().c_str(),
            socket_->path().c_str());
  if (auto started = manager_.start(loop_.get()); !started) return started;
  const int result = sd_event_loop(loop_.get());
  if (result < 0) return loop_error("failed", result);
  return {};
}

void ControlServer::Impl::accept_some() {
  for (int i = 0; i < kAcceptsPerTurn; i++) {
    UniqueFd fd(accept4(socket_->fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd) {
      admit(std::move(fd));
    } else if (errno == EMFILE || errno == ENFILE) {
      return refuse_for_lack_of_descriptors();
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return;
    }
  }
}

// Leaving it in the queue would wake the loop for ever.
void ControlServer::Impl::refuse_for_lack_of_descriptors() {
  spare_fd_.reset();
  UniqueFd(accept4(socket_->fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)).reset();
  spare_fd_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  fault_log_.write(clock_now(), {.message_id = log_id::kNoDescriptors},
                   "no file descriptors left: a client was turned away; raise LimitNOFILE");
}

void ControlServer::Impl::admit(UniqueFd fd) {
  Peer peer;
  if (!read_peer(fd.get(), &peer)) return;
  const uid_t uid = peer.uid;
  const int raw_fd = fd.get();
  auto session = std::make_shared<Session>(std::move(fd), std::move(peer), context_);
  connections_[session.get()].session = session;
  const uint32_t of_user = ++connections_of_user_[uid];
  epoll_event wanted{.events = EPOLLIN, .data = {.ptr = session.get()}};
  if (epoll_ctl(session_epoll_.get(), EPOLL_CTL_ADD, raw_fd, &wanted) != 0) {
    return session->stop(errno, "its connection cannot be watched");
  }
  session->start();
  const bool allowed = peer_allowed(session->peer(), socket_->policy(), geteuid());
  const uint32_t user_max = uid == 0  ? UINT32_MAX - kDeniedMax
                            : allowed ? settings_.connections_per_user
                                      : 0;
  const bool has_room = connections_.size() <= settings_.connections && of_user <= user_max;
  // Those that are told stay until they have read it; so many of a user do not fill the service.
  if (connections_.size() > settings_.connections + kDeniedMax || of_user > user_max + kDeniedMax) {
    session->stop(EDQUOT, "too many connections");
  } else if (!allowed) {
    session->deny({EACCES, "user " + std::to_string(uid) +
                               " is not in the group that may use the service (socket_group)"});
  } else if (!has_room) {
    session->deny({EDQUOT, "too many connections to the service"});
  }
}

void ControlServer::Impl::serve_sessions() {
  epoll_event ready[kSessionsPerTurn];
  const int count = epoll_wait(session_epoll_.get(), ready, kSessionsPerTurn, 0);
  for (int i = 0; i < count; i++) {
    const auto it = connections_.find(static_cast<Session*>(ready[i].data.ptr));
    if (it == connections_.end()) continue;
    const auto session = it->second.session;
    if ((ready[i].events & (EPOLLHUP | EPOLLERR)) != 0) {
      session->on_hang_up();
    } else {
      session->on_readable();
    }
  }
  manager_.status_changed();
}

int ControlServer::Impl::on_session_timer(sd_event_source*, uint64_t, void* connection) {
  const auto session = static_cast<Connection*>(connection)->session;
  session->on_timer();
  return 0;
}

void ControlServer::Impl::set_reading(Session* session, bool reading) {
  epoll_event wanted{.events = reading ? uint32_t{EPOLLIN} : 0, .data = {.ptr = session}};
  epoll_ctl(session_epoll_.get(), EPOLL_CTL_MOD, session->fd(), &wanted);
}

void ControlServer::Impl::set_timer(Session* session, Duration delay) {
  const auto it = connections_.find(session);
  if (it == connections_.end()) return;
  it->second.timer.reset();
  if (delay.ns == 0) return;
  sd_event_add_time_relative(loop_.get(), it->second.timer.put(), CLOCK_MONOTONIC,
                             static_cast<uint64_t>(delay.ns / 1000), 0, on_session_timer,
                             &it->second);
}

void ControlServer::Impl::on_end(Session* session, const std::string& reason, bool is_fault) {
  const auto it = connections_.find(session);
  if (it == connections_.end()) return;
  const std::string line = "client " + std::to_string(session->peer().pid) + " of user " +
                           std::to_string(session->peer().uid) + ": " + reason;
  const LogEvent event{.message_id = is_fault ? log_id::kClientFault : nullptr,
                       .channel = session->channel()};
  if (is_fault && !stopping_) {
    fault_log_.write(clock_now(), event, line);
  } else {
    log_event(LogLevel::kDebug, event, "%s", line.c_str());
  }
  const auto user = connections_of_user_.find(session->peer().uid);
  if (--user->second == 0) connections_of_user_.erase(user);
  connections_.erase(it);  // whoever called the session holds it
}

void ControlServer::Impl::stop(uint32_t signal_number) {
  if (stopping_) return;
  stopping_ = true;
  manager_.stop();
  links_.stop();
  log_event(LogLevel::kInfo, {.message_id = log_id::kStopping}, "%s: stopping",
            signal_number == SIGINT ? "SIGINT" : "SIGTERM");
  accept_source_.reset();
  socket_->close_and_remove();
  // Nothing new from now on; requests in hand are answered.
  session_source_.reset();
  engines_running_ = engines_.size();
  for (const auto& engine : engines_) {
    engine->send({.kind = EngineCommand::Kind::kStop}, [this](const EngineEvent&) {
      if (--engines_running_ == 0) sd_event_exit(loop_.get(), 0);
    });
  }
  sd_event_add_time_relative(loop_.get(), stop_timer_.put(), CLOCK_MONOTONIC,
                             static_cast<uint64_t>(kStopTimeout.ns / 1000), 0, on_stop_timeout,
                             this);
}

void ControlServer::Impl::reload() {
  if (stopping_ || !settings_.on_reload) return;
  manager_.reload([this] {
    const Result<void> reloaded = settings_.on_reload();
    reload_error_ = reloaded ? "" : reloaded.error();
  });
}

std::string ControlServer::Impl::served() const {
  std::string text;
  for (size_t i = 0; i < engines_.size(); i++) {
    const EngineFacts& facts = engines_[i]->facts();
    if (facts.index > 0) continue;
    text += (i == 0 ? "serving " : ", ") + format_ipv4(facts.address) + " on " + facts.nic;
    if (links_.is_down(i)) text += " (link down)";
  }
  return text;
}

ServiceManager::Status ControlServer::Impl::status() const {
  const size_t channels = registry_.count();
  const uint32_t flows = registry_.flows();
  std::string text = served() + "; " + std::to_string(channels) +
                     (channels == 1 ? " channel, " : " channels, ") + std::to_string(flows) +
                     (flows == 1 ? " flow" : " flows");
  if (!reload_error_.empty()) text += "; the last reload failed: " + reload_error_;
  return {.text = std::move(text), .is_live = channels > 0};
}

ControlServer::ControlServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ControlServer::~ControlServer() = default;

Result<std::unique_ptr<ControlServer>> ControlServer::create(
    const ServerSettings& settings, std::unique_ptr<ListenSocket> socket,
    std::vector<std::unique_ptr<EngineLink>> engines) {
  auto impl = std::make_unique<Impl>(settings, std::move(socket), std::move(engines));
  if (auto opened = impl->open(); !opened) return Error{opened.error()};
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(impl)));
}

Result<void> ControlServer::run() { return impl_->run(); }

void ControlServer::set_limits(const ChannelLimits& channels, uint32_t connections_per_user) {
  impl_->set_limits(channels, connections_per_user);
}

}  // namespace mn::control
