// SPDX-License-Identifier: MIT
// PortBook: the UDP ports of every address of the service, one PortTable each: the loopback
// addresses share one, each NIC's address has its own. A listener on 0.0.0.0 holds its port on all
// of them.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/time.h"
#include "control/engine_link.h"
#include "host/port_table.h"

namespace mn::control {

class PortBook {
 public:
  PortBook(std::span<const EngineFacts* const> engines, uint64_t seed);

  // All or nothing. kInUse if any of the addresses that `ip` stands for has the port in use.
  host::PortStatus listen(Ipv4 ip, Port port, host::PortOwner owner);
  void unlisten(Ipv4 ip, Port port, host::PortOwner owner);
  // A local port for a flow that we open from `ip`; 0: none is free.
  Port allocate(Instant now, Ipv4 ip, host::PortOwner owner);
  // This very port; false: it is in use, or was until lately.
  bool take(Instant now, Ipv4 ip, Port port, host::PortOwner owner);
  void release(Instant now, Ipv4 ip, Port port);

 private:
  struct Book {
    Ipv4 address;
    std::unique_ptr<host::PortTable> table;
  };
  std::span<Book> books_of(Ipv4 ip);

  std::vector<Book> books_;
};

}  // namespace mn::control
