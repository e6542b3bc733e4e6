// SPDX-License-Identifier: MIT
#include "nic/ethdev_nic.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "nic/buffer_plan.h"

namespace mn::nic {

Result<std::unique_ptr<EthdevNic>> EthdevNic::open(const EthdevSettings& settings,
                                                   std::vector<std::string>* warnings) {
  std::unique_ptr<EthdevNic> nic(new EthdevNic(settings));
  if (auto done = nic->prepare_interface(warnings); !done) return Error{done.error()};
  if (auto done = nic->open_devices(warnings); !done) return Error{done.error()};
  if (auto done = nic->attach_program(warnings); !done) return Error{done.error()};
  return nic;
}

Result<void> EthdevNic::prepare_interface(std::vector<std::string>* warnings) {
  const NicMode::Kind kind = settings_.mode.kind;
  if (kind != NicMode::Kind::kAfPacket && kind != NicMode::Kind::kAfXdp) return {};
  // The drivers' own words for this would send the reader elsewhere.
  const int raw = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (raw < 0 && errno == EPERM) {
    return failure("not allowed to send raw packets" + rights_for(kind));
  }
  if (raw >= 0) close(raw);
  if (kind == NicMode::Kind::kAfXdp) {
    if (auto done = prepare_xdp(warnings); !done) return done;
  }
  if (auto done = device::set_interface_mtu(settings_.interface, settings_.mtu); !done) {
    return failure(done.error());
  }
  if (auto done = device::set_interface_up(settings_.interface); !done) {
    return failure(done.error());
  }
  return {};
}

Result<void> EthdevNic::prepare_xdp(std::vector<std::string>* warnings) {
  if (settings_.mtu > kXdpMtuMax) {
    return failure("mtu " + std::to_string(settings_.mtu) +
                   " is too large for mode af_xdp, which allows " + std::to_string(kXdpMtuMax) +
                   "; set a smaller mtu (on all hosts of the network) or use mode af_packet");
  }
  if (auto done = check_queues(); !done) return done;
  Result<bool> stale = remove_stale_program(settings_.interface);
  if (!stale) return failure(stale.error());
  if (stale.value()) {
    warnings->push_back("nic " + settings_.name +
                        ": removed the XDP program of an earlier machnetd");
  }
  // Kernels before 5.11 count maps and packet buffers against this limit.
  const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
  setrlimit(RLIMIT_MEMLOCK, &unlimited);
  Result<int> program = open_steering_program(settings_.address);
  if (!program) return failure(program.error());
  settings_.xdp_program_file = program.value();
  return {};
}

// A queue that nobody serves would give our packets to the kernel, and one that cannot send loses
// ours without a word.
Result<void> EthdevNic::check_queues() const {
  const device::Interface& interface = settings_.interface;
  const std::string engines = std::to_string(settings_.queues);
  if (settings_.queues > interface.queues_max) {
    const std::string most = std::to_string(interface.queues_max);
    return failure("engines = " + engines + " needs as many queues in mode af_xdp, " +
                   interface.name + " can have " + most + "; set engines = " + most +
                   " or use mode af_packet");
  }
  if (interface.queues == settings_.queues && interface.tx_queues >= settings_.queues) return {};
  return failure(interface.name + " has " + std::to_string(interface.queues) + " receive and " +
                 std::to_string(interface.tx_queues) + " transmit queues, engines = " + engines +
                 " needs " + engines + " of each in mode af_xdp; run `ethtool -L " +
                 interface.name +
                 (interface.has_combined_queues ? " combined " + engines
                                                : " rx " + engines + " tx " + engines) +
                 "`");
}

Result<void> EthdevNic::open_devices(std::vector<std::string>* warnings) {
  EthdevSettings one = settings_;
  const bool is_xdp = settings_.mode.kind == NicMode::Kind::kAfXdp;
  if (is_xdp) one.queues = 1;
  for (; one.first_queue < settings_.queues; one.first_queue += one.queues) {
    if (is_xdp && one.first_queue > 0) detach_program(settings_.interface);
    Result<std::unique_ptr<EthdevDevice>> device = EthdevDevice::open(one, warnings);
    if (!device) return Error{device.error()};
    devices_.push_back(std::move(device.value()));
  }
  return {};
}

Result<void> EthdevNic::attach_program(std::vector<std::string>* warnings) {
  if (settings_.mode.kind != NicMode::Kind::kAfXdp) return {};
  std::vector<int> sockets;
  for (const auto& device : devices_) {
    sockets.insert(sockets.end(), device->sockets().begin(), device->sockets().end());
  }
  if (sockets.size() != settings_.queues) {
    return failure("the driver's sockets are not to be found; use mode af_packet");
  }
  std::string warning;
  Result<XdpLink> link =
      XdpLink::attach(settings_.interface, settings_.xdp_program_file, sockets, &warning);
  if (!link) return failure(link.error());
  if (!warning.empty()) warnings->push_back("nic " + settings_.name + ": " + warning);
  xdp_link_ = std::move(link.value());
  return {};
}

std::vector<NicPort*> EthdevNic::ports() const {
  std::vector<NicPort*> all;
  for (const auto& device : devices_) {
    for (const auto& port : device->ports()) all.push_back(port.get());
  }
  return all;
}

EthdevNic::~EthdevNic() {
  xdp_link_.release();
  devices_.clear();
  if (settings_.xdp_program_file >= 0) close(settings_.xdp_program_file);
}

}  // namespace mn::nic
