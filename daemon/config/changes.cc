// SPDX-License-Identifier: MIT
#include "config/changes.h"

#include "config/keys.h"

namespace mn::config {
namespace {

constexpr char kAbsent[] = "absent";
constexpr char kPresent[] = "present";

const NicConfig* find_nic(const Config& config, const std::string& name) {
  for (const NicConfig& nic : config.nics) {
    if (nic.name == name) return &nic;
  }
  return nullptr;
}

template <typename Keys, typename Section>
void compare(const std::string& name, Keys keys, const Section& before, const Section& after,
             std::vector<Change>* changes) {
  for (const auto& key : keys) {
    std::string old_value = key.show(before);
    std::string new_value = key.show(after);
    if (old_value == new_value) continue;
    if (old_value.empty()) old_value = kAbsent;
    if (new_value.empty()) new_value = kAbsent;
    changes->push_back(
        {name, key.name, std::move(old_value), std::move(new_value), key.reloadable});
  }
}

template <typename Keys, typename Section>
void apply(Keys keys, const Section& wanted, Section* running) {
  for (const auto& key : keys) {
    // What was read once can be read again.
    if (key.reloadable) key.set(running, key.show(wanted));
  }
}

}  // namespace

std::vector<Change> find_changes(const Config& before, const Config& after) {
  std::vector<Change> changes;
  compare("machnet", machnet_keys(), before, after, &changes);
  for (const NicConfig& nic : before.nics) {
    if (const NicConfig* other = find_nic(after, nic.name)) {
      compare("nic " + nic.name, nic_keys(), nic, *other, &changes);
    }
  }
  for (const NicConfig& nic : before.nics) {
    if (find_nic(after, nic.name) == nullptr) {
      changes.push_back({"nic " + nic.name, "", kPresent, kAbsent, false});
    }
  }
  for (const NicConfig& nic : after.nics) {
    if (find_nic(before, nic.name) == nullptr) {
      changes.push_back({"nic " + nic.name, "", kAbsent, kPresent, false});
    }
  }
  return changes;
}

std::string describe(const Change& change) {
  return "[" + change.section + "]" + (change.key.empty() ? "" : " ") + change.key + ": " +
         change.before + " -> " + change.after;
}

void apply_reloadable(const Config& wanted, Config* running) {
  apply(machnet_keys(), wanted, running);
  for (NicConfig& nic : running->nics) {
    if (const NicConfig* other = find_nic(wanted, nic.name)) apply(nic_keys(), *other, &nic);
  }
}

}  // namespace mn::config
