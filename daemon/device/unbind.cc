// SPDX-License-Identifier: MIT
// The half of Binder that gives back.
#include <time.h>

#include <algorithm>

#include "base/log_ids.h"
#include "device/binder.h"
#include "device/device_users.h"
#include "device/find.h"
#include "device/hugepages.h"
#include "device/text.h"

namespace mn::device {

namespace {

constexpr char kNoiommuSwitch[] = "/module/vfio/parameters/enable_unsafe_noiommu_mode";
constexpr int kPollMs = 20;

void sleep_ms(int milliseconds) {
  const timespec pause{milliseconds / 1000, milliseconds % 1000 * 1'000'000L};
  nanosleep(&pause, nullptr);
}

}  // namespace

bool Binder::holds_nothing(const SavedNic& saved) {
  return saved.bound == Bound::kNo && saved.hugepages.empty() && !saved.noiommu_enabled;
}

Result<void> Binder::unbind(const SavedNic& saved) {
  SavedNic nic = saved;
  if (saved.boot_id != boot_id_) {
    if (saved.bound != Bound::kNo) {
      say(LogLevel::kInfo, nic.name,
          "was taken before the machine was booted, which gave it back; forgetting that");
    }
    nic.bound = Bound::kNo;
    nic.noiommu_enabled = false;
    nic.hugepages.clear();
    return save_nic(world_.root, nic);
  }
  if (holds_nothing(saved)) {
    say(LogLevel::kInfo, nic.name, "is not taken; nothing to give back");
    return {};
  }
  Result<void> restored;
  if (saved.bound == Bound::kFound) {
    say(LogLevel::kInfo, nic.name,
        "was bound before machnet came, and is left as it is (" + nic.device + ")");
  } else if (saved.bound == Bound::kYes) {
    const auto released = release_driver(nic);
    if (!released) return Error{released.error()};
    if (released.value()) restored = restore_interface(nic);
    nic.bound = Bound::kNo;
  }
  return_pages(&nic);
  forbid_noiommu(&nic);
  if (auto written = save_nic(world_.root, nic); !written) return written;
  return restored;
}

// True: the kernel's driver has it, and its interface is to be restored.
Result<bool> Binder::release_driver(const SavedNic& nic) const {
  const std::string ours = driver_of_mode(nic.mode);
  if (ours.empty()) return true;
  const std::string path = device_path(world_.root, nic.bus, nic.device);
  if (path.empty()) {
    say(LogLevel::kWarning, nic.name,
        "the device " + nic.device + " is gone; nothing to give back");
    return false;
  }
  std::string driver = device_driver(world_.root, nic.bus, nic.device);
  const std::string override_now = read_text(path + "/driver_override").value_or("");
  if (driver != ours && override_now != ours) {
    if (!driver.empty() && driver == nic.driver) return true;  // it was never bound, or is back
    if (!driver.empty()) {
      say(LogLevel::kWarning, nic.name,
          nic.device + " was bound to " + driver + " by someone else meanwhile, and is left so");
      return false;
    }
  }
  const std::string user = device_user(world_.root, nic.bus, nic.device);
  if (!user.empty()) {
    return Error{
        "nic " + nic.name + ": " + user + " has " + nic.device +
        " open, and the kernel would wait for its end; stop it first (systemctl stop machnet)"};
  }
  if (auto ran = run(nic.name, driverctl(nic.bus, {"unset-override", nic.device})); !ran) {
    return Error{ran.error()};
  }
  driver = device_driver(world_.root, nic.bus, nic.device);
  if (driver == ours || (driver.empty() && !nic.driver.empty())) {
    return Error{"nic " + nic.name + ": " + nic.device + " is bound to " +
                 (driver.empty() ? "nothing" : driver) +
                 " after driverctl, not to the kernel's driver " + nic.driver + "; try `modprobe " +
                 nic.driver + "` and machnet-nic unbind again"};
  }
  say(LogLevel::kInfo, nic.name,
      nic.device + " is bound to " + (driver.empty() ? "nothing, as before" : driver + " again"));
  return true;
}

// Its name may differ from before: udev gives it one when it appears, a moment later.
std::string Binder::wait_for_interface(const SavedNic& nic) const {
  std::string ifname;
  int since_seen_ms = 0;
  for (int waited_ms = 0;; waited_ms += kPollMs) {
    ifname = device_interface(world_.root, nic.bus, nic.device, nic.ifname);
    if (!ifname.empty()) {
      if (ifname == nic.ifname || since_seen_ms >= world_.rename_wait_ms) return ifname;
      since_seen_ms += kPollMs;
    } else if (waited_ms >= world_.interface_wait_ms) {
      return "";
    }
    sleep_ms(kPollMs);
  }
}

Result<void> Binder::restore_interface(const SavedNic& nic) const {
  if (driver_of_mode(nic.mode).empty()) {
    restore_flags(nic);
    return {};
  }
  if (nic.ifname.empty()) {  // the kernel had none before either
    say(LogLevel::kInfo, nic.name, nic.device + " is given back", log_id::kNicGivenBack);
    return {};
  }
  const std::string ifname = wait_for_interface(nic);
  if (ifname.empty()) {
    return Error{
        "nic " + nic.name + ": " + nic.device +
        " is back with the kernel, but shows no interface; its address and routes were not "
        "restored: the kernel's log (dmesg) says why"};
  }
  if (ifname != nic.ifname) {
    say(LogLevel::kWarning, nic.name,
        "the interface is called " + ifname + " now, was " + nic.ifname);
  }
  const auto failures = restore_network(world_.net, ifname, kernel_part(nic));
  for (const std::string& line : failures) say(LogLevel::kWarning, nic.name, line);
  if (!failures.empty()) {
    return Error{"nic " + nic.name + ": given back, but " + std::to_string(failures.size()) +
                 " things of " + ifname + " could not be restored: " + failures[0]};
  }
  std::string what = nic.is_up ? "up" : "down";
  what += ", MTU " + std::to_string(nic.mtu);
  for (const KernelAddress& one : nic.addresses) {
    what += ", " + one.address + "/" + std::to_string(one.prefix_length);
  }
  say(LogLevel::kInfo, nic.name,
      ifname + " is as it was: " + what + ", " + std::to_string(nic.routes.size()) + " routes",
      log_id::kNicGivenBack);
  return {};
}

// Of an interface that was the kernel's all the time: only what Machnet changes on such.
void Binder::restore_flags(const SavedNic& nic) const {
  const auto nics = world_.net->nics();
  if (!nics) {
    say(LogLevel::kWarning, nic.name, nics.error());
    return;
  }
  const auto it = std::find_if(nics.value().begin(), nics.value().end(),
                               [&nic](const KernelNic& one) { return one.ifname == nic.ifname; });
  if (it == nics.value().end()) {
    say(LogLevel::kWarning, nic.name, nic.ifname + " is gone; nothing to give back");
    return;
  }
  if (nic.mtu != 0 && it->mtu != nic.mtu) {
    say(LogLevel::kInfo, nic.name, nic.ifname + ": MTU back to " + std::to_string(nic.mtu));
    if (auto done = world_.net->set_mtu(nic.ifname, nic.mtu); !done) {
      say(LogLevel::kWarning, nic.name, done.error());
    }
  }
  if (it->is_up && !nic.is_up) {
    say(LogLevel::kInfo, nic.name, nic.ifname + ": down again, as it was");
    if (auto done = world_.net->set_up(nic.ifname, false); !done) {
      say(LogLevel::kWarning, nic.name, done.error());
    }
  }
  say(LogLevel::kInfo, nic.name, nic.ifname + " is the kernel's alone again",
      log_id::kNicGivenBack);
}

void Binder::return_pages(SavedNic* nic) const {
  if (nic->hugepages.empty()) return;
  const auto returned = return_hugepages(world_.root, nic->hugepages);
  say(returned ? LogLevel::kInfo : LogLevel::kWarning, nic->name,
      returned ? returned.value() : returned.error());
  if (returned) nic->hugepages.clear();
}

// Unless another NIC still lives by it, which then inherits the duty.
void Binder::forbid_noiommu(SavedNic* nic) const {
  if (!nic->noiommu_enabled) return;
  nic->noiommu_enabled = false;
  auto all = load_saved_nics(world_.root);
  if (all) {
    for (SavedNic& other : all.value()) {
      if (other.name == nic->name || other.mode != "vfio-noiommu" || !is_taken(other, boot_id_)) {
        continue;
      }
      other.noiommu_enabled = true;
      if (auto saved = save_nic(world_.root, other); !saved) {
        say(LogLevel::kWarning, nic->name, saved.error());
      }
      return;
    }
  }
  say(LogLevel::kInfo, nic->name, "switching vfio's unsafe no-IOMMU mode off again");
  if (auto done = write_text(world_.root.sys + kNoiommuSwitch, "N"); !done) {
    say(LogLevel::kWarning, nic->name, done.error());
  }
}

}  // namespace mn::device
