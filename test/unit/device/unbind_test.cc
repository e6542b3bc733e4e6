// SPDX-License-Identifier: MIT
// Giving a NIC back when something is not as it should be: in use, renamed, gone, in other hands,
// or without what was remembered.

#include "unit/device/taken_nic.h"  // last

namespace {

using mn::test::expect_calls;
using mn::test::expect_given_back;
using mn::test::host;
using mn::test::kPci;
using mn::test::kState;
using mn::test::saved;

void unbind__in_use_is_refused(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->open_file(900, "machnetd", "/dev/vfio/12");
  host->forget_calls();
  assert_int_equal(host->run({"unbind"}), 1);
  assert_said("nic eth1: process 900 (machnetd) has 0000:03:00.0 open");
  assert_said("systemctl stop machnet");
  expect_calls("");
  host->remove("proc/900");
  assert_int_equal(host->run({"unbind"}), 0);
  expect_given_back("eth1");
}

void unbind__interface_with_another_name(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->write("rename", "enp3s0");
  assert_int_equal(host->run({"unbind"}), 0);
  assert_said("warning: nic eth1: the interface is called enp3s0 now, was eth1");
  expect_given_back("enp3s0");
}

void unbind__interface_that_does_not_come(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->write("no-interface", "");
  assert_int_equal(host->run({"unbind"}), 1);
  assert_said("nic eth1: 0000:03:00.0 is back with the kernel, but shows no interface");
  assert_true(saved("eth1").bound == mn::device::Bound::kNo);
}

void unbind__kernel_driver_that_does_not_take_it(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->write("releases-nothing", "");
  assert_int_equal(host->run({"unbind"}), 1);
  assert_said("is bound to nothing after driverctl, not to the kernel's driver e1000e");
  assert_said("modprobe e1000e");
  assert_true(saved("eth1").bound == mn::device::Bound::kYes);  // to be tried again
  host->remove("releases-nothing");
  assert_int_equal(host->run({"unbind"}), 0);
  expect_given_back("eth1");
}

void unbind__driverctl_fails_and_works_later(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->write("unset-override-fails", "driverctl: unbinding failed\n");
  assert_int_equal(host->run({"unbind"}), 1);
  assert_said("unset-override 0000:03:00.0` failed (exit code 1): driverctl: unbinding failed");
  host->remove("unset-override-fails");
  assert_int_equal(host->run({"unbind"}), 0);
  expect_given_back("eth1");
}

void unbind__bound_by_someone_else_meanwhile(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->driverctl("set-override 0000:03:00.0 uio_pci_generic");
  host->forget_calls();
  assert_int_equal(host->run({"unbind"}), 0);
  assert_said(
      "0000:03:00.0 was bound to uio_pci_generic by someone else meanwhile, and is left so");
  expect_calls("");
  assert_true(saved("eth1").bound == mn::device::Bound::kNo);
}

void unbind__given_back_by_hand(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->driverctl("unset-override 0000:03:00.0");
  host->forget_calls();
  assert_int_equal(host->run({"unbind"}), 0);
  expect_calls("");
  expect_given_back("eth1");  // what the kernel had is put back all the same
}

void unbind__without_the_configuration(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->remove("etc/machnet.conf");
  assert_int_equal(host->run({"unbind"}), 0);
  expect_given_back("eth1");
}

void unbind__damaged_state_is_said(void**) {
  assert_int_equal(host->run({"bind"}), 0);
  host->write(kState, host->read(kState) + "nonsense\n");
  assert_int_equal(host->run({"unbind"}), 1);
  assert_said("var/lib/machnet/eth1.nic:");
  assert_int_equal(host->run({"bind"}), 1);
  assert_said("var/lib/machnet/eth1.nic:");
  assert_string_equal(host->driver_of("pci", kPci).c_str(), "vfio-pci");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      HOST_TEST(unbind__in_use_is_refused),
      HOST_TEST(unbind__interface_with_another_name),
      HOST_TEST(unbind__interface_that_does_not_come),
      HOST_TEST(unbind__kernel_driver_that_does_not_take_it),
      HOST_TEST(unbind__driverctl_fails_and_works_later),
      HOST_TEST(unbind__bound_by_someone_else_meanwhile),
      HOST_TEST(unbind__given_back_by_hand),
      HOST_TEST(unbind__without_the_configuration),
      HOST_TEST(unbind__damaged_state_is_said),
  };
  return cmocka_run_group_tests_name("unbind", tests, nullptr, nullptr);
}
