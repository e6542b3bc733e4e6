// SPDX-License-Identifier: MIT
#include "device/find.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "config/values.h"
#include "device/interface.h"
#include "device/text.h"

namespace mn::device {

namespace {

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(tolower(static_cast<unsigned char>(c)));
  return text;
}

using Matches = std::vector<const Candidate*>;

template <typename Predicate>
Matches all_that(const Inventory& inventory, Predicate fits) {
  Matches matches;
  for (const Candidate& nic : inventory.nics) {
    if (fits(nic)) matches.push_back(&nic);
  }
  return matches;
}

// Of several with one MAC: a device goes before what is stacked on it (a VLAN, a bridge), and the
// one in charge before the one that belongs to it (Azure's fast path has its NIC's MAC).
Matches narrow(Matches matches) {
  const auto keep = [&matches](auto fits) {
    Matches kept;
    std::copy_if(matches.begin(), matches.end(), std::back_inserter(kept), fits);
    if (!kept.empty()) matches = kept;
  };
  keep([](const Candidate* nic) { return nic->bus != Bus::kOther; });
  keep([](const Candidate* nic) { return nic->net.master.empty(); });
  return matches;
}

Matches by_name(const Inventory& inventory, const std::string& name) {
  const auto kind = config::parse_nic_name(name);
  if (!kind) return {};
  switch (*kind) {
    case config::NicName::kInterface:
      return all_that(inventory, [&](const Candidate& nic) { return nic.net.ifname == name; });
    case config::NicName::kPci: {
      const std::string address = lower(full_pci_address(name));
      return all_that(inventory, [&](const Candidate& nic) {
        return nic.bus == Bus::kPci && nic.device == address;
      });
    }
    case config::NicName::kVmbus: {
      const std::string uuid = lower(name);
      return all_that(inventory, [&](const Candidate& nic) {
        return nic.bus == Bus::kVmbus && lower(nic.device) == uuid;
      });
    }
    case config::NicName::kMac: {
      const auto mac = config::parse_mac(name);
      return narrow(all_that(inventory, [&](const Candidate& nic) {
        return mac && nic.has_interface() && nic.net.mac == *mac;
      }));
    }
  }
  return {};
}

const Candidate* by_device(const Inventory& inventory, const SavedNic& saved) {
  if (saved.bus == Bus::kOther) return nullptr;
  const Matches matches = all_that(inventory, [&](const Candidate& nic) {
    return nic.bus == saved.bus && nic.device == saved.device;
  });
  return matches.empty() ? nullptr : matches[0];
}

}  // namespace

bool is_taken(const SavedNic& saved, const std::string& boot_id) {
  return saved.bound == Bound::kYes && saved.boot_id == boot_id;
}

Result<Candidate> find_nic(const Inventory& inventory, const std::string& name,
                           const SavedNic* saved, const std::string& boot_id) {
  const Candidate* remembered = saved == nullptr ? nullptr : by_device(inventory, *saved);
  // Its name may have gone to another interface since we took it.
  if (remembered != nullptr && is_taken(*saved, boot_id) && !remembered->has_interface()) {
    return *remembered;
  }
  const Matches matches = by_name(inventory, name);
  if (matches.size() == 1) return *matches[0];
  if (matches.size() > 1) {
    std::string labels;
    for (const Candidate* nic : matches) labels += (labels.empty() ? "" : ", ") + nic->label();
    return Error{"nic " + name + ": fits more than one: " + labels +
                 "; name it by its interface or its bus address"};
  }
  if (saved == nullptr || saved->device.empty()) {
    return Error{"nic " + name +
                 ": there is no such NIC on this host; `machnet-nic list` shows those that are"};
  }
  if (remembered == nullptr) {
    return Error{"nic " + name + ": the device " + saved->device + " is gone from this host (" +
                 (saved->bus == Bus::kPci ? "PCI" : "VMBus") +
                 "); attach it again, or name another one: `machnet-nic list` shows them"};
  }
  if (remembered->has_interface()) {
    return Error{"nic " + name + ": the device that had this name, " + saved->device +
                 ", is now called " + remembered->net.ifname + "; write [nic " +
                 remembered->net.ifname + "], or [nic " + saved->device +
                 "], which does not change"};
  }
  return *remembered;
}

}  // namespace mn::device
