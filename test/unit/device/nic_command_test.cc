// SPDX-License-Identifier: MIT
// machnet-nic's command line: usage, exit codes, list and status, for people and as JSON, and what
// the configuration and hugepages have to do with it.
#include "device/nic_command.h"

#include <cstring>

#include "device/json.h"
#include "unit/device/taken_nic.h"  // last

namespace {

using mn::test::host;
using mn::test::kPci;
using mn::test::saved;

bool wrote(const char* text) {
  const bool has = host->written().find(text) != std::string::npos;
  if (!has) print_error("not written: %s\nwritten:\n%s", text, host->written().c_str());
  return has;
}

void nic_command__help_and_version(void**) {
  assert_int_equal(host->run({"--help"}), 0);
  for (const char* word : {"usage: machnet-nic", "list", "status", "bind [NAME]", "unbind [NAME]",
                           "--config FILE", "--json", "--root DIR", "--version"}) {
    assert_true(wrote(word));
  }
  assert_int_equal(host->run({"--version"}), 0);
  assert_string_equal(host->written().c_str(), "machnet-nic 9.9\n");
}

void nic_command__wrong_usage_is_two(void**) {
  const struct {
    std::initializer_list<const char*> args;
    const char* line;
  } kWrong[] = {
      {{}, "machnet-nic: no command\nusage"},
      {{"take"}, "unknown command 'take'"},
      {{"list", "eth1"}, "unexpected argument 'eth1'"},
      {{"bind", "eth1", "eth2"}, "unexpected argument 'eth2'"},
      {{"--colour", "list"}, "--colour: unknown option"},
      {{"list", "-x"}, "-x: unknown option"},
      {{"list", "--config"}, "--config: needs a value"},
      {{"--json", "bind"}, "--json goes with list and status"},
  };
  for (const auto& wrong : kWrong) {
    assert_int_equal(host->run(wrong.args), 2);
    assert_true(wrote(wrong.line));
    assert_string_equal(host->calls().c_str(), "");
  }
}

void nic_command__wrong_configuration_is_78(void**) {
  host->config("[nic eth1]\nmode = fast\n");
  for (const char* command : {"bind", "status", "list"}) {
    assert_int_equal(host->run({command}), 78);
    assert_said("etc/machnet.conf:2: key 'mode'");
  }
  assert_string_equal(host->calls().find("driverctl") == std::string::npos ? "" : "called", "");
  assert_int_equal(host->run({"--config", "/nonexistent/machnet.conf", "bind"}), 78);
  assert_said("/nonexistent/machnet.conf: cannot be read");
  host->config("[nic eth1]\n");
  assert_int_equal(host->run({"bind", "eth7"}), 78);
  assert_said("there is no section [nic eth7]");
}

void nic_command__without_a_configuration_there_is_nothing_to_do(void**) {
  host->remove("etc/machnet.conf");
  assert_int_equal(host->run({"bind"}), 0);
  assert_said("no [nic NAME]; nothing to bind");
  assert_int_equal(host->run({"unbind"}), 0);
  assert_said("no NIC was ever taken; nothing to give back");
  assert_int_equal(host->run({"status"}), 0);
  assert_true(wrote("no NIC is configured, and none is taken"));
  assert_false(host->has("var/lib/machnet"));
}

void nic_command__config_of_another_name(void**) {
  host->write("other.conf", "[machnet]\nhugepages = no\n[nic 03:00.0]\n");
  assert_int_equal(host->run({"bind", "--config", (host->folder() + "/other.conf").c_str()}), 0);
  assert_string_equal(host->driver_of("pci", kPci).c_str(), "vfio-pci");
  assert_int_equal(host->run({"unbind", "eth1"}), 0);
  assert_said("nic eth1: was never taken; nothing to give back");
  assert_int_equal(host->run({"unbind", "03:00.0"}), 0);
  assert_string_equal(host->driver_of("pci", kPci).c_str(), "e1000e");
}

void list__every_candidate_with_its_facts(void**) {
  host->add_pci({.address = "0000:02:00.0", .driver = "igb", .group = "11", .ifname = "eth0"});
  host->set_net("eth0", "up yes\naddress 192.0.2.5/24\nroute default via 192.0.2.1\n");
  host->add_pci({.address = "0000:04:00.0", .driver = "", .group = ""});
  host->add_pci(
      {.address = "0000:00:1f.2", .driver = "ahci", .group = "3", .device_class = "0x010601"});
  host->add_vmbus("000d3a6e-1234-5678-9abc-def012345678", "eth5");
  host->add_virtual("dp0");
  host->set_net("dp0", "mtu 1450\nup no\nkind veth\n");
  const std::string state = host->read("calls");
  assert_int_equal(host->run({"list"}), 0);
  for (const char* text :
       {"NIC   MAC                DEVICE", "GROUP  LINK     ADDRESS       MTU   NODE  MODE",
        "eth1  02:00:00:00:00:01  0000:03:00.0",
        "e1000e     12     up       10.0.0.2/24   9000  1     vfio-pci",
        "mode would be vfio-pci: a PCI device behind an IOMMU (group 12)",
        "would be refused: nic eth0 (0000:02:00.0): it carries this host's default route",
        "set force = yes in [nic eth0]", "-     -                  0000:04:00.0",
        "would be refused: nic 0000:04:00.0: this machine shows no IOMMU",
        "000d3a6e-1234-5678-9abc-def012345678  hv_netvsc", "mode would be uio_hv_generic",
        "no link", "would be refused: nic dp0: the interface is virtual (veth)"}) {
    assert_true(wrote(text));
  }
  assert_true(host->written().find("ahci") == std::string::npos);  // no NIC
  assert_true(host->calls().find("driverctl") == std::string::npos);
  assert_false(host->has("var/lib/machnet"));
}

void list__what_the_configuration_makes_of_it(void**) {
  host->config("[nic eth1]\nmode = af_packet\n");
  assert_int_equal(host->run({"list"}), 0);
  assert_true(wrote("mode would be af_packet: asked for with mode = af_packet"));
}

void list__what_is_taken(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  assert_int_equal(host->run({"list"}), 0);
  assert_true(wrote("eth1  02:00:00:00:00:01  0000:03:00.0  vfio-pci"));
  assert_true(wrote("10.0.0.2/24  9000  1     vfio-pci (taken)"));
  assert_true(wrote("Machnet's as [nic eth1]: a PCI device behind an IOMMU (group 12)"));
  // Bound by nobody we know of: not ours.
  host->remove("var/lib/machnet/eth1.nic");
  assert_int_equal(host->run({"list"}), 0);
  assert_true(wrote("someone else has bound it to vfio-pci"));
}

void list__without_any_nic(void**) {
  host->remove_device("pci", kPci);
  host->remove("sys/class/net/eth1");
  host->remove("net/eth1");
  assert_int_equal(host->run({"list"}), 0);
  assert_string_equal(host->written().c_str(), "no NIC on this host\n");
  assert_int_equal(host->run({"--json", "list"}), 0);
  assert_string_equal(host->written().c_str(), "[]\n");
}

void list__json(void**) {
  assert_int_equal(host->run({"list", "--json"}), 0);
  assert_string_equal(
      host->written().c_str(),
      "[\n  {\"name\": \"eth1\", \"mac\": \"02:00:00:00:00:01\", \"bus\": \"pci\", \"device\": "
      "\"0000:03:00.0\", \"driver\": \"e1000e\", \"iommu_group\": \"12\", \"link\": \"up\", "
      "\"address\": \"10.0.0.2/24\", \"mtu\": 9000, \"numa_node\": 1, \"section\": \"eth1\", "
      "\"taken\": false, \"mode\": \"vfio-pci\", \"reasons\": [\"mode would be vfio-pci: a PCI "
      "device behind an IOMMU (group 12)\"]}\n]\n");
}

void status__from_free_to_gone(void**) {
  assert_int_equal(host->run({"status"}), 0);
  assert_string_equal(host->written().c_str(), "eth1: free\n");
  assert_int_equal(host->run({"bind"}), 0);
  host->open_file(900, "machnetd", "/dev/vfio/12");
  assert_int_equal(host->run({"status"}), 0);
  assert_true(wrote("eth1: taken\n    mode vfio-pci: a PCI device behind an IOMMU (group 12)\n"));
  assert_true(wrote(
      "device 0000:03:00.0, driver vfio-pci, the kernel's e1000e, open by process 900 (machnetd)"));
  assert_true(
      wrote("address 10.0.0.2/24, gateway 10.0.0.1, MTU 9000: the kernel's, read from eth1"));
  assert_int_equal(host->run({"status", "--json"}), 0);
  assert_true(wrote(
      "{\"name\": \"eth1\", \"state\": \"taken\", \"configured\": true, \"interface\": \"eth1\""));
  assert_true(wrote("\"driver\": \"vfio-pci\", \"kernel_driver\": \"e1000e\""));
  host->config("");
  assert_int_equal(host->run({"status"}), 0);
  assert_true(wrote("eth1: taken, not in the configuration\n"));
  host->remove("proc/900");
  host->remove_device("pci", kPci);
  assert_int_equal(host->run({"status"}), 0);
  assert_true(wrote("eth1: gone"));
}

void status__damaged_state(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->write("var/lib/machnet/eth1.nic", "bound = perhaps\n");
  assert_int_equal(host->run({"status"}), 1);
  assert_said("eth1.nic:1");
  assert_int_equal(host->run({"list"}), 1);
  assert_true(wrote(kPci));
}

constexpr char kTotal[] = "sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages";
constexpr char kFree[] = "sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages";

void put_pages(int total, int free) {
  host->write(kTotal, std::to_string(total) + "\n");
  host->write(kFree, std::to_string(free) + "\n");
}

void bind__hugepages_reserved_and_returned(void**) {
  put_pages(10, 0);
  host->config("[machnet]\nmemory = 64M\n[nic eth1]\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_int_equal(atoi(host->read(kTotal).c_str()), 42);
  assert_int_equal(saved("eth1").hugepages.size(), 1);
  assert_int_equal(saved("eth1").hugepages[0].count, 32);
  assert_int_equal(saved("eth1").hugepages[0].node, 1);
  assert_int_equal(host->run({"status"}), 0);
  assert_true(wrote("hugepages reserved for it: 32 of 2048 KiB on node 1"));
  assert_int_equal(host->run({"bind"}), 0);  // not twice
  assert_int_equal(atoi(host->read(kTotal).c_str()), 42);
  host->write(kFree, "32\n");
  assert_int_equal(host->run({"unbind"}), 0);
  assert_int_equal(atoi(host->read(kTotal).c_str()), 10);
  assert_int_equal(saved("eth1").hugepages.size(), 0);
}

void bind__hugepages_divided_or_not_wanted(void**) {
  host->write(kTotal, "0\n");
  host->write("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "0\n");
  host->config("[machnet]\nmemory = 64M\nhugepages = no\n[nic eth1]\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_int_equal(atoi(host->read(kTotal).c_str()), 0);
  assert_int_equal(host->run({"unbind"}), 0);
  host->config("[nic eth1]\nmode = af_packet\n");  // the kernel's driver does well without
  assert_int_equal(host->run({"bind"}), 0);
  assert_int_equal(atoi(host->read(kTotal).c_str()), 0);
  assert_int_equal(host->run({"unbind"}), 0);
  host->config(
      "[machnet]\nmemory = 64M\n[nic eth1]\n[nic m0]\nmode = vdev:net_memif0\naddress = "
      "10.7.0.1/24\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_int_equal(atoi(host->read(kTotal).c_str()), 16);
}

void bind__hugepages_of_two_nics_on_a_node(void**) {
  mn::test::FakePci second;
  second.address = "0000:04:00.0";
  second.group = "13";
  second.ifname = "eth2";
  second.numa_node = 1;
  host->add_pci(second);
  host->set_net("eth2", "mtu 1500\nup yes\naddress 10.1.0.2/24\n");
  put_pages(0, 0);
  host->config("[machnet]\nmemory = 64M\n[nic eth1]\n[nic eth2]\n");
  assert_int_equal(host->run({"bind", "eth1"}), 0);
  assert_int_equal(saved("eth1").hugepages[0].count, 16);
  // What is free now is the first one's share.
  host->write(kFree, "16\n");
  assert_int_equal(host->run({"bind", "eth2"}), 0);
  assert_int_equal(saved("eth2").hugepages[0].count, 16);
  assert_int_equal(atoi(host->read(kTotal).c_str()), 32);
  host->write(kFree, "32\n");
  assert_int_equal(host->run({"unbind"}), 0);
  assert_int_equal(atoi(host->read(kTotal).c_str()), 0);
}

void bind__hugepages_for_each_engine(void**) {
  mn::test::FakePci second;
  second.address = "0000:04:00.0";
  second.group = "13";
  second.ifname = "eth2";
  second.numa_node = 1;
  host->add_pci(second);
  host->set_net("eth2", "mtu 1500\nup yes\naddress 10.1.0.2/24\n");
  put_pages(0, 0);
  host->config("[nic eth1]\nengines = 4\n[nic eth2]\n");
  assert_int_equal(host->run({"bind", "eth1"}), 0);
  assert_int_equal(atoi(host->read(kTotal).c_str()), 64 + 3 * 32);
  host->write(kFree, "160\n");
  assert_int_equal(host->run({"bind", "eth2"}), 0);  // what is free is the other's, all of it
  assert_int_equal(atoi(host->read(kTotal).c_str()), 160 + 64);
}

// eth1's note as of one that died after it planned 32 pages upon 10, before it touched the device.
bool leave_plan() {
  mn::device::SavedNic nic = saved("eth1");
  nic.bound = mn::device::Bound::kYes;
  nic.hugepages = {{.node = 1, .page_bytes = 2 << 20, .count = 32, .floor = uint64_t{10}}};
  return mn::device::save_nic(host->root(), nic).ok();
}

void bind__hugepages_after_a_crash_in_between(void**) {
  put_pages(10, 0);
  host->config("[machnet]\nmemory = 64M\n[nic eth1]\n");
  assert_int_equal(host->run({"bind"}), 0);
  assert_int_equal(host->run({"unbind"}), 0);
  assert_true(leave_plan());
  // 7 of 32 were there when it died.
  put_pages(17, 7);
  assert_int_equal(host->run({"bind"}), 0);
  assert_said("returned 7 hugepages");
  assert_int_equal(saved("eth1").hugepages.size(), 1);
  assert_false(saved("eth1").hugepages[0].floor.has_value());
  assert_int_equal(host->run({"unbind"}), 0);
  assert_true(leave_plan());
  put_pages(17, 7);
  assert_int_equal(host->run({"unbind"}), 0);
  assert_int_equal(atoi(host->read(kTotal).c_str()), 10);
}

void bind__hugepages_of_a_failed_bind_are_returned(void**) {
  host->write(kTotal, "3\n");
  host->write("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "32\n");
  host->config("[machnet]\nmemory = 128M\n[nic eth1]\n");
  host->write("binds-nothing", "");
  assert_int_equal(host->run({"bind"}), 1);
  assert_int_equal(atoi(host->read(kTotal).c_str()), 3);
}

void json_string__escapes_what_must_be(void**) {
  assert_string_equal(mn::device::json_string("a\"b\\c\n\x7f\xc3").c_str(),
                      "\"a\\\"b\\\\c\\u000a\\u007f\\u00c3\"");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      HOST_TEST(nic_command__help_and_version),
      HOST_TEST(nic_command__wrong_usage_is_two),
      HOST_TEST(nic_command__wrong_configuration_is_78),
      HOST_TEST(nic_command__without_a_configuration_there_is_nothing_to_do),
      HOST_TEST(nic_command__config_of_another_name),
      HOST_TEST(list__every_candidate_with_its_facts),
      HOST_TEST(list__what_the_configuration_makes_of_it),
      HOST_TEST(list__what_is_taken),
      HOST_TEST(list__without_any_nic),
      HOST_TEST(list__json),
      HOST_TEST(status__from_free_to_gone),
      HOST_TEST(status__damaged_state),
      HOST_TEST(bind__hugepages_reserved_and_returned),
      HOST_TEST(bind__hugepages_divided_or_not_wanted),
      HOST_TEST(bind__hugepages_of_two_nics_on_a_node),
      HOST_TEST(bind__hugepages_for_each_engine),
      HOST_TEST(bind__hugepages_after_a_crash_in_between),
      HOST_TEST(bind__hugepages_of_a_failed_bind_are_returned),
      cmocka_unit_test(json_string__escapes_what_must_be),
  };
  return cmocka_run_group_tests_name("nic_command", tests, nullptr, nullptr);
}
