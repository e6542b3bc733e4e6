// SPDX-License-Identifier: MIT
// Binder: takes a NIC for Machnet and gives it back. Taking: find it, read what the kernel knows,
// choose the mode, refuse, remember all of it on disk, and only then change anything; what fails
// half-way is undone. Giving back works from what was remembered and what is true now, so also
// after kill -9 or a power cut. machnet-nic's alone, as root, main thread; blocking. Says each
// thing that it decides or does in one line.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "config/config.h"
#include "device/address_facts.h"
#include "device/inventory.h"
#include "device/kernel_net.h"
#include "device/mode_choice.h"
#include "device/refusal.h"
#include "device/saved_nic.h"
#include "device/sys_root.h"

namespace mn::device {

struct BinderWorld {
  SysRoot root;
  KernelNet* net = nullptr;
  MetadataSource metadata;
  std::function<void(LogLevel, const LogEvent& about, const std::string& line)> say;
  int interface_wait_ms = 10'000;  // for the kernel to show the interface again
  int rename_wait_ms = 2'000;      // and for udev to give it its name
};

// What would happen to a NIC, for `list`; nothing is changed.
struct BindPlan {
  ModeChoice choice;
  std::vector<std::string> refusals;  // empty: it would be taken
};

class Binder {
 public:
  explicit Binder(BinderWorld world);

  // Takes the NIC of one section. Taking what is taken is right and changes nothing but the
  // address.
  Result<void> bind(const config::Config& config, const config::NicConfig& wanted);
  // Whether the last bind() failed for a reason that does not go away by itself.
  bool needs_operator() const { return needs_operator_; }
  // Gives back what bind() took. What is not taken is right.
  Result<void> unbind(const SavedNic& saved);
  static bool holds_nothing(const SavedNic& saved);

  BindPlan plan(const Inventory& inventory, const Candidate& nic,
                const config::NicConfig& wanted) const;

 private:
  struct Job;  // one bind() on its way

  Result<void> look_around(Job* job) const;
  Result<bool> keep_earlier(Job* job);
  Result<void> decide(Job* job);
  Result<void> remember(Job* job) const;
  Result<void> take(Job* job) const;
  Result<void> load_modules(const Job& job) const;
  Result<void> allow_noiommu(Job* job) const;
  Result<void> bind_driver(const Job& job) const;
  void say_taken(const Job& job) const;
  Error for_operator(Error error);
  Result<void> open_for_service(const SavedNic& saved) const;
  Result<void> bring_up(const Job& job) const;
  uint64_t meant_for_others(const Job& job, bool is_asked) const;
  void reserve_pages(Job* job) const;

  Result<bool> release_driver(const SavedNic& nic) const;
  Result<void> restore_interface(const SavedNic& nic) const;
  void restore_flags(const SavedNic& nic) const;
  void return_pages(SavedNic* nic) const;
  void forbid_noiommu(SavedNic* nic) const;
  std::string wait_for_interface(const SavedNic& nic) const;

  Result<void> run(const std::string& name, const std::vector<std::string>& argv) const;
  std::vector<std::string> driverctl(Bus bus, const std::vector<std::string>& words) const;
  void say(LogLevel level, const std::string& name, const std::string& line,
           const char* message_id = nullptr) const;

  BinderWorld world_;
  std::string boot_id_;
  bool needs_operator_ = false;
};

}  // namespace mn::device
