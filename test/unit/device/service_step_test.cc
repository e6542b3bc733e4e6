// SPDX-License-Identifier: MIT
// machnet-nic as machnet.service calls it: what it notes for machnetd, and the MESSAGE_IDs of what
// it says.
#include <cstring>

#include "base/log_ids.h"
#include "unit/device/taken_nic.h"  // last

namespace {

using mn::test::host;
using mn::test::saved;

constexpr char kBootId[] = "run/machnet/boot_id";

bool has_event(const char* id, const char* nic) {
  const std::string line = std::string(id) + " " + nic + "\n";
  const bool has = host->events().find(line) != std::string::npos;
  if (!has) print_error("no event %s among\n%s", line.c_str(), host->events().c_str());
  return has;
}

void unbind__says_what_is_not_given_back(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->write("unset-override-fails", "Device or resource busy\n");
  assert_int_equal(host->run({"unbind"}), 1);
  assert_true(has_event(mn::log_id::kNicNotGivenBack, "eth1"));
}

void bind__every_way_of_taking_has_its_event(void**) {
  host->add_virtual("dp0");
  host->set_net("dp0", "kind veth\nup no\naddress 10.3.0.1/24\n");
  host->config("[machnet]\nhugepages = no\n[nic dp0]\nmode = af_packet\n[nic eth1]\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_said("nic dp0: dp0 is taken, and stays with the kernel's driver");
  assert_said("nic eth1: 0000:03:00.0 is bound to vfio-pci, was e1000e");
  assert_true(has_event(mn::log_id::kNicTaken, "dp0"));
  assert_true(has_event(mn::log_id::kNicTaken, "eth1"));
  assert_int_equal(host->run({"bind"}), 0);
  assert_said("is taken already");
  assert_true(has_event(mn::log_id::kNicTaken, "eth1"));
  assert_int_equal(host->run({"unbind"}), 0);
  assert_true(has_event(mn::log_id::kNicGivenBack, "dp0"));
  host->driverctl("--nosave set-override 0000:03:00.0 vfio-pci");
  host->config(
      "[machnet]\nhugepages = no\n[nic 0000:03:00.0]\nmode = pci\naddress = 10.0.0.9/24\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_said("is taken as it was found, bound to vfio-pci");
  assert_true(has_event(mn::log_id::kNicTaken, "0000:03:00.0"));
}

void bind__hugepages_have_their_event(void**) {
  constexpr char kFolder[] = "sys/devices/system/node/node1/hugepages/hugepages-2048kB/";
  host->write(std::string(kFolder) + "nr_hugepages", "64\n");
  host->write(std::string(kFolder) + "free_hugepages", "64\n");
  host->config("[machnet]\nmemory = 64M\n[nic eth1]\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_true(has_event(mn::log_id::kHugepages, "eth1"));
}

void boot_id__is_noted_for_machnetd(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  const auto root = host->root();
  assert_string_equal(host->read(kBootId).c_str(), (root.boot_id() + "\n").c_str());
  // machnetd's own /proc says another, as in a container.
  host->write("proc/sys/kernel/random/boot_id", "the-host-s\n");
  assert_string_equal(root.noted_boot_id().c_str(), saved("eth1").boot_id.c_str());
  host->remove(kBootId);
  assert_string_equal(root.noted_boot_id().c_str(), "the-host-s");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {

      HOST_TEST(unbind__says_what_is_not_given_back),
      HOST_TEST(bind__every_way_of_taking_has_its_event),
      HOST_TEST(bind__hugepages_have_their_event),
      HOST_TEST(boot_id__is_noted_for_machnetd),
  };
  return cmocka_run_group_tests_name("service_step", tests, nullptr, nullptr);
}
