// SPDX-License-Identifier: MIT
#include "sim/sim_main.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "sim/flow_trace.h"
#include "support/array_store.h"

namespace mn::test {
namespace {

constexpr unsigned kWallClockMaxS = 120;  // of one run
constexpr uint64_t kJobsMax = 256;
constexpr uint64_t kSoakSeeds = 1000;  // of each job, between two lines of a soak
constexpr uint64_t kTwiceEvery = 16;  // every so many seeds run twice and must leave the same trace

const char* program = "";
uint64_t seed_now = 0;
const char* scenario_now = nullptr;

// An assertion, a sanitizer or a run that hangs: say what to repeat. Only calls that a handler may
// make.
void on_signal(int number) {
  char line[256];
  const int n =
      scenario_now != nullptr
          ? std::snprintf(line, sizeof(line), "signal %d\nreplay: %s --scenario %s --seed %llu\n",
                          number, program, scenario_now, static_cast<unsigned long long>(seed_now))
          : std::snprintf(line, sizeof(line), "signal %d\nreplay: %s --seed %llu\n", number,
                          program, static_cast<unsigned long long>(seed_now));
  if (n > 0) (void)!write(2, line, static_cast<size_t>(n));
  signal(SIGABRT, SIG_DFL);
  abort();
}

void begin(uint64_t seed, const char* scenario) {
  seed_now = seed;
  scenario_now = scenario;
  if (scenario != nullptr) {
    set_replay_hint("%s --scenario %s --seed %llu [--trace]", program, scenario,
                    static_cast<unsigned long long>(seed));
  } else {
    set_replay_hint("%s --seed %llu [--trace]", program, static_cast<unsigned long long>(seed));
  }
  alarm(kWallClockMaxS);
}

struct Arguments {
  uint64_t first = 1, last = 0;
  uint64_t soak = 0;  // messages
  uint64_t jobs = 1;
  uint64_t fresh = 0;
  uint64_t seed = 1;
  bool one_seed = false, trace = false, list = false, keep_going = false;
  const char* scenario = nullptr;
  const char* record = nullptr;  // a file for what the transports say of their flows
};

bool parse(int argc, char** argv, Arguments* ret) {
  for (int i = 1; i < argc; i++) {
    const char* argument = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    char* end = nullptr;
    if (std::strcmp(argument, "--trace") == 0) {
      ret->trace = true;
    } else if (std::strcmp(argument, "--list") == 0) {
      ret->list = true;
    } else if (std::strcmp(argument, "--keep-going") == 0) {
      ret->keep_going = true;
    } else if (value == nullptr) {
      return false;
    } else if (std::strcmp(argument, "--seed") == 0) {
      ret->seed = std::strtoull(value, nullptr, 0);
      ret->one_seed = true;
      i++;
    } else if (std::strcmp(argument, "--seeds") == 0) {
      ret->first = std::strtoull(value, &end, 0);
      if (std::strncmp(end, "..", 2) != 0) return false;
      ret->last = std::strtoull(end + 2, nullptr, 0);
      i++;
    } else if (std::strcmp(argument, "--fresh") == 0) {
      ret->fresh = std::strtoull(value, nullptr, 0);
      i++;
    } else if (std::strcmp(argument, "--soak") == 0) {
      ret->soak = std::strtoull(value, nullptr, 0);
      i++;
    } else if (std::strcmp(argument, "--jobs") == 0) {
      ret->jobs = std::strtoull(value, nullptr, 0);
      if (ret->jobs == 0 || ret->jobs > kJobsMax) return false;
      i++;
    } else if (std::strcmp(argument, "--record") == 0) {
      ret->record = value;
      i++;
    } else if (std::strcmp(argument, "--scenario") == 0) {
      ret->scenario = value;
      i++;
    } else {
      return false;
    }
  }
  return true;
}

void run_twice_and_compare(uint64_t seed, RandomRun random_run, RunTotals* totals) {
  begin(seed, nullptr);
  const uint64_t hash = random_run(seed, nullptr, totals);
  if (seed % kTwiceEvery != 0) return;
  RunTotals ignored;
  const uint64_t again = random_run(seed, nullptr, &ignored);
  SIM_CHECK(hash == again, "the same seed left another trace: %016llx and %016llx",
            static_cast<unsigned long long>(hash), static_cast<unsigned long long>(again));
}

// Every seed in a process of its own, so that one failure does not hide the next.
int run_forked(uint64_t first, uint64_t last, RandomRun random_run) {
  int failures = 0;
  for (uint64_t seed = first; seed <= last; seed++) {
    const pid_t child = fork();
    if (child == 0) {
      RunTotals totals;
      run_twice_and_compare(seed, random_run, &totals);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) failures++;
  }
  std::printf("%d of %llu seeds failed\n", failures,
              static_cast<unsigned long long>(last - first + 1));
  return failures == 0 ? 0 : 1;
}

double seconds_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

void add(const RunTotals& some, RunTotals* totals) {
  totals->messages += some.messages;
  totals->bytes += some.bytes;
  totals->events += some.events;
  totals->packets += some.packets;
  totals->lost += some.lost;
  totals->virtual_ns += some.virtual_ns;
}

// The seeds of one of so many processes: each of them has every `jobs`th.
void run_share(uint64_t first, uint64_t last, uint64_t jobs, RandomRun random_run,
               RunTotals* totals) {
  for (uint64_t seed = first; seed <= last; seed += jobs) {
    run_twice_and_compare(seed, random_run, totals);
  }
}

// False: a seed failed, and its process has said which.
bool run_in_processes(uint64_t first, uint64_t last, uint64_t jobs, RandomRun random_run,
                      RunTotals* totals) {
  if (jobs == 1) {
    run_share(first, last, 1, random_run, totals);
    return true;
  }
  int pipes[2];
  if (pipe(pipes) != 0) return false;
  std::fflush(stdout);
  for (uint64_t i = 0; i < jobs; i++) {
    if (fork() != 0) continue;
    RunTotals share;
    run_share(first + i, last, jobs, random_run, &share);
    _exit(write(pipes[1], &share, sizeof(share)) == sizeof(share) ? 0 : 1);  // whole: it is short
  }
  close(pipes[1]);
  uint64_t good = 0;
  RunTotals share;
  while (read(pipes[0], &share, sizeof(share)) == sizeof(share)) {
    add(share, totals);
    good++;
  }
  close(pipes[0]);
  while (wait(nullptr) > 0) {
  }
  return good == jobs;
}

void print_totals(uint64_t first, uint64_t last, const RunTotals& totals, double began) {
  std::printf(
      "seeds %llu..%llu: %llu messages, %llu bytes, %llu packets (%llu lost), %llu events, %.1f s "
      "simulated in %.1f s\n",
      static_cast<unsigned long long>(first), static_cast<unsigned long long>(last),
      static_cast<unsigned long long>(totals.messages),
      static_cast<unsigned long long>(totals.bytes),
      static_cast<unsigned long long>(totals.packets), static_cast<unsigned long long>(totals.lost),
      static_cast<unsigned long long>(totals.events), static_cast<double>(totals.virtual_ns) / 1e9,
      seconds_now() - began);
  std::fflush(stdout);
}

int run_range(const Arguments& arguments, RandomRun random_run) {
  const double began = seconds_now();
  RunTotals totals;
  if (!run_in_processes(arguments.first, arguments.last, arguments.jobs, random_run, &totals)) {
    return 1;
  }
  print_totals(arguments.first, arguments.last, totals, began);
  return 0;
}

// Seeds from the first on, until so many messages went from end to end.
int run_soak(const Arguments& arguments, RandomRun random_run) {
  const double began = seconds_now();
  RunTotals totals;
  for (uint64_t next = arguments.first; totals.messages < arguments.soak;) {
    const uint64_t last = next + kSoakSeeds * arguments.jobs - 1;
    if (!run_in_processes(next, last, arguments.jobs, random_run, &totals)) return 1;
    print_totals(arguments.first, last, totals, began);
    next = last + 1;
  }
  return 0;
}

}  // namespace

int sim_main(int argc, char** argv, RandomRun random_run,
             std::initializer_list<std::span<const Scenario>> scenarios) {
  program = argv[0];
  Arguments arguments;
  if (!parse(argc, argv, &arguments)) {
    std::fprintf(stderr,
                 "usage: %s --seeds A..B | --fresh N | --soak MESSAGES [--seeds A..A] | --seed N | "
                 "--scenario NAME|all | --list [--jobs N] [--trace] [--record FILE] "
                 "[--keep-going]\n",
                 program);
    return 2;
  }
  signal(SIGABRT, on_signal);
  signal(SIGALRM, on_signal);
  signal(SIGSEGV, on_signal);
  FILE* trace = arguments.trace ? stdout : nullptr;
  if (arguments.record != nullptr && !FlowTrace::open(arguments.record)) {
    std::fprintf(stderr, "%s: cannot be written\n", arguments.record);
    return 2;
  }
  bool found = false;
  for (const auto& group : scenarios) {
    for (const Scenario& scenario : group) {
      if (arguments.list) std::printf("%s\n", scenario.name);
      if (arguments.scenario == nullptr) continue;
      if (std::strcmp(arguments.scenario, "all") != 0 &&
          std::strcmp(arguments.scenario, scenario.name) != 0)
        continue;
      found = true;
      begin(arguments.seed, scenario.name);
      if (arguments.keep_going) {
        const pid_t child = fork();
        if (child == 0) {
          scenario.run(arguments.seed, trace);
          _exit(0);
        }
        int status = 0;
        waitpid(child, &status, 0);
        std::printf("%s: %s\n", scenario.name, status == 0 ? "ok" : "FAILED");
      } else {
        scenario.run(arguments.seed, trace);
        std::printf("%s: ok\n", scenario.name);
      }
      std::fflush(stdout);
    }
  }
  if (arguments.list) return 0;
  if (arguments.scenario != nullptr) {
    FlowTrace::close();
    return found ? 0 : 2;
  }
  if (arguments.one_seed) {
    begin(arguments.seed, nullptr);
    RunTotals totals;
    const uint64_t hash = random_run(arguments.seed, trace, &totals);
    FlowTrace::close();
    std::printf("seed %llu: %llu messages, trace %016llx\n",
                static_cast<unsigned long long>(arguments.seed),
                static_cast<unsigned long long>(totals.messages),
                static_cast<unsigned long long>(hash));
    return 0;
  }
  if (arguments.fresh > 0) {
    // Whoever runs a build's tests names the place to start, so that a second run of the same build
    // is the same run; by hand it is the time.
    const char* base = getenv("MN_FRESH_SEED");
    const uint64_t first =
        (base != nullptr ? std::strtoull(base, nullptr, 0) : static_cast<uint64_t>(time(nullptr))) *
        10'000;
    arguments.first = first;
    arguments.last = first + arguments.fresh - 1;
  }
  if (arguments.keep_going) return run_forked(arguments.first, arguments.last, random_run);
  if (arguments.soak > 0) return run_soak(arguments, random_run);
  return run_range(arguments, random_run);
}

}  // namespace mn::test
