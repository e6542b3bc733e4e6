// SPDX-License-Identifier: MIT
#include "nic/eal.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <rte_build_config.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_timer.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/assert.h"
#include "nic/nic_mode.h"

namespace {
// While true, EAL is told that its driver directory does not exist (see stat64 below).
std::atomic<bool> hide_driver_directory{false};
}  // namespace

// rte_eal_init loads every driver found in DPDK's driver directory and has no option against it: a
// hundred libraries, some of which bring vendor stacks along. It looks for that directory with
// stat64, which the dynamic linker finds here first. Should another DPDK look in another way, all
// drivers are loaded: slower, and otherwise the same.
extern "C" __attribute__((visibility("default"))) int stat64(const char* path,
                                                             struct stat64* status) noexcept {
  if (hide_driver_directory.load(std::memory_order_relaxed) &&
      strcmp(path, RTE_EAL_PMD_PATH) == 0) {
    errno = ENOENT;
    return -1;
  }
  return fstatat64(AT_FDCWD, path, status, 0);
}

namespace mn::nic {

namespace {

enum class State : uint8_t { kNew, kRunning, kOver };
State state = State::kNew;

// ---- What DPDK logs, instead of standard error

constexpr size_t kLineMax = 240;
constexpr char kNoRuntime[] = "/dev/null";              // a place without room for a directory
pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;  // DPDK's interrupt thread logs too
char first_line[kLineMax + 1];  // the first says what happened, later ones who else was told

ssize_t keep_line(void*, const char* text, size_t size) {
  size_t length = size;
  while (length > 0 && text[length - 1] == '\n') --length;
  if (length == 0) return static_cast<ssize_t>(size);
  // Wanted: see run_eal_init.
  if (memmem(text, size, kNoRuntime, sizeof(kNoRuntime) - 1) != nullptr)
    return static_cast<ssize_t>(size);
  pthread_mutex_lock(&log_mutex);
  if (first_line[0] == '\0') {
    const size_t kept = length < kLineMax ? length : kLineMax;
    memcpy(first_line, text, kept);
    for (size_t i = 0; i < kept; ++i) {
      if (first_line[i] == '\n') first_line[i] = ' ';
    }
    first_line[kept] = '\0';
  }
  pthread_mutex_unlock(&log_mutex);
  return static_cast<ssize_t>(size);
}

void capture_log() {
  cookie_io_functions_t functions{};
  functions.write = keep_line;
  FILE* const stream = fopencookie(nullptr, "w", functions);
  if (stream == nullptr) return;
  setvbuf(stream, nullptr, _IOLBF, 0);
  rte_openlog_stream(stream);
}

// ---- Driver libraries

// What stands behind ".so." in the names of DPDK's libraries, as in the one we run with.
std::string abi_suffix() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(&rte_eal_init), &info) == 0 || info.dli_fname == nullptr)
    return "";
  const std::string name = info.dli_fname;
  const size_t so = name.rfind(".so.");
  if (so == std::string::npos) return "";
  const std::string version = name.substr(so + 4);
  return version.substr(0, version.find('.'));
}

Result<void> load_library(const std::string& library) {
  const std::string abi = abi_suffix();
  const std::string file = "librte_" + library + ".so" + (abi.empty() ? "" : "." + abi);
  const std::string in_directory = std::string(RTE_EAL_PMD_PATH) + "/" + file;
  // Never closed: DPDK keeps pointers into its drivers.
  if (dlopen(in_directory.c_str(), RTLD_NOW) != nullptr) return {};
  if (dlopen(file.c_str(), RTLD_NOW) != nullptr) return {};
  const char* const reason = dlerror();
  return Error{"cannot load DPDK's driver " + file + ": " + (reason == nullptr ? "?" : reason) +
               "; on Debian it is in the package " + package_of(library, abi) +
               " (librte-meta-net has all)"};
}

// ---- Processors

// EAL pins the calling thread to its main lcore; that lcore may run wherever we may.
std::string lcore_map() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0) CPU_SET(0, &cpus);
  std::string list;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &cpus)) list += (list.empty() ? "" : ",") + std::to_string(cpu);
  }
  return "0@(" + list + ")";
}

