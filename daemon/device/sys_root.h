// SPDX-License-Identifier: MIT
// SysRoot: where everything outside this process is found: sysfs, procfs, the folder of saved
// state, driverctl, modprobe, the cloud's metadata service. Tests put a folder of their own in its
// place, and so no code of daemon/device names a path of the system anywhere else. A plain value,
// owned by the program; main thread, blocking; caches nothing.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace mn::device {

struct CommandOutput {
  int exit_code = 0;  // 127: there is no such program; 128 + N: ended by signal N
  std::string out;
  std::string err;
};

struct SysRoot {
  std::string sys = "/sys";
  std::string proc = "/proc";
  std::string dev = "/dev";
  std::string state_dir = "/var/lib/machnet";
  std::string run_dir = "/run/machnet";          // what a boot ends: root's to write
  std::string unit_dir = "/run/systemd/system";  // likewise, for systemd to read
  std::string driverctl = "driverctl";  // without a slash: searched in the system's folders
  std::string modprobe = "modprobe";
  std::string systemctl = "systemctl";
  std::string udevadm = "udevadm";       // empty: nobody sets owners of device files but us
  std::string service_user = "machnet";  // may open the devices; empty: whoever may anyway
  std::string net_dir;  // not empty: the kernel's network facts are files in it (FileKernelNet)
  std::string metadata_url;  // not empty: in place of the address of every cloud's service
  std::string state_group = "machnet";  // may read the state; empty: nobody but the owner

  // All of it below `directory`: DIR/sys, DIR/proc, DIR/dev, DIR/var/lib/machnet,
  // DIR/run/machnet, DIR/run/systemd/system, DIR/bin/{driverctl,modprobe,systemctl}, DIR/net, and
  // what the file DIR/metadata-url says, if there is one.
  static SysRoot below(const std::string& directory);

  // Runs a program to its end (60 s at most) and takes what it wrote. The caller's PATH is not
  // used. An error only if no process can be made at all.
  Result<CommandOutput> run(const std::vector<std::string>& argv) const;

  // Full path of a program as run() would find it; nothing: it is not installed.
  std::optional<std::string> find_program(const std::string& name) const;

  // Changes at each boot; "" if the kernel does not say.
  std::string boot_id() const;
  // The same for machnetd: what machnet-nic noted of it in run_dir. In a container it is the
  // container manager that says boot_id, by a mount over the kernel's file, which a service with a
  // /proc of its own (ProtectProc=) does not see.
  std::string noted_boot_id() const;
  Result<void> note_boot_id() const;
};

// What a small file says, without its final newline; nothing: it cannot be read.
std::optional<std::string> read_text(const std::string& path);
std::optional<long> read_number(const std::string& path);  // decimal or 0x...
Result<void> write_text(const std::string& path, const std::string& text);
// A file of ours that everybody may read: whole or not at all; makes its folder.
Result<void> put_file(const std::string& path, const std::string& text);
bool exists(const std::string& path);
// The last part of what a symbolic link points to: the driver's, group's, device's name. "": none.
std::string link_name(const std::string& path);
// Names in a folder, sorted, without . and ..; none if there is no such folder.
std::vector<std::string> list_folder(const std::string& path);

}  // namespace mn::device
