// SPDX-License-Identifier: MIT
// EthdevDevice::Plan: how the device is configured, found out by asking it; the same after a reset.
#pragma once

#include <cstdint>

#include "nic/ethdev.h"

namespace mn::nic {

struct EthdevDevice::Plan {
  uint16_t rx_descriptors = 0;
  uint16_t tx_descriptors = 0;
  uint64_t rx_offloads = 0;
  uint64_t tx_offloads = 0;
  bool with_rx_interrupts = false;
};

}  // namespace mn::nic
