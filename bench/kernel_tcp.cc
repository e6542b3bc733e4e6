// SPDX-License-Identifier: MIT
// kernel_rr over TCP. Without --batch each message costs a recv and a send, as in a program that
// handles one request after the other; with it one call moves all that is there.
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>
#include <vector>

#include "kernel_rr.h"
#include "libmachnet/tools/message_pattern.h"

namespace mn::bench {
namespace {

using tools::RunLoop;
using tools::RunPhase;
using tools::WorkerStats;

constexpr long kBlockedUs = 100'000;  // how late a blocked thread sees the end of the run

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

void prepare_connection(int fd) {
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  set_receive_timeout(fd, kBlockedUs);
}

// Before connections are made; those that a listener accepts have its control.
bool set_congestion(int fd, const KernelOptions& options, RunLoop* loop) {
  const std::string& name = options.congestion;
  if (name.empty()) return true;
  const auto length = static_cast<socklen_t>(name.size());
  if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), length) == 0) return true;
  loop->worker_failed(socket_error("cannot use congestion control " + name));
  return false;
}

// Client side of one connection.
class TcpClient {
 public:
  TcpClient(const KernelOptions& options, RunLoop* loop, WorkerStats* stats)
      : options_(options),
        loop_(loop),
        stats_(stats),
        batch_(options.batch ? kBatchMessages : 1),
        tx_(batch_ * options.msg_size),
        rx_(batch_ * options.msg_size) {}
  ~TcpClient() { close(fd_); }

  bool connect_to_server() {
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!set_congestion(fd_, options_, loop_)) return false;
    const sockaddr_in address = socket_address(options_.remote_ip, options_.port);
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      loop_->worker_failed(socket_error("cannot connect to " + options_.remote_ip));
      return false;
    }
    prepare_connection(fd_);
    return true;
  }

  void run() {
    uint64_t empty = 0;
    while (!finished()) {
      const bool sent = send_some();
      const bool received = receive_some(sent);
      if (dead_) return;
      if (!sent && !received && options_.poll && ++empty % kSpinsPerClock == 0) continue;
    }
    WorkerStats::add(stats_->unanswered, sent_ - answered_);
  }

 private:
  bool finished() const {
    if (answered_ == options_.msg_nr) return true;
    const RunPhase phase = loop_->phase();
    if (phase == RunPhase::kRunning) return false;
    return phase == RunPhase::kStopping || sent_ == answered_;
  }

  // Fills the send buffer with as many new messages as the window allows and sends what it takes.
  bool send_some() {
    if (tx_at_ == tx_size_) {
      if (loop_->phase() != RunPhase::kRunning) return false;
      const uint64_t room =
          std::min(options_.msg_window - (sent_ - answered_), options_.msg_nr - sent_);
      const uint64_t count = std::min<uint64_t>(room, batch_);
      if (count == 0) return false;
      const uint64_t now_ns = tools::clock_ns();
      for (uint64_t i = 0; i < count; i++) {
        tools::write_stamp({sent_ + i, now_ns}, tx_.data() + i * options_.msg_size);
      }
      sent_ += count;
      tx_at_ = 0;
      tx_size_ = count * options_.msg_size;
    }
    const ssize_t n =
        send(fd_, tx_.data() + tx_at_, tx_size_ - tx_at_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && !would_block()) fail("cannot send");
    if (n > 0) tx_at_ += static_cast<size_t>(n);
    return n > 0;
  }

  bool window_full() const {
    return sent_ - answered_ == options_.msg_window || sent_ == options_.msg_nr ||
           loop_->phase() != RunPhase::kRunning;
  }

  bool receive_some(bool sent) {
    int flags = MSG_DONTWAIT;
    if (!options_.poll && tx_at_ == tx_size_ && window_full()) {
      flags = 0;  // nothing to do but to wait for an answer
    } else if (!options_.poll && !sent && tx_at_ < tx_size_) {
      pollfd both{fd_, POLLIN | POLLOUT, 0};
      poll(&both, 1, static_cast<int>(kBlockedUs / 1000));
    } else if (!options_.batch && tx_at_ == tx_size_ && !window_full()) {
      return false;  // the window is to be filled first
    }
    const ssize_t n = recv(fd_, rx_.data() + rx_size_, rx_.size() - rx_size_, flags);
    if (n == 0) {
      errno = ECONNRESET;
      fail("the server closed the connection");
    }
    if (n < 0 && !would_block()) fail("cannot receive");
    if (n <= 0) return false;
    rx_size_ += static_cast<size_t>(n);
    if (rx_size_ >= options_.msg_size) complete();
    return true;
  }

  void complete() {
    const uint64_t now_ns = tools::clock_ns();
    const size_t count = rx_size_ / options_.msg_size;
    for (size_t i = 0; i < count; i++) {
      tools::MessageStamp stamp;
      std::memcpy(&stamp, rx_.data() + i * options_.msg_size, sizeof stamp);
      stats_->rtt.record(now_ns - stamp.sent_ns);
      if (stamp.sequence != answered_++) WorkerStats::add(stats_->corrupt, 1);
    }
    WorkerStats::add(stats_->messages, count);
    WorkerStats::add(stats_->bytes, count * options_.msg_size);
    rx_size_ -= count * options_.msg_size;
    if (rx_size_ > 0) std::memmove(rx_.data(), rx_.data() + count * options_.msg_size, rx_size_);
  }

  void fail(const char* what) {
    loop_->worker_failed(socket_error(what));
    dead_ = true;
  }

  const KernelOptions& options_;
  RunLoop* loop_;
  WorkerStats* stats_;
  uint64_t batch_;
  std::vector<uint8_t> tx_, rx_;
  size_t tx_at_ = 0, tx_size_ = 0;  // sent and to send of tx_
  size_t rx_size_ = 0;
  uint64_t sent_ = 0, answered_ = 0;
  int fd_ = -1;
  bool dead_ = false;
};

