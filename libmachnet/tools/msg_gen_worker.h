// SPDX-License-Identifier: MIT
// What msg_gen's client and server threads share: a channel that is left in order, errors as
// sentences, and what to do when there is nothing to do.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>

#include "machnet.h"

namespace mn::tools {

// Owns one channel.
class ChannelHandle {
 public:
  ChannelHandle() = default;
  ~ChannelHandle() { detach(); }
  ChannelHandle(const ChannelHandle&) = delete;
  ChannelHandle& operator=(const ChannelHandle&) = delete;

  bool attach() {
    channel_ = machnet_attach();
    return channel_ != nullptr;
  }
  void detach() {
    if (channel_ != nullptr) machnet_detach(channel_);
    channel_ = nullptr;
  }
  void* get() const { return channel_; }

 private:
  void* channel_ = nullptr;
};

// "what: reason" from errno, with what a user can do about the usual reasons.
std::string system_error(const std::string& what);
std::string format_flow(const MachnetFlow_t& flow);
const char* describe_event(uint32_t type);

// Called when a pass found nothing. Polling: yields the processor after a few empty passes, because
// applications and services often share cores. Waiting: blocks until there is something or 100 ms
// passed. False: the channel is dead (errno says why).
class IdleStep {
 public:
  IdleStep(void* channel, bool wait) : channel_(channel), wait_(wait) {}
  void reset() { empty_passes_ = 0; }
  bool step();

 private:
  void* channel_;
  bool wait_;
  unsigned empty_passes_ = 0;
};

}  // namespace mn::tools
