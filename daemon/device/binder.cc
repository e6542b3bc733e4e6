// SPDX-License-Identifier: MIT
#include "device/binder.h"

#include <algorithm>
#include <utility>

#include "base/log_ids.h"
#include "device/bind_job.h"
#include "device/device_users.h"
#include "device/find.h"
#include "device/text.h"

namespace mn::device {

namespace {

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

std::string describe_address(const SavedNic& nic) {
  return "address " + format_network(nic.address, nic.prefix_length) + ", gateway " +
         (nic.gateway == 0 ? "none" : format_ipv4(nic.gateway)) + " (" + nic.address_reason + ")";
}

// The device as it was before it was taken; what a mode is chosen by.
Candidate as_before(const Candidate& nic, const SavedNic& earlier) {
  Candidate before = nic;
  before.driver = earlier.driver;
  return before;
}

bool same_device(const Candidate& nic, const SavedNic& saved) {
  if (nic.bus != saved.bus || nic.device != saved.device) return false;
  return nic.bus != Bus::kOther || nic.net.mac == saved.mac;
}

}  // namespace

Binder::Binder(BinderWorld world) : world_(std::move(world)), boot_id_(world_.root.boot_id()) {}

void Binder::say(LogLevel level, const std::string& name, const std::string& line,
                 const char* message_id) const {
  world_.say(level, {.message_id = message_id, .nic = name.c_str()}, "nic " + name + ": " + line);
}

Error Binder::for_operator(Error error) {
  needs_operator_ = true;
  return error;
}

Result<void> Binder::run(const std::string& name, const std::vector<std::string>& argv) const {
  const std::string command = joined(argv, " ");
  say(LogLevel::kInfo, name, "running: " + command);
  const auto output = world_.root.run(argv);
  if (!output) return Error{"nic " + name + ": " + output.error()};
  if (output.value().exit_code == 0) return {};
  const std::string& text = output.value().err.empty() ? output.value().out : output.value().err;
  return Error{"nic " + name + ": `" + command + "` failed (exit code " +
               std::to_string(output.value().exit_code) + "): " + printable(trim(text), 300)};
}

std::vector<std::string> Binder::driverctl(Bus bus, const std::vector<std::string>& words) const {
  std::vector<std::string> argv = {world_.root.driverctl};
  if (bus == Bus::kVmbus) argv.insert(argv.end(), {"-b", "vmbus"});
  argv.push_back("--nosave");
  argv.insert(argv.end(), words.begin(), words.end());
  return argv;
}

BindPlan Binder::plan(const Inventory& inventory, const Candidate& nic,
                      const config::NicConfig& wanted) const {
  const std::string& usual = nic.has_interface() ? nic.net.ifname : nic.device;
  const RefusalFacts facts{.name = wanted.name.empty() ? usual : wanted.name,
                           .force = wanted.force,
                           .address = wanted.address,
                           .ours = {}};
  const auto choice = choose_mode(nic, wanted.mode, wanted.allow_unsafe_noiommu);
  BindPlan plan;
  if (choice) plan.choice = choice.value();
  plan.refusals = refusals(world_.root, inventory, nic, plan.choice, facts);
  if (!choice) plan.refusals.push_back(choice.error());
  return plan;
}

Result<void> Binder::bind(const config::Config& config, const config::NicConfig& wanted) {
  needs_operator_ = false;
  if (wanted.mode.starts_with("vdev:")) {
    say(LogLevel::kInfo, wanted.name, "mode " + wanted.mode + ": nothing to bind");
    return {};
  }
  Job job{.config = config,
          .wanted = wanted,
          .earlier = {},
          .inventory = {},
          .nic = {},
          .choice = {},
          .saved = {}};
  if (auto looked = look_around(&job); !looked) return looked;
  const auto kept = keep_earlier(&job);
  if (!kept) return Error{kept.error()};
  if (kept.value()) return {};
  if (auto decided = decide(&job); !decided) return decided;
  if (auto remembered = remember(&job); !remembered) return remembered;
  if (auto taken = take(&job); !taken) {
    say(LogLevel::kWarning, wanted.name, "taking it failed; undoing what was done");
    if (auto undone = unbind(job.saved); !undone) {
      return Error{taken.error() + "; and undoing it failed: " + undone.error()};
    }
    return taken;
  }
  say_taken(job);
  return {};
}

Result<void> Binder::look_around(Job* job) const {
  auto saved = load_saved_nic(world_.root, job->wanted.name);
  if (!saved) return Error{saved.error()};
  auto inventory = take_inventory(world_.root, world_.net);
  if (!inventory) return Error{inventory.error()};
  job->inventory = std::move(inventory.value());
  job->earlier = std::move(saved.value());
  auto found = find_nic(job->inventory, job->wanted.name, job->earlier_or_null(), boot_id_);
  if (!found) return Error{found.error()};
  job->nic = std::move(found.value());
  // Another device has the name now: what was remembered is not of this one.
  if (job->earlier && !same_device(job->nic, *job->earlier)) {
    if (is_taken(*job->earlier, boot_id_) && job->earlier->bus != Bus::kOther) {
      return Error{"nic " + job->wanted.name + ": is " + job->nic.label() +
                   " now, but was taken as " + job->earlier->device + "; `machnet-nic unbind " +
                   job->wanted.name + "` ends that"};
    }
    job->earlier.reset();
  }
  return {};
}

// True: it is ours already, as it is wanted.
Result<bool> Binder::keep_earlier(Job* job) {
  if (!job->earlier || !is_taken(*job->earlier, boot_id_)) return false;
  SavedNic& earlier = *job->earlier;
  const std::string& name = job->wanted.name;
  const std::string driver = driver_of_mode(earlier.mode);
  const bool is_still_ours = driver.empty() ? job->nic.has_interface() : job->nic.driver == driver;
  if (!is_still_ours) {
    say(LogLevel::kWarning, name, "was taken, but is not bound to " + driver + " any more");
    return false;
  }
  std::string mode = job->wanted.mode;
  if (!is_kernel_driven(mode)) {
    const auto choice =
        choose_mode(as_before(job->nic, earlier), mode, job->wanted.allow_unsafe_noiommu);
    if (!choice) return for_operator({choice.error()});
    mode = choice.value().mode;
  }
  if (mode != earlier.mode) {
    say(LogLevel::kInfo, name,
        "is taken as " + earlier.mode + " and wanted as " + mode + ": giving it back first");
    if (auto released = unbind(earlier); !released) return Error{released.error()};
    if (auto looked = look_around(job); !looked) return Error{looked.error()};
    return false;
  }
  const auto address = choose_address(job->wanted, job->nic, &earlier, world_.metadata);
  if (!address) return Error{address.error()};
  earlier.address = address.value().address;
  earlier.prefix_length = address.value().prefix_length;
  earlier.gateway = address.value().gateway;
  earlier.address_reason = address.value().reason;
  if (auto saved = save_nic(world_.root, earlier); !saved) return Error{saved.error()};
  job->saved = earlier;
  if (auto up = bring_up(*job); !up) return Error{up.error()};
  if (auto opened = open_for_service(earlier); !opened) return Error{opened.error()};
  say(LogLevel::kInfo, name,
      "is taken already, mode " + earlier.mode + "; " + describe_address(earlier),
      log_id::kNicTaken);
  return true;
}

Result<void> Binder::decide(Job* job) {
  const Candidate& nic = job->nic;
  const config::NicConfig& wanted = job->wanted;
  // Bound before we came, in this boot: by an administrator who wants it so.
  const bool may_adopt =
      job->earlier && is_user_driver(nic.driver) &&
      driver_of_mode(job->earlier->mode) == nic.driver &&
      (job->earlier->bound == Bound::kFound || job->earlier->boot_id != boot_id_);
  const Candidate view = may_adopt ? as_before(nic, *job->earlier) : nic;
  auto choice = choose_mode(view, wanted.mode, wanted.allow_unsafe_noiommu);
  if (!choice && job->wanted.mode == "pci") choice = choose_mode(nic, "pci", false);
  if (!choice) return for_operator({choice.error()});
  job->choice = choice.value();
  const bool is_adopted =
      job->choice.mode == "pci" || (may_adopt && job->choice.driver == nic.driver);

  auto address = choose_address(wanted, nic, job->earlier_or_null(), world_.metadata);
  if (is_adopted) {
    // Found so before in this boot: it may be our own service.
    const bool is_known =
        job->earlier && job->earlier->bound == Bound::kFound && job->earlier->boot_id == boot_id_;
    const std::string user = device_user(world_.root, nic.bus, nic.device);
    if (!user.empty() && !is_known) {
      return Error{"nic " + nic.label() + ": " + user + " has it open; stop that first"};
    }
    if (may_adopt) job->choice.reason += "; it was bound already, and stays so";
  } else {
    RefusalFacts facts{.name = wanted.name,
                       .force = wanted.force,
                       .address = address ? address.value().address : 0,
                       .ours = {}};
    for (const config::NicConfig& other : job->config.nics) {
      const auto found = find_nic(job->inventory, other.name, nullptr, boot_id_);
      if (found) facts.ours.insert(found.value().device);
    }
    const auto reasons = refusals(world_.root, job->inventory, nic, job->choice, facts);
    if (!reasons.empty()) return for_operator({joined(reasons, "; also ")});
  }
  if (!address) return Error{address.error()};

  SavedNic& saved = job->saved;
  if (job->earlier) saved = *job->earlier;
  if (!job->earlier || !is_taken(*job->earlier, boot_id_)) {
    saved.hugepages.clear();
    saved.noiommu_enabled = false;
  }
  saved.name = wanted.name;
  saved.bus = nic.bus;
  saved.device = nic.device;
  if (!is_adopted || !job->earlier) saved.driver = nic.driver;
  saved.mode = job->choice.mode;
  saved.reason = job->choice.reason;
  saved.address = address.value().address;
  saved.prefix_length = address.value().prefix_length;
  saved.gateway = address.value().gateway;
  saved.address_reason = address.value().reason;
  saved.numa_node = nic.numa_node;
  saved.boot_id = boot_id_;
  saved.bound = is_adopted ? Bound::kFound : Bound::kYes;
  if (nic.has_interface()) {
    saved.ifname = nic.net.ifname;
    saved.mac = nic.net.mac;
    saved.mtu = nic.net.mtu;
  } else if (saved.mtu == 0) {
    saved.mtu = address.value().mtu;
  }
  if (!is_adopted) {
    saved.is_up = nic.net.is_up;
    saved.addresses = nic.net.addresses;
    saved.routes = nic.net.routes;
  }
  return {};
}

// Written as taken before it is: whoever dies in between leaves a note that makes the next one
// look, and looking finds what is true.
Result<void> Binder::remember(Job* job) const {
  const SavedNic& saved = job->saved;
  say(LogLevel::kInfo, saved.name, "mode " + saved.mode + ": " + saved.reason);
  say(LogLevel::kInfo, saved.name, describe_address(saved));
  return save_nic(world_.root, saved);
}

}  // namespace mn::device
