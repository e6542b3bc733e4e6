// SPDX-License-Identifier: MIT
// nic_pingpong: drives one NicPort by hand, to see what a mode of the NIC layer gives without
// transport or engine. Two of them, in two processes, make a pair:
//   nic_pingpong MODE NAME ping|pong|flood|sink|wake SECONDS [SIZE [HUGEPAGES [MTU]]]
// ping sends one frame and waits for its echo, pong echoes, flood sends as fast as it can, sink
// counts, wake sleeps on wake_fd before each echo. Prints one line at the end.
#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "nic/nic_system.h"

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr uint8_t kTag[8] = {'m', 'n', 'p', 'i', 'n', 'g', '0', '1'};
constexpr size_t kTagAt = 42;  // behind Ethernet, IPv4 and UDP

// Looks like the real thing to the kernel and to NICs: a UDP packet between two addresses nobody
// has.
void fill_frame(mn::TxFrame* frame, uint32_t length, const mn::Mac& own) {
  uint8_t* const data = frame->data;
  memset(data, 0, length);
  memset(data, 0xff, 6);
  memcpy(data + 6, own.bytes.data(), 6);
  data[12] = 0x08;
  data[14] = 0x45;
  data[16] = static_cast<uint8_t>((length - 14) >> 8);
  data[17] = static_cast<uint8_t>(length - 14);
  data[22] = 64;
  data[23] = 17;
  const uint8_t addresses[] = {10, 99, 0, 1, 10, 99, 0, 2};
  memcpy(data + 26, addresses, sizeof(addresses));
  memcpy(data + kTagAt, kTag, sizeof(kTag));
  frame->length = length;
}

bool is_ours(const mn::RxFrame& frame) {
  return frame.length >= kTagAt + sizeof(kTag) &&
         memcmp(frame.data + kTagAt, kTag, sizeof(kTag)) == 0;
}

struct Tool {
  mn::NicPort* port = nullptr;
  uint32_t size = 64;
  double seconds = 1;
  uint64_t sent = 0, received = 0, refused = 0, bytes = 0;
  std::vector<double> round_trips_us;
  std::vector<double> wake_us;

  bool send_one() {
    mn::TxFrame frame;
    if (port->tx_alloc({&frame, 1}) != 1) return false;
    fill_frame(&frame, size, port->facts().mac);
    if (port->tx_burst({&frame, 1}) == 1) {
      ++sent;
      return true;
    }
    port->tx_free({&frame, 1});
    ++refused;
    return false;
  }

  size_t receive() {
    mn::RxFrame frames[mn::kBurstMax];
    const size_t n = port->rx_burst(frames);
    size_t ours = 0;
    for (size_t i = 0; i < n; ++i) {
      if (!is_ours(frames[i])) continue;
      ++ours;
      bytes += frames[i].length;
    }
    if (n > 0) port->rx_release({frames, n});
    received += ours;
    return ours;
  }

  void ping(Clock::time_point start) {
    while (since(start) < seconds) {
      const auto before = Clock::now();
      if (!send_one()) {
        sched_yield();
        continue;
      }
      while (receive() == 0) {
        if (since(before) > 0.2) break;  // lost, or the other end is not there yet
        sched_yield();
      }
      const double us = since(before) * 1e6;
      if (us < 2e5) round_trips_us.push_back(us);
    }
  }

  void pong(Clock::time_point start, bool sleeps) {
    while (since(start) < seconds) {
      size_t n = receive();
      if (n == 0 && sleeps && port->arm_wake()) {
        pollfd waiting{port->facts().wake_fd, POLLIN, 0};
        poll(&waiting, 1, 100);
        port->disarm_wake();
        n = receive();
      }
      if (n == 0) sched_yield();  // as an engine does: machines with two cores run both ends
      for (; n > 0; --n) send_one();
    }
  }

  void flood(Clock::time_point start) {
    mn::TxFrame frames[mn::kBurstMax];
    while (since(start) < seconds) {
      const size_t n = port->tx_alloc(frames);
      for (size_t i = 0; i < n; ++i) fill_frame(&frames[i], size, port->facts().mac);
      const size_t done = port->tx_burst({frames, n});
      sent += done;
      refused += n - done;
      port->tx_free(std::span<const mn::TxFrame>(frames + done, n - done));
      if (done == 0) sched_yield();
    }
  }
};

double percentile(std::vector<double>* values, double p) {
  if (values->empty()) return 0;
  std::sort(values->begin(), values->end());
  return (*values)[std::min(values->size() - 1,
                            static_cast<size_t>(p * static_cast<double>(values->size())))];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    fprintf(stderr,
            "usage: nic_pingpong MODE NAME ping|pong|flood|sink|wake SECONDS [SIZE [HUGEPAGES "
            "[MTU]]]\n");
    return 2;
  }
  const std::string role = argv[3];
  mn::nic::NicSystemSettings settings;
  mn::nic::NicSettings nic;
  nic.mode = argv[1];
  nic.name = argv[2];
  if (argc > 7) nic.mtu = static_cast<uint16_t>(atoi(argv[7]));
  settings.nics.push_back(nic);
  settings.hugepages =
      argc > 6 && strcmp(argv[6], "yes") == 0 ? mn::nic::Hugepages::kYes : mn::nic::Hugepages::kNo;
  const auto begin = Clock::now();
  auto system = mn::nic::NicSystem::start(settings);
  if (!system) {
    fprintf(stderr, "nic_pingpong: %s\n", system.error().c_str());
    return 1;
  }
  const double start_ms = since(begin) * 1e3;
  for (const std::string& warning : system.value()->warnings())
    fprintf(stderr, "warning: %s\n", warning.c_str());
  Tool tool;
  tool.port = system.value()->nics()[0].ports[0];
  tool.seconds = atof(argv[4]);
  tool.size = argc > 5 ? static_cast<uint32_t>(atoi(argv[5])) : 64;
  mn::NicCounters counters;
  for (int i = 0; i < 30 && role != "pong" && role != "sink";
       ++i) {  // memif takes a moment to connect
    tool.port->service(&counters);
    poll(nullptr, 0, 10);
  }
  const auto start = Clock::now();
  if (role == "ping") tool.ping(start);
  if (role == "pong") tool.pong(start, false);
  if (role == "wake") tool.pong(start, true);
  if (role == "flood") tool.flood(start);
  if (role == "sink") {
    while (since(start) < tool.seconds) {
      if (tool.receive() == 0) sched_yield();
    }
  }
  tool.port->service(&counters);
  const double p50 = percentile(&tool.round_trips_us, 0.5);
  const double p99 = percentile(&tool.round_trips_us, 0.99);
  printf(
      "%s %s start_ms=%.0f wake_fd=%d sent=%lu received=%lu refused=%lu bytes=%lu rate=%.0f/s "
      "p50=%.1fus p99=%.1fus "
      "missed=%lu no_mbuf=%lu tx_errors=%lu\n",
      role.c_str(), nic.mode.c_str(), start_ms, tool.port->facts().wake_fd, tool.sent,
      tool.received, tool.refused, tool.bytes,
      static_cast<double>(std::max(tool.sent, tool.received)) / tool.seconds, p50, p99,
      counters.rx_missed, counters.rx_no_mbuf, counters.tx_errors);
  return 0;
}
