// SPDX-License-Identifier: MIT
// kernel_rr over UDP: a window of requests, each lost when its answer does not come in time.
// Nothing is sent again, so this is a bound for what the kernel's path can do, not a transport.
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "kernel_rr.h"
#include "libmachnet/tools/message_pattern.h"

namespace mn::bench {
namespace {

using tools::RunLoop;
using tools::RunPhase;
using tools::WorkerStats;

constexpr uint64_t kScanNs = 1'000'000;  // between two searches for lost requests
constexpr long kClientBlockedUs = 2'000;
constexpr long kServerBlockedUs = 100'000;

void enlarge_buffers(int fd) {
  // A whole window must fit: UDP drops what does not.
  const int bytes = 16 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
}

// Buffers and headers for recvmmsg and sendmmsg.
struct Batch {
  Batch(size_t count, size_t size)
      : data(count * size), iovecs(count), headers(count), peers(count) {
    for (size_t i = 0; i < count; i++) {
      iovecs[i] = {data.data() + i * size, size};
      headers[i].msg_hdr = {};
      headers[i].msg_hdr.msg_iov = &iovecs[i];
      headers[i].msg_hdr.msg_iovlen = 1;
    }
  }
  void with_peers() {
    for (size_t i = 0; i < headers.size(); i++) {
      headers[i].msg_hdr.msg_name = &peers[i];
      headers[i].msg_hdr.msg_namelen = sizeof peers[i];
    }
  }
  std::vector<uint8_t> data;
  std::vector<iovec> iovecs;
  std::vector<mmsghdr> headers;
  std::vector<sockaddr_in> peers;
};

class UdpClient {
 public:
  UdpClient(const KernelOptions& options, RunLoop* loop, WorkerStats* stats)
      : options_(options),
        loop_(loop),
        stats_(stats),
        batch_(options.batch ? kBatchMessages : 1),
        tx_(batch_, options.msg_size),
        rx_(batch_, options.msg_size),
        slots_(options.msg_window) {
    for (uint64_t i = 0; i < slots_.size(); i++) {
      slots_[i].sequence = i;
      free_.push_back(i);
    }
  }
  ~UdpClient() { close(fd_); }

  bool connect_to_server() {
    fd_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    enlarge_buffers(fd_);
    set_receive_timeout(fd_, kClientBlockedUs);
    const sockaddr_in address = socket_address(options_.remote_ip, options_.port);
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return true;
    loop_->worker_failed(socket_error("cannot connect to " + options_.remote_ip));
    return false;
  }

  void run() {
    uint64_t empty = 0;
    while (!finished()) {
      if (loop_->phase() == RunPhase::kRunning) send_free();
      if (receive_some() || (options_.poll && ++empty % kSpinsPerClock != 0)) continue;
      expire(tools::clock_ns());
    }
  }

 private:
  struct Slot {
    uint64_t sequence = 0;  // slot number + lives * window
    uint64_t sent_ns = 0;
    bool busy = false;
  };

  bool finished() const {
    if (done_ >= options_.msg_nr) return true;
    const RunPhase phase = loop_->phase();
    if (phase == RunPhase::kRunning) return false;
    return phase == RunPhase::kStopping || free_.size() == slots_.size();
  }

  void send_free() {
    while (!free_.empty()) {
      const uint64_t now_ns = tools::clock_ns();
      size_t count = 0;
      for (; count < batch_ && !free_.empty(); count++) {
        Slot& slot = slots_[free_.back()];
        free_.pop_back();
        slot.sent_ns = now_ns;
        slot.busy = true;
        tools::write_stamp({slot.sequence, now_ns}, tx_.iovecs[count].iov_base);
      }
      // What the kernel refuses is lost, as on the way, and found by expire.
      if (count == 1) {
        if (send(fd_, tx_.iovecs[0].iov_base, options_.msg_size, 0) < 0) check_refused();
      } else if (sendmmsg(fd_, tx_.headers.data(), static_cast<unsigned>(count), 0) < 0) {
        check_refused();
      }
    }
  }

