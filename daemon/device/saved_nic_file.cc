// SPDX-License-Identifier: MIT
// The files of saved NICs: whole or not at all, on the disk when written, and believed only when
// nobody but root can have written them, since what they say is done to the machine.
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/unique_fd.h"
#include "device/saved_nic.h"

namespace mn::device {

namespace {

constexpr char kSuffix[] = ".nic";
constexpr size_t kFileBytesMax = 512 << 10;
constexpr mode_t kFolderMode = 0750;
constexpr mode_t kFileMode = 0640;
constexpr gid_t kNoGroup = static_cast<gid_t>(-1);

Error about(const std::string& path, const char* what) {
  const int error = errno;
  return Error{path + ": cannot " + what + ": " + strerror(error) +
               (error == EACCES || error == EPERM ? "; run as root" : "")};
}

// The group that may read; kNoGroup where there is none, or we may not give files away.
gid_t reading_group(const SysRoot& root) {
  if (root.state_group.empty() || geteuid() != 0) return kNoGroup;
  char buffer[4096];
  group entry;
  group* found = nullptr;
  getgrnam_r(root.state_group.c_str(), &entry, buffer, sizeof(buffer), &found);
  return found == nullptr ? kNoGroup : found->gr_gid;
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<void> sync_folder(const std::string& path) {
  const UniqueFd folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || fsync(folder.get()) != 0) return about(path, "write it to the disk");
  return {};
}

// Makes the folder and what is missing above it. The mode and group of one that is there are its
// owner's business.
Result<void> make_folder(const std::string& path, mode_t mode, gid_t group) {
  struct stat status;
  if (stat(path.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) return {};
    errno = ENOTDIR;
    return about(path, "use it as a folder");
  }
  const std::string parent = parent_of(path);
  if (parent != path) {
    if (auto made = make_folder(parent, 0755, kNoGroup); !made) return made;
  }
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return about(path, "make the folder");
  // Whatever the umask took away; nobody else is looking yet.
  if (chmod(path.c_str(), mode) != 0) return about(path, "set its mode");
  if (group != kNoGroup && chown(path.c_str(), static_cast<uid_t>(-1), group) != 0) {
    return about(path, "set its group");
  }
  return sync_folder(parent);
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

Result<void> write_new(const std::string& path, const std::string& text, gid_t group) {
  unlink(path.c_str());  // of an earlier one that was killed
  const UniqueFd file(
      open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return about(path, "make the file");
  if (!write_all(file.get(), text)) return about(path, "write");
  if (group != kNoGroup && fchown(file.get(), static_cast<uid_t>(-1), group) != 0) {
    return about(path, "set its group");
  }
  if (fchmod(file.get(), kFileMode) != 0) return about(path, "set its mode");
  if (fsync(file.get()) != 0) return about(path, "write it to the disk");
  return {};
}

// Nothing: there is no file.
Result<std::optional<std::string>> read_trusted(const std::string& path) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file) {
    if (errno == ENOENT) return std::optional<std::string>();
    if (errno == EACCES) {
      return Error{path + ": cannot read: only root and the group of machnetd may"};
    }
    return about(path, "read");
  }
  struct stat status;
  if (fstat(file.get(), &status) != 0) return about(path, "look at it");
  if (!S_ISREG(status.st_mode)) return Error{path + ": not a regular file; remove it"};
  if ((status.st_uid != 0 && status.st_uid != geteuid()) || (status.st_mode & 022) != 0) {
    return Error{path + ": not believed, because others than root can write it (owner " +
                 std::to_string(status.st_uid) + "); remove it, or `chown root` and `chmod 640`"};
  }
  std::string text;
  char buffer[16 << 10];
  for (;;) {
    const ssize_t got = read(file.get(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return about(path, "read");
    if (got == 0) return std::optional<std::string>(std::move(text));
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > kFileBytesMax) return Error{path + ": too long to be ours; remove it"};
  }
}

// Letters, digits and a few signs stay; everything else, the sign of this included, becomes %XX.
std::string safe_name(const std::string& name) {
  std::string safe;
  for (const char c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || (c == '.' && !safe.empty());
    if (plain) {
      safe += c;
    } else {
      char code[4];
      snprintf(code, sizeof(code), "%%%02X", static_cast<unsigned>(static_cast<unsigned char>(c)));
      safe += code;
    }
  }
  return safe;
}

}  // namespace

std::string saved_nic_path(const SysRoot& root, const std::string& name) {
  return root.state_dir + "/" + safe_name(name) + kSuffix;
}

Result<std::optional<SavedNic>> load_saved_nic(const SysRoot& root, const std::string& name) {
  const std::string path = saved_nic_path(root, name);
  auto text = read_trusted(path);
  if (!text) return Error{text.error()};
  if (!text.value()) return std::optional<SavedNic>();
  auto nic = parse_saved_nic(*text.value(), path);
  if (!nic) return Error{nic.error()};
  if (nic.value().name != name) {
    return Error{path + ": it is about the NIC " + nic.value().name + ", not " + name +
                 "; remove it"};
  }
  return std::optional<SavedNic>(std::move(nic.value()));
}

Result<std::vector<SavedNic>> load_saved_nics(const SysRoot& root) {
  std::vector<SavedNic> nics;
  for (const std::string& file : list_folder(root.state_dir)) {
    if (file.starts_with('.') || !file.ends_with(kSuffix)) continue;
    const std::string path = root.state_dir + "/" + file;
    auto text = read_trusted(path);
    if (!text) return Error{text.error()};
    if (!text.value()) continue;
    auto nic = parse_saved_nic(*text.value(), path);
    if (!nic) return Error{nic.error()};
    if (saved_nic_path(root, nic.value().name) != path) {
      return Error{path + ": it is about the NIC " + nic.value().name +
                   ", whose file has another name; remove it"};
    }
    nics.push_back(std::move(nic.value()));
  }
  return nics;
}

Result<void> make_state_folder(const SysRoot& root) {
  return make_folder(root.state_dir, kFolderMode, reading_group(root));
}

Result<void> save_nic(const SysRoot& root, const SavedNic& nic) {
  const std::string path = saved_nic_path(root, nic.name);
  const std::string text = format_saved_nic(nic);
  // What could not be read back would be found out when it is needed.
  const auto readable = parse_saved_nic(text, path);
  if (!readable) return Error{"not saved: " + readable.error()};
  const gid_t group = reading_group(root);
  if (auto made = make_state_folder(root); !made) return made;
  const std::string beside = root.state_dir + "/." + safe_name(nic.name) + kSuffix + ".new";
  if (auto written = write_new(beside, text, group); !written) {
    unlink(beside.c_str());
    return written;
  }
  if (rename(beside.c_str(), path.c_str()) != 0) {
    const Error error = about(path, "put the new file in place");
    unlink(beside.c_str());
    return error;
  }
  return sync_folder(root.state_dir);
}

Result<void> remove_saved_nic(const SysRoot& root, const std::string& name) {
  const std::string path = saved_nic_path(root, name);
  if (unlink(path.c_str()) != 0) {
    if (errno == ENOENT) return {};
    return about(path, "remove");
  }
  return sync_folder(root.state_dir);
}

}  // namespace mn::device
