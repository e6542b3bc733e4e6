// SPDX-License-Identifier: MIT
// Two processes, each with a NIC of its own kind at one end of a veth pair (or of a memif),
// exchange frames, sleep until one comes, are killed and leave nothing behind. Works in a network
// namespace of its own; needs root and counts as skipped without.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "nic/nic_system.h"

// Last: cmocka has macros called fail and skip.
extern "C" {
#include <cmocka.h>
}

namespace {

constexpr char kEndA[] = "mnpaira";
constexpr char kEndB[] = "mnpairb";
constexpr size_t kStampAt = 42;  // behind Ethernet, IPv4 and UDP
constexpr uint32_t kMark = 0x4d4e5052;

struct Stamp {
  uint32_t mark;
  uint32_t number;
  int64_t sent_ns;
};

int64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

void sleep_ms(int ms) { poll(nullptr, 0, ms); }

// ---- In the children: no cmocka there, a message and an exit code

bool send_frame(mn::NicPort* port, uint32_t number, uint32_t length) {
  mn::TxFrame frame;
  if (port->tx_alloc({&frame, 1}) != 1) return false;
  memset(frame.data, static_cast<int>(number & 0xff), length);
  memset(frame.data, 0xff, 6);
  memcpy(frame.data + 6, port->facts().mac.bytes.data(), 6);
  frame.data[12] = 0x08;
  frame.data[13] = 0;
  const Stamp stamp{kMark, number, now_ns()};
  memcpy(frame.data + kStampAt, &stamp, sizeof(stamp));
  frame.length = length;
  if (port->tx_burst({&frame, 1}) == 1) return true;
  port->tx_free({&frame, 1});
  return false;
}

// The stamps of our frames among those received, their contents checked.
std::vector<Stamp> receive(mn::NicPort* port) {
  mn::RxFrame frames[mn::kBurstMax];
  std::vector<Stamp> stamps;
  const size_t n = port->rx_burst(frames);
  for (size_t i = 0; i < n; ++i) {
    Stamp stamp;
    if (frames[i].length < kStampAt + sizeof(stamp)) continue;
    memcpy(&stamp, frames[i].data + kStampAt, sizeof(stamp));
    if (stamp.mark != kMark) continue;
    for (size_t at = kStampAt + sizeof(stamp); at < frames[i].length; ++at) {
      if (frames[i].data[at] != (stamp.number & 0xff)) {
        fprintf(stderr, "frame %u damaged at byte %zu\n", stamp.number, at);
        exit(3);
      }
    }
    stamps.push_back(stamp);
  }
  port->rx_release(std::span<const mn::RxFrame>(frames, n));
  return stamps;
}

struct End {
  std::string mode;
  std::string name;
  uint16_t mtu;
};

std::unique_ptr<mn::nic::NicSystem> open_end(const End& end) {
  mn::nic::NicSystemSettings settings;
  settings.hugepages = mn::nic::Hugepages::kNo;
  settings.nics.push_back({.name = end.name, .mode = end.mode, .mtu = end.mtu});
  auto system = mn::nic::NicSystem::start(settings);
  if (!system) {
    fprintf(stderr, "%s\n", system.error().c_str());
    exit(2);
  }
  for (const std::string& warning : system.value()->warnings()) {
    fprintf(stderr, "warning: %s\n", warning.c_str());
  }
  return std::move(system.value());
}

// Sends each number until its echo comes; with `pause_ms` the other end falls asleep in between.
int run_asker(const End& end, uint32_t count, int pause_ms) {
  auto system = open_end(end);
  mn::NicPort* const port = system->nics()[0].ports[0];
  mn::NicCounters counters;
  for (uint32_t number = 0; number < count; ++number) {
    bool answered = false;
    for (int attempt = 0; attempt < 200 && !answered; ++attempt) {
      send_frame(port, number, end.mtu + 14u);
      const int64_t until = now_ns() + 50'000'000;
      while (!answered && now_ns() < until) {
        for (const Stamp& stamp : receive(port)) answered |= stamp.number == number;
        if (!answered) sched_yield();
      }
      if (!answered) port->service(&counters);  // memif connects there
    }
    if (!answered) {
      fprintf(stderr, "%s: no answer to frame %u\n", end.mode.c_str(), number);
      return 4;
    }
    if (pause_ms > 0) sleep_ms(pause_ms);
  }
  return 0;
}

// Echoes for ever; asleep in between if `sleeps`, and then reports how long it took to wake.
int run_answerer(const End& end, bool sleeps, int report_fd) {
  auto system = open_end(end);
  mn::NicPort* const port = system->nics()[0].ports[0];
  if (sleeps && port->facts().wake_fd < 0) {
    fprintf(stderr, "%s has nothing to sleep on\n", end.mode.c_str());
    return 5;
  }
  const char ready = 'r';
  if (write(report_fd, &ready, 1) != 1) return 6;
  while (true) {
    bool slept = false;
    if (sleeps && port->arm_wake()) {
      pollfd waiting{port->facts().wake_fd, POLLIN, 0};
      slept = poll(&waiting, 1, 10'000) == 1;
      port->disarm_wake();
    } else {
      sched_yield();
    }
    const int64_t woke_ns = now_ns();
    const std::vector<Stamp> stamps = receive(port);
    for (const Stamp& stamp : stamps) {
      if (slept) {
        const int64_t took_ns = woke_ns - stamp.sent_ns;
        if (write(report_fd, &took_ns, sizeof(took_ns)) != sizeof(took_ns)) return 6;
      }
      send_frame(port, stamp.number, end.mtu + 14u);
    }
  }
}

// ---- In the parent

struct Fixture {
  pid_t answerer = -1;
  pid_t asker = -1;
  int report[2] = {-1, -1};
};
Fixture fixture;

bool is_root() { return geteuid() == 0; }

int make_pair(void**) {
  fixture = Fixture{};
  if (!is_root()) return 0;
  if (system("ip link add mnpaira type veth peer name mnpairb && ip link set mnpaira up && "
             "ip link set mnpairb up") != 0) {
    return -1;
  }
  return pipe(fixture.report);
}

void kill_and_reap(pid_t* child) {
  if (*child <= 0) return;
  kill(*child, SIGKILL);
  waitpid(*child, nullptr, 0);
  *child = -1;
}

int remove_pair(void**) {
  kill_and_reap(&fixture.asker);
  kill_and_reap(&fixture.answerer);
  for (const int fd : fixture.report) {
    if (fd >= 0) close(fd);
  }
  if (!is_root()) return 0;
  return system("ip link del mnpaira") == 0 ? 0 : -1;
}

void start_answerer(const End& end, bool sleeps) {
  fixture.answerer = fork();
  if (fixture.answerer == 0) _exit(run_answerer(end, sleeps, fixture.report[1]));
  char ready = 0;
  pollfd waiting{fixture.report[0], POLLIN, 0};
  assert_int_equal(poll(&waiting, 1, 10'000), 1);
  assert_int_equal(read(fixture.report[0], &ready, 1), 1);
}

void ask(const End& end, uint32_t count, int pause_ms) {
  fixture.asker = fork();
  if (fixture.asker == 0) exit(run_asker(end, count, pause_ms));
  int status = -1;
  assert_int_equal(waitpid(fixture.asker, &status, 0), fixture.asker);
  fixture.asker = -1;
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

uint32_t program_on(const char* interface) {
  uint32_t id = 0;
  bpf_xdp_query_id(static_cast<int>(if_nametoindex(interface)), 0, &id);
  return id;
}

// What a DPDK process of that id would have left.
bool left_something(pid_t process) {
  const std::string prefix = "machnet" + std::to_string(process);
  const std::string command = "ls -d /run/dpdk/" + prefix + " /var/run/dpdk/" + prefix +
                              " /tmp/dpdk/" + prefix + " /run/user/*/dpdk/" + prefix +
                              " /dev/hugepages/" + prefix + "* /dev/shm/*" + prefix +
                              "* 2>/dev/null | grep -q .";
  return system(command.c_str()) == 0;
}

void exchange(const char* mode, uint16_t mtu) {
  start_answerer({mode, kEndB, mtu}, false);
  ask({mode, kEndA, mtu}, 500, 0);
}

// The median within a millisecond: single ones suffer from whatever else the machine does.
void wake(const char* mode) {
  start_answerer({mode, kEndB, 1500}, true);
  ask({mode, kEndA, 1500}, 40, 5);
  kill_and_reap(&fixture.answerer);
  close(fixture.report[1]);
  fixture.report[1] = -1;
  static int64_t took_ns[256];
  size_t count = 0;
  while (count < 256 &&
         read(fixture.report[0], &took_ns[count], sizeof(took_ns[0])) == sizeof(took_ns[0]))
    ++count;
  assert_true(count >= 20);
  std::sort(took_ns, took_ns + count);
  printf("  %s: %zu wake-ups, median %ld us, worst %ld us\n", mode, count,
         took_ns[count / 2] / 1000, took_ns[count - 1] / 1000);
  assert_true(took_ns[count / 2] < 1'000'000);
}

void killed(const char* mode) {
  start_answerer({mode, kEndB, 1500}, false);
  const pid_t process = fixture.answerer;
  kill_and_reap(&fixture.answerer);
  for (int i = 0; i < 100 && program_on(kEndB) != 0; ++i)
    sleep_ms(10);  // the kernel ends links a little later
  assert_int_equal(program_on(kEndB), 0);
  assert_false(left_something(process));
  start_answerer({mode, kEndB, 1500}, false);  // and the next one starts at once
  ask({mode, kEndA, 1500}, 20, 0);
}

void af_packet__exchange(void**) {
  if (!is_root()) skip();
  exchange("af_packet", 1500);
}
void af_packet__exchange_jumbo(void**) {
  if (!is_root()) skip();
  exchange("af_packet", 9000);
}
void af_packet__wakes(void**) {
  if (!is_root()) skip();
  wake("af_packet");
}
void af_packet__killed(void**) {
  if (!is_root()) skip();
  killed("af_packet");
}
void af_xdp__exchange(void**) {
  if (!is_root()) skip();
  exchange("af_xdp", 1500);
}
void af_xdp__exchange_largest(void**) {
  if (!is_root()) skip();
  exchange("af_xdp", 3430);
}
void af_xdp__wakes(void**) {
  if (!is_root()) skip();
  wake("af_xdp");
}
void af_xdp__killed(void**) {
  if (!is_root()) skip();
  killed("af_xdp");
}

void memif(uint16_t mtu, const char* client_options = "") {
  const std::string socket = "socket=/machnet-test-" + std::to_string(getpid());
  start_answerer({"vdev:net_memif0,role=server," + socket, "memif", mtu}, false);
  ask({"vdev:net_memif0,role=client," + socket + client_options, "memif", mtu}, 500, 0);
  const pid_t process = fixture.answerer;
  kill_and_reap(&fixture.answerer);
  assert_false(left_something(process));
}
void memif__exchange(void**) { memif(1500); }
void memif__exchange_jumbo(void**) { memif(9000); }
void memif__exchange_zero_copy(void**) { memif(9000, ",zero-copy=yes"); }

}  // namespace

int main() {
  setvbuf(stdout, nullptr, _IONBF, 0);
  if (!is_root() || unshare(CLONE_NEWNET) != 0) {
    printf("SKIPPED: af_packet and af_xdp need root (and the right to make a network namespace)\n");
    if (is_root()) return 77;
  }
  const CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(af_packet__exchange, make_pair, remove_pair),
      cmocka_unit_test_setup_teardown(af_packet__exchange_jumbo, make_pair, remove_pair),
      cmocka_unit_test_setup_teardown(af_packet__wakes, make_pair, remove_pair),
      cmocka_unit_test_setup_teardown(af_packet__killed, make_pair, remove_pair),
      cmocka_unit_test_setup_teardown(af_xdp__exchange, make_pair, remove_pair),
      cmocka_unit_test_setup_teardown(af_xdp__exchange_largest, make_pair, remove_pair),
      cmocka_unit_test_setup_teardown(af_xdp__wakes, make_pair, remove_pair),
      cmocka_unit_test_setup_teardown(af_xdp__killed, make_pair, remove_pair),
      cmocka_unit_test_setup_teardown(memif__exchange, make_pair, remove_pair),
      cmocka_unit_test_setup_teardown(memif__exchange_jumbo, make_pair, remove_pair),
      cmocka_unit_test_setup_teardown(memif__exchange_zero_copy, make_pair, remove_pair),
  };
  return cmocka_run_group_tests_name("nic_pair", tests, nullptr, nullptr);
}
