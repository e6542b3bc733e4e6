// SPDX-License-Identifier: MIT
// FileKernelNet: a kernel's network made of files, one per interface, for tests of everything that
// stands on KernelNet.
#include <algorithm>
#include <functional>
#include <set>

#include "config/values.h"
#include "device/kernel_net_kinds.h"
#include "device/text.h"

namespace mn::device {

namespace {

struct FileNic {
  KernelNic nic;
  std::set<std::string> refused;  // kinds of change that are to fail
};

std::string yes_no(bool value) { return value ? "yes" : "no"; }

bool take_yes_no(const std::string& word, bool* ret_value) {
  *ret_value = word == "yes";
  return word == "yes" || word == "no";
}

bool take_mac(const std::string& word, Mac* ret_mac) {
  const auto mac = config::parse_mac(word);
  if (mac) *ret_mac = *mac;
  return mac.has_value();
}

// "" or what is wrong with the line.
std::string take_line(const std::string& key, const std::string& value, FileNic* file) {
  KernelNic& nic = file->nic;
  bool right = true;
  if (key == "mac") {
    right = take_mac(value, &nic.mac);
  } else if (key == "permanent") {
    right = take_mac(value, &nic.permanent_mac);
  } else if (key == "mtu") {
    const auto mtu = config::parse_number(value, 0, UINT32_MAX);
    right = mtu.has_value();
    nic.mtu = static_cast<uint32_t>(mtu.value_or(0));
  } else if (key == "up") {
    right = take_yes_no(value, &nic.is_up);
  } else if (key == "link") {
    right = take_yes_no(value, &nic.has_link);
  } else if (key == "kind") {
    nic.kind = value;
  } else if (key == "master") {
    nic.master = value;
  } else if (key == "refuse") {
    file->refused.insert(value);
  } else if (key == "address") {
    auto address = parse_kernel_address(value);
    if (!address) return address.error();
    nic.addresses.push_back(address.value());
  } else if (key == "route") {
    auto route = parse_kernel_route(value);
    if (!route) return route.error();
    nic.routes.push_back(route.value());
  } else {
    return "unknown key \"" + printable(key) + "\"";
  }
  return right ? "" : "\"" + printable(value) + "\" is no " + key;
}

class FileKernelNet final : public KernelNet {
 public:
  explicit FileKernelNet(std::string directory) : directory_(std::move(directory)) {}

  Result<std::vector<KernelNic>> nics() override {
    std::vector<KernelNic> all;
    for (const std::string& ifname : list_folder(directory_)) {
      auto file = load(ifname);
      if (!file) return Error{file.error()};
      all.push_back(std::move(file.value().nic));
      all.back().index = static_cast<int>(all.size());
    }
    return all;
  }

  Result<void> set_up(const std::string& ifname, bool up) override {
    return change(ifname, "up", [up](KernelNic* nic) { nic->is_up = up; });
  }
  Result<void> set_mtu(const std::string& ifname, uint32_t mtu) override {
    return change(ifname, "mtu", [mtu](KernelNic* nic) { nic->mtu = mtu; });
  }
  Result<void> add_address(const std::string& ifname, const KernelAddress& address) override {
    return change(ifname, "address", [&](KernelNic* nic) { add(address, &nic->addresses); });
  }
  Result<void> add_route(const std::string& ifname, const KernelRoute& route) override {
    return change(ifname, "route", [&](KernelNic* nic) { add(route, &nic->routes); });
  }

 private:
  template <typename T>
  static void add(const T& one, std::vector<T>* all) {
    if (std::find(all->begin(), all->end(), one) == all->end()) all->push_back(one);
  }

  std::string path_of(const std::string& ifname) const { return directory_ + "/" + ifname; }

  Result<FileNic> load(const std::string& ifname) const {
    const auto text = read_text(path_of(ifname));
    if (!text) return Error{"there is no interface " + ifname};
    FileNic file;
    file.nic.ifname = ifname;
    int number = 0;
    for (std::string_view rest = *text; !rest.empty();) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      const std::string line(trim(rest.substr(0, end)));
      rest.remove_prefix(std::min(end + 1, rest.size()));
      number++;
      if (line.empty() || line[0] == '#') continue;
      const size_t space = std::min(line.find(' '), line.size());
      const std::string wrong =
          take_line(line.substr(0, space), std::string(trim(line.substr(space))), &file);
      if (!wrong.empty()) {
        return Error{path_of(ifname) + ":" + std::to_string(number) + ": " + wrong};
      }
    }
    return file;
  }

  Result<void> save(const FileNic& file) const {
    const KernelNic& nic = file.nic;
    std::string text = "mac " + format_mac(nic.mac) + "\n";
    if (nic.permanent_mac != Mac{}) text += "permanent " + format_mac(nic.permanent_mac) + "\n";
    text += "mtu " + std::to_string(nic.mtu) + "\nup " + yes_no(nic.is_up) + "\nlink " +
            yes_no(nic.has_link) + "\n";
    if (!nic.kind.empty()) text += "kind " + nic.kind + "\n";
    if (!nic.master.empty()) text += "master " + nic.master + "\n";
    for (const std::string& kind : file.refused) text += "refuse " + kind + "\n";
    for (const KernelAddress& address : nic.addresses) {
      text += "address " + format_kernel_address(address) + "\n";
    }
    for (const KernelRoute& route : nic.routes) {
      text += "route " + format_kernel_route(route) + "\n";
    }
    return write_text(path_of(nic.ifname), text);
  }

  Result<void> change(const std::string& ifname, const std::string& kind,
                      const std::function<void(KernelNic*)>& edit) {
    auto file = load(ifname);
    if (!file) return Error{file.error()};
    if (file.value().refused.contains(kind)) {
      return Error{"cannot change " + kind + " of " + ifname + ": refused by its file"};
    }
    edit(&file.value().nic);
    return save(file.value());
  }

  std::string directory_;
};

}  // namespace

std::unique_ptr<KernelNet> make_file_net(const std::string& directory) {
  return std::make_unique<FileKernelNet>(directory);
}

}  // namespace mn::device
