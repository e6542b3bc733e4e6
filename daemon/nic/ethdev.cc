// SPDX-License-Identifier: MIT
#include "nic/ethdev.h"

#include <linux/if_packet.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "nic/buffer_plan.h"
#include "nic/eal.h"
#include "nic/ethdev_plan.h"
#include "nic/packet_socket.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif

namespace mn::nic {

namespace {

constexpr uint32_t kDescriptors = 1024;
constexpr uint32_t kPoolCache = 256;  // of each thread

constexpr uint64_t kRxChecksums = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
constexpr uint64_t kTxChecksums = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;

// Drivers that say 1518 because they never thought about it, and copy any length.
bool ignores_frame_limit(const std::string& driver) {
  return driver == "net_af_packet" || driver == "net_memif" || driver == "net_null" ||
         driver == "net_ring";
}

// Drivers that copy packets one by one, so that any number may be asked for.
bool receives_one_by_one(const std::string& driver) {
  return driver == "net_af_packet" || driver == "net_memif";
}

std::string remedy_for(const std::string& reason, NicMode::Kind kind) {
  const auto says = [&](const char* text) { return reason.find(text) != std::string::npos; };
  if (says("not permitted") || says("denied") || says("Could not open AF_PACKET")) {
    return rights_for(kind);
  }
  if (says("mmap failed") || says("temporarily unavailable") || says("Failed to create umem") ||
      says("No buffer space")) {
    return "; raise the limit of locked memory (ulimit -l, LimitMEMLOCK=infinity) or give "
           "CAP_IPC_LOCK";
  }
  if (says("set prog fd")) {  // told apart by nothing but the errno, which the driver keeps
    return "; a veth's peer may have no more transmit queues than the veth has receive queues "
           "(ethtool -L)";
  }
  if (says("xsk socket")) return "; is the queue of the interface in use by another process?";
  return "";
}

}  // namespace

std::string rights_for(NicMode::Kind kind) {
  return kind == NicMode::Kind::kAfXdp
             ? "; run as root or with CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF and CAP_IPC_LOCK"
             : "; run as root or with CAP_NET_RAW and CAP_NET_ADMIN";
}

Error EthdevDevice::failure(const std::string& what) const {
  const std::string reason = take_dpdk_error();
  return Error{"nic " + settings_.name + ": " + what + (reason.empty() ? "" : ": " + reason) +
               remedy_for(reason, settings_.mode.kind)};
}

Result<std::unique_ptr<EthdevDevice>> EthdevDevice::open(const EthdevSettings& settings,
                                                         std::vector<std::string>* warnings) {
  std::unique_ptr<EthdevDevice> device(new EthdevDevice(settings));
  Plan plan;
  if (auto done = device->probe(); !done) return Error{done.error()};
  if (auto done = device->configure(&plan); !done) return Error{done.error()};
  PacketSockets sockets;
  for (uint16_t queue = 0; queue < settings.queues; ++queue) {
    if (auto done = device->set_up_queue(queue, plan); !done) return Error{done.error()};
    for (const int fd : sockets.opened_since(AF_XDP, 0)) device->sockets_.push_back(fd);
  }
  if (auto done = device->start(warnings); !done) return Error{done.error()};
  device->make_ports(plan);
  return device;
}

std::string EthdevDevice::vdev_arguments() const {
  const device::Interface& interface = settings_.interface;
  const std::string queues = std::to_string(settings_.queues);
  switch (settings_.mode.kind) {
    case NicMode::Kind::kAfPacket: {
      const uint32_t frame = ring_frame_bytes(settings_.mtu);
      return "iface=" + interface.name + ",qpairs=" + queues +
             ",blocksz=" + std::to_string(4 * frame) + ",framesz=" + std::to_string(frame) +
             ",framecnt=" + std::to_string(ring_frames(settings_.mtu)) + ",qdisc_bypass=1";
    }
    case NicMode::Kind::kAfXdp: {
      // Busy polling serves the queue of a real NIC on our processor, without it the driver may
      // block. A veth has no queue to poll: frames are in our ring already, and the system call
      // would be wasted.
      const std::string budget = interface.driver == "veth" ? ",busy_budget=0" : "";
      return "iface=" + interface.name + ",start_queue=" + std::to_string(settings_.first_queue) +
             ",queue_count=" + queues + ",xdp_prog=/proc/self/fd/" +
             std::to_string(settings_.xdp_program_file) + budget;
    }
    case NicMode::Kind::kVdev: {
      std::string arguments = settings_.mode.arguments;
      if (driver_of_vdev(settings_.mode.device) == "net_memif" &&
          !argument_value(arguments, "bsize", nullptr)) {
        arguments += (arguments.empty() ? "" : ",") + std::string("bsize=") +
                     std::to_string(data_room(settings_.mode.kind, settings_.mtu));
      }
      return arguments;
    }
    case NicMode::Kind::kPci:
    case NicMode::Kind::kVmbus:
      break;
  }
  return "";
}

Result<void> EthdevDevice::probe() {
  PacketSockets sockets;
  std::string name = settings_.bus_device;
  if (name.empty()) {
    const std::string number =
        std::to_string(settings_.index) + "q" + std::to_string(settings_.first_queue);
    name = settings_.mode.kind == NicMode::Kind::kVdev    ? settings_.mode.device
           : settings_.mode.kind == NicMode::Kind::kAfXdp ? "net_af_xdp" + number
                                                          : "net_af_packet" + number;
    take_dpdk_error();
    if (rte_eal_hotplug_add("vdev", name.c_str(), vdev_arguments().c_str()) != 0) {
      return failure("the driver refuses " + name + " with " + vdev_arguments());
    }
    vdev_ = name;
  }
  uint16_t port_id = 0;
  if (rte_eth_dev_get_port_by_name(name.c_str(), &port_id) != 0) {
    return failure(settings_.bus_device.empty()
                       ? name + " is not a network device"
                       : "no driver took the device; bind it (machnet-nic bind), and see that " +
                             std::string(settings_.mode.kind == NicMode::Kind::kPci ? "/dev/vfio"
                                                                                    : "/dev/uio*") +
                             " may be opened");
  }
  port_id_ = port_id;
  sockets_ = settings_.mode.kind == NicMode::Kind::kAfPacket
                 ? sockets.opened_since(AF_PACKET, settings_.interface.index)
                 : std::vector<int>{};
  for (const int fd : sockets_) {
    const int yes = 1;  // what the kernel sends on this interface is not for us
    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof(yes));
  }
  return {};
}

