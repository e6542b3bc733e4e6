// SPDX-License-Identifier: MIT
#include "control/link_watch.h"

#include <time.h>

#include <cstring>

#include "base/log.h"
#include "base/log_ids.h"

namespace mn::control {
namespace {

constexpr uint64_t kAccuracyUs = 100'000;  // so that it can share a wake-up

}  // namespace

Result<void> LinkWatch::start(sd_event* loop) {
  loop_ = loop;
  bool any_tells = false;
  for (const auto& engine : engines_) any_tells = any_tells || engine->tells_link();
  if (!any_tells) return {};
  look();
  const int result = arm();
  if (result < 0) return Error{std::string("event loop: the links: ") + strerror(-result)};
  return {};
}

int LinkWatch::arm() {
  return sd_event_add_time_relative(loop_, timer_.put(), CLOCK_MONOTONIC,
                                    static_cast<uint64_t>(kPeriod.ns / 1000), kAccuracyUs, on_timer,
                                    this);
}

int LinkWatch::on_timer(sd_event_source*, uint64_t, void* self_pointer) {
  auto* self = static_cast<LinkWatch*>(self_pointer);
  self->look();
  return self->arm();
}

void LinkWatch::look_for_reset(size_t i) {
  const uint64_t resets = engines_[i]->nic_resets();
  if (resets == resets_[i]) return;
  resets_[i] = resets;
  const char* nic = engines_[i]->facts().nic.c_str();
  log_event(LogLevel::kWarning, {.message_id = log_id::kNicReset, .nic = nic},
            "nic %s: reset, because its driver asked for it (%llu since the start)", nic,
            static_cast<unsigned long long>(resets));
}

void LinkWatch::look() {
  bool any_change = false;
  for (size_t i = 0; i < engines_.size(); i++) {
    look_for_reset(i);
    if (engines_[i]->facts().index > 0) continue;  // the NIC was looked at
    const bool is_down = !engines_[i]->link_is_up();
    if (is_down == is_down_[i]) continue;
    is_down_[i] = is_down;
    any_change = true;
    const char* nic = engines_[i]->facts().nic.c_str();
    log_event(is_down ? LogLevel::kWarning : LogLevel::kInfo,
              {.message_id = is_down ? log_id::kLinkDown : log_id::kLinkUp, .nic = nic},
              is_down ? "nic %s: the link is down" : "nic %s: the link is up again", nic);
  }
  if (any_change) on_change_();
}

}  // namespace mn::control
