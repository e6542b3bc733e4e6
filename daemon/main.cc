// SPDX-License-Identifier: MIT
// machnetd: reads the configuration, brings up NICs, engines and the control plane, tells the
// service manager, waits for the end, takes everything down. Nothing is decided here.
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "base/unique_fd.h"
#include "channel/channel.h"
#include "config/config.h"
#include "control/control_server.h"
#include "control/counters_page.h"
#include "control/route.h"
#include "engine/engine.h"
#include "engine/engine_thread.h"
#include "nic/nic_system.h"
#include "nic/null_port.h"

namespace mn {
namespace {

// sysexits.h and systemd.exec(5) know 78 as "configuration error".
enum ExitCode { kExitOk = 0, kExitFailed = 1, kExitUsage = 2, kExitConfig = 78 };

constexpr char kNoDriver[] = "none";
constexpr int kHeaders = 20 + 8 + 32;  // IPv4, UDP and ours: what an MTU holds besides payload
// 100 Gbit/s times 30 us; half the second-level cache of common servers.
constexpr uint32_t kWindowBytes = 384 * 1024;

struct Options {
  std::string config_file = config::kDefaultPath;
  bool config_given = false;
  bool check_only = false;
};

// One engine with everything that is its own. Destroyed in reverse: the thread ends first.
struct EngineUnit {
  control::EngineFacts facts;
  UniqueFd notify;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<EngineThread> thread;
};

void print_usage(FILE* out) {
  fputs(
      "usage: machnetd [--config FILE] [--check-config]\n"
      "  --config FILE    read FILE instead of /etc/machnet.conf\n"
      "  --check-config   say whether the file is right, and do nothing else\n"
      "  --version        print the version\n"
      "  --help           print this\n",
      out);
}

// -1: go on; otherwise the exit code.
int parse_options(int argc, char** argv, Options* ret_options) {
  static const option kOptions[] = {{"config", required_argument, nullptr, 'c'},
                                    {"check-config", no_argument, nullptr, 'k'},
                                    {"version", no_argument, nullptr, 'v'},
                                    {"help", no_argument, nullptr, 'h'},
                                    {nullptr, 0, nullptr, 0}};
  for (int c; (c = getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    switch (c) {
      case 'c':
        ret_options->config_file = optarg;
        ret_options->config_given = true;
        break;
      case 'k':
        ret_options->check_only = true;
        break;
      case 'v':
        puts("machnetd " MN_VERSION);
        return kExitOk;
      case 'h':
        print_usage(stdout);
        return kExitOk;
      default:
        print_usage(stderr);
        return kExitUsage;
    }
  }
  if (optind == argc) return -1;
  fprintf(stderr, "machnetd: unexpected argument '%s'\n", argv[optind]);
  print_usage(stderr);
  return kExitUsage;
}

// False: errors were written.
bool load(const Options& options, config::Config* ret_config) {
  if (!options.config_given && access(options.config_file.c_str(), F_OK) != 0 && errno == ENOENT) {
    log_info("%s is not there: serving the applications of this host only",
             options.config_file.c_str());
    return true;
  }
  config::Loaded loaded = config::load_config(options.config_file);
  for (const config::NicConfig& nic : loaded.config.nics) {
    if (!nic.mode.starts_with("vdev:")) continue;  // the parser knows the others
    if (const auto checked = nic::check_mode(nic.mode); !checked) {
      loaded.errors.push_back(options.config_file + ":" + std::to_string(nic.line) +
                              ": key 'mode' in [nic " + nic.name + "]: " + checked.error());
    }
  }
  for (const std::string& error : loaded.errors) log_error("%s", error.c_str());
  *ret_config = std::move(loaded.config);
  return loaded.errors.empty();
}

// What binds a device to its driver makes no difference to DPDK.
std::string dpdk_mode(const std::string& mode) {
  const bool is_bound = mode == "vfio-pci" || mode == "uio_hv_generic" || mode == "bifurcated";
  return is_bound ? "pci" : mode;
}

nic::NicSystemSettings nic_settings(const config::Config& config) {
  nic::NicSystemSettings settings;
  switch (config.hugepages) {
    case config::Hugepages::kAuto:
      settings.hugepages = nic::Hugepages::kAuto;
      break;
    case config::Hugepages::kYes:
      settings.hugepages = nic::Hugepages::kYes;
      break;
    case config::Hugepages::kNo:
      settings.hugepages = nic::Hugepages::kNo;
      break;
  }
  settings.memory_bytes = config.memory_bytes;
  for (const config::NicConfig& nic : config.nics) {
    settings.nics.push_back({.name = nic.name,
                             .mode = dpdk_mode(nic.mode),
                             .mtu = nic.mtu,
                             .engines = nic.engines,
                             .address = nic.address});
  }
  return settings;
}

// `wanted` is the NIC's section, or built-in defaults for the engine without a NIC.
Result<EngineUnit> make_engine(const config::NicConfig& wanted, const std::string& driver,
                               NicPort* port, bool serves_loopback, ipc::EngineCounters* counters) {
  const NicFacts& nic = port->facts();
  const uint16_t mss = static_cast<uint16_t>(nic.mtu - kHeaders);
  EngineUnit unit;
  unit.facts = {.nic = wanted.name,
                .driver = driver,
                .address = wanted.address,
                .prefix_length = wanted.prefix_length,
                .gateway = wanted.gateway,
                .mtu = nic.mtu,
                .mac = nic.mac,
                .serves_loopback = serves_loopback,
                .shape = lane_shape_for(mss)};
  unit.notify.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!unit.notify) return Error{std::string("engine: no descriptor: ") + strerror(errno)};

  EngineConfig config;
  config.address = wanted.address;
  config.prefix_length = wanted.prefix_length;
  config.gateway = wanted.gateway;
  config.serves_loopback = serves_loopback;
  config.transport.mss = mss;
  // A full window of one flow fits the receive queue of a peer like us, with room for another's,
  // and a core's cache: every copy of a larger one comes from memory. Without a NIC there is no
  // queue; the default stands.
  if (driver != kNoDriver) {
    const uint32_t fits_cache = kWindowBytes / nic.mtu;
    config.transport.window_packets_max =
        std::clamp<uint32_t>(nic.rx_queue_depth / 2, 32, std::max<uint32_t>(32, fits_cache));
  }
  config.transport.seed = random_seed();
  unit.engine = std::make_unique<Engine>(config, port, counters, unit.notify.get());

  EngineThreadConfig thread;
  thread.idle = wanted.idle == config::Idle::kSpin ? IdleMode::kSpin : IdleMode::kAdaptive;
  thread.cpus = wanted.cpus;
  thread.name = "mn-" + wanted.name;
  if (driver != kNoDriver) {
    thread.enter = [] {
      if (!nic::nic_thread_enter()) log_error("an engine thread could not register with DPDK");
    };
    thread.leave = nic::nic_thread_leave;
  }
  unit.thread = std::make_unique<EngineThread>(unit.engine.get(), std::move(thread));
  return unit;
}

// Serves the applications of this host; used when there is no NIC.
config::NicConfig local_nic() {
  config::NicConfig nic;
  nic.name = "local";
  nic.address = kLoopbackAddress;
  nic.prefix_length = 8;
  return nic;
}

std::unique_ptr<control::EngineLink> link_to(const EngineUnit& unit) {
  Engine* engine = unit.engine.get();
  return std::make_unique<control::EngineLink>(
      unit.facts, control::EngineDoor{.commands = &engine->commands(),
                                      .events = &engine->events(),
                                      .notify_fd = unit.notify.get(),
                                      .wake = [engine] { engine->wake(); }});
}

// Each channel takes a few descriptors; the default limit is one for programs that use select().
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

control::ServerSettings server_settings(const control::CountersMemory& counters) {
  control::ServerSettings settings;
  // As mapped; what is never touched takes nothing, so more than there is may be promised.
  const uint64_t memory =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  settings.channels.memory_bytes = 16 * memory;
  settings.channels.memory_bytes_per_user = 8 * memory;
  settings.counters_fd = counters.fd();
  settings.counters_size = counters.size();
  settings.seed = random_seed();
  return settings;
}

Result<void> serve(const config::Config& config) {
  for (const config::NicConfig& nic : config.nics) {
    if (nic.mode == "auto" || nic.address == 0) {
      return Error{"nic " + nic.name +
                   ": 'auto' cannot be found out yet; give 'address' and 'mode' in its section"};
    }
  }
  auto socket = control::ListenSocket::open({config.socket, config.socket_gid, config.socket_mode});
  if (!socket) return Error{socket.error()};

  std::unique_ptr<nic::NicSystem> nics;
  nic::NullPort null_port;
  std::vector<EngineUnit> units;
  const size_t engine_count = std::max<size_t>(config.nics.size(), 1);
  auto counters = control::CountersMemory::create(static_cast<uint32_t>(engine_count));
  if (!counters) return Error{counters.error()};
  auto add = [&units, &counters](const config::NicConfig& nic, const std::string& driver,
                                 NicPort* port) -> Result<void> {
    const uint32_t index = static_cast<uint32_t>(units.size());
    auto unit = make_engine(nic, driver, port, index == 0, counters.value()->engine(index));
    if (!unit) return Error{unit.error()};
    units.push_back(std::move(unit.value()));
    return {};
  };
  if (config.nics.empty()) {
    if (auto added = add(local_nic(), kNoDriver, &null_port); !added) return added;
  } else {
    auto started = nic::NicSystem::start(nic_settings(config));
    if (!started) return Error{started.error()};
    nics = std::move(started.value());
    for (const std::string& warning : nics->warnings()) log_warning("%s", warning.c_str());
    for (size_t i = 0; i < config.nics.size(); i++) {
      const nic::Nic& nic = nics->nics()[i];
      if (auto added = add(config.nics[i], nic.driver, nic.ports[0]); !added) return added;
    }
  }

  std::string status = "serving";
  std::vector<std::unique_ptr<control::EngineLink>> links;
  for (EngineUnit& unit : units) {
    links.push_back(link_to(unit));
    status += (links.size() > 1 ? ", " : " ") + control::format_ipv4(unit.facts.address) + " on " +
              unit.facts.nic;
    if (auto started = unit.thread->start(); !started) return started;
  }
  auto server = control::ControlServer::create(server_settings(*counters.value()),
                                               std::move(socket.value()), std::move(links));
  if (!server) return Error{server.error()};
  log_info("%s; socket %s", status.c_str(), config.socket.c_str());
  Result<void> result = server.value()->run(status);
  for (EngineUnit& unit : units) unit.thread->stop();
  return result;
}

int run(int argc, char** argv) {
  Options options;
  const int early_exit = parse_options(argc, argv, &options);
  if (early_exit >= 0) return early_exit;
  config::Config config;
  if (!load(options, &config)) return kExitConfig;
  if (options.check_only) {
    printf("%s: the configuration is right\n", options.config_file.c_str());
    return kExitOk;
  }
  set_log_level(config.log_level);

  // Before any thread is made: they inherit it, and the event loop alone takes the signals.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
  if (const auto served = serve(config); !served) {
    log_error("%s", served.error().c_str());
    return kExitFailed;
  }
  return kExitOk;
}

}  // namespace
}  // namespace mn

int main(int argc, char** argv) { return mn::run(argc, argv); }