Result<void> EthdevDevice::configure(Plan* plan) {
  const auto port_id = static_cast<uint16_t>(port_id_);
  rte_eth_dev_info info{};
  if (rte_eth_dev_info_get(port_id, &info) != 0)
    return failure("the device tells nothing about itself");
  driver_ = info.driver_name == nullptr ? "" : info.driver_name;
  numa_node_ = rte_eth_dev_socket_id(port_id);
  if (settings_.queues > info.max_rx_queues || settings_.queues > info.max_tx_queues) {
    return failure("has " + std::to_string(std::min(info.max_rx_queues, info.max_tx_queues)) +
                   " queue pairs, engines = " + std::to_string(settings_.queues) + " is too many");
  }
  rte_eth_conf conf{};
  if (!ignores_frame_limit(driver_)) {
    if (settings_.mtu > info.max_mtu ||
        (info.max_rx_pktlen > 0 && settings_.mtu + 14u > info.max_rx_pktlen)) {
      return failure("mtu " + std::to_string(settings_.mtu) + " is more than the device takes (" +
                     std::to_string(std::min<uint32_t>(info.max_mtu, info.max_rx_pktlen - 14)) +
                     "); set a smaller mtu");
    }
    conf.rxmode.mtu = settings_.mtu;
  }
  plan->rx_offloads = (info.rx_offload_capa & kRxChecksums) == kRxChecksums ? kRxChecksums : 0;
  plan->tx_offloads = (info.tx_offload_capa & kTxChecksums) == kTxChecksums ? kTxChecksums : 0;
  // Allowed since a queue's frames come from one pool and are never shared.
  plan->tx_offloads |= info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
  conf.rxmode.offloads = plan->rx_offloads;
  conf.txmode.offloads = plan->tx_offloads;
  if (settings_.queues > 1 && (info.flow_type_rss_offloads & RTE_ETH_RSS_NONFRAG_IPV4_UDP) != 0) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
  }
  // Not every driver has interrupts, nor says so before it is asked.
  plan->with_rx_interrupts = settings_.mode.kind == NicMode::Kind::kPci;
  conf.intr_conf.rxq = plan->with_rx_interrupts ? 1 : 0;
  int result = rte_eth_dev_configure(port_id, settings_.queues, settings_.queues, &conf);
  if (result != 0 && plan->with_rx_interrupts) {
    plan->with_rx_interrupts = false;
    conf.intr_conf.rxq = 0;
    result = rte_eth_dev_configure(port_id, settings_.queues, settings_.queues, &conf);
  }
  if (result != 0)
    return failure(std::string("cannot be configured (") + rte_strerror(-result) + ")");

  plan->rx_descriptors = plan->tx_descriptors =
      settings_.mode.kind == NicMode::Kind::kAfXdp ? kXdpRing : kDescriptors;
  rte_eth_dev_adjust_nb_rx_tx_desc(port_id, &plan->rx_descriptors, &plan->tx_descriptors);
  return {};
}

