// SPDX-License-Identifier: MIT
#include "device/refusal.h"

#include <arpa/inet.h>

#include <algorithm>
#include <optional>

#include "device/tcp_sessions.h"
#include "device/text.h"

namespace mn::device {

namespace {

constexpr uint32_t kTableMain = 254;

// The NIC's interface and everything stacked on it: what stops working when the NIC is taken.
std::vector<const KernelNic*> stack_of(const Inventory& inventory, const Candidate& nic) {
  std::vector<const KernelNic*> stack;
  if (const KernelNic* own = inventory.interface(nic.net.ifname)) stack.push_back(own);
  for (const std::string& upper : nic.uppers) {
    if (const KernelNic* one = inventory.interface(upper)) stack.push_back(one);
  }
  return stack;
}

bool goes_through(const KernelRoute& route, const std::string& ifname, const KernelNic& nic) {
  if (route.hops.empty()) return nic.ifname == ifname;
  return std::any_of(route.hops.begin(), route.hops.end(),
                     [&ifname](const KernelHop& hop) { return hop.ifname == ifname; });
}

std::optional<uint32_t> default_metric(const KernelNic& nic, const char* destination) {
  std::optional<uint32_t> best;
  for (const KernelRoute& route : nic.routes) {
    if (route.destination != destination || route.table != kTableMain) continue;
    if (!goes_through(route, nic.ifname, nic)) continue;
    if (!best || route.metric < *best) best = route.metric;
  }
  return best;
}

// The interface of the stack through which the host reaches the rest of the world; "": none. A NIC
// whose default route another one goes before does not carry it.
std::string carrier_of_default(const Inventory& inventory,
                               const std::vector<const KernelNic*>& stack, bool is_ipv6) {
  const char* const destination = is_ipv6 ? "default6" : "default";
  const KernelNic* carrier = nullptr;
  std::optional<uint32_t> best;
  for (const KernelNic* one : stack) {
    const auto metric = default_metric(*one, destination);
    if (!metric || (best && *metric >= *best)) continue;
    best = metric;
    carrier = one;
  }
  if (carrier == nullptr) return "";
  for (const KernelNic& other : inventory.interfaces) {
    if (std::find(stack.begin(), stack.end(), &other) != stack.end()) continue;
    const auto metric = default_metric(other, destination);
    // Routers announce IPv6 defaults on every NIC, all with one metric.
    if (metric && (is_ipv6 ? *metric <= *best : *metric < *best)) return "";
  }
  return carrier->ifname;
}

// An address that an SSH session of now is on, if all such addresses are the stack's; "": none.
std::string only_ssh_address(const SysRoot& root, const std::vector<const KernelNic*>& stack) {
  std::set<std::string> own;
  for (const KernelNic* one : stack) {
    for (const KernelAddress& address : one->addresses) own.insert(address.address);
  }
  const std::set<std::string> sessions = ssh_addresses(root);
  const bool all = std::includes(own.begin(), own.end(), sessions.begin(), sessions.end());
  return all && !sessions.empty() ? *sessions.begin() : "";
}

// Whether the kernel loses the NIC's traffic, or the part of it that the kernel's address gets.
bool takes_traffic(const Candidate& nic, const ModeChoice& choice, Ipv4 address) {
  if (choice.mode == "af_packet") return false;  // both see every frame
  if (choice.mode != "af_xdp" || address == 0) return true;
  const std::string own = format_ipv4(address);  // only frames for this address are taken
  return std::any_of(nic.net.addresses.begin(), nic.net.addresses.end(),
                     [&own](const KernelAddress& one) { return one.address == own; });
}

void refuse_cutting_off(const SysRoot& root, const Inventory& inventory, const Candidate& nic,
                        const RefusalFacts& facts, std::vector<std::string>* reasons) {
  const std::vector<const KernelNic*> stack = stack_of(inventory, nic);
  const std::string remedy = "; name another NIC, or set force = yes in [nic " + facts.name + "]";
  for (const bool is_ipv6 : {false, true}) {
    const std::string carrier = carrier_of_default(inventory, stack, is_ipv6);
    if (carrier.empty()) continue;
    const std::string through = carrier == nic.net.ifname ? "" : " (through " + carrier + ")";
    reasons->push_back("it carries this host's default route" +
                       std::string(is_ipv6 ? " of IPv6" : "") + through +
                       ": the host would lose its network" + remedy);
  }
  const std::string address = only_ssh_address(root, stack);
  if (!address.empty()) {
    reasons->push_back("it has the only address that SSH sessions are on, " + address +
                       ": you would be cut off" + remedy);
  }
}

void refuse_master(const Inventory& inventory, const Candidate& nic,
                   std::vector<std::string>* reasons) {
  const std::string& master = nic.net.master;
  if (master.empty()) return;
  for (const Candidate& one : inventory.nics) {
    if (one.net.ifname != master || one.bus != Bus::kVmbus) continue;
    reasons->push_back("it is the fast path of " + one.label() + ", which uses it; write [nic " +
                       master + "] instead");
    return;
  }
  reasons->push_back("it belongs to " + master + "; take it out (ip link set " + nic.net.ifname +
                     " nomaster), or name another NIC");
}

// What a group has in use, the device can reach; vfio does not hand out such a group (a bridge is
// no matter, nor is what nobody drives).
void refuse_shared_group(const Candidate& nic, const RefusalFacts& facts,
                         std::vector<std::string>* reasons) {
  std::string others;
  for (const GroupMember& other : nic.group_others) {
    const bool in_use = !other.driver.empty() && other.driver != "vfio-pci" &&
                        other.driver != "pci-stub" && !other.is_bridge;
    if (!in_use || facts.ours.contains(other.device)) continue;
    others += (others.empty() ? "" : ", ") + other.device + " (" + other.driver + ")";
  }
  if (others.empty()) return;
  reasons->push_back("its IOMMU group " + nic.iommu_group + " is shared with " + others +
                     "; unbind those, put the card into another slot, or set mode = af_xdp");
}

// sysfs writes modules with '_' for '-'.
bool is_loaded(const SysRoot& root, std::string module) {
  std::replace(module.begin(), module.end(), '-', '_');
  return exists(root.sys + "/module/" + module);
}

void refuse_missing_module(const SysRoot& root, const ModeChoice& choice,
                           std::vector<std::string>* reasons) {
  for (const std::string& module : choice.modules) {
    if (is_loaded(root, module)) continue;
    if (!root.find_program(root.modprobe)) {
      reasons->push_back("the module " + module +
                         " is not loaded and modprobe is missing; install it (apt install kmod, "
                         "dnf install kmod)");
      return;
    }
    const auto tried = root.run({root.modprobe, "--dry-run", "--quiet", module});
    if (tried && tried.value().exit_code == 0) continue;
    reasons->push_back("the kernel module " + module +
                       " is missing; install the rest of this kernel's modules "
                       "(linux-modules-extra-$(uname -r) on Ubuntu, kernel-modules on Fedora)");
  }
}

}  // namespace

std::string held_by_other(const Candidate& nic, const ModeChoice& choice) {
  if (choice.driver.empty()) return "";  // it stays as it is
  const std::string flag = nic.bus == Bus::kVmbus ? "-b vmbus " : "";
  const std::string remedy = "; stop what uses it and `driverctl " + flag + "unset-override " +
                             nic.device + "`, or set mode = pci to take it as it is bound";
  if (is_user_driver(nic.driver)) {
    return "someone else has bound it to " + nic.driver +
           (nic.driver_override.empty() ? "" : " (driver override " + nic.driver_override + ")") +
           remedy;
  }
  if (!nic.driver_override.empty() && nic.driver_override != nic.driver) {
    return "someone else has set the driver override " + nic.driver_override + " on it" + remedy;
  }
  return "";
}

std::vector<std::string> refusals(const SysRoot& root, const Inventory& inventory,
                                  const Candidate& nic, const ModeChoice& choice,
                                  const RefusalFacts& facts) {
  std::vector<std::string> reasons;
  if (!facts.force && takes_traffic(nic, choice, facts.address)) {
    refuse_cutting_off(root, inventory, nic, facts, &reasons);
  }
  if (choice.mode != "af_packet" && choice.mode != "af_xdp") {
    refuse_master(inventory, nic, &reasons);
  }
  if (choice.mode == "vfio-pci") refuse_shared_group(nic, facts, &reasons);
  if (const std::string held = held_by_other(nic, choice); !held.empty()) reasons.push_back(held);
  if (!choice.driver.empty() && !root.find_program(root.driverctl)) {
    reasons.push_back(
        "driverctl is missing; install it (apt install driverctl, dnf install driverctl)");
  }
  refuse_missing_module(root, choice, &reasons);
  for (std::string& reason : reasons) reason = "nic " + nic.label() + ": " + reason;
  return reasons;
}

}  // namespace mn::device