// False: the connection is over or the run ends.
bool send_all(int fd, const uint8_t* data, size_t size, const KernelOptions& options,
              RunLoop* loop) {
  while (size > 0) {
    const ssize_t n = send(fd, data, size, MSG_NOSIGNAL | (options.poll ? MSG_DONTWAIT : 0));
    if (n < 0 && (!would_block() || loop->phase() != RunPhase::kRunning)) return false;
    if (n <= 0) continue;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

// Echoes whole messages of one connection until it ends.
void serve_connection(int fd, const KernelOptions& options, RunLoop* loop, WorkerStats* stats) {
  prepare_connection(fd);
  const size_t size = options.msg_size;
  std::vector<uint8_t> buffer((options.batch ? kBatchMessages : 1) * size);
  size_t have = 0;
  while (loop->phase() == RunPhase::kRunning) {
    const ssize_t n =
        recv(fd, buffer.data() + have, buffer.size() - have, options.poll ? MSG_DONTWAIT : 0);
    if (n == 0 || (n < 0 && !would_block())) break;
    if (n < 0) continue;
    have += static_cast<size_t>(n);
    const size_t whole = have / size * size;
    if (whole == 0) continue;
    if (!send_all(fd, buffer.data(), whole, options, loop)) break;
    have -= whole;
    if (have > 0) std::memmove(buffer.data(), buffer.data() + whole, have);
    // Several connections add here.
    stats->messages.fetch_add(whole / size, std::memory_order_relaxed);
    stats->bytes.fetch_add(whole, std::memory_order_relaxed);
  }
  close(fd);
}

}  // namespace

void tcp_client(const KernelOptions& options, RunLoop* loop, WorkerStats* stats) {
  TcpClient client(options, loop, stats);
  if (client.connect_to_server()) client.run();
}

void tcp_server(const KernelOptions& options, RunLoop* loop, WorkerStats* stats) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  set_receive_timeout(listener, kBlockedUs);
  if (!set_congestion(listener, options, loop)) return;
  const sockaddr_in address = socket_address(options.local_ip, options.port);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener, 64) != 0) {
    loop->worker_failed(socket_error("cannot listen"));
    return;
  }
  std::vector<std::thread> connections;
  while (loop->phase() == RunPhase::kRunning) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    connections.emplace_back(
        [fd, &options, loop, stats] { serve_connection(fd, options, loop, stats); });
  }
  for (std::thread& connection : connections) connection.join();
  close(listener);
}

}  // namespace mn::bench
