// SPDX-License-Identifier: MIT
// The part of Binder that takes: all changes to the machine, after everything was decided.
#include <algorithm>

#include "base/log_ids.h"
#include "device/bind_job.h"
#include "device/device_access.h"
#include "device/find.h"
#include "device/hugepages.h"

namespace mn::device {

namespace {

constexpr char kNoiommuSwitch[] = "/module/vfio/parameters/enable_unsafe_noiommu_mode";
// Where the operator says nothing: buffers of a NIC with one engine and frames of 9,000 bytes and
// DPDK's own tables; then what each further engine takes.
constexpr uint64_t kDefaultMemory = uint64_t{128} << 20;
constexpr uint64_t kEngineMemory = uint64_t{64} << 20;

uint64_t share_of(const config::Config& config, const std::string& name) {
  if (config.memory_bytes != 0) return config.memory_bytes / config.nics.size();
  for (const config::NicConfig& nic : config.nics) {
    if (nic.name == name) return kDefaultMemory + (nic.engines - 1u) * kEngineMemory;
  }
  return kDefaultMemory;  // taken, and no longer in the configuration
}

}  // namespace

Result<void> Binder::take(Job* job) const {
  reserve_pages(job);
  if (auto loaded = load_modules(*job); !loaded) return loaded;
  if (job->saved.bound == Bound::kYes) {
    if (job->choice.mode == "vfio-noiommu") {
      if (auto allowed = allow_noiommu(job); !allowed) return allowed;
    }
    if (!job->choice.driver.empty()) return bind_driver(*job);
  }
  return bring_up(*job);
}

// Other NICs of the node that are taken: pages that are free may be meant for them.
uint64_t Binder::meant_for_others(const Job& job, bool is_asked) const {
  const auto all = load_saved_nics(world_.root);
  if (!all) return 0;
  uint64_t bytes = 0;
  for (const SavedNic& other : all.value()) {
    const bool has_share = is_asked || !is_kernel_driven(other.mode);
    const bool is_same = other.name == job.saved.name || other.device == job.saved.device;
    if (has_share && !is_same && is_taken(other, boot_id_) &&
        other.numa_node == job.saved.numa_node) {
      bytes += share_of(job.config, other.name);
    }
  }
  return bytes;
}

void Binder::reserve_pages(Job* job) const {
  const config::Config& config = job->config;
  const bool is_asked = config.memory_bytes != 0 || config.hugepages == config::Hugepages::kYes;
  if (config.hugepages == config::Hugepages::kNo) return;
  // The kernel's own drivers do well enough without, unless the operator wants them.
  if (!is_asked && is_kernel_driven(job->choice.mode)) return;
  std::vector<ReservedPages>& pages_of_nic = job->saved.hugepages;
  if (std::any_of(pages_of_nic.begin(), pages_of_nic.end(),
                  [](const ReservedPages& pages) { return pages.floor.has_value(); })) {
    // A plan that a crash cut short: what came true of it goes back, and all is asked for anew.
    return_pages(&job->saved);
  }
  if (!pages_of_nic.empty()) return;  // reserved by us already
  const uint64_t bytes = share_of(config, job->saved.name) + meant_for_others(*job, is_asked);
  const auto note = [this, job](const std::vector<ReservedPages>& pages) {
    job->saved.hugepages = pages;
    return save_nic(world_.root, job->saved);
  };
  auto grant = reserve_hugepages(world_.root, bytes, job->nic.numa_node, note);
  if (!grant) {
    say(LogLevel::kWarning, job->saved.name, grant.error(), log_id::kHugepages);
    return;
  }
  say(grant.value().is_enough ? LogLevel::kInfo : LogLevel::kWarning, job->saved.name,
      grant.value().line, log_id::kHugepages);
  if (auto noted = note(grant.value().added); !noted) {
    say(LogLevel::kWarning, job->saved.name, noted.error());
  }
}

Result<void> Binder::load_modules(const Job& job) const {
  for (const std::string& module : job.choice.modules) {
    std::string folder = module;
    for (char& c : folder) c = c == '-' ? '_' : c;
    if (exists(world_.root.sys + "/module/" + folder)) continue;
    if (auto ran = run(job.saved.name, {world_.root.modprobe, module}); !ran) return ran;
  }
  return {};
}

Result<void> Binder::allow_noiommu(Job* job) const {
  const std::string path = world_.root.sys + kNoiommuSwitch;
  const auto value = read_text(path);
  if (!value) {
    return Error{"nic " + job->nic.label() +
                 ": this kernel was built without vfio's no-IOMMU mode (CONFIG_VFIO_NOIOMMU); set "
                 "mode = af_xdp, or use another kernel"};
  }
  if (*value == "Y" || *value == "1") return {};
  job->saved.noiommu_enabled = true;
  if (auto saved = save_nic(world_.root, job->saved); !saved) return saved;
  say(LogLevel::kWarning, job->saved.name,
      "switching on vfio's unsafe no-IOMMU mode, as allow_unsafe_noiommu = yes says: the device "
      "can "
      "reach all memory");
  return write_text(path, "Y");
}

Result<void> Binder::bind_driver(const Job& job) const {
  const Candidate& nic = job.nic;
  const std::string& driver = job.choice.driver;
  auto ran = run(job.saved.name, driverctl(nic.bus, {"set-override", nic.device, driver}));
  if (!ran) return ran;
  const std::string now = device_driver(world_.root, nic.bus, nic.device);
  if (now != driver) {
    return Error{"nic " + nic.label() + ": driverctl reports success, but the device is bound to " +
                 (now.empty() ? "nothing" : now) + ", not " + driver +
                 "; the kernel's log (dmesg) says why"};
  }
  return open_for_service(job.saved);
}

// The one line that every NIC gets.
void Binder::say_taken(const Job& job) const {
  const SavedNic& saved = job.saved;
  std::string line;
  if (saved.bound == Bound::kFound) {
    line = saved.device + " is taken as it was found, bound to " + job.nic.driver;
  } else if (!job.choice.driver.empty()) {
    line = saved.device + " is bound to " + job.choice.driver +
           (saved.driver.empty() ? "" : ", was " + saved.driver);
  } else {
    line = saved.ifname + " is taken, and stays with the kernel's driver" +
           (saved.driver.empty() ? "" : " " + saved.driver);
  }
  say(LogLevel::kInfo, saved.name, line, log_id::kNicTaken);
}

Result<void> Binder::open_for_service(const SavedNic& saved) const {
  const auto opened = let_service_open(world_.root, saved.bus, saved.device);
  if (opened) return {};
  return Error{"nic " + saved.name + ": " + opened.error()};
}

// For what stays with the kernel's driver.
Result<void> Binder::bring_up(const Job& job) const {
  if (!job.nic.has_interface() || job.nic.net.is_up) return {};
  if (!driver_of_mode(job.saved.mode).empty()) return {};
  say(LogLevel::kInfo, job.saved.name, "bringing up " + job.nic.net.ifname);
  return world_.net->set_up(job.nic.net.ifname, true);
}

}  // namespace mn::device
