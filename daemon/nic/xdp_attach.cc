// SPDX-License-Identifier: MIT
#include "nic/xdp_attach.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
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
// DPDK's driver forgets the programs that it loaded and its buffer areas; the process keeps them to
// its end.
extern "C" const char* __lsan_default_suppressions() { return "leak:libbpf.so\nleak:libxdp.so\n"; }
#endif

namespace mn::nic {

namespace {

constexpr char kProgramName[] = "machnet_steer";
constexpr char kMapName[] = "xsks_map";
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

void detach_program(const device::Interface& interface) {
  bpf_xdp_detach(interface.index, 0, nullptr);
}

Result<XdpLink> XdpLink::attach(const device::Interface& interface, int program_file,
                                const std::vector<int>& sockets, std::string* warning) {
  const auto failure = [&](const char* what, int reason) {
    return Error{std::string("cannot ") + what + " the XDP program for " + interface.name + ": " +
                 strerror(reason)};
  };
  // What it opens is closed at the end: the attachment holds the program, and this its map.
  const std::string path = "/proc/self/fd/" + std::to_string(program_file);
  const std::unique_ptr<bpf_object, decltype(&bpf_object__close)> object(
      bpf_object__open_file(path.c_str(), nullptr), bpf_object__close);
  if (!object) return failure("read", errno);
  if (bpf_object__load(object.get()) != 0) return failure("load", errno);
  const int program = bpf_program__fd(bpf_object__find_program_by_name(object.get(), kProgramName));
  const int map = bpf_object__find_map_fd_by_name(object.get(), kMapName);
  for (uint32_t queue = 0; queue < sockets.size(); ++queue) {
    if (bpf_map_update_elem(map, &queue, &sockets[queue], 0) != 0) {
      return failure("give sockets to", errno);
    }
  }
  detach_program(interface);
  XdpLink link;
  link.fd_ = bpf_link_create(program, interface.index, BPF_XDP, nullptr);
  if (link.fd_ >= 0) return link;
  const int reason = errno;
  if (bpf_xdp_attach(interface.index, program, XDP_FLAGS_UPDATE_IF_NOEXIST, nullptr) != 0) {
    return failure("attach", errno);
  }
  *warning = "this kernel has no links for XDP (" + std::string(strerror(reason)) +
             "): the program on " + interface.name +
             " stays attached if the service is killed; the next start removes it";
  return link;
}

void XdpLink::release() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

}  // namespace mn::nic
