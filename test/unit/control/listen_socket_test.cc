// SPDX-License-Identifier: MIT
#include "control/listen_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
extern "C" {
#include <cmocka.h>
}

using namespace mn;
using namespace mn::control;

namespace {

struct Fixture {
  char directory[32] = "/tmp/mn-socket-XXXXXX";
  SocketSettings settings;
  std::unique_ptr<ListenSocket> first, second;
  std::string error;
};

int setup(void** state) {
  auto* fixture = new Fixture;
  if (mkdtemp(fixture->directory) == nullptr) return -1;
  fixture->settings.path = std::string(fixture->directory) + "/run/m.sock";
  *state = fixture;
  return 0;
}

int teardown(void** state) {
  auto* fixture = static_cast<Fixture*>(*state);
  fixture->first.reset();
  fixture->second.reset();
  const bool left_something = rmdir(fixture->directory) != 0;
  delete fixture;
  return left_something ? -1 : 0;
}

bool open_socket(Fixture* fixture, std::unique_ptr<ListenSocket>* ret_socket) {
  auto opened = ListenSocket::open(fixture->settings);
  if (!opened) {
    fixture->error = opened.error();
    return false;
  }
  *ret_socket = std::move(opened.value());
  return true;
}

void open__has_mode_and_takes_connections(void** state) {
  auto* fixture = static_cast<Fixture*>(*state);
  fixture->settings.mode = 0640;
  assert_true(open_socket(fixture, &fixture->first));
  struct stat status;
  assert_int_equal(stat(fixture->settings.path.c_str(), &status), 0);
  assert_int_equal(status.st_mode & 0777, 0640);
}

void open__refuses_while_another_lives(void** state) {
  auto* fixture = static_cast<Fixture*>(*state);
  assert_true(open_socket(fixture, &fixture->first));
  assert_false(open_socket(fixture, &fixture->second));
  assert_non_null(strstr(fixture->error.c_str(), "another service uses it"));
  assert_int_equal(access(fixture->settings.path.c_str(), F_OK), 0);
}

void open__takes_over_from_the_dead(void** state) {
  auto* fixture = static_cast<Fixture*>(*state);
  assert_true(open_socket(fixture, &fixture->first));
  // As after kill -9: the file stays, nobody listens.
  assert_int_equal(link(fixture->settings.path.c_str(), (fixture->settings.path + "2").c_str()), 0);
  fixture->first->close_and_remove();
  assert_int_equal(mkdir((std::string(fixture->directory) + "/run").c_str(), 0755), -1);
  assert_int_equal(rename((fixture->settings.path + "2").c_str(), fixture->settings.path.c_str()),
                   0);
  assert_true(open_socket(fixture, &fixture->second));
  fixture->second->close_and_remove();
  rmdir((std::string(fixture->directory) + "/run").c_str());
}

void open__leaves_other_files_alone(void** state) {
  auto* fixture = static_cast<Fixture*>(*state);
  fixture->settings.path = std::string(fixture->directory) + "/file";
  close(open(fixture->settings.path.c_str(), O_CREAT | O_WRONLY, 0600));
  assert_false(open_socket(fixture, &fixture->first));
  assert_non_null(strstr(fixture->error.c_str(), "no socket is in the way"));
  assert_int_equal(unlink(fixture->settings.path.c_str()), 0);
}

void close__does_not_remove_a_successor(void** state) {
  auto* fixture = static_cast<Fixture*>(*state);
  fixture->settings.path = std::string(fixture->directory) + "/m.sock";
  assert_true(open_socket(fixture, &fixture->first));
  assert_int_equal(unlink(fixture->settings.path.c_str()), 0);
  assert_true(open_socket(fixture, &fixture->second));
  fixture->first->close_and_remove();
  assert_int_equal(access(fixture->settings.path.c_str(), F_OK), 0);
}

// In a child, as systemd starts a service: the socket is descriptor 3. 0: as it should be.
int take_over(Fixture* fixture, mode_t file_mode) {
  const SocketSettings made{fixture->settings.path, {}, file_mode};
  auto owner = ListenSocket::open(made);
  if (!owner) return 1;
  if (dup2(owner.value()->fd(), 3) != 3) return 2;
  fcntl(3, F_SETFD, 0);
  setenv("LISTEN_FDS", "1", 1);
  setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
  fixture->settings.mode = 0666;
  fixture->settings.group = 4711;
  dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);  // it says that its settings are not used
  auto taken = ListenSocket::open(fixture->settings);
  if (!taken) return 3;
  const ListenSocket& socket = *taken.value();
  if (socket.fd() != 3 || socket.path() != fixture->settings.path) return 4;
  if (socket.policy().mode != file_mode || socket.policy().group != getegid()) return 5;
  taken.value()->close_and_remove();
  if (access(fixture->settings.path.c_str(), F_OK) != 0) return 6;  // systemd's
  if (fcntl(owner.value()->fd(), F_GETFD) < 0) return 7;
  owner.value()->close_and_remove();
  return 0;
}

void open__takes_the_service_managers(void** state) {
  auto* fixture = static_cast<Fixture*>(*state);
  for (const mode_t mode : {0660, 0600}) {
    const pid_t child = fork();
    if (child == 0) _exit(take_over(fixture, mode));
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
  }
}

void peer_allowed__by_group_and_mode(void**) {
  static Peer peer;
  peer.uid = 1000;
  peer.groups = {1000, 50};
  assert_true(peer_allowed(peer, {50, 0660}, 0));
  assert_false(peer_allowed(peer, {51, 0660}, 0));
  assert_false(peer_allowed(peer, {50, 0600}, 0));
  assert_true(peer_allowed(peer, {51, 0666}, 0));
  assert_true(peer_allowed(peer, {51, 0600}, 1000));
  peer.uid = 0;
  assert_true(peer_allowed(peer, {51, 0600}, 1000));
}

}  // namespace

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main() {
  const CMUnitTest tests[] = {
      TEST(open__has_mode_and_takes_connections),
      TEST(open__refuses_while_another_lives),
      TEST(open__takes_over_from_the_dead),
      TEST(open__leaves_other_files_alone),
      TEST(open__takes_the_service_managers),
      TEST(close__does_not_remove_a_successor),
      cmocka_unit_test(peer_allowed__by_group_and_mode),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