// Lives as long as the device: after a reset its queues take the same frames.
Result<void> EthdevDevice::make_pool(uint16_t queue) {
  if (queue < pools_.size()) return {};
  const std::string name =
      "mn" + std::to_string(settings_.index) + "q" + std::to_string(settings_.first_queue + queue);
  rte_mempool* const pool = rte_pktmbuf_pool_create(
      name.c_str(), pool_size(settings_.mode.kind), kPoolCache, 0,
      static_cast<uint16_t>(data_room(settings_.mode.kind, settings_.mtu) + RTE_PKTMBUF_HEADROOM),
      numa_node_);
  if (pool == nullptr) {
    return failure("no memory for " + std::to_string(pool_size(settings_.mode.kind)) +
                   " packet buffers (" + rte_strerror(rte_errno) +
                   "); give more hugepages or set a larger memory in [machnet]");
  }
  pools_.push_back(pool);
  return {};
}

Result<void> EthdevDevice::set_up_queue(uint16_t queue, const Plan& plan) {
  const auto port_id = static_cast<uint16_t>(port_id_);
  if (auto made = make_pool(queue); !made) return made;
  rte_mempool* const pool = pools_[queue];
  rte_eth_dev_info info{};
  if (rte_eth_dev_info_get(port_id, &info) != 0)
    return failure("the device tells nothing about itself");
  rte_eth_rxconf rx = info.default_rxconf;
  rte_eth_txconf tx = info.default_txconf;
  rx.offloads = plan.rx_offloads;
  tx.offloads = plan.tx_offloads;
  take_dpdk_error();
  const auto socket = static_cast<unsigned>(numa_node_);
  if (rte_eth_rx_queue_setup(port_id, queue, plan.rx_descriptors, socket, &rx, pool) != 0) {
    return failure("receive queue " + std::to_string(settings_.first_queue + queue) +
                   " cannot be set up");
  }
  if (rte_eth_tx_queue_setup(port_id, queue, plan.tx_descriptors, socket, &tx) != 0) {
    return failure("transmit queue " + std::to_string(settings_.first_queue + queue) +
                   " cannot be set up");
  }
  return {};
}

void EthdevDevice::make_ports(const Plan& plan) {
  const auto port_id = static_cast<uint16_t>(port_id_);
  std::string role;
  for (uint16_t queue = 0; queue < settings_.queues; ++queue) {
    EthdevPortSetup setup;
    setup.port_id = port_id;
    setup.queue = queue;
    setup.pool = pools_[queue];
    setup.keeps_device = queue == 0;
    setup.is_only_queue = settings_.queues == 1;
    setup.restarts_when_down =
        driver_ == "net_memif" &&
        (!argument_value(settings_.mode.arguments, "role", &role) || role == "client");
    setup.reset_gate = &reset_gate_;
    setup.removed = &removed_;
    setup.reset = [this] { return reset(); };
    setup.interface = settings_.interface.name;
    NicFacts& facts = setup.facts;
    facts.mac = mac_;
    facts.mtu = settings_.mtu;
    facts.queue = static_cast<uint16_t>(settings_.first_queue + queue);
    facts.tx_queue_depth = plan.tx_descriptors;
    facts.rx_queue_depth = plan.rx_descriptors;
    if (settings_.mode.kind == NicMode::Kind::kAfPacket) {
      facts.tx_queue_depth = facts.rx_queue_depth =
          static_cast<uint16_t>(ring_frames(settings_.mtu));
    }
    if (receives_one_by_one(driver_)) facts.rx_burst_step = 1;
    facts.rx_checksum_offload = plan.rx_offloads != 0;
    facts.tx_checksum_offload = (plan.tx_offloads & kTxChecksums) == kTxChecksums;
    if (sockets_.size() == settings_.queues) {
      facts.wake_fd = sockets_[queue];
      setup.wake_is_socket = true;
      setup.counts_socket_drops = settings_.mode.kind == NicMode::Kind::kAfPacket;
    } else if (plan.with_rx_interrupts && rte_eth_dev_rx_intr_enable(port_id, queue) == 0) {
      rte_eth_dev_rx_intr_disable(port_id, queue);
      facts.wake_fd = rte_eth_dev_rx_intr_ctl_q_get_fd(port_id, queue);
      setup.has_rx_interrupt = facts.wake_fd >= 0;
      char target[64] = {};
      const std::string link = "/proc/self/fd/" + std::to_string(facts.wake_fd);
      setup.wake_is_eventfd = readlink(link.c_str(), target, sizeof(target) - 1) > 0 &&
                              strstr(target, "eventfd") != nullptr;
    }
    ports_.push_back(std::make_unique<EthdevPort>(setup));
  }
}

EthdevDevice::~EthdevDevice() {
  ports_.clear();
  if (port_id_ >= 0) {
    const auto port_id = static_cast<uint16_t>(port_id_);
    listen_to_events(false);
    rte_eth_dev_stop(port_id);
    rte_eth_dev_close(port_id);
  }
  if (!vdev_.empty()) rte_eal_hotplug_remove("vdev", vdev_.c_str());
  for (rte_mempool* pool : pools_) rte_mempool_free(pool);
}

}  // namespace mn::nic
