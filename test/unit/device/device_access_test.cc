// SPDX-License-Identifier: MIT
// The device file of a bound NIC becomes the service user's, in a folder in place of /dev.
#include "device/device_access.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <filesystem>

#include "unit/device/scratch_folder.h"
extern "C" {
#include <cmocka.h>
}

using namespace mn;
using namespace mn::device;

namespace {

constexpr char kPci[] = "0000:03:00.0";
test::ScratchFolder* folder = nullptr;
SysRoot root;

int set_up(void**) {
  folder = new test::ScratchFolder;
  root = folder->root();
  root.service_user = "nobody";
  const std::filesystem::path device = folder->path("sys/bus/pci/devices/0000:03:00.0");
  std::filesystem::create_directories(device);
  std::filesystem::create_directories(folder->path("sys/kernel/iommu_groups/12"));
  std::filesystem::create_symlink("../../../../kernel/iommu_groups/12", device / "iommu_group");
  folder->write("dev/vfio/12", "");
  folder->write("dev/vfio/13", "");
  chmod(folder->path("dev/vfio/12").c_str(), 0666);
  return 0;
}

int tear_down(void**) {
  delete folder;
  return 0;
}

struct stat status_of(const char* file) {
  struct stat status {};
  stat(folder->path(file).c_str(), &status);
  return status;
}

void let_service_open__gives_the_group_of_the_nic_only(void**) {
  if (geteuid() != 0) skip();  // only root gives files away
  const auto opened = let_service_open(root, Bus::kPci, kPci);
  assert_true(opened.ok());
  const passwd* const nobody = getpwnam("nobody");
  assert_non_null(nobody);
  assert_int_equal(status_of("dev/vfio/12").st_uid, nobody->pw_uid);
  assert_int_equal(status_of("dev/vfio/12").st_mode & 07777, 0600);
  assert_int_equal(status_of("dev/vfio/13").st_uid, 0);
}

void let_service_open__without_the_user_nothing_changes(void**) {
  root.service_user = "no-such-user-here";
  assert_true(let_service_open(root, Bus::kPci, kPci).ok());
  assert_int_equal(status_of("dev/vfio/12").st_mode & 07777, 0666);
}

void let_service_open__without_device_files_nothing_happens(void**) {
  assert_true(let_service_open(root, Bus::kPci, "0000:04:00.0").ok());
  assert_true(let_service_open(root, Bus::kOther, "").ok());
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(let_service_open__gives_the_group_of_the_nic_only, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(let_service_open__without_the_user_nothing_changes, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(let_service_open__without_device_files_nothing_happens,
                                      set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
