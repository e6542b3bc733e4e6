// SPDX-License-Identifier: MIT
// Which address, prefix and gateway Machnet uses on a NIC, and where they come from: the
// configuration, the kernel's interface, the cloud's metadata service, or what was remembered of
// them. Decides by the configuration alone; a source that does not know is an error, and no other
// one is asked in its place.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/address.h"
#include "base/result.h"
#include "config/config.h"
#include "device/inventory.h"
#include "device/metadata.h"
#include "device/saved_nic.h"

namespace mn::device {

struct AddressFacts {
  Ipv4 address = 0;
  uint32_t prefix_length = 0;
  Ipv4 gateway = 0;
  uint32_t mtu = 0;    // that the metadata service says; 0: it was not asked, or does not say
  std::string reason;  // one line
};

using MetadataSource = std::function<Result<MetadataNic>(const Mac& mac)>;

// `saved`: what is remembered under the NIC's name, of the same device; null: nothing. The kernel
// goes before it, as it knows better; it goes before nothing else.
Result<AddressFacts> choose_address(const config::NicConfig& wanted, const Candidate& nic,
                                    const SavedNic* saved, const MetadataSource& metadata);

}  // namespace mn::device
