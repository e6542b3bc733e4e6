// SPDX-License-Identifier: MIT
#include "device/resolve.h"

#include <algorithm>
#include <optional>

#include "base/mtu.h"
#include "device/address_facts.h"
#include "device/find.h"
#include "device/inventory.h"
#include "device/mode_choice.h"

namespace mn::device {

namespace {

Error refused(const config::NicConfig& wanted, const std::string& why) {
  return Error{"nic " + wanted.name + ": " + why};
}

Error not_bound(const config::NicConfig& wanted, const std::string& why) {
  return refused(wanted,
                 why + "; run `machnet-nic bind " + wanted.name +
                     "` as root, or start the service with `systemctl start machnet`, which "
                     "does that");
}

uint16_t usable_mtu(const config::NicConfig& wanted, uint32_t kernel_mtu) {
  if (wanted.mtu != 0 || kernel_mtu == 0) return wanted.mtu;
  return static_cast<uint16_t>(std::clamp<uint32_t>(kernel_mtu, kMtuMin, kMtuMax));
}

bool is_kernel_driven(const std::string& mode) { return mode == "af_xdp" || mode == "af_packet"; }

// Whether what was done is what the configuration asks for now.
bool fits(const std::string& wanted, const std::string& mode) {
  if (wanted == "auto") return !is_kernel_driven(mode) && mode != "pci";
  return wanted == mode || (wanted == "vfio-pci" && mode == "vfio-noiommu");
}

Result<void> take_address(const config::NicConfig& wanted, const Candidate& nic,
                          const SavedNic* saved, ResolvedNic* ret_nic) {
  AddressFacts facts;
  const bool is_remembered = saved != nullptr && saved->address != 0;
  if (wanted.address_source != config::AddressSource::kGiven && is_remembered) {
    facts = {.address = saved->address,
             .prefix_length = saved->prefix_length,
             .gateway = saved->gateway,
             .mtu = 0,
             .reason = saved->address_reason};
    if (wanted.gateway_source == config::GatewaySource::kGiven) facts.gateway = wanted.gateway;
    if (wanted.gateway_source == config::GatewaySource::kNone) facts.gateway = 0;
  } else {
    const auto nobody = [&wanted](const Mac&) -> Result<MetadataNic> {
      return Error{
          "address = metadata, and the metadata service was not asked yet; `machnet-nic bind " +
          wanted.name + "` asks it, as `systemctl start machnet` does"};
    };
    const auto chosen = choose_address(wanted, nic, nullptr, nobody);
    if (!chosen) return Error{chosen.error()};
    facts = chosen.value();
  }
  ret_nic->address = facts.address;
  ret_nic->prefix_length = facts.prefix_length;
  ret_nic->gateway = facts.gateway;
  ret_nic->address_reason = facts.reason;
  return {};
}

// On the kernel's driver: nothing has to be bound before.
Result<ResolvedNic> resolve_kernel_driven(const config::NicConfig& wanted, const Candidate& nic,
                                          const SavedNic* saved, const std::string& boot_id) {
  const auto choice = choose_mode(nic, wanted.mode, false);
  if (!choice) return Error{choice.error()};
  ResolvedNic resolved;
  resolved.mode = resolved.driver_mode = wanted.mode;
  resolved.reason = choice.value().reason;
  resolved.device = nic.net.ifname;
  resolved.mtu = usable_mtu(wanted, nic.net.mtu);
  resolved.mac = nic.net.mac;
  resolved.numa_node = nic.numa_node;
  const bool is_current =
      saved != nullptr && saved->mode == wanted.mode && is_taken(*saved, boot_id);
  const auto taken = take_address(wanted, nic, is_current ? saved : nullptr, &resolved);
  if (!taken) return Error{taken.error()};
  return resolved;
}

Result<ResolvedNic> resolve_bound(const config::NicConfig& wanted, const Candidate& nic,
                                  const SavedNic* saved, const std::string& boot_id) {
  const bool is_as_bound = wanted.mode == "pci";
  if (saved == nullptr && !is_as_bound) return not_bound(wanted, "is not bound yet");
  if (saved != nullptr && !fits(wanted.mode, saved->mode)) {
    return not_bound(wanted, "was taken as " + saved->mode +
                                 ", but the configuration wants mode = " + wanted.mode + " now");
  }
  if (saved != nullptr && (saved->bound == Bound::kNo || saved->boot_id != boot_id)) {
    if (!is_as_bound) return not_bound(wanted, "is not bound in this boot");
    saved = nullptr;
  }
  const std::string driver = saved == nullptr ? "" : driver_of_mode(saved->mode);
  if (!driver.empty() && nic.driver != driver) {
    return not_bound(wanted, "was bound to " + driver + ", but the driver of " + nic.device +
                                 " is " + (nic.driver.empty() ? "none" : nic.driver) + " now");
  }
  ResolvedNic resolved;
  if (saved == nullptr) {
    const auto choice = choose_mode(nic, wanted.mode, wanted.allow_unsafe_noiommu);
    if (!choice) return Error{choice.error()};
    resolved.mode = choice.value().mode;
    resolved.reason = choice.value().reason;
    resolved.mac = nic.net.mac;
    resolved.mtu = usable_mtu(wanted, nic.net.mtu);
  } else {
    resolved.mode = saved->mode;
    resolved.reason = saved->reason;
    resolved.mac = saved->mac;
    resolved.mtu = usable_mtu(wanted, saved->mtu);
  }
  resolved.driver_mode = nic.bus == Bus::kVmbus ? "vmbus" : "pci";
  resolved.device = nic.device;
  resolved.numa_node = nic.numa_node;
  if (auto taken = take_address(wanted, nic, saved, &resolved); !taken) {
    return Error{taken.error()};
  }
  return resolved;
}

ResolvedNic resolve_virtual(const config::NicConfig& wanted) {
  ResolvedNic resolved;
  resolved.mode = resolved.driver_mode = wanted.mode;
  resolved.reason = "asked for; a virtual device of DPDK";
  resolved.device = wanted.name;
  resolved.address = wanted.address;
  resolved.prefix_length = wanted.prefix_length;
  resolved.gateway = wanted.gateway;
  resolved.address_reason = "given in the configuration";
  resolved.mtu = wanted.mtu;
  return resolved;
}

}  // namespace

Result<ResolvedNic> resolve(const SysRoot& root, KernelNet* net, const config::NicConfig& wanted) {
  Result<ResolvedNic> resolved = ResolvedNic{};
  if (wanted.mode.starts_with("vdev:")) {
    resolved = resolve_virtual(wanted);
  } else {
    const auto loaded = load_saved_nic(root, wanted.name);
    if (!loaded) return Error{loaded.error()};
    const auto inventory = take_inventory(root, net);
    if (!inventory) return Error{inventory.error()};
    const std::string boot_id = root.noted_boot_id();
    const SavedNic* saved = loaded.value() ? &*loaded.value() : nullptr;
    const auto nic = find_nic(inventory.value(), wanted.name, saved, boot_id);
    if (!nic) return Error{nic.error()};
    // Of another device that had the name before: it tells nothing about this one.
    if (saved != nullptr && nic.value().bus != Bus::kOther && saved->device != nic.value().device) {
      saved = nullptr;
    }
    resolved = is_kernel_driven(wanted.mode)
                   ? resolve_kernel_driven(wanted, nic.value(), saved, boot_id)
                   : resolve_bound(wanted, nic.value(), saved, boot_id);
  }
  if (resolved) resolved.value().name = wanted.name;
  return resolved;
}

}  // namespace mn::device
