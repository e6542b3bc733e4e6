// SPDX-License-Identifier: MIT
// NicPlan: a NIC's section of the configuration with everything decided that it leaves open: the
// address, the driver, the device. And what follows from that for the whole service: the settings
// of the NIC layer and the capabilities that are needed. Plain values, made at start on the main
// thread, from what the kernel says and machnet-nic remembered; no device is touched.
#pragma once

#include <string>
#include <vector>

#include "base/address.h"
#include "base/capabilities.h"
#include "base/result.h"
#include "config/config.h"
#include "nic/nic_system.h"

namespace mn {

struct NicPlan {
  std::string name;    // as configured
  std::string device;  // what the NIC layer opens: an interface, a PCI address, a VMBus UUID; with
                       // vdev the name
  std::string driver_mode;  // how it does that
  std::string mode;         // as an administrator knows it; never auto
  std::string reason;       // why this mode, one line
  Ipv4 address = 0;
  uint32_t prefix_length = 0;
  Ipv4 gateway = 0;  // 0: none
  uint16_t mtu = 0;  // 0: the interface's
  uint16_t engines = 1;
  std::vector<int> cpus;
  config::Idle idle = config::Idle::kAdaptive;
  config::Congestion congestion = config::Congestion::kFixed;
  bool is_local = false;  // no NIC: applications of this host only
};

// One for each [nic] of the configuration, in its order.
Result<std::vector<NicPlan>> plan_nics(const config::Config& config);
// Whether machnet-nic just refused one of them, for a reason that another try does not cure; the
// reasons are said here, since this process is the one that systemd asks.
bool was_refused(const config::Config& config);
// Without any [nic].
NicPlan local_plan();

nic::NicSystemSettings nic_settings(const config::Config& config,
                                    const std::vector<NicPlan>& plans);
// What driving these NICs takes, if the service is not root.
Capabilities needed_capabilities(const std::vector<NicPlan>& plans);

// "auto" and the like are the parser's; this is about what follows "vdev:".
Result<void> check_mode(const std::string& mode);

}  // namespace mn
