// SPDX-License-Identifier: MIT
#include "device/nic_command.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include "base/log_ids.h"
#include "base/unique_fd.h"
#include "config/config.h"
#include "device/binder.h"
#include "device/find.h"
#include "device/inventory.h"
#include "device/left_refusals.h"
#include "device/nic_report.h"
#include "device/saved_nic.h"
#include "device/unit_rights.h"

namespace mn::device {

namespace {

constexpr char kUsage[] =
    "usage: machnet-nic [--config FILE] [--json] list|status\n"
    "       machnet-nic [--config FILE] bind|unbind [NAME]\n"
    "  list             show every NIC, the mode that it would get, and why\n"
    "  status           show the NICs of the configuration and what was done to them\n"
    "  bind [NAME]      take the NIC of the section [nic NAME], or all of the configuration\n"
    "  unbind [NAME]    give it back to the kernel as it was, or all that are taken\n"
    "  --config FILE    read FILE instead of /etc/machnet.conf\n"
    "  --json           write what list and status show as JSON\n"
    "  --service        with bind and unbind: as machnet.service calls it\n"
    "  --root DIR       take DIR for the root of the system (for tests)\n"
    "  --version        print the version\n"
    "  --help           print this\n";

struct Options {
  std::string config_file = config::kDefaultPath;
  bool config_given = false;
  bool json = false;
  bool is_service = false;  // called by the unit, and machnetd comes next
  std::string root;         // "": the real one
  std::string command;
  std::string name;  // "": all
};

class Command {
 public:
  Command(const NicProgram& program, Options options)
      : program_(program),
        options_(std::move(options)),
        root_(options_.root.empty() ? SysRoot{} : SysRoot::below(options_.root)),
        net_(make_kernel_net(root_)) {}

  int run();

 private:
  int list();
  int status();
  int bind();
  int unbind();

  bool load_config();
  Binder make_binder();
  int bind_all(const std::vector<const config::NicConfig*>& chosen);
  int tell(const std::vector<LeftRefusal>& failed, const std::vector<LeftRefusal>& refused);
  int ask_for_rights();
  Result<UniqueFd> lock() const;
  Result<std::vector<SavedNic>> chosen_to_unbind() const;
  void say(LogLevel level, const std::string& nic, const std::string& line,
           const char* message_id) const {
    program_.say(level, {.message_id = message_id, .nic = nic.empty() ? nullptr : nic.c_str()},
                 line);
  }
  void fail(const std::string& nic, const std::string& line,
            const char* message_id = nullptr) const {
    say(LogLevel::kError, nic, line, message_id);
  }
  void say_info(const std::string& nic, const std::string& line) const {
    say(LogLevel::kInfo, nic, line, nullptr);
  }

