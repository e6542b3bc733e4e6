// SPDX-License-Identifier: MIT
// Binder::Job: one bind() on its way, from what is found to what will be remembered. Private to the
// files of Binder; lives as long as the call.
#pragma once

#include <optional>
#include <string>

#include "config/config.h"
#include "device/binder.h"
#include "device/inventory.h"
#include "device/mode_choice.h"
#include "device/saved_nic.h"

namespace mn::device {

struct Binder::Job {
  const config::Config& config;
  const config::NicConfig& wanted;
  std::optional<SavedNic> earlier;  // what was remembered of the same device before
  Inventory inventory;
  Candidate nic;
  ModeChoice choice;
  SavedNic saved;  // what will be

  const SavedNic* earlier_or_null() const { return earlier ? &*earlier : nullptr; }
};

// The interface itself stays the kernel's.
inline bool is_kernel_driven(const std::string& mode) {
  return mode == "af_xdp" || mode == "af_packet";
}

}  // namespace mn::device
