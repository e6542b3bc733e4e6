// SPDX-License-Identifier: MIT
#include "control/session.h"

#include <errno.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

namespace mn::control {
namespace {

using ipc::ControlMessage;

constexpr int kDiscardMax = 1024;

std::string version_range(unsigned min, unsigned max) {
  return min == max ? std::to_string(min) : std::to_string(min) + " to " + std::to_string(max);
}

}  // namespace

Session::Session(UniqueFd fd, Peer peer, const SessionContext& context)
    : fd_(std::move(fd)), peer_(std::move(peer)), context_(context) {}

Session::~Session() {
  if (traces_) context_.requests->traces().stop(this);
  if (channel_ != 0) context_.registry->remove(channel_);
}

void Session::start() { context_.host->set_timer(this, kHelloTimeout); }

void Session::on_readable() {
  if (busy_ || ended()) return;
  ControlMessage message;
  iovec piece{&message, sizeof(message)};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  // No room for descriptors: the kernel closes those that come, and says so.
  const ssize_t n = recvmsg(fd_.get(), &header, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0) return end(std::string("its connection failed: ") + strerror(errno), false);
  if (n == 0) return end("it closed the connection", false);
  request_ = {};
  request_.magic = ipc::kControlMagic;
  if ((header.msg_flags & MSG_CTRUNC) != 0) {
    return refuse(EPROTO, "descriptors came with a message; no request has any");
  }
  if (n != sizeof(message) || (header.msg_flags & MSG_TRUNC) != 0) {
    return refuse(EPROTO, "a message of the wrong size; each has " +
                              std::to_string(sizeof(message)) + " bytes");
  }
  busy_ = true;
  on_message(message);
  if (!busy_ || ended()) return;
  paused_ = true;
  context_.host->set_reading(this, false);
}

void Session::on_message(const ControlMessage& message) {
  if (message.header.magic != ipc::kControlMagic || message.header.reserved != 0 ||
      message.header.error != 0) {
    return refuse(EPROTO, "not a message of Machnet's control protocol");
  }
  request_ = message.header;
  if (!denial_.ok()) return refuse(denial_.error, denial_.reason);
  if ((state_ == State::kHello) != (message.header.type == ipc::kControlHello)) {
    return refuse(EPROTO, state_ == State::kHello ? "the first request must be hello"
                                                  : "hello came a second time");
  }
  switch (message.header.type) {
    case ipc::kControlHello:
      return on_hello(message.hello);
    case ipc::kControlAttach:
      return on_attach();
    case ipc::kControlDetach:
      return on_detach();
    case ipc::kControlNicInfo:
    case ipc::kControlCounters:
    case ipc::kControlChannelInfo:
      return on_information(message);
    case ipc::kControlTrace:
      return on_trace(message.trace);
    case ipc::kControlListen:
    case ipc::kControlUnlisten:
    case ipc::kControlConnect:
    case ipc::kControlFlowStats:
      return on_channel_request(message);
    default:
      return refuse(EPROTO, "there is no request " + std::to_string(message.header.type));
  }
}

void Session::on_hello(const ipc::Hello& hello) {
  if (hello.version_min > hello.version_max || hello.version_max < ipc::kControlVersionMin ||
      hello.version_min > ipc::kControlVersionMax) {
    return refuse(EPROTONOSUPPORT,
                  "the service speaks version " +
                      version_range(ipc::kControlVersionMin, ipc::kControlVersionMax) +
                      " of the control protocol, the library " +
                      version_range(hello.version_min, hello.version_max) +
                      "; install machnet and libmachnet of one release");
  }
  state_ = State::kReady;
  context_.host->set_timer(this, {});
  ControlMessage answer{};
  answer.hello.version_min = std::min(hello.version_max, ipc::kControlVersionMax);
  answer.hello.version_max = answer.hello.version_min;
  reply(answer);
}

void Session::on_attach() {
  if (state_ != State::kReady) {
    return reply(Outcome{EISCONN, "this connection has its channel; a second one needs its own"});
  }
  const Outcome outcome = context_.registry->create(
      {peer_.pid, peer_.uid}, &channel_,
      later([](Session* self, const Outcome& o) { self->on_attached(o); }));
  if (!outcome.ok()) return reply(outcome);
  state_ = State::kAttached;
  context_.registry->find(channel_)->on_violation = later([](Session* self, const char* reason) {
    self->end(std::string("its application broke the channel's protocol: ") + reason, true);
  });
}

void Session::on_attached(const Outcome& outcome) {
  ChannelRecord* record = context_.registry->find(channel_);
  if (!outcome.ok() || record == nullptr) {
    context_.registry->remove(channel_);
    channel_ = 0;
    state_ = State::kReady;
    return reply(outcome);
  }
  const Channel& channel = *record->channel;
  ControlMessage answer{};
  answer.channel.lane_count = channel.lane_count();
  answer.channel.memory_size = channel.memory_size();
  int descriptors[ipc::kDescriptorsMax] = {channel.memory_fd(), channel.application_fd()};
  for (uint32_t i = 0; i < channel.lane_count(); i++) {
    answer.channel.lanes[i] = channel.shape(i);
    descriptors[2 + i] = channel.engine_fd(i);
  }
  reply(answer, std::span(descriptors, 2 + channel.lane_count()));
}

void Session::on_detach() {
  if (state_ != State::kAttached) return reply(Outcome{ENOTCONN, "there is no channel to detach"});
  state_ = State::kDetaching;
  context_.host->set_timer(this, milliseconds(ipc::kDetachLingerMs));
  context_.registry->drain(channel_, later([](Session* self) {
                             if (self->state_ != State::kDetaching) return;
                             self->state_ = State::kDetached;
                             self->context_.host->set_timer(self, {});
                             self->reply(Outcome{});
                           }));
}

void Session::on_timer() {
  if (state_ == State::kHello) {
    end("no hello came in time", true);
  } else if (state_ == State::kDetaching) {
    state_ = State::kDetached;
    reply(Outcome{ETIMEDOUT, "some peers have not acknowledged everything; their flows are reset"});
  }
}

void Session::on_information(const ControlMessage& message) {
  ControlMessage answer{};
  Outcome outcome;
  if (message.header.type == ipc::kControlCounters) {
    answer.counters.memory_size = context_.counters_size;
    return reply(answer, std::span(&context_.counters_fd, 1));
  }
  if (message.header.type == ipc::kControlNicInfo) {
    outcome = context_.requests->nic_info(message.index.index, &answer.nic);
  } else {
    outcome = context_.requests->channel_info(message.index.index, &answer.channel_status);
  }
  if (!outcome.ok()) return reply(outcome);
  reply(answer);
}

// What flows of others do is not for everybody who may send messages.
void Session::on_trace(const ipc::TraceRequest& request) {
  if (peer_.uid != 0 && peer_.uid != geteuid()) {
    return reply({EACCES, "only root may trace the flows of others"});
  }
  if (traces_) return reply({EBUSY, "this session traces already"});
  traces_ = true;
  context_.requests->traces().start(
      this, request,
      later([](Session* self, const Outcome& outcome, const ipc::TraceInfo& info, int fd) {
        self->traces_ = outcome.ok();
        if (!outcome.ok()) return self->reply(outcome);
        ControlMessage answer{};
        answer.trace_info = info;
        self->reply(answer, std::span(&fd, 1));
      }));
}

void Session::on_channel_request(const ControlMessage& message) {
  if (state_ != State::kAttached) {
    return reply(Outcome{ENOTCONN, "there is no channel; attach first"});
  }
  auto done = later([](Session* self, const Outcome& outcome) { self->reply(outcome); });
  switch (message.header.type) {
    case ipc::kControlListen:
      return context_.requests->listen(channel_, message.endpoint, done);
    case ipc::kControlUnlisten:
      return context_.requests->unlisten(channel_, message.endpoint, done);
    case ipc::kControlConnect:
      return context_.requests->connect(
          channel_, message.connect,
          later([](Session* self, const Outcome& outcome, const ipc::FlowInfo& flow) {
            if (!outcome.ok()) return self->reply(outcome);
            ControlMessage answer{};
            answer.flow = flow;
            self->reply(answer);
          }));
    default:
      return context_.requests->flow_stats(
          channel_, message.flow_query,
          later([](Session* self, const Outcome& outcome, const ipc::FlowStats& stats) {
            if (!outcome.ok()) return self->reply(outcome);
            ControlMessage answer{};
            answer.flow_stats = stats;
            self->reply(answer);
          }));
  }
}

void Session::reply(const Outcome& outcome) {
  ControlMessage message{};
  message.header.error = outcome.error;
  snprintf(message.reason, sizeof(message.reason), "%s", outcome.reason.c_str());
  reply(message);
}

void Session::reply(ControlMessage message, std::span<const int> descriptors) {
  if (!send(&message, descriptors)) {
    return end(std::string("it does not read its replies: ") + strerror(errno), false);
  }
  busy_ = false;
  if (std::exchange(paused_, false)) context_.host->set_reading(this, true);
}

bool Session::send(ControlMessage* message, std::span<const int> descriptors) {
  message->header.magic = ipc::kControlMagic;
  message->header.type = request_.type;
  message->header.sequence = request_.sequence;
  iovec piece{message, sizeof(*message)};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * ipc::kDescriptorsMax)] = {};
  if (!descriptors.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  ssize_t n;
  do {
    n = sendmsg(fd_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return n == sizeof(*message);
}

void Session::refuse(int error, const std::string& reason) {
  if (ended()) return;
  ControlMessage message{};
  message.header.error = error;
  snprintf(message.reason, sizeof(message.reason), "%s", reason.c_str());
  send(&message, {});  // as a favour: it may be gone, or not reading
  end(reason, true);
}

void Session::stop(int error, const std::string& reason) {
  if (busy_) return refuse(error, reason);
  end(reason, false);
}

void Session::on_hang_up() { end("it closed the connection", false); }

void Session::end(const std::string& reason, bool is_fault) {
  if (ended()) return;
  state_ = State::kEnded;
  if (std::exchange(traces_, false)) context_.requests->traces().stop(this);
  if (channel_ != 0) context_.registry->remove(channel_);
  context_.host->on_end(this, reason, is_fault);  // which still sees whose channel it was
  channel_ = 0;
  // What it sent and nobody read would turn our last answer into ECONNRESET at its end.
  shutdown(fd_.get(), SHUT_RD);
  char byte;
  for (int i = 0; i < kDiscardMax; i++) {
    if (recv(fd_.get(), &byte, sizeof(byte), MSG_DONTWAIT | MSG_TRUNC) <= 0) break;
  }
  fd_.reset();
}

}  // namespace mn::control
