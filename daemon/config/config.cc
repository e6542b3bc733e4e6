// SPDX-License-Identifier: MIT
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "base/unique_fd.h"
#include "config/ini_source.h"
#include "config/keys.h"
#include "config/values.h"

namespace mn::config {
namespace {

constexpr size_t kFileSizeMax = 1 << 20;

template <typename Keys>
std::string names_of(Keys keys) {
  std::string names;
  for (const auto& key : keys) names += (names.empty() ? "" : ", ") + std::string(key.name);
  return names;
}

class Parser {
 public:
  explicit Parser(const std::string& file) { loaded_.config.file = file; }

  Loaded parse(std::string_view text) {
    IniEvents events;
    events.on_section = [this](int line, const std::string& name) { on_section(line, name); };
    events.on_value = [this](int line, const char* key, const char* value) {
      on_value(line, key, value);
    };
    events.on_bad_line = [this](int line, const char* what) { fail(line, what); };
    read_ini(text, events);
    check_nics();
    // Found in the order of the checks; read in the order of the file.
    std::stable_sort(errors_.begin(), errors_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [line, message] : errors_) loaded_.errors.push_back(std::move(message));
    return std::move(loaded_);
  }

  int line_of(const std::string& key) const {  // in [machnet]; 0: not there
    const auto it = machnet_lines_.find(key);
    return it == machnet_lines_.end() ? 0 : it->second;
  }

 private:
  enum class Where : uint8_t { kNowhere, kUnknown, kMachnet, kNic };
  struct Seen {  // per [nic]: key to line
    std::map<std::string, int> lines;
  };

  void fail(int line, const std::string& what) {
    errors_.emplace_back(line, loaded_.config.file + ":" + std::to_string(line) + ": " + what);
  }
  void fail_key(int line, const std::string& key, const std::string& what) {
    fail(line, "key '" + key + "' in [" + section_ + "]: " + what);
  }

  void on_section(int line, std::string name) {
    const bool is_nic = name.starts_with("nic ") || name.starts_with("nic\t");
    if (is_nic) name = "nic " + name.substr(name.find_first_not_of(" \t", 3));
    section_ = name;
    where_ = Where::kUnknown;
    const auto [it, is_new] = sections_.emplace(name, line);
    if (!is_new) {
      fail(line,
           "section [" + name + "]: given twice, first in line " + std::to_string(it->second));
    } else if (name == "machnet") {
      where_ = Where::kMachnet;
    } else if (is_nic) {
      begin_nic(line, name.substr(4));
    } else {
      fail(line, "section [" + name + "]: unknown; allowed: [machnet], [nic NAME]");
    }
  }

  void begin_nic(int line, const std::string& name) {
    if (!parse_nic_name(name)) {
      fail(line,
           "section [" + section_ + "]: '" + name +
               "' names no NIC; allowed: a kernel interface, a PCI address, a VMBus UUID, a MAC");
      return;
    }
    if (loaded_.config.nics.size() == kNicsMax) {
      fail(line, "section [" + section_ + "]: too many NICs; allowed: " + std::to_string(kNicsMax));
      return;
    }
    where_ = Where::kNic;
    loaded_.config.nics.emplace_back();
    loaded_.config.nics.back().name = name;
    loaded_.config.nics.back().line = line;
    seen_.emplace_back();
  }

  void on_value(int line, const char* key, const char* value) {
    switch (where_) {
      case Where::kNowhere:
        fail(line,
             std::string("key '") + key + "' before any section; allowed: [machnet], [nic NAME]");
        break;
      case Where::kUnknown:
        break;  // the section was refused: one error is enough
      case Where::kMachnet:
        set(line, key, value, machnet_keys(), &loaded_.config, &machnet_lines_);
        break;
      case Where::kNic:
        set(line, key, value, nic_keys(), &loaded_.config.nics.back(), &seen_.back().lines);
        break;
    }
  }

  template <typename Keys, typename Target>
  void set(int line, const std::string& key, const std::string& value, Keys keys, Target* target,
           std::map<std::string, int>* lines) {
    for (const auto& known : keys) {
      if (key != known.name) continue;
      const auto [it, is_new] = lines->emplace(key, line);
      if (!is_new) {
        fail_key(line, key,
                 "given twice, first in line " + std::to_string(it->second) + "; allowed: once");
        return;
      }
      if (const Fault fault = known.set(target, value)) {
        fail_key(line, key, "'" + value + "': " + fault + "; allowed: " + known.allowed);
      }
      return;
    }
    fail_key(line, key, "unknown; allowed: " + names_of(keys));
  }

  void check_nics() {
    std::map<Ipv4, int> addresses;
    std::map<std::string, int> vdevs;
    uint32_t engines = 0;
    for (size_t i = 0; i < loaded_.config.nics.size(); i++) {
      const NicConfig& nic = loaded_.config.nics[i];
      auto& lines = seen_[i].lines;
      section_ = "nic " + nic.name;
      check_mode(nic, lines);
      check_unique(nic, lines, &addresses, &vdevs);
      check_gateway(nic, lines);
      engines += nic.engines;
      if (engines > kEnginesMax && engines - nic.engines <= kEnginesMax) {
        fail_key(lines["engines"], "engines",
                 "more than " + std::to_string(kEnginesMax) +
                     " for all NICs together; allowed: " + std::to_string(kEnginesMax) + " in all");
      }
    }
  }

