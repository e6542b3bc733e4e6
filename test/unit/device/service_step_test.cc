// SPDX-License-Identifier: MIT
// machnet-nic as machnet.service calls it: what it leaves to machnetd to say, what it asks systemd
// for, and the MESSAGE_IDs of what it says itself.
#include <cstring>

#include "base/log_ids.h"
#include "device/left_refusals.h"
#include "device/unit_rights.h"
#include "unit/device/taken_nic.h"  // last

namespace {

using mn::device::left_refusals;
using mn::device::SavedNic;
using mn::test::host;
using mn::test::kPci;
using mn::test::saved;

constexpr char kUuid[] = "000d3a6e-1234-5678-9abc-def012345678";
constexpr char kDropIn[] = "run/systemd/system/machnet.service.d/machnet-nic.conf";
constexpr char kLeft[] = "run/machnet/refused";
constexpr char kBootId[] = "run/machnet/boot_id";

bool has_event(const char* id, const char* nic) {
  const std::string line = std::string(id) + " " + nic + "\n";
  const bool has = host->events().find(line) != std::string::npos;
  if (!has) print_error("no event %s among\n%s", line.c_str(), host->events().c_str());
  return has;
}

void bind__leaves_what_only_an_operator_cures(void**) {
  host->add_virtual("dp0");
  host->set_net("dp0", "kind veth\nup yes\naddress 10.3.0.1/24\n");
  host->config("[machnet]\nhugepages = no\n[nic dp0]\n[nic eth1]\n");
  assert_int_equal(host->run({"--service", "bind"}), 0);
  assert_int_equal(host->errors(), 0);  // machnetd says it
  const auto left = left_refusals(host->root());
  assert_int_equal(left.size(), 1);
  assert_string_equal(left[0].nic.c_str(), "dp0");
  assert_non_null(strstr(left[0].line.c_str(), "nic dp0: the interface is virtual (veth)"));
  assert_non_null(strstr(left[0].line.c_str(), "mode = af_packet"));
  // The end of the service: gives back what was taken, and forgets.
  assert_int_equal(host->run({"--service", "unbind"}), 0);
  assert_false(host->has(kLeft));
  assert_string_equal(host->driver_of("pci", kPci).c_str(), "e1000e");
  // By hand it is said at once, and the exit code says so.
  assert_int_equal(host->run({"bind", "dp0"}), 1);
  assert_int_equal(host->errors(), 1);
  assert_true(has_event(mn::log_id::kNicRefused, "dp0"));
  assert_false(host->has(kLeft));
}

void bind__leaves_each_kind_of_refusal(void**) {
  host->set_net("eth1", std::string(mn::test::kNet) + "route default via 10.0.0.1\n");
  assert_int_equal(host->run({"--service", "bind"}), 0);
  assert_non_null(strstr(left_refusals(host->root())[0].line.c_str(), "default route"));
  // It is over with the next try.
  host->set_net("eth1", mn::test::kNet);
  assert_int_equal(host->run({"--service", "bind"}), 0);
  assert_int_equal(left_refusals(host->root()).size(), 0);
  assert_true(has_event(mn::log_id::kNicTaken, "eth1"));
}

void bind__says_what_another_try_may_cure(void**) {
  host->config("[machnet]\nhugepages = no\n[nic eth9]\n");
  assert_int_equal(host->run({"--service", "bind"}), 1);
  assert_said("error: nic eth9: there is no such NIC on this host");
  assert_true(has_event(mn::log_id::kNicRefused, "eth9"));
  assert_false(host->has(kLeft));
  // With one of the other kind: both are said, and systemd tries again.
  host->add_virtual("dp0");
  host->config("[machnet]\nhugepages = no\n[nic dp0]\n[nic eth9]\n");
  assert_int_equal(host->run({"--service", "bind"}), 1);
  assert_int_equal(host->errors(), 2);
  assert_said("error: nic dp0: the interface is virtual");
  assert_false(host->has(kLeft));
}

void bind__leaves_the_errors_of_the_file(void**) {
  host->write(kLeft, "eth1\tof the last time\n");
  host->config("[nic eth1]\nmode = fast\n");
  assert_int_equal(host->run({"--service", "bind"}), 0);
  assert_string_equal(host->said().c_str(), "");
  assert_false(host->has(kLeft));  // of the last time
  assert_string_equal(host->driver_of("pci", kPci).c_str(), "e1000e");
  assert_int_equal(host->run({"bind"}), 78);
  assert_true(has_event(mn::log_id::kConfigRefused, "-"));
}

void unbind__is_silent_without_anything(void**) {
  assert_int_equal(host->run({"--service", "unbind"}), 0);
  assert_string_equal(host->said().c_str(), "");
  assert_int_equal(host->run({"bind"}), 0);
  assert_int_equal(host->run({"unbind"}), 0);
  assert_true(has_event(mn::log_id::kNicGivenBack, "eth1"));
  assert_int_equal(host->run({"--service", "unbind"}), 0);
  assert_string_equal(host->said().c_str(), "");
}

void unbind__says_what_is_not_given_back(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->write("unset-override-fails", "Device or resource busy\n");
  assert_int_equal(host->run({"--service", "unbind"}), 1);
  assert_true(has_event(mn::log_id::kNicNotGivenBack, "eth1"));
}

void bind__every_way_of_taking_has_its_event(void**) {
  host->add_virtual("dp0");
  host->set_net("dp0", "kind veth\nup no\naddress 10.3.0.1/24\n");
  host->config("[machnet]\nhugepages = no\n[nic dp0]\nmode = af_packet\n[nic eth1]\n");
  assert_int_equal(host->run({"--service", "bind"}), 0);
  assert_said("nic dp0: dp0 is taken, and stays with the kernel's driver");
  assert_said("nic eth1: 0000:03:00.0 is bound to vfio-pci, was e1000e");
  assert_true(has_event(mn::log_id::kNicTaken, "dp0"));
  assert_true(has_event(mn::log_id::kNicTaken, "eth1"));
  assert_int_equal(host->run({"--service", "bind"}), 0);
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

void rights__of_hyperv(void**) {
  host->add_vmbus(kUuid, "eth2");
  host->set_net("eth2", "up yes\naddress 10.4.0.4/24\n");
  host->config("[machnet]\nhugepages = no\n[nic eth2]\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_false(host->has(kDropIn));  // by hand it is nobody's business
  host->forget_calls();
  assert_int_equal(host->run({"--service", "bind"}), 0);
  const std::string text = host->read(kDropIn);
  for (const char* line : {"eth2 (uio_hv_generic)\n", "\n[Service]\n",
                           "\nAmbientCapabilities=CAP_DAC_OVERRIDE CAP_SYS_ADMIN\n",
                           "\nCapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_SYS_ADMIN\n"}) {
    assert_non_null(strstr(text.c_str(), line));
  }
  assert_non_null(
      strstr(text.c_str(),
             (std::string("\nReadWritePaths=-/sys/bus/vmbus/devices/") + kUuid + "\n").c_str()));
  mn::test::expect_calls("systemctl daemon-reload\n");
  // Nothing to be told when nothing changed.
  host->forget_calls();
  assert_int_equal(host->run({"--service", "bind"}), 0);
  mn::test::expect_calls("");
  // The service's end leaves it: nobody has these rights then.
  assert_int_equal(host->run({"--service", "unbind"}), 0);
  assert_true(host->has(kDropIn));
  // Nothing of it for other NICs.
  host->config("[machnet]\nhugepages = no\n[nic eth1]\n");
  host->forget_calls();
  assert_int_equal(host->run({"--service", "bind"}), 0);
  assert_false(host->has(kDropIn));
  assert_false(host->has("run/systemd/system/machnet.service.d"));
  assert_non_null(strstr(host->calls().c_str(), "systemctl daemon-reload\n"));
}

void rights__are_not_of_an_earlier_boot(void**) {
  host->add_vmbus(kUuid, "eth2");
  host->set_net("eth2", "up yes\naddress 10.4.0.4/24\n");
  host->config("[machnet]\nhugepages = no\n[nic eth2]\n");
  assert_int_equal(host->run({"--service", "bind"}), 0);
  host->reboot();
  assert_true(saved("eth2").bound == mn::device::Bound::kYes);  // nobody gave it back
  host->config("[machnet]\nhugepages = no\n[nic eth1]\n");
  host->set_net("eth1", mn::test::kNet);
  assert_int_equal(host->run({"--service", "bind"}), 0);
  assert_false(host->has(kDropIn));
}

void rights__when_systemd_cannot_be_told(void**) {
  host->add_vmbus(kUuid, "eth2");
  host->set_net("eth2", "up yes\naddress 10.4.0.4/24\n");
  host->config("[machnet]\nhugepages = no\n[nic eth2]\n");
  host->write("systemctl-fails", "");
  assert_int_equal(host->run({"--service", "bind"}), 1);
  assert_said("systemctl daemon-reload` failed (exit code 1): Transport endpoint is not connected");
}

void rights__of_each_mode(void**) {
  SavedNic nic;
  nic.name = "n\x1b[0m";
  for (const char* mode : {"vfio-pci", "bifurcated", "af_xdp", "af_packet", "pci"}) {
    nic.mode = mode;
    assert_string_equal(mn::device::unit_rights({nic}).c_str(), "");
  }
  nic.mode = "vfio-noiommu";
  const std::string text = mn::device::unit_rights({nic});
  assert_non_null(strstr(text.c_str(), "\nAmbientCapabilities=CAP_SYS_ADMIN CAP_SYS_RAWIO\n"));
  assert_null(strstr(text.c_str(), "ReadWritePaths"));
  assert_null(strchr(text.c_str(), '\x1b'));
  SavedNic other;
  other.name = "eth2";
  other.mode = "pci";
  other.bus = mn::device::Bus::kVmbus;
  other.device = kUuid;
  const std::string both = mn::device::unit_rights({nic, other});
  assert_non_null(
      strstr(both.c_str(), "\nAmbientCapabilities=CAP_DAC_OVERRIDE CAP_SYS_ADMIN CAP_SYS_RAWIO\n"));
  assert_non_null(strstr(both.c_str(), kUuid));
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

      HOST_TEST(bind__leaves_what_only_an_operator_cures),
      HOST_TEST(bind__leaves_each_kind_of_refusal),
      HOST_TEST(bind__says_what_another_try_may_cure),
      HOST_TEST(bind__leaves_the_errors_of_the_file),
      HOST_TEST(unbind__is_silent_without_anything),
      HOST_TEST(unbind__says_what_is_not_given_back),
      HOST_TEST(bind__every_way_of_taking_has_its_event),
      HOST_TEST(bind__hugepages_have_their_event),
      HOST_TEST(rights__of_hyperv),
      HOST_TEST(rights__are_not_of_an_earlier_boot),
      HOST_TEST(rights__when_systemd_cannot_be_told),
      cmocka_unit_test(rights__of_each_mode),
      HOST_TEST(boot_id__is_noted_for_machnetd),
  };
  return cmocka_run_group_tests_name("service_step", tests, nullptr, nullptr);
}
