// SPDX-License-Identifier: MIT
// channel_bench: one channel between two threads, an application with the public API and a daemon's
// end without engine and transport: throughput in both directions and the round trip, for 64 B and
// 1 KB. The two threads need a processor each, or the numbers are the scheduler's.
#include <sched.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/assert.h"
#include "channel/channel.h"
#include "libmachnet/channel.h"
#include "libmachnet/tools/flags.h"
#include "libmachnet/tools/histogram.h"
#include "libmachnet/tools/run_loop.h"
#include "machnet.h"

namespace mn::bench {
namespace {

constexpr FourTuple kTuple = {0x0a000001, 0x0a000002, 888, 40000};
constexpr MachnetFlow_t kFlow = {0x0a000001, 0x0a000002, 888, 40000};
constexpr uint32_t kHandle = 1;
constexpr size_t kBatch = 32;
constexpr unsigned kSpins = 64;

// Spins, then lets others run: with fewer processors than threads the result is poor, but there is
// one.
class Spin {
 public:
  void reset() { n_ = 0; }
  void step() {
    if (++n_ > kSpins) sched_yield();
  }

 private:
  unsigned n_ = 0;
};

class Bed {
 public:
  Bed() {
    const ipc::LaneShape shape = lane_shape_for(1440);
    auto channel = Channel::create({&shape, 1});
    MN_ASSERT(channel.ok());
    channel_ = std::move(channel.value());
    size_ = channel_->memory_size();
    mapping_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, channel_->memory_fd(), 0);
    MN_ASSERT(mapping_ != MAP_FAILED);
    const int engine_fd = channel_->engine_fd(0);
    client::ChannelParts parts;
    parts.memory = mapping_;
    parts.memory_size = size_;
    parts.shapes = &shape;
    parts.lane_count = 1;
    parts.application_fd = channel_->application_fd();
    parts.engine_fds = &engine_fd;
    application_ = client::channel_from_memory(parts);
    MN_ASSERT(application_ != nullptr);
    flow_ = lane()->flow_reserve(kHandle, kTuple);
    lane()->flow_accepted(flow_);
    MachnetEvent_t event;
    while (machnet_next_event(application_, &event) <= 0) {
      MachnetView_t view;
      MN_ASSERT(machnet_recv_view(application_, &view) == 0);
    }
  }
  ~Bed() {
    client::channel_free(application_);
    munmap(mapping_, size_);
  }
  Bed(const Bed&) = delete;
  Bed& operator=(const Bed&) = delete;

  Lane* lane() { return channel_->lane(0); }
  void* application() { return application_; }
  transport::FlowRef flow() const { return flow_; }