  // What a NIC with such a name cannot be driven by.
  void check_mode(const NicConfig& nic, std::map<std::string, int>& lines) {
    const NicName kind = *parse_nic_name(nic.name);
    const auto refuse = [this, &nic, &lines](const char* what) {
      fail_key(lines["mode"], "mode", "'" + nic.mode + "' " + what);
    };
    if ((nic.mode == "af_packet" || nic.mode == "af_xdp") &&
        (kind == NicName::kPci || kind == NicName::kVmbus)) {
      refuse("needs the name or the MAC of a kernel interface as NAME; allowed: auto, pci");
    } else if (nic.mode == "vfio-pci" && kind == NicName::kVmbus) {
      refuse("is for PCI devices, and NAME is of a VMBus device; allowed: auto, uio_hv_generic");
    } else if (nic.mode == "uio_hv_generic" && kind == NicName::kPci) {
      refuse("is for VMBus devices, and NAME is of a PCI device; allowed: auto, vfio-pci");
    } else if (nic.mode.starts_with("vdev:") && nic.address_source != AddressSource::kGiven) {
      const auto it = lines.find("address");
      fail_key(
          it == lines.end() ? nic.line : it->second, "address",
          "nobody knows that of a virtual device; allowed: a.b.c.d/length such as 10.0.0.1/24");
    }
  }

  void check_unique(const NicConfig& nic, std::map<std::string, int>& lines,
                    std::map<Ipv4, int>* addresses, std::map<std::string, int>* vdevs) {
    if (nic.address != 0) {
      const auto [it, is_new] = addresses->emplace(nic.address, lines["address"]);
      if (!is_new) {
        fail_key(lines["address"], "address",
                 "the NIC of line " + std::to_string(it->second) +
                     " has the same; allowed: one that no other NIC has");
      }
    }
    if (nic.mode.starts_with("vdev:")) {
      const auto [it, is_new] =
          vdevs->emplace(nic.mode.substr(0, nic.mode.find(',')), lines["mode"]);
      if (!is_new) {
        fail_key(
            lines["mode"], "mode",
            "the device of line " + std::to_string(it->second) +
                " has the same name; allowed: a number of its own at its end, such as net_memif1");
      }
    }
  }

  void check_gateway(const NicConfig& nic, std::map<std::string, int>& lines) {
    if (nic.gateway == 0 || nic.address == 0) return;
    const char* fault = nullptr;
    if (nic.gateway == nic.address) fault = "the NIC's own address";
    // A /32 has its gateway on the link all the same (as in Google's cloud).
    if (nic.prefix_length < 32 && (nic.gateway ^ nic.address) >> (32 - nic.prefix_length) != 0) {
      fault = "not in the NIC's network";
    }
    if (fault != nullptr) {
      fail_key(
          lines["gateway"], "gateway",
          std::string(fault) + "; allowed: another host of the NIC's network (of any, with /32)");
    }
  }

  Loaded loaded_;
  std::vector<std::pair<int, std::string>> errors_;
  std::string section_;
  Where where_ = Where::kNowhere;
  std::map<std::string, int> sections_;       // name to line
  std::map<std::string, int> machnet_lines_;  // key to line
  std::vector<Seen> seen_;                    // as loaded_.config.nics
};

bool read_file(const std::string& path, std::string* ret_text, std::string* ret_error) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char buffer[4096];
  std::string text;
  for (;;) {
    const ssize_t n = fd ? read(fd.get(), buffer, sizeof(buffer)) : -1;
    if (n < 0 && fd && errno == EINTR) continue;
    if (n < 0) {
      *ret_error = path + ": cannot be read: " + strerror(errno);
      return false;
    }
    if (n == 0) break;
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kFileSizeMax) {
      *ret_error = path + ": is larger than 1 MiB: no configuration file";
      return false;
    }
  }
  *ret_text = std::move(text);
  return true;
}

}  // namespace

Loaded parse_config(std::string_view text, const std::string& file) {
  return Parser(file).parse(text);
}

Loaded load_config(const std::string& path) {
  std::string text;
  std::string error;
  if (!read_file(path, &text, &error)) {
    Loaded failed;
    failed.errors.push_back(std::move(error));
    return failed;
  }
  Parser parser(path);
  Loaded loaded = parser.parse(text);
  const std::string& group = loaded.config.socket_group;
  if (!group.empty()) {
    if (const struct group* entry = getgrnam(group.c_str())) {
      loaded.config.socket_gid = entry->gr_gid;
    } else {
      loaded.errors.push_back(path + ":" + std::to_string(parser.line_of("socket_group")) +
                              ": key 'socket_group' in [machnet]: '" + group +
                              "': no such group; allowed: the name of a group");
    }
  }
  return loaded;
}

}  // namespace mn::config
