// SPDX-License-Identifier: MIT
#include "channel/channel.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "base/mtu.h"

namespace mn {

namespace {

constexpr uint32_t kRxBytes = 3u << 20;  // received, not yet taken: what a lane buffers
constexpr uint32_t kBuffersMin = 1024;
constexpr uint32_t kFlowSlots = 4096;

Error system_error(const char* what) {
  return {std::string("cannot create a channel: ") + what + ": " + strerror(errno) +
          "; raise the service's memory or descriptor limit"};
}

}  // namespace

ipc::LaneShape lane_shape_for(uint16_t mss) {
  static_assert(kMtuMax <= ipc::kBufferSizeMax);
  const uint32_t size = (uint32_t{mss} + 63) / 64 * 64;
  // A message of the maximum length must fit, and a quarter more for others meanwhile.
  const uint32_t longest = (ipc::kMessageBytesMax + size - 1) / size;
  return {.tx_buffers = std::max(kBuffersMin, longest + longest / 4),
          .rx_buffers = std::max(kBuffersMin, kRxBytes / size),
          .buffer_size = size,
          .flow_slots = kFlowSlots};
}

Result<std::unique_ptr<Channel>> Channel::create(std::span<const ipc::LaneShape> shapes) {
  MN_ASSERT(!shapes.empty() && shapes.size() <= ipc::kLanesMax);
  std::unique_ptr<Channel> channel(new Channel);
  channel->memory_size_ = ipc::channel_size(shapes.data(), static_cast<uint32_t>(shapes.size()));

  channel->memory_fd_ = memfd_create("machnet-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (channel->memory_fd_ < 0) return system_error("memfd_create");
  if (ftruncate(channel->memory_fd_, static_cast<off_t>(channel->memory_size_)) != 0) {
    return system_error("ftruncate");
  }
  if (fcntl(channel->memory_fd_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return system_error("sealing");
  }
  void* memory = mmap(nullptr, channel->memory_size_, PROT_READ | PROT_WRITE, MAP_SHARED,
                      channel->memory_fd_, 0);
  if (memory == MAP_FAILED) return system_error("mmap");
  channel->memory_ = static_cast<uint8_t*>(memory);
  int bell[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, bell) != 0) {
    return system_error("socketpair");
  }
  channel->application_fd_ = bell[0];
  channel->bell_fd_ = bell[1];
  // Nobody would read what the application sends: it gets EPIPE, and holds no kernel memory.
  if (shutdown(bell[1], SHUT_RD) != 0) return system_error("shutdown");

  new (memory) ipc::ChannelHeader{.magic = ipc::kChannelMagic,
                                  .version = ipc::kChannelVersion,
                                  .lane_count = static_cast<uint32_t>(shapes.size()),
                                  .reserved = {}};
  uint64_t at = ipc::kFirstLaneOffset;
  for (const ipc::LaneShape& shape : shapes) {
    const int engine_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (engine_fd < 0) return system_error("eventfd");
    channel->lanes_.push_back(std::make_unique<Lane>(
        shape, channel->memory_ + at, channel->bell_fd_, engine_fd, &channel->openings_));
    at += ipc::lane_offsets(shape).size;
  }
  MN_ASSERT(at == channel->memory_size_);
  return channel;
}

Channel::~Channel() {
  for (auto& lane : lanes_) close(lane->engine_fd());
  if (memory_ != nullptr) munmap(memory_, memory_size_);
  if (memory_fd_ >= 0) close(memory_fd_);
  if (application_fd_ >= 0) close(application_fd_);
  if (bell_fd_ >= 0) close(bell_fd_);
}

}  // namespace mn