 private:
  std::unique_ptr<Channel> channel_;
  uint64_t size_ = 0;
  void* mapping_ = nullptr;
  client::Channel* application_ = nullptr;
  transport::FlowRef flow_ = 0;
};

// ---- The daemon's side

void consume(Bed* bed, uint64_t count) {
  Spin spin;
  for (uint64_t n = 0; n < count;) {
    Submission submission;
    if (!bed->lane()->next_submission(&submission)) {
      spin.step();
      continue;
    }
    spin.reset();
    bed->lane()->tx_done(submission.buffer);
    n++;
  }
}

bool deliver(Bed* bed, std::span<const uint8_t> bytes) {
  const transport::BufferIndex buffer = bed->lane()->rx_put(bytes);
  if (buffer == transport::kNoBuffer) return false;
  bed->lane()->rx_deliver(bed->flow(), {buffer, static_cast<uint16_t>(bytes.size()),
                                        ipc::kFirstSegment | ipc::kLastSegment, 0});
  return true;
}

void produce(Bed* bed, uint64_t count, size_t size) {
  const std::vector<uint8_t> message(size, 0x5a);
  Spin spin;
  for (uint64_t n = 0; n < count;) {
    bed->lane()->take_releases(kBatch);
    size_t burst = 0;
    while (burst < kBatch && n < count && deliver(bed, message)) burst++, n++;
    burst > 0 ? spin.reset() : spin.step();
  }
}

void echo(Bed* bed, uint64_t count) {
  Spin spin;
  for (uint64_t n = 0; n < count;) {
    Submission submission;
    if (!bed->lane()->next_submission(&submission)) {
      bed->lane()->take_releases(kBatch);
      spin.step();
      continue;
    }
    spin.reset();
    const auto request = bed->lane()->tx_bytes(submission.buffer).first(submission.length);
    while (!deliver(bed, request)) bed->lane()->take_releases(kBatch);
    bed->lane()->tx_done(submission.buffer);
    n++;
  }
}

// ---- The application's side

void send_all(Bed* bed, uint64_t count, size_t size) {
  std::vector<uint8_t> message(size, 0x5a);
  MachnetIovec_t piece = {message.data(), size};
  std::array<MachnetMsgHdr_t, kBatch> headers;
  headers.fill({static_cast<uint32_t>(size), kFlow, &piece, 1, 0});
  Spin spin;
  for (uint64_t n = 0; n < count;) {
    const int wanted = static_cast<int>(std::min<uint64_t>(kBatch, count - n));
    const int sent = machnet_sendmmsg(bed->application(), headers.data(), wanted);
    if (sent > 0) n += static_cast<uint64_t>(sent);
    sent > 0 ? spin.reset() : spin.step();
  }
}

void receive_all(Bed* bed, uint64_t count, size_t size) {
  std::vector<uint8_t> message(size);
  MachnetFlow_t flow;
  Spin spin;
  for (uint64_t n = 0; n < count;) {
    const ssize_t got = machnet_recv(bed->application(), message.data(), size, &flow);
    if (got > 0) n++;
    got > 0 ? spin.reset() : spin.step();
  }
}

void ping(Bed* bed, uint64_t count, size_t size, tools::Histogram* rtt) {
  std::vector<uint8_t> message(size, 0x5a);
  MachnetFlow_t flow;
  Spin spin;
  for (uint64_t n = 0; n < count; n++) {
    const uint64_t start = tools::clock_ns();
    const int sent = machnet_send(bed->application(), kFlow, message.data(), size);
    MN_ASSERT(sent == 0);
    while (machnet_recv(bed->application(), message.data(), size, &flow) <= 0) spin.step();
    spin.reset();
    rtt->record(tools::clock_ns() - start);
  }
}

template <typename Daemon, typename Application>
double ns_each(uint64_t count, Daemon daemon, Application application) {
  const uint64_t start = tools::clock_ns();
  std::thread other(daemon);
  application();
  other.join();
  return static_cast<double>(tools::clock_ns() - start) / static_cast<double>(count);
}

void measure(uint64_t count, size_t size) {
  Bed bed;
  const double towards = ns_each(
      count, [&] { consume(&bed, count); }, [&] { send_all(&bed, count, size); });
  const double from = ns_each(
      count, [&] { produce(&bed, count, size); }, [&] { receive_all(&bed, count, size); });
  auto rtt = std::make_unique<tools::Histogram>();
  const uint64_t pings = count / 10;
  ns_each(
      pings, [&] { echo(&bed, pings); }, [&] { ping(&bed, pings, size, rtt.get()); });
  const tools::HistogramSnapshot trips = rtt->snapshot();
  std::printf(
      "%6zu bytes: towards the daemon %6.1f ns, from it %6.1f ns a message; "
      "round trip p50 %llu p99 %llu ns\n",
      size, towards, from, static_cast<unsigned long long>(trips.percentile_ns(0.5)),
      static_cast<unsigned long long>(trips.percentile_ns(0.99)));
}

}  // namespace
}  // namespace mn::bench

int main(int argc, char** argv) {
  uint64_t count = 2'000'000;
  mn::tools::FlagSet flags;
  flags.add_number("count", &count, 100, UINT64_MAX, "messages in each direction");
  const std::string error = flags.parse(argc, argv);
  if (!error.empty()) {
    std::fprintf(stderr, "channel_bench: %s\n", error.c_str());
    return 2;
  }
  mn::bench::measure(count, 64);
  mn::bench::measure(count, 1024);
  return 0;
}
