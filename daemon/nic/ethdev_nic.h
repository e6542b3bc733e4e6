// SPDX-License-Identifier: MIT
// EthdevNic: a NIC under DPDK, with a port for each engine, whatever devices of DPDK that takes:
// one with all queues, or in mode af_xdp one for each queue. The driver of af_xdp can have several
// in one device only where the kernel calls them combined, which veth does not, and the one of DPDK
// 22.11 has its own program loaded instead of ours from the second on. Prepares the interface and
// owns the XDP program on it. Owned by the NicSystem; main thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "nic/ethdev.h"
#include "nic/xdp_attach.h"

namespace mn::nic {

class EthdevNic {
 public:
  // `warnings` gets a line for each thing that works less well than it could.
  static Result<std::unique_ptr<EthdevNic>> open(const EthdevSettings& settings,
                                                 std::vector<std::string>* warnings);
  ~EthdevNic();  // its ports must be idle
  EthdevNic(const EthdevNic&) = delete;
  EthdevNic& operator=(const EthdevNic&) = delete;

  std::vector<NicPort*> ports() const;  // in the order of the queues
  const std::string& driver() const { return devices_.front()->driver(); }
  const Mac& mac() const { return devices_.front()->mac(); }
  int numa_node() const { return devices_.front()->numa_node(); }

 private:
  explicit EthdevNic(const EthdevSettings& settings) : settings_(settings) {}
  Result<void> prepare_interface(std::vector<std::string>* warnings);
  Result<void> prepare_xdp(std::vector<std::string>* warnings);
  Result<void> check_queues() const;
  Result<void> open_devices(std::vector<std::string>* warnings);
  Result<void> attach_program(std::vector<std::string>* warnings);
  Error failure(const std::string& what) const {
    return Error{"nic " + settings_.name + ": " + what};
  }

  EthdevSettings settings_;
  std::vector<std::unique_ptr<EthdevDevice>> devices_;
  XdpLink xdp_link_;
};

}  // namespace mn::nic
