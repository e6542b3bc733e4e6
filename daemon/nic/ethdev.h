// SPDX-License-Identifier: MIT
// EthdevDevice: one device of DPDK from probing to closing: makes it (a PCI device is there
// already), sets MTU, offloads, buffers and queues up, starts it and hands out one EthdevPort per
// queue pair. Owned by an EthdevNic, which knows how many of them a NIC takes; main thread. Its
// ports must be idle when it is destroyed.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "device/interface.h"
#include "nic/ethdev_port.h"
#include "nic/nic_mode.h"

namespace mn::nic {

struct EthdevSettings {
  std::string name;  // as configured, for messages
  NicMode mode;
  device::Interface interface;  // kAfPacket, kAfXdp: the interface; otherwise empty
  std::string bus_device;       // kPci: its address; kVmbus: its UUID
  uint16_t mtu = 1500;
  uint16_t queues = 1;
  Ipv4 address = 0;    // kAfXdp: see NicSettings
  unsigned index = 0;  // of the NIC: makes names unique within the process
  // Where one device has only some queues of the NIC, as EthdevNic fills it in.
  uint16_t first_queue = 0;
  int xdp_program_file = -1;  // kAfXdp: a descriptor
};

// What to do where the kernel does not permit the mode; for the end of a message.
std::string rights_for(NicMode::Kind kind);

class EthdevDevice {
 public:
  // `warnings` gets a line for each thing that works less well than it could.
  static Result<std::unique_ptr<EthdevDevice>> open(const EthdevSettings& settings,
                                                    std::vector<std::string>* warnings);
  ~EthdevDevice();
  EthdevDevice(const EthdevDevice&) = delete;
  EthdevDevice& operator=(const EthdevDevice&) = delete;

  const std::vector<std::unique_ptr<EthdevPort>>& ports() const { return ports_; }
  const std::string& driver() const { return driver_; }
  const Mac& mac() const { return mac_; }
  int numa_node() const { return numa_node_; }
  // Of drivers on kernel interfaces, one per queue; the driver's own.
  const std::vector<int>& sockets() const { return sockets_; }

 private:
  struct Plan;  // sizes and offloads

  explicit EthdevDevice(const EthdevSettings& settings)
      : settings_(settings), reset_gate_(settings.queues) {}
  Result<void> probe();
  Result<void> configure(Plan* plan);
  Result<void> set_up_queue(uint16_t queue, const Plan& plan);
  Result<void> start(std::vector<std::string>* warnings);
  void make_ports(const Plan& plan);
  Result<void> make_pool(uint16_t queue);
  void listen_to_events(bool on);
  bool reset();
  Error failure(const std::string& what) const;
  std::string vdev_arguments() const;

  EthdevSettings settings_;
  std::string vdev_;  // to be unplugged at the end
  int port_id_ = -1;
  std::string driver_;
  Mac mac_{};
  int numa_node_ = -1;
  std::vector<int> sockets_;
  std::vector<rte_mempool*> pools_;
  std::vector<std::unique_ptr<EthdevPort>> ports_;
  ResetGate reset_gate_;
  std::atomic<bool> removed_{false};
};

}  // namespace mn::nic
