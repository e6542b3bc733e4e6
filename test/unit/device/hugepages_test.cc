// SPDX-License-Identifier: MIT
// Hugepages of a fake machine. Where the kernel has to give less than is asked for, a pipe with a
// thread behind it stands in the place of the file: it takes a wish and then tells what came of it.
#include "device/hugepages.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <thread>

#include "unit/device/scratch_folder.h"
extern "C" {
#include <cmocka.h>
}

using namespace mn;
using namespace mn::device;

namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr char kNode0[] = "sys/devices/system/node/node0/hugepages/hugepages-2048kB/";
constexpr char kNode1[] = "sys/devices/system/node/node1/hugepages/hugepages-2048kB/";
constexpr char kMachine[] = "sys/kernel/mm/hugepages/hugepages-2048kB/";

struct Fixture {
  test::ScratchFolder folder;
  SysRoot root = folder.root();
  HugepageGrant grant;
  std::string line;
  std::string wish;  // what the kernel behind the pipe was asked for
  std::vector<ReservedPages> noted;
  std::thread kernel;
  std::string pipe;  // that it answers on
};

int setup(void** state) {
  *state = new Fixture;
  return 0;
}

int teardown(void** state) {
  auto* fixture = static_cast<Fixture*>(*state);
  if (fixture->kernel.joinable()) {
    // Whatever end it waits for, this is both.
    const int both = open(fixture->pipe.c_str(), O_RDWR | O_NONBLOCK);
    dprintf(both, "0");
    fixture->kernel.join();
    close(both);
  }
  delete fixture;
  return 0;
}

Fixture* of(void** state) { return static_cast<Fixture*>(*state); }

void put_pool(Fixture* fixture, const std::string& folder, int total, int free) {
  fixture->folder.write(folder + "nr_hugepages", std::to_string(total) + "\n");
  fixture->folder.write(folder + "free_hugepages", std::to_string(free) + "\n");
  fixture->folder.write(folder + "resv_hugepages", "0\n");
}

void put_two_nodes(Fixture* fixture, int total, int free) {
  put_pool(fixture, kNode0, total, free);
  put_pool(fixture, kNode1, total, free);
  put_pool(fixture, kMachine, 2 * total, 2 * free);
}

std::string total_of(Fixture* fixture, const std::string& folder) {
  return fixture->folder.read(folder + "nr_hugepages");
}

bool reserve(Fixture* fixture, uint64_t bytes, int node, const RememberPages& remember = nullptr) {
  auto grant = reserve_hugepages(fixture->root, bytes, node, remember);
  if (grant) {
    fixture->grant = std::move(grant.value());
    fixture->line = fixture->grant.line;
  } else {
    fixture->line = grant.error();
  }
  return grant.ok();
}

bool give_back(Fixture* fixture, const std::vector<ReservedPages>& pages) {
  auto returned = return_hugepages(fixture->root, pages);
  fixture->line = returned ? returned.value() : returned.error();
  return returned.ok();
}

// From now on the kernel answers a wish for pages with `total`, after it did `work`.
void let_kernel_give(
    Fixture* fixture, const std::string& folder, int total,
    const std::function<void()>& work = [] {}) {
  const std::string path = fixture->folder.path(folder + "nr_hugepages");
  fixture->pipe = path;
  unlink(path.c_str());
  mkfifo(path.c_str(), 0600);
  fixture->kernel = std::thread([fixture, path, total, work] {
    char wish[32] = "";
    const int in = open(path.c_str(), O_RDONLY);
    if (read(in, wish, sizeof(wish) - 1) < 0) wish[0] = '\0';
    close(in);
    fixture->wish = wish;
    work();
    const int out = open(path.c_str(), O_WRONLY);
    dprintf(out, "%d\n", total);
    close(out);
  });
}

