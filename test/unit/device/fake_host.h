// SPDX-License-Identifier: MIT
// FakeHost: a whole host in a temporary folder, for machnet-nic's --root: sysfs with PCI, VMBus,
// virtio and virtual interfaces, procfs, the kernel's network facts as files, and a driverctl and
// modprobe that write down how they were called and do to the tree what the real ones make the
// kernel do. Owned by the test's fixture; removed with its folder.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "base/log.h"
#include "device/kernel_net.h"
#include "device/metadata.h"
#include "device/saved_nic.h"
#include "device/sys_root.h"

namespace mn::test {

struct FakePci {
  std::string address;            // 0000:03:00.0
  std::string driver = "e1000e";  // "": none
  std::string group = {};         // of the IOMMU; "": none
  std::string ifname = {};        // "": no interface
  std::string device_class = "0x020000";
  int numa_node = 0;
  bool is_virtio = false;  // the interface is of a virtio device below
};

class FakeHost {
 public:
  FakeHost();
  ~FakeHost();
  FakeHost(const FakeHost&) = delete;
  FakeHost& operator=(const FakeHost&) = delete;

  const std::string& folder() const { return folder_; }
  device::SysRoot root() const { return device::SysRoot::below(folder_); }

  void add_pci(const FakePci& pci);
  void add_vmbus(const std::string& uuid, const std::string& ifname,
                 const std::string& driver = "hv_netvsc");
  void add_virtual(const std::string& ifname);
  // The kernel's facts of an interface; MAC 02:00:00:00:00:NN by its order unless said.
  void set_net(const std::string& ifname, const std::string& lines);
  std::string net(const std::string& ifname) const;  // what they are now; "": no such interface
  void put_upper(const std::string& ifname, const std::string& upper);
  void remove_device(const std::string& bus, const std::string& device);
  void load_module(const std::string& module);
  // An SSH session to an IPv4 address of this host, as procfs shows it: 10.0.0.2 is "0200000A".
  void add_tcp(const std::string& line, bool is_ipv6 = false);
  void open_file(int pid, const std::string& comm, const std::string& device_file);
  void driverctl(const std::string& words);  // as an administrator runs it; not among the calls
  void reboot();  // what --nosave overrides, modules and hugepages do not survive

  void write(const std::string& path, const std::string& text);  // below the folder; makes folders
  std::string read(const std::string& path) const;
  bool has(const std::string& path) const;
  void remove(const std::string& path);
  std::string driver_of(const std::string& bus, const std::string& device) const;
  std::string calls() const { return read("calls"); }  // of driverctl and modprobe, a line each
  void forget_calls() { remove("calls"); }

  void config(const std::string& text) { write("etc/machnet.conf", text); }
  // machnet-nic with these arguments; its exit code.
  int run(std::initializer_list<const char*> args);
  // What it said and wrote the last time.
  const std::string& said() const { return said_; }
  const std::string& written() const { return written_; }
  bool has_said(const std::string& text) const { return said_.find(text) != std::string::npos; }
  // MESSAGE_ID and NIC of what had one, a line each.
  const std::string& events() const { return events_; }
  size_t errors() const { return errors_; }  // lines that were errors

  device::MetadataNic metadata;  // what the service answers; without an address it is silent
  int interface_wait_ms = 40;

 private:
  std::string path(const std::string& below) const { return folder_ + "/" + below; }
  void link(const std::string& target, const std::string& below);
  void add_interface(const std::string& device_folder, const std::string& ifname);

  std::string folder_;
  std::string said_;
  std::string written_;
  std::string events_;
  size_t errors_ = 0;
  int next_mac_ = 1;
  int next_open_ = 0;
};

// The one that the fixture below makes for each test.
extern FakeHost* host;
int make_host(void** state);
int drop_host(void** state);

}  // namespace mn::test

// Shows all that was said if the text is not among it.
#define assert_said(text)                                                           \
  do {                                                                              \
    if (!mn::test::host->has_said(text)) {                                          \
      print_error("not said: %s\nsaid:\n%s", text, mn::test::host->said().c_str()); \
      fail();                                                                       \
    }                                                                               \
  } while (0)
