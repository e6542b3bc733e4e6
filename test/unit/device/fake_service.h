// SPDX-License-Identifier: MIT
// FakeService: an HTTP server on the loopback interface, for one connection at a time, whose every
// answer a test decides. A thread of its own; ends with its object. Keeps what it was asked.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace mn::test {

inline std::string http(const std::string& status, const std::string& body,
                        const std::string& headers = "") {
  return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         headers + "\r\n" + body;
}

class FakeService {
 public:
  // From a request (head and all) to the bytes of the answer.
  using Answer = std::function<std::string(const std::string&)>;

  explicit FakeService(Answer answer) : answer_(std::move(answer)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
    listen(listener_, 4);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeService() {
    stop_ = true;
    thread_.join();
    close(listener_);
  }
  FakeService(const FakeService&) = delete;
  FakeService& operator=(const FakeService&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  // One byte at a time with so long between them; 0: all at once.
  std::atomic<int> pause_ms{0};

 private:
  bool wait_for(int fd) const {
    pollfd one = {fd, POLLIN, 0};
    while (!stop_) {
      if (poll(&one, 1, 20) > 0) return true;
    }
    return false;
  }

  void serve() {
    while (wait_for(listener_)) {
      const int fd = accept(listener_, nullptr, nullptr);
      if (fd < 0) continue;
      std::string request;
      char buffer[4096];
      while (request.find("\r\n\r\n") == std::string::npos && wait_for(fd)) {
        const ssize_t got = read(fd, buffer, sizeof(buffer));
        if (got <= 0) break;
        request.append(buffer, static_cast<size_t>(got));
      }
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      put(fd, answer_(request));
      close(fd);
    }
  }

  void put(int fd, const std::string& bytes) const {
    const size_t step = pause_ms > 0 ? 1 : bytes.size();
    for (size_t at = 0; at < bytes.size() && !stop_;) {
      const ssize_t sent =
          send(fd, bytes.data() + at, std::min(step, bytes.size() - at), MSG_NOSIGNAL);
      if (sent <= 0) return;
      at += static_cast<size_t>(sent);
      if (pause_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms));
    }
  }

  Answer answer_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

}  // namespace mn::test
