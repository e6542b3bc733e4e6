// SPDX-License-Identifier: MIT
#include "device/unit_rights.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>

#include "device/text.h"

namespace mn::device {

namespace {

struct Rights {
  std::set<std::string> capabilities;
  std::set<std::string> writable;
  std::string nics;
};

// Also of one that an administrator bound.
bool is_vmbus_uio(const SavedNic& nic) {
  return nic.mode == "uio_hv_generic" || (nic.mode == "pci" && nic.bus == Bus::kVmbus);
}

void add_rights(const SavedNic& nic, Rights* rights) {
  if (is_vmbus_uio(nic)) {
    // Physical addresses. And the rings of all queues but the first: files in sysfs, root's alone,
    // that appear while the driver starts.
    rights->capabilities.insert({"CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"});
    rights->writable.insert("/sys/bus/vmbus/devices/" + nic.device);
  } else if (nic.mode == "vfio-noiommu") {
    rights->capabilities.insert({"CAP_SYS_ADMIN", "CAP_SYS_RAWIO"});
  } else {
    return;
  }
  rights->nics += (rights->nics.empty() ? "" : ", ") + printable(nic.name) + " (" + nic.mode + ")";
}

}  // namespace

std::string unit_rights(const std::vector<SavedNic>& taken) {
  Rights rights;
  for (const SavedNic& nic : taken) add_rights(nic, &rights);
  if (rights.capabilities.empty()) return "";
  std::string capabilities;
  for (const std::string& one : rights.capabilities) {
    capabilities += (capabilities.empty() ? "" : " ") + one;
  }
  std::string text =
      "# Written by machnet-nic, which the unit calls before it starts the service. This is for "
      "the "
      "NICs:\n# " +
      rights.nics + "\n[Service]\nAmbientCapabilities=" + capabilities +
      "\nCapabilityBoundingSet=" + capabilities + "\n";
  for (const std::string& path : rights.writable) text += "ReadWritePaths=-" + path + "\n";
  return text;
}

std::string unit_rights_path(const SysRoot& root) {
  return root.unit_dir + "/machnet.service.d/machnet-nic.conf";
}

Result<bool> put_unit_rights(const SysRoot& root, const std::vector<SavedNic>& taken) {
  const std::string path = unit_rights_path(root);
  const std::string wanted = unit_rights(taken);
  const std::string is = read_text(path).value_or("");
  if (is.empty() ? wanted.empty() : is + "\n" == wanted) return false;
  if (!wanted.empty()) {
    if (auto put = put_file(path, wanted); !put) return Error{put.error()};
  } else {
    if (unlink(path.c_str()) != 0 && errno != ENOENT) {
      return Error{path + ": cannot be removed: " + strerror(errno)};
    }
    rmdir(path.substr(0, path.rfind('/')).c_str());  // unless somebody else has files there
  }
  const auto ran = root.run({root.systemctl, "daemon-reload"});
  if (!ran) return Error{ran.error()};
  if (ran.value().exit_code != 0) {
    return Error{"`" + root.systemctl + " daemon-reload` failed (exit code " +
                 std::to_string(ran.value().exit_code) +
                 "): " + printable(trim(ran.value().err), 300)};
  }
  return true;
}

}  // namespace mn::device