void reserve__adds_what_is_missing_on_the_node(void** state) {
  put_two_nodes(of(state), 10, 4);
  assert_true(reserve(of(state), 32 * kMiB, 1));
  assert_true(of(state)->grant.is_enough);
  assert_int_equal(of(state)->grant.added.size(), 1);
  const ReservedPages added = of(state)->grant.added[0];
  assert_true((added == ReservedPages{1, 2 * kMiB, 12, std::nullopt}));
  assert_string_equal(total_of(of(state), kNode1).c_str(), "22");
  assert_string_equal(total_of(of(state), kNode0).c_str(), "10\n");
  assert_string_equal(of(state)->line.c_str(),
                      "32 MiB of hugepages asked for on NUMA node 1: 8 MiB free, added 12 of "
                      "2048kB");
}

void reserve__leaves_the_administrator_s_alone(void** state) {
  put_two_nodes(of(state), 100, 16);
  assert_true(reserve(of(state), 32 * kMiB, 0));
  assert_true(of(state)->grant.is_enough);
  assert_true(of(state)->grant.added.empty());
  assert_string_equal(total_of(of(state), kNode0).c_str(), "100\n");
  assert_string_equal(of(state)->line.c_str(),
                      "32 MiB of hugepages asked for on NUMA node 0: 32 MiB free, none added");
}

void reserve__counts_pages_of_all_sizes(void** state) {
  put_two_nodes(of(state), 0, 0);
  put_pool(of(state), "sys/devices/system/node/node0/hugepages/hugepages-1048576kB/", 1, 1);
  assert_true(reserve(of(state), 1024 * kMiB, 0));
  assert_true(of(state)->grant.added.empty());
  assert_true(reserve(of(state), 1025 * kMiB, 0));
  assert_true((of(state)->grant.added[0] == ReservedPages{0, 2 * kMiB, 1, std::nullopt}));
}

void reserve__does_not_count_promised_pages(void** state) {
  put_two_nodes(of(state), 8, 8);
  of(state)->folder.write(std::string(kMachine) + "resv_hugepages", "14");
  assert_true(reserve(of(state), 8 * kMiB, 0));
  assert_int_equal(of(state)->grant.added[0].count, 2);
}

void reserve__asks_the_machine_without_a_node(void** state) {
  put_pool(of(state), kMachine, 3, 1);
  for (const int node : {-1, 5}) {
    assert_true(reserve(of(state), 4 * kMiB, node));
    assert_true((of(state)->grant.added[0] == ReservedPages{-1, 2 * kMiB, 1, std::nullopt}));
    assert_string_equal(total_of(of(state), kMachine).c_str(), "4");
    of(state)->folder.write(std::string(kMachine) + "nr_hugepages", "3");
  }
}

void reserve__records_where_the_kernel_put_them(void** state) {
  put_two_nodes(of(state), 10, 0);
  const auto remember = [state](const std::vector<ReservedPages>& pages) -> Result<void> {
    of(state)->noted = pages;
    let_kernel_give(of(state), kMachine, 27, [state] {
      put_pool(of(state), kNode0, 14, 4);
      put_pool(of(state), kNode1, 13, 3);
    });
    return {};
  };
  assert_true(reserve(of(state), 14 * kMiB, -1, remember));
  assert_true((of(state)->noted[0] == ReservedPages{-1, 2 * kMiB, 7, uint64_t{20}}));
  assert_true(of(state)->grant.is_enough);
  assert_int_equal(of(state)->grant.added.size(), 2);
  assert_true((of(state)->grant.added[0] == ReservedPages{0, 2 * kMiB, 4, std::nullopt}));
  assert_true((of(state)->grant.added[1] == ReservedPages{1, 2 * kMiB, 3, std::nullopt}));
}

void reserve__takes_the_smallest_pages_of_other_machines(void** state) {
  put_pool(of(state), "sys/kernel/mm/hugepages/hugepages-524288kB/", 0, 0);
  put_pool(of(state), "sys/kernel/mm/hugepages/hugepages-16777216kB/", 0, 0);
  assert_true(reserve(of(state), 600 * kMiB, -1));
  assert_true((of(state)->grant.added[0] == ReservedPages{-1, 512 * kMiB, 2, std::nullopt}));
}

