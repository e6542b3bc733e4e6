// SPDX-License-Identifier: MIT
// SavedNic: what is remembered of a NIC while the kernel cannot be asked, because its interface is
// gone: who it is, what the kernel had on it, what was done to it. A file per NIC in the state
// folder, written by machnet-nic before the device is touched, whole or not at all; machnetd only
// reads it. The reader is strict: a damaged file is an error with file and line, never a guess.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "device/kernel_net.h"
#include "device/sys_root.h"

namespace mn::device {

enum class Bus : uint8_t { kOther, kPci, kVmbus };  // in words: other, pci, vmbus

enum class Bound : uint8_t {  // in words: no, yes, found
  kNo,                        // not in our hands
  kYes,    // taken: what was changed (driver, up, MTU) is ours to give back, also where none was
           // bound
  kFound,  // it was bound to this driver when we came: not ours to give back
};

struct ReservedPages {
  int node = 0;  // -1: wherever the kernel liked
  uint64_t page_bytes = 0;
  uint64_t count = 0;  // pages that we added to what was there
  // Set: the count is only a plan, noted before anything was added; never go below this many when
  // giving back, since it is not known how much of the plan came true.
  std::optional<uint64_t> floor;
  bool operator==(const ReservedPages&) const = default;
};

struct SavedNic {
  std::string name;    // as in the configuration
  std::string ifname;  // "": the kernel never showed one
  Mac mac{};
  Bus bus = Bus::kOther;
  std::string device;  // PCI address, VMBus UUID; "" of virtual interfaces
  std::string driver;  // the kernel's, before; "": none
  std::string mode;    // vfio-pci, vfio-noiommu, uio_hv_generic, bifurcated, af_xdp, af_packet, pci
  std::string reason;  // of the mode, one line
  // Machnet's own, wherever they come from; 0: none.
  Ipv4 address = 0;
  uint32_t prefix_length = 0;
  Ipv4 gateway = 0;
  std::string address_reason;  // where they come from, one line
  // What the kernel had, to be given back.
  uint32_t mtu = 0;
  bool is_up = false;
  std::vector<KernelAddress> addresses;
  std::vector<KernelRoute> routes;

  int numa_node = -1;  // -1: unknown
  Bound bound = Bound::kNo;
  // We switched the kernel's unsafe no-IOMMU mode on: ours to switch off.
  bool noiommu_enabled = false;
  std::vector<ReservedPages> hugepages;  // ours to return
  std::string boot_id;                   // when this was written: bindings do not survive a boot
  bool operator==(const SavedNic&) const = default;
};

// `file` is only a name for messages. Every key exactly once (address and route lines, and
// hugepages, any number of times); unknown keys are errors.
Result<SavedNic> parse_saved_nic(std::string_view text, const std::string& file);
std::string format_saved_nic(const SavedNic& nic);

// What restore_network() of kernel_net.h wants.
KernelNic kernel_part(const SavedNic& nic);

// <state_dir>/<name>.nic; every name has a file of its own.
std::string saved_nic_path(const SysRoot& root, const std::string& name);

// The folder, readable by the state group, and what is missing above it; there already is right.
Result<void> make_state_folder(const SysRoot& root);

// Nothing: there is no file.
Result<std::optional<SavedNic>> load_saved_nic(const SysRoot& root, const std::string& name);
// All of the folder, sorted by file name; one damaged file is an error.
Result<std::vector<SavedNic>> load_saved_nics(const SysRoot& root);
// Makes the folder (0750) where needed; the file is 0640, of the state group if that exists. On the
// disk when this returns.
Result<void> save_nic(const SysRoot& root, const SavedNic& nic);
Result<void> remove_saved_nic(const SysRoot& root, const std::string& name);  // gone is no error

}  // namespace mn::device
