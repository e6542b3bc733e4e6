// SPDX-License-Identifier: MIT
#include "device/mode_choice.h"

namespace mn::device {

namespace {

constexpr char kNoIommu[] =
    "this machine shows no IOMMU for it; turn it on (in the firmware, and intel_iommu=on or "
    "amd_iommu=on on the kernel's command line), or where there is none, as in most clouds, accept "
    "that the device reaches all memory with allow_unsafe_noiommu = yes, or set mode = af_xdp";

Error refused(const Candidate& nic, const std::string& why) {
  return Error{"nic " + nic.label() + ": " + why};
}

ModeChoice vfio(const std::string& reason) {
  return {.mode = "vfio-pci", .driver = "vfio-pci", .modules = {"vfio-pci"}, .reason = reason};
}

ModeChoice vfio_noiommu(const std::string& reason) {
  ModeChoice choice = vfio(reason);
  choice.mode = "vfio-noiommu";
  choice.modules = {"vfio", "vfio-pci"};
  return choice;
}

ModeChoice hyperv(const std::string& reason) {
  return {.mode = "uio_hv_generic",
          .driver = "uio_hv_generic",
          .modules = {"uio_hv_generic"},
          .reason = reason};
}

ModeChoice bifurcated(const std::string& driver, const std::string& reason) {
  ModeChoice choice{.mode = "bifurcated", .driver = "", .modules = {}, .reason = reason};
  if (driver == "mlx5_core") choice.modules = {"mlx5_ib", "ib_uverbs"};
  if (driver == "mlx4_core") choice.modules = {"mlx4_ib", "ib_uverbs"};
  if (driver == "mana") choice.modules = {"mana_ib", "ib_uverbs"};
  return choice;
}

// The interface itself stays the kernel's.
ModeChoice kernel_driven(const std::string& mode) {
  return {.mode = mode,
          .driver = "",
          .modules = {},
          .reason = "asked for with mode = " + mode + "; the kernel's driver stays"};
}

std::string kind_of(const Candidate& nic) {
  return nic.net.kind.empty() ? "on no PCI or VMBus device" : "virtual (" + nic.net.kind + ")";
}

Result<ModeChoice> choose_pci(const Candidate& nic, bool allow_unsafe_noiommu) {
  if (is_bifurcated_driver(nic.driver)) {
    return bifurcated(nic.driver, nic.driver + " shares the device between the kernel and DPDK");
  }
  if (!nic.iommu_group.empty()) {
    return vfio("a PCI device behind an IOMMU (group " + nic.iommu_group + ")");
  }
  if (!allow_unsafe_noiommu) return refused(nic, kNoIommu);
  return vfio_noiommu("a PCI device without an IOMMU, and allow_unsafe_noiommu = yes");
}

Result<ModeChoice> choose_auto(const Candidate& nic, bool allow_unsafe_noiommu) {
  switch (nic.bus) {
    case Bus::kPci:
      return choose_pci(nic, allow_unsafe_noiommu);
    case Bus::kVmbus:
      return hyperv("a network device of Hyper-V's VMBus");
    case Bus::kOther:
      break;
  }
  return refused(nic, "the interface is " + kind_of(nic) +
                          ": there is no device to bind; ask for the kernel's driver with mode = "
                          "af_xdp or mode = af_packet");
}

Result<ModeChoice> choose_vfio(const Candidate& nic, bool allow_unsafe_noiommu) {
  if (nic.bus != Bus::kPci) {
    return refused(nic, "mode = vfio-pci is for PCI devices, and this is none; set mode = auto");
  }
  if (is_bifurcated_driver(nic.driver)) {
    return refused(nic, "DPDK drives this device through the kernel's driver " + nic.driver +
                            " and not without it; set mode = auto");
  }
  auto choice = choose_pci(nic, allow_unsafe_noiommu);
  if (choice) choice.value().reason = "asked for with mode = vfio-pci; " + choice.value().reason;
  return choice;
}

Result<ModeChoice> choose_as_bound(const Candidate& nic) {
  if (nic.bus == Bus::kOther) {
    return refused(nic, "mode = pci is for devices, and the interface is " + kind_of(nic) +
                            "; set mode = af_xdp or mode = af_packet");
  }
  if (!is_user_driver(nic.driver) && !is_bifurcated_driver(nic.driver)) {
    return refused(nic, "mode = pci takes the device as the administrator bound it, but it has " +
                            (nic.driver.empty() ? "no driver" : "the driver " + nic.driver) +
                            "; set mode = auto to have it bound");
  }
  return ModeChoice{.mode = "pci",
                    .driver = "",
                    .modules = {},
                    .reason = "asked for with mode = pci; taken as it is bound, to " + nic.driver};
}

}  // namespace

Result<ModeChoice> choose_mode(const Candidate& nic, const std::string& wanted,
                               bool allow_unsafe_noiommu) {
  if (wanted == "auto") return choose_auto(nic, allow_unsafe_noiommu);
  if (wanted == "vfio-pci") return choose_vfio(nic, allow_unsafe_noiommu);
  if (wanted == "pci") return choose_as_bound(nic);
  if (wanted == "uio_hv_generic") {
    if (nic.bus == Bus::kVmbus) return hyperv("asked for with mode = uio_hv_generic");
    return refused(nic,
                   "mode = uio_hv_generic is for VMBus devices of Hyper-V, and this is none; "
                   "set mode = auto");
  }
  if (wanted == "bifurcated") {
    if (is_bifurcated_driver(nic.driver)) {
      return bifurcated(nic.driver, "asked for with mode = bifurcated");
    }
    return refused(nic,
                   "mode = bifurcated is for the drivers mlx4_core, mlx5_core and mana, and this "
                   "device has " +
                       (nic.driver.empty() ? "none" : nic.driver) + "; set mode = auto");
  }
  if (wanted == "af_xdp" || wanted == "af_packet") {
    if (nic.has_interface()) return kernel_driven(wanted);
    return refused(nic,
                   "mode = " + wanted + " needs the kernel's interface, and there is none" +
                       (nic.driver.empty() ? "" : " (the device is bound to " + nic.driver + ")") +
                       "; `driverctl unset-override` gives it back to the kernel");
  }
  return refused(nic, "mode = " + wanted + " is unknown; see machnet.conf(5)");
}

std::string driver_of_mode(const std::string& mode) {
  if (mode == "vfio-pci" || mode == "vfio-noiommu") return "vfio-pci";
  return mode == "uio_hv_generic" ? mode : "";
}

bool is_bifurcated_driver(const std::string& driver) {
  return driver == "mlx4_core" || driver == "mlx5_core" || driver == "mana";
}

}  // namespace mn::device
