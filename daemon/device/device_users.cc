// SPDX-License-Identifier: MIT
#include "device/device_users.h"

#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "device/inventory.h"
#include "device/text.h"

namespace mn::device {

std::vector<std::string> device_files(const SysRoot& root, Bus bus, const std::string& device) {
  const std::string path = device_path(root, bus, device);
  std::vector<std::string> files;
  if (path.empty()) return files;
  const std::string group = link_name(path + "/iommu_group");
  if (!group.empty()) {
    files.push_back(root.dev + "/vfio/" + group);
    files.push_back(root.dev + "/vfio/noiommu-" + group);
  }
  for (const std::string& uio : list_folder(path + "/uio")) files.push_back(root.dev + "/" + uio);
  return files;
}

namespace {

std::string target_of(const std::string& link) {
  char target[PATH_MAX];
  const ssize_t length = readlink(link.c_str(), target, sizeof target);
  return length <= 0 ? "" : std::string(target, static_cast<size_t>(length));
}

}  // namespace

std::string device_user(const SysRoot& root, Bus bus, const std::string& device) {
  const std::vector<std::string> files = device_files(root, bus, device);
  if (files.empty()) return "";
  for (const std::string& pid : list_folder(root.proc)) {
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string folder = root.proc + "/" + pid + "/fd";
    for (const std::string& fd : list_folder(folder)) {
      const std::string target = target_of(folder + "/" + fd);
      if (std::find(files.begin(), files.end(), target) == files.end()) continue;
      const std::string name = read_text(root.proc + "/" + pid + "/comm").value_or("?");
      return "process " + pid + " (" + printable(name) + ")";
    }
  }
  return "";
}

}  // namespace mn::device
