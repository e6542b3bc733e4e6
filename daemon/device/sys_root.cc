// SPDX-License-Identifier: MIT
#include "device/sys_root.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/unique_fd.h"
#include "device/text.h"

namespace mn::device {

namespace {

constexpr int kRunSeconds = 60;
constexpr size_t kFileBytesMax = 1 << 20;
constexpr size_t kOutputBytesMax = 64 << 10;
// Not the caller's: this runs as root.
constexpr const char* kFolders[] = {"/usr/sbin", "/usr/bin", "/sbin", "/bin"};
constexpr char kBootIdFile[] = "/boot_id";
constexpr char kPath[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";

int64_t now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;

  bool open() {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) return false;
    read_end.reset(fds[0]);
    write_end.reset(fds[1]);
    return true;
  }
};

// False: the end of the file.
bool take(int fd, std::string* text) {
  char buffer[4096];
  const ssize_t n = read(fd, buffer, sizeof buffer);
  if (n < 0) return errno == EINTR;
  if (text->size() < kOutputBytesMax) text->append(buffer, static_cast<size_t>(n));
  return n > 0;
}

// Reads both pipes until the program closes them; false: it took too long.
bool take_all(Pipe* out, Pipe* err, CommandOutput* output) {
  const int64_t deadline = now_ms() + kRunSeconds * 1000;
  pollfd fds[] = {{out->read_end.get(), POLLIN, 0}, {err->read_end.get(), POLLIN, 0}};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    const int64_t left = deadline - now_ms();
    if (left <= 0) return false;
    if (poll(fds, 2, static_cast<int>(left)) <= 0) continue;
    if (fds[0].revents != 0 && !take(fds[0].fd, &output->out)) fds[0].fd = -1;
    if (fds[1].revents != 0 && !take(fds[1].fd, &output->err)) fds[1].fd = -1;
  }
  return true;
}

int wait_for(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return 127;
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// False: errno says why not.
bool make_folders_of(const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string folder = path.substr(0, slash);
    // Whatever the umask took away.
    if (mkdir(folder.c_str(), 0755) == 0 ? chmod(folder.c_str(), 0755) != 0 : errno != EEXIST) {
      return false;
    }
  }
  return true;
}

}  // namespace

SysRoot SysRoot::below(const std::string& directory) {
  SysRoot root;
  root.sys = directory + "/sys";
  root.proc = directory + "/proc";
  root.dev = directory + "/dev";
  root.state_dir = directory + "/var/lib/machnet";
  root.run_dir = directory + "/run/machnet";
  root.unit_dir = directory + "/run/systemd/system";
  root.driverctl = directory + "/bin/driverctl";
  root.modprobe = directory + "/bin/modprobe";
  root.systemctl = directory + "/bin/systemctl";
  root.net_dir = directory + "/net";
  root.metadata_url = read_text(directory + "/metadata-url").value_or("");
  root.udevadm = "";
  root.service_user = "";
  root.state_group = "";
  return root;
}

std::optional<std::string> SysRoot::find_program(const std::string& name) const {
  if (name.find('/') != std::string::npos) {
    if (access(name.c_str(), X_OK) == 0) return name;
    return std::nullopt;
  }
  for (const char* folder : kFolders) {
    std::string path = std::string(folder) + "/" + name;
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return std::nullopt;
}

Result<CommandOutput> SysRoot::run(const std::vector<std::string>& argv) const {
  CommandOutput output;
  const std::optional<std::string> program = find_program(argv.at(0));
  if (!program) {
    output.exit_code = 127;
    output.err = argv[0] + ": not installed";
    return output;
  }
  Pipe out;
  Pipe err;
  if (!out.open() || !err.open()) {
    return Error{argv[0] + ": no descriptors to run it with: " + strerror(errno)};
  }
  std::vector<char*> arguments;
  for (const std::string& word : argv) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  // driverctl takes the variables of a udev rule for orders, so none are passed on.
  char* environment[] = {const_cast<char*>(kPath), const_cast<char*>("LC_ALL=C"), nullptr};

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.write_end.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.write_end.get(), STDERR_FILENO);
  pid_t pid = -1;
  const int failed =
      posix_spawn(&pid, program->c_str(), &actions, nullptr, arguments.data(), environment);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return Error{*program + ": cannot be run: " + strerror(failed)};
  out.write_end.reset();
  err.write_end.reset();
  if (!take_all(&out, &err, &output)) {
    kill(pid, SIGKILL);
    wait_for(pid);
    return Error{*program + ": did not end within " + std::to_string(kRunSeconds) + " s"};
  }
  output.exit_code = wait_for(pid);
  return output;
}

std::string SysRoot::boot_id() const {
  return read_text(proc + "/sys/kernel/random/boot_id").value_or("");
}

std::string SysRoot::noted_boot_id() const {
  const std::optional<std::string> noted = read_text(run_dir + kBootIdFile);
  return noted ? *noted : boot_id();
}

Result<void> SysRoot::note_boot_id() const {
  const std::string now = boot_id();
  if (read_text(run_dir + kBootIdFile) == now) return {};
  return put_file(run_dir + kBootIdFile, now + "\n");
}

std::optional<std::string> read_text(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t n = read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 || text.size() > kFileBytesMax) return std::nullopt;
    if (n == 0) break;
    text.append(buffer, static_cast<size_t>(n));
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::optional<long> read_number(const std::string& path) {
  const std::optional<std::string> text = read_text(path);
  if (!text || text->empty()) return std::nullopt;
  char* end = nullptr;
  errno = 0;
  const bool is_hexadecimal = text->starts_with("0x");
  const long number = strtol(text->c_str(), &end, is_hexadecimal ? 16 : 10);
  if (errno != 0 || *end != '\0') return std::nullopt;
  return number;
}

Result<void> write_text(const std::string& path, const std::string& text) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
  if (!fd) return Error{path + ": cannot be written: " + strerror(errno)};
  // One write: sysfs takes each for a value of its own.
  const ssize_t n = write(fd.get(), text.data(), text.size());
  if (n != static_cast<ssize_t>(text.size())) {
    return Error{path + ": does not take \"" + printable(text) + "\": " + strerror(errno)};
  }
  return {};
}

Result<void> put_file(const std::string& path, const std::string& text) {
  if (!make_folders_of(path)) {
    return Error{path + ": its folder cannot be made: " + strerror(errno)};
  }
  const std::string beside = path + ".new";
  unlink(beside.c_str());  // of an earlier one that was killed
  const UniqueFd fd(
      open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
  const auto size = static_cast<ssize_t>(text.size());
  // Everybody may read it, whatever the umask says.
  if (fd && fchmod(fd.get(), 0644) == 0 && write(fd.get(), text.data(), text.size()) == size &&
      rename(beside.c_str(), path.c_str()) == 0) {
    return {};
  }
  const Error error{path + ": cannot be written: " + strerror(errno)};
  unlink(beside.c_str());
  return error;
}

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

std::string link_name(const std::string& path) {
  char target[4096];
  const ssize_t length = readlink(path.c_str(), target, sizeof target);
  if (length <= 0) return "";
  const std::string_view view(target, static_cast<size_t>(length));
  return std::string(view.substr(view.rfind('/') + 1));
}

std::vector<std::string> list_folder(const std::string& path) {
  std::vector<std::string> names;
  DIR* const folder = opendir(path.c_str());
  if (folder == nullptr) return names;
  while (const dirent* entry = readdir(folder)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  closedir(folder);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace mn::device