std::vector<std::string> arguments_for(const EalSettings& settings) {
  std::vector<std::string> arguments = {"machnetd",       "--lcores",    lcore_map(),
                                        "--no-telemetry", "--log-level", "*:error"};
  // Unique only for those who look for it: nothing under this name is shared or written.
  arguments.push_back("--file-prefix=machnet" + std::to_string(getpid()));
  if (settings.use_hugepages) {
    arguments.push_back("--in-memory");
  } else {
    // EAL refuses --no-huge with --in-memory; without shared configuration it writes nothing
    // either.
    const uint64_t megabytes = (settings.memory_bytes + (1 << 20) - 1) >> 20;
    arguments.insert(arguments.end(),
                     {"--no-huge", "--no-shconf", "-m", std::to_string(megabytes)});
  }
  if (settings.single_file_segments) arguments.push_back("--single-file-segments");
  if (settings.bus_devices.empty()) {
    arguments.push_back("--no-pci");
  }
  for (const std::string& device : settings.bus_devices) {
    arguments.insert(arguments.end(), {"-a", device});
  }
  return arguments;
}

int run_eal_init(const EalSettings& settings) {
  std::vector<std::string> arguments = arguments_for(settings);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);

  cpu_set_t affinity;
  const bool has_affinity =
      pthread_getaffinity_np(pthread_self(), sizeof(affinity), &affinity) == 0;
  // EAL makes a directory below this one before it looks at its options, and accepts that it cannot
  // when there is no shared configuration. Below a file there is no directory to be made, nor left
  // behind.
  const char* const runtime = getenv("RUNTIME_DIRECTORY");
  const std::string saved = runtime == nullptr ? "" : runtime;
  setenv("RUNTIME_DIRECTORY", kNoRuntime, 1);
  hide_driver_directory.store(!settings.load_all_drivers, std::memory_order_relaxed);

  const int result = rte_eal_init(static_cast<int>(arguments.size()), argv.data());

  hide_driver_directory.store(false, std::memory_order_relaxed);
  if (runtime == nullptr) {
    unsetenv("RUNTIME_DIRECTORY");
  } else {
    setenv("RUNTIME_DIRECTORY", saved.c_str(), 1);
  }
  if (has_affinity) pthread_setaffinity_np(pthread_self(), sizeof(affinity), &affinity);
  return result;
}

}  // namespace

std::string take_dpdk_error() {
  pthread_mutex_lock(&log_mutex);
  std::string line = first_line;
  first_line[0] = '\0';
  pthread_mutex_unlock(&log_mutex);
  return line;
}

uint64_t free_hugepage_bytes() {
  constexpr char kRoot[] = "/sys/kernel/mm/hugepages";
  uint64_t bytes = 0;
  DIR* const directory = opendir(kRoot);
  if (directory == nullptr) return 0;
  while (const dirent* entry = readdir(directory)) {
    unsigned long kilobytes = 0;
    if (sscanf(entry->d_name, "hugepages-%lukB", &kilobytes) != 1) continue;
    const std::string path = std::string(kRoot) + "/" + entry->d_name + "/free_hugepages";
    if (FILE* file = fopen(path.c_str(), "re")) {
      unsigned long pages = 0;
      if (fscanf(file, "%lu", &pages) == 1) bytes += uint64_t{pages} * kilobytes * 1024;
      fclose(file);
    }
  }
  closedir(directory);
  return bytes;
}

Result<void> start_eal(const EalSettings& settings) {
  MN_ASSERT(state == State::kNew);
  state = State::kOver;
  capture_log();
  for (const std::string& library : settings.libraries) {
    Result<void> loaded = load_library(library);
    if (!loaded) return loaded;
  }
  if (run_eal_init(settings) < 0) {
    const std::string reason = take_dpdk_error();
    return Error{"DPDK's environment does not start: " +
                 (reason.empty() ? std::string(rte_strerror(rte_errno)) : reason) +
                 (settings.use_hugepages
                      ? "; are there enough hugepages (vm.nr_hugepages), or set hugepages = no"
                      : "; is there enough memory (memory in [machnet])")};
  }
  state = State::kRunning;
  rte_timer_subsystem_init();  // some drivers' watchdogs; "already" is no error
  take_dpdk_error();
  return {};
}

void stop_eal() {
  if (state != State::kRunning) return;
  state = State::kOver;
  rte_eal_cleanup();
}

bool eal_is_running() { return state == State::kRunning; }

}  // namespace mn::nic