  const NicProgram& program_;
  Options options_;
  SysRoot root_;
  std::unique_ptr<KernelNet> net_;
  config::Config config_;
};

Binder Command::make_binder() {
  return Binder({.root = root_,
                 .net = net_.get(),
                 .metadata = [this](const Mac& mac) { return program_.metadata(root_, mac); },
                 .say = program_.say,
                 .interface_wait_ms = program_.interface_wait_ms,
                 .rename_wait_ms = program_.rename_wait_ms});
}

// False: there are errors, and they were said, or will be by machnetd, which reads the same file
// next and ends with the exit code that systemd heeds. Without the file of the usual name there are
// no NICs.
bool Command::load_config() {
  const std::string& file = options_.config_file;
  if (!options_.config_given && access(file.c_str(), F_OK) != 0 && errno == ENOENT) return true;
  config::Loaded loaded = config::load_config(file);
  for (const std::string& error : loaded.errors) {
    if (!options_.is_service) fail("", error, log_id::kConfigRefused);
  }
  config_ = std::move(loaded.config);
  return loaded.errors.empty();
}

// One bind or unbind at a time; held until the descriptor is closed.
Result<UniqueFd> Command::lock() const {
  const std::string& folder = root_.state_dir;
  if (auto made = make_state_folder(root_); !made) return Error{made.error()};
  UniqueFd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return Error{folder + ": cannot be opened: " + strerror(errno) + "; run as root"};
  if (flock(fd.get(), LOCK_EX) != 0) {
    return Error{folder + ": cannot be locked: " + strerror(errno)};
  }
  return fd;
}

int Command::list() {
  const bool is_right = load_config();
  const auto inventory = take_inventory(root_, net_.get());
  const auto saved = load_saved_nics(root_);
  if (!inventory) {
    fail("", inventory.error());
    return kNicFailed;
  }
  if (!saved) fail("", saved.error());
  const std::vector<SavedNic> none;
  const auto nics = collect_nics(make_binder(), inventory.value(), config_,
                                 saved ? saved.value() : none, root_.boot_id());
  options_.json ? write_list_json(program_.out, nics) : write_list(program_.out, nics);
  if (!is_right) return kNicConfig;
  return saved ? kNicOk : kNicFailed;
}

int Command::status() {
  if (!load_config()) return kNicConfig;
  const auto saved = load_saved_nics(root_);
  if (!saved) {
    fail("", saved.error());
    return kNicFailed;
  }
  const auto nics = collect_status(root_, config_, saved.value());
  options_.json ? write_status_json(program_.out, nics) : write_status(program_.out, nics);
  return kNicOk;
}

int Command::bind() {
  if (options_.is_service) {
    if (auto cleared = leave_refusals(root_, {}); !cleared) {
      fail("", cleared.error());
      return kNicFailed;
    }
  }
  if (!load_config()) return options_.is_service ? kNicOk : kNicConfig;
  std::vector<const config::NicConfig*> chosen;
  for (const config::NicConfig& nic : config_.nics) {
    if (options_.name.empty() || nic.name == options_.name) chosen.push_back(&nic);
  }
  if (chosen.empty() && !options_.name.empty()) {
    fail(options_.name, options_.config_file + ": there is no section [nic " + options_.name +
                            "]; add one, or name a NIC that has one");
    return kNicConfig;
  }
  if (chosen.empty() && !options_.is_service) {
    say_info("", options_.config_file + ": no [nic NAME]; nothing to bind");
    return kNicOk;
  }
  const auto locked = lock();
  if (!locked) {
    fail("", locked.error());
    return kNicFailed;
  }
  const auto noted = root_.note_boot_id();
  if (!noted) say(LogLevel::kWarning, "", noted.error(), nullptr);
  const int code = bind_all(chosen);
  return code == kNicOk && options_.is_service ? ask_for_rights() : code;
}

int Command::bind_all(const std::vector<const config::NicConfig*>& chosen) {
  Binder binder = make_binder();
  std::vector<LeftRefusal> failed;
  std::vector<LeftRefusal> refused;
  for (const config::NicConfig* nic : chosen) {
    const auto taken = binder.bind(config_, *nic);
    if (taken) continue;
    const bool is_left = options_.is_service && binder.needs_operator();
    (is_left ? refused : failed).push_back({nic->name, taken.error()});
  }
  return tell(failed, refused);
}

// Leaves it to machnetd to say what another try does not cure, unless there is more.
int Command::tell(const std::vector<LeftRefusal>& failed, const std::vector<LeftRefusal>& refused) {
  if (failed.empty()) {
    const auto left = leave_refusals(root_, refused);
    if (left || refused.empty()) return kNicOk;
    fail("", left.error());
  }
  for (const auto* lines : {&refused, &failed}) {
    for (const LeftRefusal& one : *lines) fail(one.nic, one.line, log_id::kNicRefused);
  }
  return kNicFailed;
}

// For what is taken now, wherever that was asked for: machnetd drives what the configuration names.
int Command::ask_for_rights() {
  auto saved = load_saved_nics(root_);
  if (!saved) {
    fail("", saved.error());
    return kNicFailed;
  }
  std::vector<SavedNic> taken;
  for (const SavedNic& nic : saved.value()) {
    if (nic.bound != Bound::kNo && nic.boot_id == root_.boot_id()) taken.push_back(nic);
  }
  const auto changed = put_unit_rights(root_, taken);
  if (!changed) {
    fail("", changed.error());
    return kNicFailed;
  }
  if (changed.value()) {
    say_info("", unit_rights(taken).empty()
                     ? "machnet.service needs no more than its unit allows; systemd was told"
                     : "machnet.service may do what these NICs need; systemd was told by " +
                           unit_rights_path(root_));
  }
  return kNicOk;
}

Result<std::vector<SavedNic>> Command::chosen_to_unbind() const {
  if (options_.name.empty()) return load_saved_nics(root_);
  auto one = load_saved_nic(root_, options_.name);
  if (!one) return Error{one.error()};
  std::vector<SavedNic> chosen;
  if (one.value()) chosen.push_back(*one.value());
  return chosen;
}

// By what was remembered, not by the configuration: that may have changed since, or be gone.
int Command::unbind() {
  if (options_.is_service) {
    if (auto cleared = leave_refusals(root_, {}); !cleared) fail("", cleared.error());
  }
  if (!exists(root_.state_dir)) {
    if (!options_.is_service) {
      say_info(options_.name, "no NIC was ever taken; nothing to give back");
    }
    return kNicOk;
  }
  const auto locked = lock();
  if (!locked) {
    fail("", locked.error());
    return kNicFailed;
  }
  const auto chosen = chosen_to_unbind();
  if (!chosen) {
    fail(options_.name, chosen.error());
    return kNicFailed;
  }
  if (chosen.value().empty() && !options_.is_service) {
    say_info(options_.name, (options_.name.empty() ? "no NIC was ever taken"
                                                   : "nic " + options_.name + ": was never taken") +
                                "; nothing to give back");
  }
  Binder binder = make_binder();
  bool all_given = true;
  for (const SavedNic& nic : chosen.value()) {
    if (options_.is_service && Binder::holds_nothing(nic)) continue;
    const auto given = binder.unbind(nic);
    if (!given) fail(nic.name, given.error(), log_id::kNicNotGivenBack);
    all_given = all_given && given.ok();
  }
  return all_given ? kNicOk : kNicFailed;
}

int Command::run() {
  const bool changes = options_.command == "bind" || options_.command == "unbind";
  if (changes && options_.root.empty() && geteuid() != 0) {
    fail("", "machnet-nic " + options_.command + " changes drivers and must be run as root");
    return kNicFailed;
  }
  if (options_.command == "list") return list();
  if (options_.command == "status") return status();
  return options_.command == "bind" ? bind() : unbind();
}

int wrong_usage(const NicProgram& program, const std::string& line) {
  fprintf(program.err, "machnet-nic: %s\n%s", line.c_str(), kUsage);
  return kNicUsage;
}

// -1: go on; otherwise the exit code.
int parse_options(const std::vector<std::string>& args, const NicProgram& program,
                  Options* ret_options) {
  static const option kOptions[] = {{"config", required_argument, nullptr, 'c'},
                                    {"json", no_argument, nullptr, 'j'},
                                    {"root", required_argument, nullptr, 'r'},
                                    {"version", no_argument, nullptr, 'v'},
                                    {"service", no_argument, nullptr, 's'},
                                    {"help", no_argument, nullptr, 'h'},
                                    {nullptr, 0, nullptr, 0}};
  std::string program_name = "machnet-nic";
  std::vector<char*> argv = {program_name.data()};
  std::vector<std::string> copies = args;
  for (std::string& one : copies) argv.push_back(one.data());
  const int argc = static_cast<int>(argv.size());
  argv.push_back(nullptr);
  optind = 0;  // start anew, also in the process that called before
  opterr = 0;
  Options& options = *ret_options;
  for (int c; (c = getopt_long(argc, argv.data(), ":", kOptions, nullptr)) != -1;) {
    switch (c) {
      case 'c':
        options.config_file = optarg;
        options.config_given = true;
        break;
      case 'j':
        options.json = true;
        break;
      case 'r':
        options.root = optarg;
        break;
      case 's':
        options.is_service = true;
        break;
      case 'v':
        fprintf(program.out, "machnet-nic %s\n", program.version);
        return kNicOk;
      case 'h':
        fputs(kUsage, program.out);
        return kNicOk;
      default:
        return wrong_usage(program, std::string(argv[static_cast<size_t>(optind) - 1]) +
                                        (c == ':' ? ": needs a value" : ": unknown option"));
    }
  }
  std::vector<std::string> words(argv.begin() + optind, argv.begin() + argc);
  if (words.empty()) return wrong_usage(program, "no command");
  options.command = words[0];
  const bool takes_name = words[0] == "bind" || words[0] == "unbind";
  if (!takes_name && words[0] != "list" && words[0] != "status") {
    return wrong_usage(program, "unknown command '" + words[0] + "'");
  }
  if (words.size() > (takes_name ? 2U : 1U)) {
    return wrong_usage(program, "unexpected argument '" + words.back() + "'");
  }
  if (words.size() == 2) options.name = words[1];
  if (options.json && takes_name) return wrong_usage(program, "--json goes with list and status");
  if (options.is_service && !takes_name) {
    return wrong_usage(program, "--service goes with bind and unbind");
  }
  if (!options.root.empty() && !options.config_given) {
    options.config_file = options.root + config::kDefaultPath;
  }
  return -1;
}

}  // namespace

int nic_command(const std::vector<std::string>& args, const NicProgram& program) {
  Options options;
  const int early_exit = parse_options(args, program, &options);
  if (early_exit >= 0) return early_exit;
  return Command(program, std::move(options)).run();
}

}  // namespace mn::device
