// SPDX-License-Identifier: MIT
// What the kernel knows about a network interface, and the few things that must be changed on it
// before a driver of DPDK can use it (up, MTU). Main thread, start-up only, where nothing else is
// said; everything is asked of the kernel each time, nothing is cached. Binding devices to other
// drivers is not done here.
#pragma once

#include <cstdint>
#include <string>

#include "base/address.h"
#include "base/result.h"

namespace mn::device {

struct Interface {
  std::string name;
  int index = 0;
  Mac mac{};
  uint32_t mtu = 0;
  bool is_up = false;
  int numa_node = -1;   // -1: unknown or not a matter
  uint32_t queues = 1;  // that receive
  uint32_t tx_queues = 1;
  uint32_t queues_max = 1;  // of each, if ethtool is asked for more
  bool has_combined_queues = false;
  std::string driver;       // the kernel's driver, "" if it does not say
  std::string bus_address;  // PCI address or VMBus UUID, "" for virtual interfaces
};

// `name` is an interface, a MAC (aa:bb:cc:dd:ee:ff) or a PCI address. An error says that there is
// no such interface in this network namespace.
Result<Interface> find_interface(const std::string& name);

// False: it is down, has no carrier, or is gone. True where the kernel cannot be asked. Any thread.
bool interface_is_running(const std::string& name);

Result<void> set_interface_up(const Interface& interface);
Result<void> set_interface_mtu(const Interface& interface, uint32_t mtu);

// True if the kernel itself has `address` configured on the interface, and so would answer for it.
bool kernel_has_address(const Interface& interface, Ipv4 address);

// True for dddd:bb:dd.f; without the domain too.
bool is_pci_address(const std::string& text);
// With the domain: 3b:00.0 becomes 0000:3b:00.0.
std::string full_pci_address(const std::string& text);

}  // namespace mn::device
