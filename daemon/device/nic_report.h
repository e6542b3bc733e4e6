// SPDX-License-Identifier: MIT
// What `machnet-nic list` and `status` show, collected and written: for people as a table with a
// line of reasons below each NIC, for programs as JSON. Reads what the binder reads; changes
// nothing.
#pragma once

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "device/binder.h"
#include "device/inventory.h"
#include "device/saved_nic.h"

namespace mn::device {

struct ListedNic {
  Candidate nic;
  std::optional<SavedNic> taken;  // by machnet, in this boot
  std::string section;            // of the configuration that names it; "": none
  BindPlan plan;                  // of what is not taken
};

std::vector<ListedNic> collect_nics(const Binder& binder, const Inventory& inventory,
                                    const config::Config& config,
                                    const std::vector<SavedNic>& saved, const std::string& boot_id);
void write_list(FILE* out, const std::vector<ListedNic>& nics);
void write_list_json(FILE* out, const std::vector<ListedNic>& nics);

struct NicStatus {
  std::string name;
  bool is_configured = false;
  std::optional<SavedNic> saved;
  std::string state;   // taken, found, free, gone
  std::string driver;  // that the device has now
  std::string user;    // process that has it open; ""
};

std::vector<NicStatus> collect_status(const SysRoot& root, const config::Config& config,
                                      const std::vector<SavedNic>& saved);
void write_status(FILE* out, const std::vector<NicStatus>& nics);
void write_status_json(FILE* out, const std::vector<NicStatus>& nics);

}  // namespace mn::device