void reserve__says_when_the_kernel_gives_less(void** state) {
  put_two_nodes(of(state), 10, 0);
  const auto remember = [state](const std::vector<ReservedPages>& pages) -> Result<void> {
    of(state)->noted = pages;
    let_kernel_give(of(state), kNode0, 13);
    return {};
  };
  assert_true(reserve(of(state), 16 * kMiB, 0, remember));
  of(state)->kernel.join();
  assert_string_equal(of(state)->wish.c_str(), "18");
  assert_false(of(state)->grant.is_enough);
  assert_true((of(state)->grant.added[0] == ReservedPages{0, 2 * kMiB, 3, std::nullopt}));
  assert_string_equal(
      of(state)->line.c_str(),
      "16 MiB of hugepages asked for on NUMA node 0: 0 MiB free, added 3 of 2048kB, which leaves "
      "10 MiB short (its memory is full or in too small pieces); ask for less memory, reserve "
      "hugepages at boot (hugepages=N on the kernel command line), or set hugepages = no");
}

void reserve__finds_nothing_added_when_the_kernel_gives_none(void** state) {
  put_two_nodes(of(state), 10, 0);
  const auto remember = [state](const std::vector<ReservedPages>&) -> Result<void> {
    let_kernel_give(of(state), kNode0, 9);  // somebody took one away meanwhile
    return {};
  };
  assert_true(reserve(of(state), 16 * kMiB, 0, remember));
  assert_false(of(state)->grant.is_enough);
  assert_true(of(state)->grant.added.empty());
}

void reserve__notes_its_plan_first(void** state) {
  put_two_nodes(of(state), 10, 2);
  const auto remember = [state](const std::vector<ReservedPages>& pages) -> Result<void> {
    of(state)->noted = pages;
    return Error{"the disk is full"};
  };
  assert_false(reserve(of(state), 8 * kMiB, 0, remember));
  assert_string_equal(of(state)->line.c_str(), "the disk is full");
  assert_true((of(state)->noted[0] == ReservedPages{0, 2 * kMiB, 2, uint64_t{10}}));
  assert_string_equal(total_of(of(state), kNode0).c_str(), "10\n");
}

void reserve__leaves_memory_to_the_others(void** state) {
  put_two_nodes(of(state), 0, 0);
  of(state)->folder.write("proc/meminfo",
                          "MemTotal:        1048576 kB\nMemFree:  1 kB\n"
                          "MemAvailable:     163840 kB\n");
  // 160 MiB are available, 128 MiB stay.
  assert_true(reserve(of(state), 64 * kMiB, 0));
  assert_false(of(state)->grant.is_enough);
  assert_int_equal(of(state)->grant.added[0].count, 16);
  assert_non_null(strstr(of(state)->line.c_str(),
                         "32 MiB short (the rest of the machine needs some memory too)"));
  of(state)->folder.write("proc/meminfo",
                          "MemTotal:        1048576 kB\nMemAvailable:     130000 kB\n");
  put_two_nodes(of(state), 0, 0);
  assert_true(reserve(of(state), 64 * kMiB, 0));
  assert_true(of(state)->grant.added.empty());
  assert_non_null(strstr(of(state)->line.c_str(), "(too little memory is available)"));
}

void reserve__refuses_without_hugepages(void** state) {
  assert_false(reserve(of(state), 2 * kMiB, 0));
  assert_non_null(strstr(of(state)->line.c_str(), "memory = 2 MiB: the kernel has no hugepages"));
  assert_non_null(strstr(of(state)->line.c_str(), "set hugepages = no"));
}

void reserve__says_what_cannot_be_written(void** state) {
  put_two_nodes(of(state), 0, 0);
  const auto remember = [state](const std::vector<ReservedPages>&) -> Result<void> {
    unlink(of(state)->folder.path(std::string(kNode0) + "nr_hugepages").c_str());
    return {};
  };
  assert_false(reserve(of(state), 2 * kMiB, 0, remember));
  assert_non_null(strstr(of(state)->line.c_str(), "cannot reserve hugepages: "));
  assert_non_null(strstr(of(state)->line.c_str(), "; run as root, or set hugepages = no"));
}

