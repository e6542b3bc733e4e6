// SPDX-License-Identifier: MIT
#include "service.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "base/engine_clock.h"
#include "base/log.h"
#include "base/log_ids.h"
#include "base/random.h"
#include "config/changes.h"
#include "control/route.h"
#include "control/service_manager.h"

namespace mn {
namespace {

constexpr char kNoDriver[] = "none";
constexpr unsigned kTakeDownSeconds = 3;
constexpr uint32_t kConnectionsMin = 64;  // of one user: tools need some, too

control::ChannelLimits channel_limits(const config::Quotas& quotas) {
  // As mapped; what is never touched takes nothing, so more than there is may be promised.
  const uint64_t memory =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  control::ChannelLimits limits;
  limits.channels_per_user = quotas.channels_per_user;
  limits.memory_bytes = 16 * memory;
  limits.memory_bytes_per_user = quotas.memory_per_user != 0 ? quotas.memory_per_user : 8 * memory;
  limits.flows_per_user = quotas.flows_per_user;
  limits.listeners_per_user = quotas.listeners_per_user;
  return limits;
}

// Each channel is a connection, and a program may try another while the limit still holds it.
uint32_t connections_per_user(const config::Quotas& quotas) {
  return std::max(kConnectionsMin, 2 * quotas.channels_per_user);
}

// A stuck engine or device must not keep the service from ending: its memory and its descriptors
// end with the process.
void cut_off(int) {
  static constexpr char kText[] =
      "machnetd: an engine or a device does not end: ending without it\n";
  if (write(STDERR_FILENO, kText, sizeof kText - 1) < 0) {
  }
  _exit(1);
}

// Errors about one NIC begin with its name.
void log_nic_failure(const std::string& error, const config::Config& config) {
  LogEvent event{.message_id = log_id::kNicFailed};
  for (const config::NicConfig& nic : config.nics) {
    if (error.starts_with("nic " + nic.name + ":")) event.nic = nic.name.c_str();
  }
  log_event(LogLevel::kError, event, "%s", error.c_str());
}

void log_nic_up(const NicPlan& plan, const nic::Nic& nic) {
  std::string line = "nic " + plan.name + ": " + control::format_ipv4(plan.address) + "/" +
                     std::to_string(plan.prefix_length);
  if (plan.gateway != 0) line += " through " + control::format_ipv4(plan.gateway);
  line += ", MTU " + std::to_string(nic.mtu) + ", driver " + nic.driver + ", mode " + plan.mode;
  if (!plan.reason.empty()) line += " (" + plan.reason + ")";
  log_event(LogLevel::kInfo, {.message_id = log_id::kNicUp, .nic = plan.name.c_str()}, "%s",
            line.c_str());
}

// Only for a service that is not root: root by hand needs root's files, too.
Result<void> limit_capabilities(const std::vector<NicPlan>& plans) {
  if (geteuid() == 0) return {};
  const Capabilities needed = needed_capabilities(plans);
  const Capabilities held = held_capabilities();
  // Pinned memory is a limit's business, and its error says so; of unknown drivers nothing is
  // known.
  const Capabilities missing = needed & ~held & ~capability(CAP_IPC_LOCK);
  if (missing != 0 && needed != ~Capabilities{0}) {
    log_warning(
        "missing for these NICs: %s; `systemctl restart machnet` has machnet-nic ask systemd for "
        "it",
        format_capabilities(missing).c_str());
  }
  if ((held & ~needed) == 0) return {};
  log_debug("giving up %s", format_capabilities(held & ~needed).c_str());
  return keep_capabilities(needed);
}

}  // namespace

Result<config::Config> load(const ConfigSource& source, const char* message_id) {
  if (source.may_be_absent && access(source.file.c_str(), F_OK) != 0 && errno == ENOENT) {
    log_info("%s is not there: serving the applications of this host only", source.file.c_str());
    return config::Config{};
  }
  config::Loaded loaded = config::load_config(source.file);
  for (const config::NicConfig& nic : loaded.config.nics) {
    if (const auto checked = check_mode(nic.mode); !checked) {
      loaded.errors.push_back(source.file + ":" + std::to_string(nic.line) +
                              ": key 'mode' in [nic " + nic.name + "]: " + checked.error());
    }
  }
  for (const std::string& error : loaded.errors) {
    log_event(LogLevel::kError, {.message_id = message_id}, "%s", error.c_str());
  }
  if (!loaded.errors.empty()) return Error{loaded.errors.front()};
  return std::move(loaded.config);
}

// One for each port.
Result<void> Service::add_engines(size_t nic_index, const NicPlan& plan, const std::string& driver,
                                  std::span<NicPort* const> ports) {
  EngineSettings settings{.use_counter = use_counter_};
  if (ports.size() > 1) {
    groups_.push_back(std::make_unique<EngineGroup>(static_cast<uint32_t>(ports.size())));
    settings.group = groups_.back().get();
  }
  for (NicPort* port : ports) {
    const auto number = static_cast<uint32_t>(units_.size());
    settings.serves_loopback = number == 0;
    auto unit = make_engine(plan, driver, port, settings, counters_->engine(number));
    if (!unit) return Error{unit.error()};
    unit.value().nic = nic_index;
    units_.push_back(std::move(unit.value()));
    settings.index++;
  }
  return {};
}

Result<void> Service::start_nics(std::vector<NicPlan> plans) {
  if (auto limited = limit_capabilities(plans); !limited) return limited;
  if (plans.empty()) {
    NicPort* const port = &null_port_;
    return add_engines(0, local_plan(), kNoDriver, {&port, 1});
  }
  std::string names;
  for (const NicPlan& plan : plans) names += " " + plan.name + " (" + plan.mode + ")";
  control::tell_status("starting" + names);
  auto started = nic::NicSystem::start(nic_settings(config_, plans));
  if (!started) {
    log_nic_failure(started.error(), config_);
    return Error{""};  // said already
  }
  nics_ = std::move(started.value());
  for (const std::string& warning : nics_->warnings()) log_warning("%s", warning.c_str());
  for (size_t i = 0; i < plans.size(); i++) {
    const nic::Nic& nic = nics_->nics()[i];
    if (auto added = add_engines(i, plans[i], nic.driver, nic.ports); !added) return added;
    log_nic_up(plans[i], nic);
  }
  return {};
}

Result<void> Service::start_engines() {
  for (EngineUnit& unit : units_) {
    if (auto started = unit.thread->start(); !started) return started;
  }
  return {};
}

control::ServerSettings Service::server_settings() {
  control::ServerSettings settings;
  settings.channels = channel_limits(config_.quotas);
  settings.connections_per_user = connections_per_user(config_.quotas);
  settings.counters_fd = counters_->fd();
  settings.counters_size = counters_->size();
  settings.seed = random_seed();
  settings.on_reload = [this] { return reload(); };
  return settings;
}

Result<void> Service::run() {
  // First of all: fails while another service has the address.
  auto socket =
      control::ListenSocket::open({config_.socket, config_.socket_gid, config_.socket_mode});
  if (!socket) return Error{socket.error()};
  uint32_t engines = config_.nics.empty() ? 1 : 0;
  for (const config::NicConfig& nic : config_.nics) engines += nic.engines;
  auto counters = control::CountersMemory::create(engines);
  if (!counters) return Error{counters.error()};
  counters_ = std::move(counters.value());
  const ClockChoice clock = choose_clock();
  use_counter_ = clock.counter;
  auto plans = plan_nics(config_);
  if (!plans) {
    log_nic_failure(plans.error(), config_);
    return Error{""};  // said already
  }
  if (auto started = start_nics(std::move(plans.value())); !started) return started;
  log_info("clock: %s (%s)", clock.counter ? "the processor's" : "the kernel's",
           clock.reason.c_str());
  if (auto started = start_engines(); !started) return started;

  std::vector<std::unique_ptr<control::EngineLink>> links;
  for (const EngineUnit& unit : units_) links.push_back(link_to(unit));
  auto server = control::ControlServer::create(server_settings(), std::move(socket.value()),
                                               std::move(links));
  if (!server) return Error{server.error()};
  server_ = std::move(server.value());
  Result<void> result = server_->run();

  signal(SIGALRM, cut_off);
  alarm(kTakeDownSeconds);
  for (EngineUnit& unit : units_) unit.thread->stop();
  server_.reset();
  units_.clear();
  groups_.clear();
  nics_.reset();
  alarm(0);
  return result;
}

Result<void> Service::reload() {
  const auto loaded = load(source_, log_id::kReloadRefused);
  if (!loaded) {
    log_event(LogLevel::kError, {.message_id = log_id::kReloadRefused},
              "reload refused: the configuration in force stays as it is");
    return Error{loaded.error()};
  }
  const config::Config& wanted = loaded.value();
  const std::vector<config::Change> changes = config::find_changes(config_, wanted);
  // Whichever of the two levels shows more tells of the change.
  set_log_level(std::max(config_.log_level, wanted.log_level));
  for (const config::Change& change : changes) {
    const std::string text = describe(change);
    log_event(change.reloadable ? LogLevel::kInfo : LogLevel::kWarning,
              {.message_id = change.reloadable ? log_id::kReloaded : log_id::kNeedsRestart},
              "reload: %s%s", text.c_str(), change.reloadable ? "" : ": needs a restart");
  }
  if (changes.empty()) {
    log_event(LogLevel::kInfo, {.message_id = log_id::kReloaded}, "reload: nothing has changed");
  }
  config::apply_reloadable(wanted, &config_);
  set_log_level(config_.log_level);
  server_->set_limits(channel_limits(config_.quotas), connections_per_user(config_.quotas));
  for (EngineUnit& unit : units_) {
    if (config_.nics.empty()) continue;  // nobody says how idle the local one is
    unit.thread->set_idle(idle_mode(config_.nics[unit.nic].idle));
  }
  return {};
}

}  // namespace mn
