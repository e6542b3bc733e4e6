// SPDX-License-Identifier: MIT
// The configuration parser, from any bytes: it ends, and it gives either a checked configuration or
// errors that each name file and line.
#include <stddef.h>
#include <stdint.h>

#include <string_view>

#include "base/assert.h"
#include "base/mtu.h"
#include "config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const mn::config::Loaded loaded =
      mn::config::parse_config({reinterpret_cast<const char*>(data), size}, "f");
  for (const auto& error : loaded.errors) MN_ASSERT(error.starts_with("f:"));
  if (!loaded.errors.empty()) return 0;
  MN_ASSERT(loaded.config.socket.starts_with('/') && loaded.config.socket.size() <= 107);
  MN_ASSERT(loaded.config.nics.size() <= mn::config::kNicsMax);
  for (const auto& nic : loaded.config.nics) {
    const bool is_given = nic.address_source == mn::config::AddressSource::kGiven;
    MN_ASSERT(is_given == (nic.address != 0) && nic.prefix_length <= 32);
    MN_ASSERT(is_given == (nic.prefix_length != 0));
    MN_ASSERT((nic.gateway_source == mn::config::GatewaySource::kGiven) == (nic.gateway != 0));
    MN_ASSERT(!nic.mode.empty());
    MN_ASSERT(nic.engines >= 1 && nic.engines <= mn::config::kEnginesMax);
    MN_ASSERT(nic.mtu == 0 || (nic.mtu >= mn::kMtuMin && nic.mtu <= mn::kMtuMax));
  }
  return 0;
}
