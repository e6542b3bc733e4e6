// SPDX-License-Identifier: MIT
#include "nic_plan.h"

#include <linux/capability.h>

#include "base/log.h"
#include "base/log_ids.h"
#include "device/left_refusals.h"
#include "device/resolve.h"

namespace mn {
namespace {

Capabilities needed_by(const std::string& mode) {
  // Raw sockets; the interface's MTU and state, which are its owner's business, and for AF_XDP
  // taking a queue of it and busy polling.
  const Capabilities sockets = capability(CAP_NET_RAW) | capability(CAP_NET_ADMIN);
  if (mode == "af_packet") return sockets;
  // Memory that the device reaches does not move: in place of LimitMEMLOCK=infinity, where that
  // limit cannot be raised.
  const Capabilities pinned = capability(CAP_IPC_LOCK);
  if (mode == "af_xdp") return sockets | capability(CAP_BPF) | pinned;
  // The verbs interface asks for both, for raw queues and for steering packets to them.
  if (mode == "bifurcated") return sockets | pinned;
  // Devices that are told physical addresses; the kernel shows those to CAP_SYS_ADMIN only.
  // The rings of VMBus are files of root's.
  if (mode == "uio_hv_generic") {
    return capability(CAP_SYS_ADMIN) | capability(CAP_DAC_OVERRIDE) | pinned;
  }
  if (mode == "vfio-noiommu") return capability(CAP_SYS_ADMIN) | capability(CAP_SYS_RAWIO) | pinned;
  // The group's file says who may use the device, and the IOMMU what the device may reach.
  if (mode == "vfio-pci") return pinned;
  if (mode.starts_with("vdev:net_memif") || mode.starts_with("vdev:net_null")) return 0;
  return ~Capabilities{0};  // a driver of which nothing is known
}

}  // namespace

Result<std::vector<NicPlan>> plan_nics(const config::Config& config) {
  const device::SysRoot root;
  const auto net = config.nics.empty() ? nullptr : device::make_kernel_net(root);
  std::vector<NicPlan> plans;
  for (const config::NicConfig& nic : config.nics) {
    auto resolved = device::resolve(root, net.get(), nic);
    if (!resolved) return Error{resolved.error()};
    const device::ResolvedNic& found = resolved.value();
    plans.push_back({.name = nic.name,
                     .device = found.device,
                     .driver_mode = found.driver_mode,
                     .mode = found.mode,
                     .reason = found.reason,
                     .address = found.address,
                     .prefix_length = found.prefix_length,
                     .gateway = found.gateway,
                     .mtu = found.mtu,
                     .engines = nic.engines,
                     .cpus = nic.cpus,
                     .idle = nic.idle,
                     .congestion = nic.congestion});
  }
  return plans;
}

bool was_refused(const config::Config& config) {
  bool is_refused = false;
  for (const device::LeftRefusal& one : device::left_refusals(device::SysRoot{})) {
    for (const config::NicConfig& nic : config.nics) {
      if (nic.name != one.nic) continue;
      const LogEvent event{.message_id = log_id::kNicRefused, .nic = nic.name.c_str()};
      log_event(LogLevel::kError, event, "%s", one.line.c_str());
      is_refused = true;
    }
  }
  return is_refused;
}

NicPlan local_plan() {
  NicPlan plan;
  plan.name = "local";
  plan.mode = "none";
  plan.address = kLoopbackAddress;
  plan.prefix_length = 8;
  plan.is_local = true;
  return plan;
}

nic::NicSystemSettings nic_settings(const config::Config& config,
                                    const std::vector<NicPlan>& plans) {
  nic::NicSystemSettings settings;
  switch (config.hugepages) {
    case config::Hugepages::kAuto:
      settings.hugepages = nic::Hugepages::kAuto;
      break;
    case config::Hugepages::kYes:
      settings.hugepages = nic::Hugepages::kYes;
      break;
    case config::Hugepages::kNo:
      settings.hugepages = nic::Hugepages::kNo;
      break;
  }
  settings.memory_bytes = config.memory_bytes;
  for (const NicPlan& plan : plans) {
    settings.nics.push_back({.name = plan.device,
                             .mode = plan.driver_mode,
                             .mtu = plan.mtu,
                             .engines = plan.engines,
                             .address = plan.address});
  }
  return settings;
}

Capabilities needed_capabilities(const std::vector<NicPlan>& plans) {
  Capabilities needed = 0;
  for (const NicPlan& plan : plans) needed |= needed_by(plan.mode);
  return needed;
}

Result<void> check_mode(const std::string& mode) {
  return mode.starts_with("vdev:") ? nic::check_mode(mode) : Result<void>{};
}

}  // namespace mn
