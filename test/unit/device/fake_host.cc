// SPDX-License-Identifier: MIT
#include "unit/device/fake_host.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "device/nic_command.h"
#include "device/text.h"

namespace mn::test {

namespace fs = std::filesystem;

namespace {

constexpr char kBootId[] = "proc/sys/kernel/random/boot_id";

// Like the real one: takes the driver away, lets the kernel's interface vanish or come back (as one
// that nobody has set up), and prints nothing. The folder's files driverctl-fails and binds-nothing
// make it fail, rename gives the interface another name, no-interface keeps it away.
constexpr char kDriverctl[] = R"sh(#!/bin/sh
root=$(cd "$(dirname "$0")/.." && pwd)
echo "driverctl $*" >>"$root/calls"
bus=pci
while :; do
  case $1 in
    -b) bus=$2; shift 2 ;;
    --nosave) shift ;;
    *) break ;;
  esac
done
device=$(readlink -f "$root/sys/bus/$bus/devices/$2")
[ -n "$device" ] && [ -d "$device" ] || { echo "driverctl: no such device: $2" >&2; exit 1; }
if [ -f "$root/$1-fails" ]; then
  cat "$root/$1-fails" >&2
  exit 1
fi
hide() {
  for net in "$device"/net "$device"/virtio*/net; do
    [ -d "$net" ] || continue
    for one in "$net"/*; do
      name=$(basename "$one")
      rm "$root/sys/class/net/$name"
      mkdir -p "$root/hidden" && mv "$root/net/$name" "$root/hidden/$name"
    done
    mv "$net" "$net.hidden"
  done
}
show() {
  [ -f "$root/no-interface" ] && return
  for net in "$device"/net.hidden "$device"/virtio*/net.hidden; do
    [ -d "$net" ] || continue
    mv "$net" "${net%.hidden}"
    for one in "${net%.hidden}"/*; do
      old=$(basename "$one") name=$(basename "$one")
      if [ -f "$root/rename" ]; then
        name=$(cat "$root/rename")
        mv "$one" "${net%.hidden}/$name"
      fi
      ln -s "${net%.hidden}/$name" "$root/sys/class/net/$name"
      { grep '^mac ' "$root/hidden/$old"; echo "mtu 1500"; echo "up no"; } >"$root/net/$name"
      rm "$root/hidden/$old"
    done
  done
}
case $1 in
  set-override)
    hide
    rm -f "$device/driver"
    echo "$3" >"$device/driver_override"
    [ -f "$root/binds-nothing" ] && exit 0
    mkdir -p "$root/sys/bus/$bus/drivers/$3"
    ln -s "$root/sys/bus/$bus/drivers/$3" "$device/driver"
    ;;
  unset-override)
    rm -f "$device/driver"
    echo "(null)" >"$device/driver_override"
    kernel=$(cat "$device/kernel_driver")
    [ -n "$kernel" ] || exit 0
    [ -f "$root/releases-nothing" ] && exit 0
    ln -s "$root/sys/bus/$bus/drivers/$kernel" "$device/driver"
    show
    ;;
esac
exit 0
)sh";

// The file systemctl-fails makes it fail.
constexpr char kSystemctl[] = R"sh(#!/bin/sh
root=$(cd "$(dirname "$0")/.." && pwd)
echo "systemctl $*" >>"$root/calls"
[ -f "$root/systemctl-fails" ] || exit 0
echo "Transport endpoint is not connected" >&2
exit 1
)sh";

// Modules that are missing have a file in no-modules.
constexpr char kModprobe[] = R"sh(#!/bin/sh
root=$(cd "$(dirname "$0")/.." && pwd)
echo "modprobe $*" >>"$root/calls"
for last; do :; done
if [ -f "$root/no-modules/$last" ]; then
  echo "modprobe: FATAL: Module $last not found in directory /lib/modules/6.1" >&2
  exit 1
fi
case "$*" in *--dry-run*) exit 0 ;; esac
mkdir -p "$root/sys/module/$(echo "$last" | tr - _)"
if [ "$last" = vfio ] && [ ! -f "$root/no-noiommu" ]; then
  mkdir -p "$root/sys/module/vfio/parameters"
  echo N >"$root/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
fi
exit 0
)sh";

}  // namespace

FakeHost* host = nullptr;

int make_host(void**) {
  host = new FakeHost();
  return 0;
}

int drop_host(void**) {
  delete host;
  host = nullptr;
  return 0;
}

FakeHost::FakeHost() {
  char name[] = "/tmp/machnet-host-XXXXXX";
  folder_ = mkdtemp(name);
  for (const char* below : {"sys/bus/pci/devices", "sys/bus/vmbus/devices", "sys/class/net",
                            "sys/bus/virtio", "sys/module", "proc/net", "net", "var/lib"}) {
    fs::create_directories(path(below));
  }
  write(kBootId, "first-boot\n");
  write("bin/driverctl", kDriverctl);
  write("bin/modprobe", kModprobe);
  chmod(path("bin/driverctl").c_str(), 0755);
  chmod(path("bin/modprobe").c_str(), 0755);
  write("bin/systemctl", kSystemctl);
  chmod(path("bin/systemctl").c_str(), 0755);
}

FakeHost::~FakeHost() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

void FakeHost::write(const std::string& below, const std::string& text) {
  fs::create_directories(fs::path(path(below)).parent_path());
  std::ofstream(path(below)) << text;
}

std::string FakeHost::read(const std::string& below) const {
  std::ostringstream text;
  text << std::ifstream(path(below)).rdbuf();
  return text.str();
}

bool FakeHost::has(const std::string& below) const { return fs::exists(path(below)); }

void FakeHost::remove(const std::string& below) {
  std::error_code ignored;
  fs::remove_all(path(below), ignored);
}

void FakeHost::link(const std::string& target, const std::string& below) {
  fs::create_directories(fs::path(path(below)).parent_path());
  fs::create_symlink(path(target), path(below));
}

void FakeHost::add_interface(const std::string& device_folder, const std::string& ifname) {
  const std::string below = device_folder + "/net/" + ifname;
  fs::create_directories(path(below));
  link(device_folder, below + "/device");
  link(below, "sys/class/net/" + ifname);
  set_net(ifname, "mtu 1500\nup yes\nlink yes\n");
}

void FakeHost::add_pci(const FakePci& pci) {
  const std::string below = "sys/devices/pci0000:00/" + pci.address;
  write(below + "/class", pci.device_class + "\n");
  write(below + "/driver_override", "(null)\n");
  write(below + "/numa_node", std::to_string(pci.numa_node) + "\n");
  write(below + "/kernel_driver", pci.driver + "\n");  // only for the driverctl above
  link("sys/bus/pci", below + "/subsystem");
  link(below, "sys/bus/pci/devices/" + pci.address);
  if (!pci.driver.empty()) {
    fs::create_directories(path("sys/bus/pci/drivers/" + pci.driver));
    link("sys/bus/pci/drivers/" + pci.driver, below + "/driver");
  }
  if (!pci.group.empty()) {
    const std::string group = "sys/kernel/iommu_groups/" + pci.group;
    link(below, group + "/devices/" + pci.address);
    link(group, below + "/iommu_group");
  }
  if (pci.ifname.empty()) return;
  if (pci.is_virtio) link("sys/bus/virtio", below + "/virtio7/subsystem");
  add_interface(pci.is_virtio ? below + "/virtio7" : below, pci.ifname);
}

void FakeHost::add_vmbus(const std::string& uuid, const std::string& ifname,
                         const std::string& driver) {
  const std::string below = "sys/devices/vmbus/" + uuid;
  write(below + "/class_id", "{f8615163-df3e-46c5-913f-f2d2f965ed0e}\n");
  write(below + "/driver_override", "(null)\n");
  write(below + "/numa_node", "0\n");
  write(below + "/kernel_driver", driver + "\n");
  link("sys/bus/vmbus", below + "/subsystem");
  link(below, "sys/bus/vmbus/devices/" + uuid);
  fs::create_directories(path("sys/bus/vmbus/drivers/" + driver));
  link("sys/bus/vmbus/drivers/" + driver, below + "/driver");
  add_interface(below, ifname);
}

void FakeHost::add_virtual(const std::string& ifname) {
  const std::string below = "sys/devices/virtual/net/" + ifname;
  fs::create_directories(path(below));
  link(below, "sys/class/net/" + ifname);
  set_net(ifname, "mtu 1500\nup yes\nlink yes\nkind veth\n");
}

void FakeHost::set_net(const std::string& ifname, const std::string& lines) {
  std::string mac;
  if (lines.find("mac ") == std::string::npos) {
    const std::string now = net(ifname);
    const size_t at = now.find("mac ");
    if (at != std::string::npos) {
      mac = now.substr(at, now.find('\n', at) - at + 1);
    } else {
      char text[32];
      snprintf(text, sizeof text, "mac 02:00:00:00:00:%02x\n", next_mac_++);
      mac = text;
    }
  }
  write("net/" + ifname, mac + lines);
}

std::string FakeHost::net(const std::string& ifname) const { return read("net/" + ifname); }

void FakeHost::put_upper(const std::string& ifname, const std::string& upper) {
  fs::create_symlink(path("sys/class/net/" + upper),
                     path("sys/class/net/" + ifname + "/upper_" + upper));
}

void FakeHost::remove_device(const std::string& bus, const std::string& device) {
  const std::string below = "sys/bus/" + bus + "/devices/" + device;
  fs::remove_all(fs::canonical(path(below)));
  fs::remove(path(below));
}

void FakeHost::load_module(const std::string& module) {
  fs::create_directories(path("sys/module/" + module));
}

void FakeHost::add_tcp(const std::string& line, bool is_ipv6) {
  const std::string below = is_ipv6 ? "proc/net/tcp6" : "proc/net/tcp";
  write(below, read(below) + line + "\n");
}

void FakeHost::open_file(int pid, const std::string& comm, const std::string& device_file) {
  const std::string process = "proc/" + std::to_string(pid);
  write(process + "/comm", comm + "\n");
  fs::create_directories(path(process + "/fd"));
  fs::create_symlink(path(device_file.substr(1)),
                     path(process + "/fd/" + std::to_string(next_open_++)));
}

void FakeHost::driverctl(const std::string& words) {
  const std::string before = calls();
  const std::string command = path("bin/driverctl") + " " + words;
  if (system(command.c_str()) != 0) fprintf(stderr, "%s failed\n", command.c_str());
  forget_calls();
  if (!before.empty()) write("calls", before);
}

void FakeHost::reboot() {
  write(kBootId, "boot-" + std::to_string(++next_open_) + "\n");
  for (const std::string bus : {"pci", "vmbus"}) {
    const std::string devices = "sys/bus/" + bus + "/devices";
    for (const std::string& device : device::list_folder(path(devices))) {
      const std::string flag = bus == "vmbus" ? "-b vmbus " : "";
      const bool is_bound = read(devices + "/" + device + "/driver_override") != "(null)\n";
      if (is_bound) driverctl(flag + "--nosave unset-override " + device);
    }
  }
  remove("run");
  remove("sys/module");
  fs::create_directories(path("sys/module"));
}

std::string FakeHost::driver_of(const std::string& bus, const std::string& device) const {
  return device::link_name(path("sys/bus/" + bus + "/devices/" + device + "/driver"));
}

int FakeHost::run(std::initializer_list<const char*> args) {
  said_.clear();
  events_.clear();
  written_.clear();
  errors_ = 0;
  char* text = nullptr;
  size_t size = 0;
  FILE* const out = open_memstream(&text, &size);
  device::NicProgram program;
  program.out = out;
  program.err = out;
  program.version = "9.9";
  program.say = [this](LogLevel level, const LogEvent& about, const std::string& line) {
    static constexpr const char* kWords[] = {"error: ", "warning: ", "", "debug: "};
    said_ += kWords[static_cast<size_t>(level)] + line + "\n";
    if (about.message_id != nullptr) {
      events_ +=
          std::string(about.message_id) + " " + (about.nic == nullptr ? "-" : about.nic) + "\n";
    }
    if (level == LogLevel::kError) errors_++;
  };
  program.metadata = [this](const device::SysRoot&, const Mac& mac) -> Result<device::MetadataNic> {
    if (metadata.address != 0) return metadata;
    return Error{"no metadata service knows " + device::format_mac(mac)};
  };
  program.interface_wait_ms = interface_wait_ms;
  program.rename_wait_ms = interface_wait_ms;
  std::vector<std::string> all = {"--root", folder_};
  all.insert(all.end(), args.begin(), args.end());
  const int code = device::nic_command(all, program);
  fclose(out);
  written_.assign(text, size);
  free(text);
  return code;
}

}  // namespace mn::test
