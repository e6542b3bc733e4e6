// SPDX-License-Identifier: MIT
#include "device/nic_report.h"

#include <algorithm>
#include <set>

#include "device/device_users.h"
#include "device/find.h"
#include "device/json.h"
#include "device/text.h"

namespace mn::device {

namespace {

struct Shown {  // one NIC, from the kernel or as it is remembered
  std::string name;
  std::string mac;
  std::string device;
  std::string driver;
  std::string group;
  std::string link;
  std::string address;
  uint32_t mtu = 0;
  int numa_node = -1;
  std::string mode;  // that it has or would get; "": it would be refused
  std::vector<std::string> reasons;
};

std::string first_address(const KernelNic& nic) {
  if (const KernelAddress* own = primary_address(nic)) {
    return own->address + "/" + std::to_string(own->prefix_length);
  }
  return "";
}

Shown show(const ListedNic& listed) {
  const Candidate& nic = listed.nic;
  Shown shown;
  shown.name = nic.net.ifname;
  shown.device = nic.device;
  shown.driver = nic.driver;
  shown.group = nic.iommu_group;
  shown.numa_node = nic.numa_node;
  if (nic.has_interface()) {
    shown.mac = format_mac(nic.net.mac);
    shown.link = nic.net.has_link ? "up" : nic.net.is_up ? "no link" : "down";
    shown.address = first_address(nic.net);
    shown.mtu = nic.net.mtu;
  }
  if (listed.taken) {
    const SavedNic& taken = *listed.taken;
    if (!nic.has_interface()) {
      shown.name = taken.ifname;
      if (!(taken.mac == Mac{})) shown.mac = format_mac(taken.mac);
      shown.mtu = taken.mtu;
    }
    shown.address = format_network(taken.address, taken.prefix_length);
    shown.mode = taken.mode;
    shown.reasons = {"Machnet's as [nic " + taken.name + "]: " + taken.reason};
  } else if (listed.plan.refusals.empty()) {
    shown.mode = listed.plan.choice.mode;
    shown.reasons = {"mode would be " + shown.mode + ": " + listed.plan.choice.reason};
  } else {
    for (const std::string& refusal : listed.plan.refusals) {
      shown.reasons.push_back("would be refused: " + refusal);
    }
  }
  return shown;
}

void write_row(FILE* out, const std::vector<std::string>& row, const std::vector<size_t>& widths) {
  std::string line;
  for (size_t i = 0; i < row.size(); i++) {
    line += row[i];
    if (i + 1 < row.size()) line += std::string(widths[i] - row[i].size() + 2, ' ');
  }
  fprintf(out, "%s\n", line.c_str());
}

std::string word(bool is_set, const char* text) { return is_set ? text : ""; }

std::string pages_of(const SavedNic& nic) {
  std::string text;
  for (const ReservedPages& pages : nic.hugepages) {
    text += (text.empty() ? "" : ", ") + std::to_string(pages.count) + " of " +
            std::to_string(pages.page_bytes >> 10) + " KiB";
    if (pages.node >= 0) text += " on node " + std::to_string(pages.node);
  }
  return text;
}

}  // namespace

std::vector<ListedNic> collect_nics(const Binder& binder, const Inventory& inventory,
                                    const config::Config& config,
                                    const std::vector<SavedNic>& saved,
                                    const std::string& boot_id) {
  std::vector<ListedNic> listed;
  for (const Candidate& nic : inventory.nics) {
    ListedNic one{.nic = nic, .taken = {}, .section = "", .plan = {}};
    config::NicConfig wanted;
    const auto is_this = [&nic](const Candidate& other) {
      return other.bus == nic.bus && other.device == nic.device &&
             other.net.ifname == nic.net.ifname;
    };
    for (const config::NicConfig& section : config.nics) {
      const auto found = find_nic(inventory, section.name, nullptr, boot_id);
      if (!found || !is_this(found.value())) continue;
      wanted = section;
      one.section = section.name;
    }
    for (const SavedNic& known : saved) {
      if (known.boot_id != boot_id || known.bound == Bound::kNo) continue;
      const bool is_same = nic.bus == Bus::kOther
                               ? known.bus == Bus::kOther && known.ifname == nic.net.ifname
                               : known.bus == nic.bus && known.device == nic.device;
      const std::string driver = driver_of_mode(known.mode);
      if (!is_same || (!driver.empty() && nic.driver != driver)) continue;
      one.taken = known;
      one.section = known.name;
    }
    if (!one.taken) one.plan = binder.plan(inventory, nic, wanted);
    listed.push_back(std::move(one));
  }
  return listed;
}

void write_list(FILE* out, const std::vector<ListedNic>& nics) {
  if (nics.empty()) {
    fputs("no NIC on this host\n", out);
    return;
  }
  std::vector<std::vector<std::string>> rows = {
      {"NIC", "MAC", "DEVICE", "DRIVER", "GROUP", "LINK", "ADDRESS", "MTU", "NODE", "MODE"}};
  std::vector<Shown> shown;
  for (const ListedNic& listed : nics) {
    shown.push_back(show(listed));
    const Shown& one = shown.back();
    rows.push_back({one.name, one.mac, one.device, one.driver, one.group, one.link, one.address,
                    one.mtu == 0 ? "" : std::to_string(one.mtu),
                    one.numa_node < 0 ? "" : std::to_string(one.numa_node),
                    listed.taken ? one.mode + " (taken)" : one.mode});
  }
  std::vector<size_t> widths(rows[0].size(), 1);
  for (auto& row : rows) {
    for (size_t i = 0; i < row.size(); i++) {
      if (row[i].empty()) row[i] = "-";
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  write_row(out, rows[0], widths);
  for (size_t i = 0; i < shown.size(); i++) {
    write_row(out, rows[i + 1], widths);
    for (const std::string& reason : shown[i].reasons) fprintf(out, "    %s\n", reason.c_str());
  }
}

void write_list_json(FILE* out, const std::vector<ListedNic>& nics) {
  JsonWriter json;
  for (const ListedNic& listed : nics) {
    const Shown one = show(listed);
    json.begin_object();
    json.text_or_null("name", one.name);
    json.text_or_null("mac", one.mac);
    json.text("bus", listed.nic.bus == Bus::kPci     ? "pci"
                     : listed.nic.bus == Bus::kVmbus ? "vmbus"
                                                     : "other");
    json.text_or_null("device", one.device);
    json.text_or_null("driver", one.driver);
    json.text_or_null("iommu_group", one.group);
    json.text_or_null("link", one.link);
    json.text_or_null("address", one.address);
    json.number("mtu", one.mtu);
    json.number("numa_node", one.numa_node);
    json.text_or_null("section", listed.section);
    json.boolean("taken", listed.taken.has_value());
    json.text_or_null("mode", one.mode);
    json.list("reasons", one.reasons);
    json.end_object();
  }
  fputs(json.finish().c_str(), out);
}

std::vector<NicStatus> collect_status(const SysRoot& root, const config::Config& config,
                                      const std::vector<SavedNic>& saved) {
  std::vector<NicStatus> all;
  std::set<std::string> names;
  const std::string boot_id = root.boot_id();
  const auto add = [&](const std::string& name, bool is_configured) {
    if (!names.insert(name).second) return;
    NicStatus one;
    one.name = name;
    one.is_configured = is_configured;
    one.state = "free";
    for (const SavedNic& known : saved) {
      if (known.name == name) one.saved = known;
    }
    if (one.saved) {
      one.driver = device_driver(root, one.saved->bus, one.saved->device);
      const bool is_now = one.saved->boot_id == boot_id;
      if (is_now && one.saved->bound == Bound::kYes) one.state = "taken";
      if (is_now && one.saved->bound == Bound::kFound) one.state = "found";
      const bool is_there = one.saved->bus == Bus::kOther ||
                            !device_path(root, one.saved->bus, one.saved->device).empty();
      if (!is_there) one.state = "gone";
      one.user = device_user(root, one.saved->bus, one.saved->device);
    }
    all.push_back(std::move(one));
  };
  for (const config::NicConfig& nic : config.nics) add(nic.name, true);
  for (const SavedNic& nic : saved) add(nic.name, false);
  return all;
}

void write_status(FILE* out, const std::vector<NicStatus>& nics) {
  if (nics.empty()) fputs("no NIC is configured, and none is taken\n", out);
  for (const NicStatus& one : nics) {
    fprintf(out, "%s: %s%s\n", one.name.c_str(), one.state.c_str(),
            one.is_configured ? "" : ", not in the configuration");
    if (!one.saved) continue;
    const SavedNic& saved = *one.saved;
    fprintf(out, "    mode %s: %s\n", saved.mode.c_str(), saved.reason.c_str());
    if (!saved.device.empty()) {
      fprintf(out, "    device %s, driver %s, the kernel's %s%s\n", saved.device.c_str(),
              one.driver.empty() ? "none" : one.driver.c_str(),
              saved.driver.empty() ? "none" : saved.driver.c_str(),
              (word(!one.user.empty(), ", open by ") + one.user).c_str());
    }
    if (saved.address != 0) {
      fprintf(out, "    address %s, gateway %s, MTU %u: %s\n",
              format_network(saved.address, saved.prefix_length).c_str(),
              saved.gateway == 0 ? "none" : format_ipv4(saved.gateway).c_str(), saved.mtu,
              saved.address_reason.c_str());
    }
    if (const std::string pages = pages_of(saved); !pages.empty()) {
      fprintf(out, "    hugepages reserved for it: %s\n", pages.c_str());
    }
  }
}

void write_status_json(FILE* out, const std::vector<NicStatus>& nics) {
  JsonWriter json;
  for (const NicStatus& one : nics) {
    json.begin_object();
    json.text("name", one.name);
    json.text("state", one.state);
    json.boolean("configured", one.is_configured);
    if (one.saved) {
      const SavedNic& saved = *one.saved;
      json.text_or_null("interface", saved.ifname);
      json.text("mac", format_mac(saved.mac));
      json.text_or_null("device", saved.device);
      json.text_or_null("driver", one.driver);
      json.text_or_null("kernel_driver", saved.driver);
      json.text("mode", saved.mode);
      json.text("reason", saved.reason);
      json.text_or_null(
          "address", saved.address == 0 ? "" : format_network(saved.address, saved.prefix_length));
      json.text_or_null("gateway", saved.gateway == 0 ? "" : format_ipv4(saved.gateway));
      json.text("address_reason", saved.address_reason);
      json.number("mtu", saved.mtu);
      json.number("numa_node", saved.numa_node);
      json.text_or_null("hugepages", pages_of(saved));
      json.text_or_null("user", one.user);
    }
    json.end_object();
  }
  fputs(json.finish().c_str(), out);
}

}  // namespace mn::device
