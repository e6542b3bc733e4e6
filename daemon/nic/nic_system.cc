// SPDX-License-Identifier: MIT
#include "nic/nic_system.h"

#include <rte_lcore.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <set>

#include "base/mtu.h"
#include "device/interface.h"
#include "nic/buffer_plan.h"
#include "nic/eal.h"
#include "nic/ethdev_nic.h"

namespace mn::nic {

namespace {

constexpr uint64_t kBaseMemory = 32 << 20;  // DPDK's own tables
constexpr uint16_t kDefaultMtu = 1500;

uint16_t pci_vendor(const std::string& address) {
  unsigned vendor = 0;
  const std::string path = "/sys/bus/pci/devices/" + address + "/vendor";
  if (FILE* file = fopen(path.c_str(), "re")) {
    if (fscanf(file, "%x", &vendor) != 1) vendor = 0;
    fclose(file);
  }
  return static_cast<uint16_t>(vendor);
}

bool is_uuid(const std::string& text) {
  constexpr char kForm[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
  if (text.size() != sizeof(kForm) - 1) return false;
  for (size_t i = 0; i < text.size(); i++) {
    const bool fits =
        kForm[i] == '-' ? text[i] == '-' : isxdigit(static_cast<unsigned char>(text[i])) != 0;
    if (!fits) return false;
  }
  return true;
}

std::string dotted(Ipv4 address) {
  return std::to_string(address >> 24) + "." + std::to_string(address >> 16 & 255) + "." +
         std::to_string(address >> 8 & 255) + "." + std::to_string(address & 255);
}

std::string megabytes(uint64_t bytes) { return std::to_string((bytes >> 20) + 1) + " MiB"; }

Error about(const NicSettings& nic, const std::string& message) {
  return Error{"nic " + nic.name + ": " + message};
}

// What the kernel does with Machnet's address, if it is the kernel's as well.
constexpr char kLosesAddress[] =
    "but gets no IPv4 packets for it while machnetd runs; if it needs some, give machnet another "
    "address";
constexpr char kAnswersToo[] =
    "and sees the same packets: it answers some with ICMP errors, which machnet ignores and a "
    "firewall between may not; give machnet another address, or drop UDP to this one in the "
    "kernel's firewall";

// Turns what is configured into what is there: the interface, the PCI address, the MTU.
Result<EthdevSettings> resolve(const NicSettings& nic, unsigned index,
                               std::vector<std::string>* warnings) {
  EthdevSettings settings;
  settings.name = nic.name;
  settings.index = index;
  settings.queues = std::max<uint16_t>(nic.engines, 1);
  settings.address = nic.address;
  Result<NicMode> mode = parse_mode(nic.mode);
  if (!mode) return about(nic, mode.error());
  settings.mode = mode.value();
  uint32_t mtu = nic.mtu == 0 ? kDefaultMtu : nic.mtu;

  const NicMode::Kind kind = settings.mode.kind;
  if (kind == NicMode::Kind::kAfPacket || kind == NicMode::Kind::kAfXdp) {
    Result<device::Interface> interface = device::find_interface(nic.name);
    if (!interface) return about(nic, interface.error());
    settings.interface = interface.value();
    if (nic.mtu == 0) mtu = std::min<uint32_t>(settings.interface.mtu, kMtuMax);
    if (nic.address != 0 && device::kernel_has_address(settings.interface, nic.address)) {
      warnings->push_back("nic " + nic.name + ": the kernel has " + dotted(nic.address) + " too, " +
                          (kind == NicMode::Kind::kAfXdp ? kLosesAddress : kAnswersToo));
    }
  } else if (kind == NicMode::Kind::kPci) {
    if (!device::is_pci_address(nic.name)) {
      return about(nic,
                   "mode pci needs the PCI address of a device that is bound to vfio-pci or its "
                   "like, as in [nic 0000:3b:00.0]");
    }
    settings.bus_device = device::full_pci_address(nic.name);
    if (pci_vendor(settings.bus_device) == 0) {
      return about(nic, "no PCI device " + settings.bus_device + "; `lspci -D` lists them");
    }
  } else if (kind == NicMode::Kind::kVmbus) {
    if (!is_uuid(nic.name)) {
      return about(nic, "mode vmbus needs the UUID of a device that is bound to uio_hv_generic");
    }
    if (access(("/sys/bus/vmbus/devices/" + nic.name).c_str(), F_OK) != 0) {
      return about(nic, "no VMBus device " + nic.name + "; `machnet-nic list` shows what there is");
    }
    settings.bus_device = nic.name;
  }
  if (mtu < kMtuMin || mtu > kMtuMax) {
    return about(nic, "mtu " + std::to_string(mtu) + " is out of range (" +
                          std::to_string(kMtuMin) + " to " + std::to_string(kMtuMax) + ")");
  }
  settings.mtu = static_cast<uint16_t>(mtu);
  return settings;
}

Result<EalSettings> plan_eal(const NicSystemSettings& wanted,
                             const std::vector<EthdevSettings>& devices,
                             std::vector<std::string>* warnings) {
  EalSettings eal;
  std::set<std::string> libraries;
  for (const EthdevSettings& device : devices) {
    for (const std::string& library : libraries_for(device.mode)) libraries.insert(library);
    std::string value;
    if (argument_value(device.mode.arguments, "zero-copy", &value) && value == "yes") {
      eal.single_file_segments = true;  // memif's client refuses to share memory in many files
    }
    if (device.bus_device.empty()) continue;
    eal.bus_devices.push_back(device.bus_device);
    if (device.mode.kind != NicMode::Kind::kPci) continue;
    const std::vector<std::string> drivers = libraries_for_pci(pci_vendor(device.bus_device));
    if (drivers.empty()) eal.load_all_drivers = true;
    libraries.insert(drivers.begin(), drivers.end());
  }
  // Sorted, and so buses come before the drivers on them.
  eal.libraries.assign(libraries.begin(), libraries.end());
  const auto memory_for = [&devices](bool on_hugepages) {
    uint64_t needed = kBaseMemory;
    for (const EthdevSettings& device : devices) {
      needed += buffer_memory(device.mode.kind, device.mtu, device.queues, on_hugepages);
    }
    return needed;
  };
  const uint64_t free_bytes = wanted.hugepages == Hugepages::kNo ? 0 : free_hugepage_bytes();
  const uint64_t huge_bytes = std::max(memory_for(true), wanted.memory_bytes);
  eal.use_hugepages = wanted.hugepages != Hugepages::kNo && free_bytes >= huge_bytes;
  if (wanted.hugepages == Hugepages::kYes && !eal.use_hugepages) {
    return Error{
        "hugepages = yes, but of the " + megabytes(huge_bytes) + " needed only " +
        std::to_string(free_bytes >> 20) +
        " MiB are free; reserve some (sysctl vm.nr_hugepages=512) or set hugepages = auto"};
  }
  const uint64_t needed = memory_for(eal.use_hugepages);
  if (wanted.memory_bytes != 0 && wanted.memory_bytes < needed) {
    return Error{"memory = " + megabytes(wanted.memory_bytes) + " is too little: the NICs need " +
                 megabytes(needed) + (eal.use_hugepages ? "" : " on ordinary pages")};
  }
  eal.memory_bytes = std::max(needed, wanted.memory_bytes);
  if (wanted.hugepages == Hugepages::kAuto && !eal.use_hugepages) {
    warnings->push_back("no " + megabytes(huge_bytes) +
                        " of free hugepages: running on ordinary pages, which is slower (sysctl "
                        "vm.nr_hugepages=512 reserves some; hugepages = no silences this)");
  }
  return eal;
}

}  // namespace

class NicSystem::Impl {
 public:
  std::vector<std::unique_ptr<EthdevNic>> devices;
  std::vector<Nic> nics;
  std::vector<std::string> warnings;