void return__takes_exactly_what_was_added(void** state) {
  put_two_nodes(of(state), 30, 30);
  assert_true(give_back(of(state), {{0, 2 * kMiB, 12, std::nullopt}, {1, 2 * kMiB, 5, {}}}));
  assert_string_equal(total_of(of(state), kNode0).c_str(), "18");
  assert_string_equal(total_of(of(state), kNode1).c_str(), "25");
  assert_string_equal(of(state)->line.c_str(), "returned 17 hugepages");
}

void return__leaves_pages_in_use(void** state) {
  put_two_nodes(of(state), 30, 4);
  assert_true(give_back(of(state), {{0, 2 * kMiB, 12, std::nullopt}}));
  assert_string_equal(total_of(of(state), kNode0).c_str(), "26");
  assert_string_equal(of(state)->line.c_str(),
                      "returned 4 hugepages, 8 are still in use by somebody and stay "
                      "(vm.nr_hugepages takes them away later)");
}

void return__of_a_plan_never_goes_below_what_was_there(void** state) {
  put_two_nodes(of(state), 12, 12);
  // 8 were planned upon 10, of which 2 came true before the crash.
  assert_true(give_back(of(state), {{0, 2 * kMiB, 8, uint64_t{10}}}));
  assert_string_equal(total_of(of(state), kNode0).c_str(), "10");
  // None came true, and the administrator took some.
  put_two_nodes(of(state), 6, 6);
  assert_true(give_back(of(state), {{0, 2 * kMiB, 8, uint64_t{10}}}));
  assert_string_equal(total_of(of(state), kNode0).c_str(), "6\n");
  assert_string_equal(of(state)->line.c_str(), "returned 0 hugepages");
}

void return__is_done_when_the_pool_is_gone(void** state) {
  put_pool(of(state), kMachine, 3, 3);
  assert_true(give_back(of(state), {{7, 2 * kMiB, 2, {}}, {-1, 4 * kMiB, 2, {}}}));
  assert_string_equal(of(state)->line.c_str(), "returned 0 hugepages");
  assert_string_equal(total_of(of(state), kMachine).c_str(), "3\n");
}

void return__takes_no_more_than_there_are(void** state) {
  put_pool(of(state), kMachine, 3, 3);
  assert_true(give_back(of(state), {{-1, 2 * kMiB, 5, {}}}));
  assert_string_equal(total_of(of(state), kMachine).c_str(), "0");
  assert_string_equal(of(state)->line.c_str(), "returned 3 hugepages");
}

}  // namespace

#define with_folder(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main() {
  const CMUnitTest tests[] = {
      with_folder(reserve__adds_what_is_missing_on_the_node),
      with_folder(reserve__leaves_the_administrator_s_alone),
      with_folder(reserve__counts_pages_of_all_sizes),
      with_folder(reserve__does_not_count_promised_pages),
      with_folder(reserve__asks_the_machine_without_a_node),
      with_folder(reserve__records_where_the_kernel_put_them),
      with_folder(reserve__takes_the_smallest_pages_of_other_machines),
      with_folder(reserve__says_when_the_kernel_gives_less),
      with_folder(reserve__finds_nothing_added_when_the_kernel_gives_none),
      with_folder(reserve__notes_its_plan_first),
      with_folder(reserve__leaves_memory_to_the_others),
      with_folder(reserve__refuses_without_hugepages),
      with_folder(reserve__says_what_cannot_be_written),
      with_folder(return__takes_exactly_what_was_added),
      with_folder(return__leaves_pages_in_use),
      with_folder(return__of_a_plan_never_goes_below_what_was_there),
      with_folder(return__is_done_when_the_pool_is_gone),
      with_folder(return__takes_no_more_than_there_are),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
