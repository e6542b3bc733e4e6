// SPDX-License-Identifier: MIT
// The files of saved NICs, in a temporary folder. What only root can do is done as root and said to
// be left out otherwise.
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>

#include "device/saved_nic.h"
#include "unit/device/scratch_folder.h"
extern "C" {
#include <cmocka.h>
}

using namespace mn;
using namespace mn::device;

namespace {

struct Fixture {
  test::ScratchFolder folder;
  SysRoot root = folder.root();
  SavedNic nic;
  std::optional<SavedNic> loaded;
  std::vector<SavedNic> all;
  std::string error;
  std::string path;
};

int setup(void** state) {
  auto* fixture = new Fixture;
  fixture->nic.name = "eth0";
  fixture->nic.driver = "virtio_net";
  fixture->path = saved_nic_path(fixture->root, "eth0");
  *state = fixture;
  return 0;
}

int teardown(void** state) {
  delete static_cast<Fixture*>(*state);
  return 0;
}

Fixture* of(void** state) { return static_cast<Fixture*>(*state); }

bool save(Fixture* fixture) {
  auto saved = save_nic(fixture->root, fixture->nic);
  fixture->error = saved ? "" : saved.error();
  return saved.ok();
}

bool load(Fixture* fixture, const char* name) {
  auto loaded = load_saved_nic(fixture->root, name);
  fixture->error = loaded ? "" : loaded.error();
  fixture->loaded = loaded ? loaded.value() : std::nullopt;
  return loaded.ok();
}

bool load_all(Fixture* fixture) {
  auto loaded = load_saved_nics(fixture->root);
  fixture->error = loaded ? "" : loaded.error();
  if (loaded) fixture->all = loaded.value();
  return loaded.ok();
}

bool says(const Fixture* fixture, const char* text) {
  if (fixture->error.find(text) != std::string::npos) return true;
  print_error("not said: %s\nsaid: %s\n", text, fixture->error.c_str());
  return false;
}

mode_t mode_of(const std::string& path) {
  struct stat status {};
  return lstat(path.c_str(), &status) == 0 ? status.st_mode : 0;
}

size_t files_in(Fixture* fixture) { return list_folder(fixture->root.state_dir).size(); }

void save__can_be_loaded(void** state) {
  assert_true(load(of(state), "eth0"));
  assert_false(of(state)->loaded.has_value());
  assert_true(save(of(state)));
  assert_true(load(of(state), "eth0"));
  assert_true(of(state)->loaded == of(state)->nic);
  of(state)->nic.bound = Bound::kYes;
  assert_true(save(of(state)));
  assert_true(load(of(state), "eth0"));
  assert_true(of(state)->loaded->bound == Bound::kYes);
  assert_int_equal(files_in(of(state)), 1);
}

void save__is_for_owner_and_group(void** state) {
  const mode_t old = umask(0077);
  assert_true(save(of(state)));
  umask(old);
  assert_int_equal(mode_of(of(state)->path) & 07777, 0640);
  assert_int_equal(mode_of(of(state)->root.state_dir) & 07777, 0750);
  if (geteuid() != 0) return print_message("not root: groups are not tested\n");
  of(state)->root.state_group = "no-such-group-mn";
  assert_true(save(of(state)));
  of(state)->root.state_group = "daemon";
  const group* const expected = getgrnam("daemon");
  assert_non_null(expected);
  const gid_t gid = expected->gr_gid;
  assert_true(save(of(state)));
  struct stat status {};
  assert_int_equal(stat(of(state)->path.c_str(), &status), 0);
  assert_int_equal(status.st_gid, gid);
  assert_int_equal(status.st_uid, 0);
  // A folder that was there is left as it is; a new one is of the group as well.
  assert_int_equal(stat(of(state)->root.state_dir.c_str(), &status), 0);
  assert_int_equal(status.st_gid, 0);
  of(state)->root.state_dir = of(state)->folder.path("new/state");
  assert_true(save(of(state)));
  assert_int_equal(stat(of(state)->root.state_dir.c_str(), &status), 0);
  assert_int_equal(status.st_gid, gid);
}

void save__keeps_the_old_file_when_it_fails(void** state) {
  assert_true(save(of(state)));
  // Where the new file is written before it takes the old one's place.
  of(state)->folder.write("var/lib/machnet/.eth0.nic.new/in-the-way", "");
  of(state)->nic.driver = "other";
  assert_false(save(of(state)));
  assert_true(says(of(state), "/var/lib/machnet/.eth0.nic.new: cannot make the file: "));
  assert_true(load(of(state), "eth0"));
  assert_string_equal(of(state)->loaded->driver.c_str(), "virtio_net");
}

void save__clears_away_what_a_killed_one_left(void** state) {
  of(state)->folder.write("var/lib/machnet/.eth0.nic.new", "half a fi");
  assert_true(load_all(of(state)));
  assert_int_equal(of(state)->all.size(), 0);
  assert_true(save(of(state)));
  assert_int_equal(files_in(of(state)), 1);
}

void save__refuses_what_could_not_be_read(void** state) {
  of(state)->nic.name = "";
  assert_false(save(of(state)));
  assert_true(says(of(state), "not saved: "));
  of(state)->nic.name = std::string(300, 'x');
  assert_false(save(of(state)));
  assert_true(says(of(state), "File name too long"));
  of(state)->nic.name = "eth0";
  of(state)->root.state_dir = of(state)->folder.path("file");
  of(state)->folder.write("file", "");
  assert_false(save(of(state)));
  assert_true(says(of(state), "/file: cannot use it as a folder: Not a directory"));
}

void path__is_one_for_each_name(void** state) {
  const SysRoot& root = of(state)->root;
  const std::string top = root.state_dir + "/";
  assert_string_equal(saved_nic_path(root, "0000:3b:00.1").c_str(),
                      (top + "0000%3A3b%3A00.1.nic").c_str());
  assert_string_equal(saved_nic_path(root, "..").c_str(), (top + "%2E..nic").c_str());
  assert_string_equal(saved_nic_path(root, "a/../b").c_str(), (top + "a%2F..%2Fb.nic").c_str());
  assert_string_not_equal(saved_nic_path(root, "a:b").c_str(),
                          saved_nic_path(root, "a%3Ab").c_str());
  for (const char* name : {"0000:3b:00.1", "..", "a/../b", "%"}) {
    of(state)->nic.name = name;
    assert_true(save(of(state)));
    assert_true(load(of(state), name));
    assert_true(of(state)->loaded->name == name);
  }
  assert_true(load_all(of(state)));
  assert_int_equal(of(state)->all.size(), 4);
}

void load_all__is_sorted_and_stops_at_a_damaged_one(void** state) {
  for (const char* name : {"eth1", "eth0", "0000:00:05.0"}) {
    of(state)->nic.name = name;
    assert_true(save(of(state)));
  }
  of(state)->folder.write("var/lib/machnet/notes", "not ours");
  assert_true(load_all(of(state)));
  assert_int_equal(of(state)->all.size(), 3);
  assert_string_equal(of(state)->all[0].name.c_str(), "0000:00:05.0");
  assert_string_equal(of(state)->all[2].name.c_str(), "eth1");
  of(state)->folder.write("var/lib/machnet/eth1.nic", "version = 1\nname = eth1\n");
  assert_false(load_all(of(state)));
  assert_true(says(of(state), "/var/lib/machnet/eth1.nic:2: there is no last line"));
  assert_false(load(of(state), "eth1"));
  assert_true(load(of(state), "eth0"));
}

void load__refuses_a_file_of_another_nic(void** state) {
  assert_true(save(of(state)));
  const std::string other = saved_nic_path(of(state)->root, "eth1");
  assert_int_equal(rename(of(state)->path.c_str(), other.c_str()), 0);
  assert_false(load(of(state), "eth1"));
  assert_true(says(of(state), "/eth1.nic: it is about the NIC eth0, not eth1; remove it"));
  assert_false(load_all(of(state)));
  assert_true(says(of(state), "/eth1.nic: it is about the NIC eth0, whose file has another name"));
}

void load__believes_only_root(void** state) {
  assert_true(save(of(state)));
  assert_int_equal(chmod(of(state)->path.c_str(), 0660), 0);
  assert_false(load(of(state), "eth0"));
  assert_true(says(of(state), "not believed, because others than root can write it"));
  assert_false(load_all(of(state)));
  assert_int_equal(chmod(of(state)->path.c_str(), 0640), 0);
  assert_true(load(of(state), "eth0"));
  // A link is whatever who made it likes.
  const std::string target = of(state)->folder.path("target");
  assert_int_equal(rename(of(state)->path.c_str(), target.c_str()), 0);
  assert_int_equal(symlink(target.c_str(), of(state)->path.c_str()), 0);
  assert_false(load(of(state), "eth0"));
  assert_int_equal(unlink(of(state)->path.c_str()), 0);
  assert_int_equal(mkfifo(of(state)->path.c_str(), 0600), 0);
  assert_false(load(of(state), "eth0"));
  assert_true(says(of(state), "not a regular file"));
  assert_int_equal(unlink(of(state)->path.c_str()), 0);
  if (geteuid() != 0) return print_message("not root: other owners are not tested\n");
  assert_true(save(of(state)));
  assert_int_equal(chown(of(state)->path.c_str(), 65534, 0), 0);
  assert_false(load(of(state), "eth0"));
  assert_true(says(of(state), "(owner 65534)"));
}

void load__refuses_what_is_far_too_long(void** state) {
  of(state)->folder.write("var/lib/machnet/eth0.nic", std::string(1 << 20, '#'));
  assert_false(load(of(state), "eth0"));
  assert_true(says(of(state), "/eth0.nic: too long to be ours; remove it"));
}

void remove__of_nothing_is_no_error(void** state) {
  assert_true(remove_saved_nic(of(state)->root, "eth0").ok());
  assert_true(save(of(state)));
  assert_true(remove_saved_nic(of(state)->root, "eth0").ok());
  assert_int_equal(files_in(of(state)), 0);
  of(state)->folder.write("var/lib/machnet/eth0.nic/x", "");
  assert_false(remove_saved_nic(of(state)->root, "eth0").ok());
}

}  // namespace

#define with_folder(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main() {
  const CMUnitTest tests[] = {
      with_folder(save__can_be_loaded),
      with_folder(save__is_for_owner_and_group),
      with_folder(save__keeps_the_old_file_when_it_fails),
      with_folder(save__clears_away_what_a_killed_one_left),
      with_folder(save__refuses_what_could_not_be_read),
      with_folder(path__is_one_for_each_name),
      with_folder(load_all__is_sorted_and_stops_at_a_damaged_one),
      with_folder(load__refuses_a_file_of_another_nic),
      with_folder(load__believes_only_root),
      with_folder(load__refuses_what_is_far_too_long),
      with_folder(remove__of_nothing_is_no_error),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
