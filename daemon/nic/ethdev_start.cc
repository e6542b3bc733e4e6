// SPDX-License-Identifier: MIT
// Starting a device, what it reports afterwards, and starting it again.
#include <rte_ethdev.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <iterator>
#include <string>

#include "nic/eal.h"
#include "nic/ethdev.h"
#include "nic/ethdev_plan.h"

namespace mn::nic {

namespace {
// On DPDK's own thread.
int set_flag(uint16_t, rte_eth_event_type, void* flag, void*) {
  static_cast<std::atomic<bool>*>(flag)->store(true, std::memory_order_relaxed);
  return 0;
}
}  // namespace

Result<void> EthdevDevice::start(std::vector<std::string>* warnings) {
  const auto port_id = static_cast<uint16_t>(port_id_);
  listen_to_events(true);
  take_dpdk_error();
  if (const int result = rte_eth_dev_start(port_id); result != 0) {
    std::string role;
    const bool is_memif_client =
        driver_ == "net_memif" &&
        (!argument_value(settings_.mode.arguments, "role", &role) || role == "client");
    if (!is_memif_client)
      return failure(std::string("cannot be started (") + rte_strerror(-result) + ")");
    warnings->push_back("nic " + settings_.name + ": the other end of " + settings_.mode.device +
                        " is not there yet; connects when it is");
  }
  rte_ether_addr address{};
  if (rte_eth_macaddr_get(port_id, &address) == 0) {
    std::copy(std::begin(address.addr_bytes), std::end(address.addr_bytes), mac_.bytes.begin());
  }
  return {};
}

void EthdevDevice::listen_to_events(bool on) {
  const auto port_id = static_cast<uint16_t>(port_id_);
  const auto change = on ? rte_eth_dev_callback_register : rte_eth_dev_callback_unregister;
  change(port_id, RTE_ETH_EVENT_INTR_RESET, set_flag, reset_gate_.wanted());
  change(port_id, RTE_ETH_EVENT_INTR_RMV, set_flag, &removed_);
}

// On the thread of the first queue's engine; the others' leave the device alone meanwhile. Drivers
// without a reset of their own are content with being set up anew.
bool EthdevDevice::reset() {
  const auto port_id = static_cast<uint16_t>(port_id_);
  rte_eth_dev_stop(port_id);
  if (const int result = rte_eth_dev_reset(port_id); result != 0 && result != -ENOTSUP) {
    return false;
  }
  Plan plan;
  if (!configure(&plan)) return false;
  for (uint16_t queue = 0; queue < settings_.queues; ++queue) {
    if (!set_up_queue(queue, plan)) return false;
  }
  return rte_eth_dev_start(port_id) == 0;
}

}  // namespace mn::nic
