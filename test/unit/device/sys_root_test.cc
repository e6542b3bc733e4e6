// SPDX-License-Identifier: MIT
// The outside, and that it can be replaced: programs, their output and how they end, and files.
#include "device/sys_root.h"

#include <string.h>
#include <sys/stat.h>

#include "unit/device/taken_nic.h"  // last

namespace {

using mn::device::SysRoot;
using mn::test::host;

std::string program(const char* text) {
  host->write("bin/program", text);
  const std::string path = host->folder() + "/bin/program";
  chmod(path.c_str(), 0755);
  return path;
}

void run__takes_what_a_program_says(void**) {
  const auto ran = SysRoot{}.run(
      {program("#!/bin/sh\necho \"$# $1\"\necho wrong >&2\nexit 3\n"), "two words", "*"});
  assert_true(ran.ok());
  assert_int_equal(ran.value().exit_code, 3);
  assert_string_equal(ran.value().out.c_str(), "2 two words\n");
  assert_string_equal(ran.value().err.c_str(), "wrong\n");
}

void run__passes_no_environment_and_no_input(void**) {
  setenv("SUBSYSTEM", "usb", 1);  // driverctl would take it for an order
  const auto ran = SysRoot{}.run({program("#!/bin/sh\necho \"${SUBSYSTEM-none} $PATH\"\ncat\n")});
  unsetenv("SUBSYSTEM");
  assert_string_equal(ran.value().out.c_str(), "none /usr/sbin:/usr/bin:/sbin:/bin\n");
}

void run__a_lot_of_output(void**) {
  const auto ran =
      SysRoot{}.run({program("#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' x\nhead -c 300000 "
                             "/dev/zero >&2\necho end\n")});
  assert_int_equal(ran.value().exit_code, 0);
  assert_true(ran.value().out.size() >= 64 << 10 && ran.value().out.size() < 80 << 10);
}

void run__ends_that_are_no_exit(void**) {
  assert_int_equal(SysRoot{}.run({program("#!/bin/sh\nkill -9 $$\n")}).value().exit_code, 137);
  const auto missing = SysRoot{}.run({"no-such-program-anywhere"});
  assert_int_equal(missing.value().exit_code, 127);
  assert_non_null(strstr(missing.value().err.c_str(), "no-such-program-anywhere: not installed"));
  assert_false(SysRoot{}.run({program("no interpreter\n")}).ok());
}

void find_program__only_in_the_systems_folders(void**) {
  const std::string old = getenv("PATH");
  setenv("PATH", (host->folder() + "/bin").c_str(), 1);
  assert_false(SysRoot{}.find_program("program-of-a-user").has_value());
  program("#!/bin/sh\n");
  assert_false(SysRoot{}.find_program("program").has_value());
  assert_true(SysRoot{}.find_program("sh").has_value());
  setenv("PATH", old.c_str(), 1);
  assert_false(SysRoot{}.find_program(host->folder() + "/etc/machnet.conf").has_value());
}

void below__everything_is_below(void**) {
  host->write("metadata-url", "http://127.0.0.1:1\n");
  const SysRoot root = host->root();
  for (const std::string* path :
       {&root.sys, &root.proc, &root.state_dir, &root.driverctl, &root.modprobe, &root.net_dir}) {
    assert_true(path->starts_with(host->folder() + "/"));
  }
  assert_string_equal(root.metadata_url.c_str(), "http://127.0.0.1:1");
  assert_string_equal(root.boot_id().c_str(), "first-boot");
  assert_string_equal(SysRoot{}.sys.c_str(), "/sys");
  assert_true(SysRoot{}.metadata_url.empty());
}

void files__small_ones(void**) {
  host->write("file", "0x1f\n\n");
  const std::string path = host->folder() + "/file";
  assert_string_equal(mn::device::read_text(path)->c_str(), "0x1f");
  assert_int_equal(*mn::device::read_number(path), 31);
  assert_true(mn::device::write_text(path, "-1").ok());
  assert_int_equal(*mn::device::read_number(path), -1);
  for (const char* text : {"", "one", "1 2", "99999999999999999999"}) {
    host->write("file", text);
    assert_false(mn::device::read_number(path).has_value());
  }
  assert_false(mn::device::read_text(path + "x").has_value());
  const auto failed = mn::device::write_text(path + "x", "1");
  assert_false(failed.ok());
  assert_non_null(strstr(failed.error().c_str(), "filex: cannot be written: No such file"));
  assert_string_equal(mn::device::link_name(path).c_str(), "");
  assert_int_equal(mn::device::list_folder(path).size(), 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      HOST_TEST(run__takes_what_a_program_says),
      HOST_TEST(run__passes_no_environment_and_no_input),
      HOST_TEST(run__a_lot_of_output),
      HOST_TEST(run__ends_that_are_no_exit),
      HOST_TEST(find_program__only_in_the_systems_folders),
      HOST_TEST(below__everything_is_below),
      HOST_TEST(files__small_ones),
  };
  return cmocka_run_group_tests_name("sys_root", tests, nullptr, nullptr);
}
