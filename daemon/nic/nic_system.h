// SPDX-License-Identifier: MIT
// NicSystem: everything the configuration says about NICs, brought up in one call: DPDK's
// environment (only if some NIC needs it), what each NIC needs of devices, one NicPort per engine.
// Owned by main; started before the engines and destroyed after they have stopped, on the main
// thread. Nothing of it survives the process, however it ends. The settings are plain values, so
// that this folder knows no configuration file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "nic/nic_port.h"

namespace mn::nic {

enum class Hugepages : uint8_t {
  kAuto,  // if the machine has enough free ones; otherwise ordinary pages and a warning
  kYes,   // refuse to start without
  kNo,
};

struct NicSettings {
  std::string name;      // interface, MAC, PCI address, VMBus UUID; with vdev: only a label
  std::string mode;      // af_packet | af_xdp | vdev:DRIVER[,ARGUMENT...] | pci | vmbus
  uint16_t mtu = 0;      // IP packet bytes; 0: the interface's, 1500 where there is none
  uint16_t engines = 1;  // ports (queue pairs) wanted
  // af_xdp takes the frames for this address only and leaves the rest to the kernel; 0: takes all.
  Ipv4 address = 0;
};

struct NicSystemSettings {
  Hugepages hugepages = Hugepages::kAuto;
  uint64_t memory_bytes = 0;      // for packet buffers; 0: what the NICs need
  std::vector<NicSettings> nics;  // empty: no NIC, no DPDK
};

struct Nic {
  std::string name;    // as configured
  std::string driver;  // net_af_packet, net_ena, ...
  Mac mac{};
  uint16_t mtu = 0;             // IP packet bytes
  int numa_node = -1;           // -1: unknown
  std::vector<NicPort*> ports;  // one per engine; owned by the NicSystem
};

class NicSystem {
 public:
  // Fails as a whole: an error names the NIC, what is wrong and what to do about it. Once per
  // process: DPDK cannot be started twice.
  static Result<std::unique_ptr<NicSystem>> start(const NicSystemSettings& settings);
  ~NicSystem();  // stops the devices, detaches from the interfaces
  NicSystem(const NicSystem&) = delete;
  NicSystem& operator=(const NicSystem&) = delete;

  const std::vector<Nic>& nics() const;  // in the order of the settings
  // One line each, to be logged once by the caller (no hugepages, a foreign XDP program replaced,
  // ...).
  const std::vector<std::string>& warnings() const;

  class Impl;

 private:
  explicit NicSystem(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Says whether start() could understand a `mode` (syntax only, no device is touched); for
// --check-config.
Result<void> check_mode(const std::string& mode);

// Called by each engine thread first and last (DPDK keeps per-thread state for those that touch a
// port). Harmless without DPDK. False: DPDK has no room for another thread.
bool nic_thread_enter();
void nic_thread_leave();

}  // namespace mn::nic