  void check_refused() {
    if (errno == EMSGSIZE) loop_->worker_failed(socket_error("a message does not fit a datagram"));
  }

  bool receive_some() {
    const int flags = options_.poll ? MSG_DONTWAIT : 0;
    int count = 0;
    if (batch_ == 1) {
      const ssize_t n = recv(fd_, rx_.iovecs[0].iov_base, options_.msg_size, flags);
      count = n == static_cast<ssize_t>(options_.msg_size) ? 1 : 0;
    } else {
      count = recvmmsg(fd_, rx_.headers.data(), static_cast<unsigned>(batch_),
                       flags | MSG_WAITFORONE, nullptr);
    }
    if (count <= 0) return false;
    const uint64_t now_ns = tools::clock_ns();
    for (int i = 0; i < count; i++) complete(rx_.iovecs[static_cast<size_t>(i)].iov_base, now_ns);
    if (now_ns - scanned_ns_ > kScanNs) expire(now_ns);
    return true;
  }

  void complete(const void* message, uint64_t now_ns) {
    tools::MessageStamp stamp;
    std::memcpy(&stamp, message, sizeof stamp);
    const uint64_t index = stamp.sequence % slots_.size();
    if (!slots_[index].busy || slots_[index].sequence != stamp.sequence) return;  // too late
    stats_->rtt.record(now_ns - stamp.sent_ns);
    WorkerStats::add(stats_->messages, 1);
    WorkerStats::add(stats_->bytes, options_.msg_size);
    release(index);
  }

  void release(uint64_t index) {
    slots_[index].busy = false;
    slots_[index].sequence += slots_.size();
    free_.push_back(index);
    done_++;
  }

  void expire(uint64_t now_ns) {
    scanned_ns_ = now_ns;
    for (uint64_t i = 0; i < slots_.size(); i++) {
      if (!slots_[i].busy || now_ns - slots_[i].sent_ns < options_.timeout_ms * 1'000'000) continue;
      WorkerStats::add(stats_->lost, 1);
      release(i);
    }
  }

  const KernelOptions& options_;
  RunLoop* loop_;
  WorkerStats* stats_;
  uint64_t batch_;
  Batch tx_, rx_;
  std::vector<Slot> slots_;
  std::vector<uint64_t> free_;
  uint64_t done_ = 0;
  uint64_t scanned_ns_ = 0;
  int fd_ = -1;
};

}  // namespace

void udp_client(const KernelOptions& options, RunLoop* loop, WorkerStats* stats) {
  UdpClient client(options, loop, stats);
  if (client.connect_to_server()) client.run();
}

void udp_server(const KernelOptions& options, RunLoop* loop, WorkerStats* stats) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  enlarge_buffers(fd);
  set_receive_timeout(fd, kServerBlockedUs);
  const sockaddr_in address = socket_address(options.local_ip, options.port);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    loop->worker_failed(socket_error("cannot bind"));
    return;
  }
  const unsigned batch_max = options.batch ? kBatchMessages : 1;
  Batch batch(batch_max, options.msg_size);
  const int flags = options.poll ? MSG_DONTWAIT : 0;
  while (loop->phase() == RunPhase::kRunning) {
    batch.with_peers();
    int count = 0;
    if (batch_max == 1) {
      socklen_t length = sizeof batch.peers[0];
      auto* peer = reinterpret_cast<sockaddr*>(&batch.peers[0]);
      const ssize_t n = recvfrom(fd, batch.data.data(), options.msg_size, flags, peer, &length);
      if (n <= 0) continue;
      sendto(fd, batch.data.data(), static_cast<size_t>(n), 0, peer, length);
      count = 1;
    } else {
      count = recvmmsg(fd, batch.headers.data(), batch_max, flags | MSG_WAITFORONE, nullptr);
      if (count <= 0) continue;
      sendmmsg(fd, batch.headers.data(), static_cast<unsigned>(count), 0);
    }
    WorkerStats::add(stats->messages, static_cast<uint64_t>(count));
    WorkerStats::add(stats->bytes, static_cast<uint64_t>(count) * options.msg_size);
  }
  close(fd);
}

}  // namespace mn::bench
