// SPDX-License-Identifier: MIT
// Channel: the daemon's end of an application's channel: the sealed memfd, its mapping, the
// doorbells, and one Lane for each engine. Created and destroyed by the control plane; the lanes
// are used by their engines between kAddLane and kLaneRemoved.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "channel/lane.h"
#include "ipc/shm_layout.h"

namespace mn {

// Shape of a lane for a NIC whose packets carry `mss` bytes: enough tx buffers for the longest
// message.
ipc::LaneShape lane_shape_for(uint16_t mss);

class Channel {
 public:
  static Result<std::unique_ptr<Channel>> create(std::span<const ipc::LaneShape> shapes);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  int memory_fd() const { return memory_fd_; }
  uint64_t memory_size() const { return memory_size_; }
  int application_fd() const { return application_fd_; }  // readable: wake up
  int engine_fd(uint32_t lane) const { return lanes_[lane]->engine_fd(); }
  uint32_t lane_count() const { return static_cast<uint32_t>(lanes_.size()); }
  Lane* lane(uint32_t index) { return lanes_[index].get(); }
  const ipc::LaneShape& shape(uint32_t index) const { return lanes_[index]->shape(); }

 private:
  Channel() = default;
  int memory_fd_ = -1;
  // The application's doorbell is a socket pair, not an eventfd: whoever holds an eventfd can clear
  // O_NONBLOCK, which belongs to the open file that both would share, fill its counter, and so stop
  // the engine in write(). A send with MSG_DONTWAIT on an end of our own never waits.
  int application_fd_ = -1;
  int bell_fd_ = -1;
  uint8_t* memory_ = nullptr;
  uint64_t memory_size_ = 0;
  std::atomic<uint32_t> openings_{0};  // by every engine, one more for each flow that it accepts
  std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace mn
