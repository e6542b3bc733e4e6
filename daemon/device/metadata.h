// SPDX-License-Identifier: MIT
// Asks the metadata service of the cloud that the host is in (Azure, AWS, GCP) for the address of a
// NIC. Plain HTTP with short time-outs; blocking; machnet-nic's alone: machnetd neither links nor
// calls it. Never guesses: what a service does not say is an error.
#pragma once

#include <cstdint>
#include <string>

#include "base/address.h"
#include "base/result.h"
#include "device/sys_root.h"

namespace mn::device {

enum class Cloud : uint8_t { kNone, kAzure, kAws, kGcp };

struct MetadataNic {
  std::string cloud;  // azure, aws, gcp
  Ipv4 address = 0;   // the first one of the NIC
  uint32_t prefix_length = 0;
  Ipv4 gateway = 0;  // Azure and AWS: the first host of the subnet, as both promise
  uint32_t mtu = 0;  // 0: the service does not say
};

// By what the firmware says of the machine (DMI), before anything is asked of the network.
Cloud detect_cloud(const SysRoot& root);

// The NIC is known by its MAC there. An error names what was asked, what came, what to do. A few
// seconds at most, also when nobody answers.
Result<MetadataNic> ask_metadata(const SysRoot& root, const Mac& mac);

}  // namespace mn::device