  ~Impl() {
    devices.clear();
    stop_eal();
  }

  Result<void> start(const NicSystemSettings& settings) {
    if (settings.nics.empty()) return {};
    std::vector<EthdevSettings> resolved;
    for (const NicSettings& nic : settings.nics) {
      Result<EthdevSettings> one = resolve(nic, static_cast<unsigned>(resolved.size()), &warnings);
      if (!one) return Error{one.error()};
      resolved.push_back(one.value());
    }
    Result<EalSettings> eal = plan_eal(settings, resolved, &warnings);
    if (!eal) return Error{eal.error()};
    if (auto started = start_eal(eal.value()); !started) return started;
    for (const EthdevSettings& one : resolved) {
      Result<std::unique_ptr<EthdevNic>> device = EthdevNic::open(one, &warnings);
      if (!device) return Error{device.error()};
      devices.push_back(std::move(device.value()));
      nics.push_back(describe(one, *devices.back()));
    }
    return {};
  }

 private:
  static Nic describe(const EthdevSettings& settings, const EthdevNic& device) {
    Nic nic;
    nic.name = settings.name;
    nic.driver = device.driver();
    nic.mac = device.mac();
    nic.mtu = settings.mtu;
    nic.numa_node =
        settings.interface.name.empty() ? device.numa_node() : settings.interface.numa_node;
    nic.ports = device.ports();
    return nic;
  }
};

NicSystem::NicSystem(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
NicSystem::~NicSystem() = default;

Result<std::unique_ptr<NicSystem>> NicSystem::start(const NicSystemSettings& settings) {
  auto impl = std::make_unique<Impl>();
  if (auto started = impl->start(settings); !started) return Error{started.error()};
  return std::unique_ptr<NicSystem>(new NicSystem(std::move(impl)));
}

const std::vector<Nic>& NicSystem::nics() const { return impl_->nics; }
const std::vector<std::string>& NicSystem::warnings() const { return impl_->warnings; }

Result<void> check_mode(const std::string& mode) {
  Result<NicMode> parsed = parse_mode(mode);
  if (!parsed) return Error{parsed.error()};
  return {};
}

bool nic_thread_enter() {
  if (!eal_is_running() || rte_lcore_id() != LCORE_ID_ANY) return true;
  return rte_thread_register() == 0;
}

void nic_thread_leave() {
  if (eal_is_running() && rte_lcore_id() != LCORE_ID_ANY &&
      rte_lcore_id() != rte_get_main_lcore()) {
    rte_thread_unregister();
  }
}

}  // namespace mn::nic
