// SPDX-License-Identifier: MIT
#include "nic/xdp_attach.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <linux/if_link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

// The compiled program, put here by the assembler; MN_XDP_OBJECT is its path.
asm(".section .rodata\n"
    ".balign 8\n"
    "mn_xdp_object_begin:\n"
    ".incbin \"" MN_XDP_OBJECT
    "\"\n"
    "mn_xdp_object_end:\n"
    ".byte 0\n"
    ".previous\n");
extern "C" const uint8_t mn_xdp_object_begin[] __attribute__((visibility("hidden")));
extern "C" const uint8_t mn_xdp_object_end[] __attribute__((visibility("hidden")));

#ifdef __SANITIZE_ADDRESS__
// DPDK's driver forgets the program that it loaded and its buffer area; the process keeps them to
// its end.
extern "C" const char* __lsan_default_suppressions() { return "leak:libbpf.so\nleak:libxdp.so\n"; }
#endif

namespace mn::nic {

namespace {

constexpr char kProgramName[] = "machnet_steer";
constexpr uint64_t kMark = 0x6d61636873746565;  // steer_config.mark in xdp_steer.bpf.c

uint32_t program_id_on(int ifindex) {
  uint32_t id = 0;
  return bpf_xdp_query_id(ifindex, 0, &id) == 0 ? id : 0;
}

std::string program_name(uint32_t id) {
  const int fd = bpf_prog_get_fd_by_id(id);  // needs CAP_SYS_ADMIN
  if (fd < 0) return "";
  bpf_prog_info info{};
  uint32_t size = sizeof(info);
  const bool known = bpf_obj_get_info_by_fd(fd, &info, &size) == 0;
  close(fd);
  return known ? std::string(info.name, strnlen(info.name, sizeof(info.name))) : "";
}

// The driver keeps the descriptor of the program it loaded to itself. It is one of ours all the
// same.
int own_program_fd(uint32_t id) {
  DIR* const directory = opendir("/proc/self/fdinfo");
  if (directory == nullptr) return -1;
  int found = -1;
  while (const dirent* entry = readdir(directory)) {
    if (found >= 0 || entry->d_name[0] == '.') continue;
    const std::string path = std::string("/proc/self/fdinfo/") + entry->d_name;
    FILE* const file = fopen(path.c_str(), "re");
    if (file == nullptr) continue;
    char line[128];
    unsigned long value = 0;
    while (fgets(line, sizeof(line), file) != nullptr) {
      if (sscanf(line, "prog_id: %lu", &value) == 1 && value == id) found = atoi(entry->d_name);
    }
    fclose(file);
  }
  closedir(directory);
  return found;
}

}  // namespace

Result<int> open_steering_program(Ipv4 address) {
  std::vector<uint8_t> object(mn_xdp_object_begin, mn_xdp_object_end);
  size_t places = 0;
  const uint32_t on_cable = htonl(address);
  for (size_t i = 0; i + 2 * sizeof(kMark) <= object.size(); i += 4) {
    if (memcmp(object.data() + i, &kMark, sizeof(kMark)) != 0) continue;
    memcpy(object.data() + i + sizeof(kMark), &on_cable, sizeof(on_cable));
    ++places;
  }
  MN_ASSERT(places == 1);
  const int fd = memfd_create("machnet-xdp", MFD_CLOEXEC);
  if (fd < 0 || write(fd, object.data(), object.size()) != static_cast<ssize_t>(object.size())) {
    const std::string reason = strerror(errno);
    if (fd >= 0) close(fd);
    return Error{"no memory file for the XDP program: " + reason};
  }
  return fd;
}

Result<bool> remove_stale_program(const device::Interface& interface) {
  libbpf_set_print(nullptr);  // it would write to standard error
  const uint32_t id = program_id_on(interface.index);
  if (id == 0) return false;
  const std::string name = program_name(id);
  if (name == kProgramName) {
    // A living service holds its program by a link, which this cannot remove.
    if (bpf_xdp_detach(interface.index, 0, nullptr) == 0) return true;
    return Error{interface.name +
                 " is in use by another machnetd in mode af_xdp; stop that one, or "
                 "give this one another interface"};
  }
  return Error{interface.name + " already has an XDP program (" +
               (name.empty() ? "id " + std::to_string(id) : name) +
               "); remove it with `ip link set dev " + interface.name +
               " xdp off`, or use mode af_packet"};
}

Result<XdpLink> XdpLink::take_over(const device::Interface& interface) {
  const uint32_t id = program_id_on(interface.index);
  const int program = id == 0 ? -1 : own_program_fd(id);
  if (program < 0) {
    return Error{"the XDP program on " + interface.name +
                 " is not ours to look after: it stays "
                 "attached if the service is killed"};
  }
  // The kernel refuses a link while the other attachment exists. Between the two calls frames go to
  // the kernel's own stack, which does not know our address: nothing has been sent to us yet
  // anyway.
  if (bpf_xdp_detach(interface.index, 0, nullptr) != 0) {
    return Error{"cannot replace the attachment of the XDP program on " + interface.name + ": " +
                 strerror(errno)};
  }
  XdpLink link;
  link.fd_ = bpf_link_create(program, interface.index, BPF_XDP, nullptr);
  if (link.fd_ >= 0) return link;
  const int reason = errno;
  bpf_xdp_attach(interface.index, program, 0, nullptr);
  return Error{"this kernel has no links for XDP (" + std::string(strerror(reason)) +
               "): the program on " + interface.name +
               " stays attached if the service is killed; the next start removes it"};
}

void XdpLink::release() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

}  // namespace mn::nic
