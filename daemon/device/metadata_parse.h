// SPDX-License-Identifier: MIT
// What the metadata services answer, as a NIC's facts: strangers' bytes in, values or an error in a
// few words out (what is wrong with the answer, without who was asked). No network, no files.
#pragma once

#include <string>
#include <string_view>

#include "base/address.h"
#include "base/result.h"
#include "device/metadata.h"

namespace mn::device {

// {"interface": [{"macAddress": "000D3A...", "ipv4": {"ipAddress": [{"privateIpAddress": ...}],
// "subnet": [{"address": ..., "prefix": "24"}]}}]}
Result<MetadataNic> parse_azure(std::string_view json, const Mac& mac);

// [{"mac": ..., "ip": ..., "gateway": ..., "mtu": 1460}]. The prefix length is 32: hosts there
// reach each other through the gateway only, whatever the subnet's mask is.
Result<MetadataNic> parse_gcp(std::string_view json, const Mac& mac);

// One address a line, the first being the NIC's own, and the subnet as 10.0.1.0/24.
Result<MetadataNic> parse_aws(std::string_view addresses, std::string_view subnet);

// "02:aa:.../" a line, in one line of words for an error.
std::string list_aws_macs(std::string_view listing);

}  // namespace mn::device
