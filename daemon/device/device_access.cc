// SPDX-License-Identifier: MIT
#include "device/device_access.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "device/device_users.h"

namespace mn::device {

Result<void> let_service_open(const SysRoot& root, Bus bus, const std::string& device) {
  if (root.service_user.empty()) return {};
  const passwd* const user = getpwnam(root.service_user.c_str());
  if (user == nullptr) return {};
  const uid_t uid = user->pw_uid;
  // udev sets the owner of a new file when it gets to it, which may be after us. Where it is not
  // running there is nothing to wait for.
  if (!root.udevadm.empty() && root.find_program(root.udevadm)) {
    if (auto ran = root.run({root.udevadm, "settle", "--timeout=5"}); !ran) {
      return Error{ran.error()};
    }
  }
  for (const std::string& file : device_files(root, bus, device)) {
    if (!exists(file)) continue;
    if (chown(file.c_str(), uid, static_cast<gid_t>(-1)) != 0 || chmod(file.c_str(), 0600) != 0) {
      return Error{"cannot let " + root.service_user + " open " + file + ": " + strerror(errno) +
                   "; machnetd needs it"};
    }
  }
  return {};
}

}  // namespace mn::device
