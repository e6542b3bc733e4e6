// SPDX-License-Identifier: MIT
#include "base/capabilities.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace mn {
namespace {

struct Name {
  int number;
  const char* name;
};
constexpr Name kNames[] = {
    {CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"}, {CAP_NET_ADMIN, "CAP_NET_ADMIN"},
    {CAP_NET_RAW, "CAP_NET_RAW"},           {CAP_IPC_LOCK, "CAP_IPC_LOCK"},
    {CAP_SYS_RAWIO, "CAP_SYS_RAWIO"},       {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
    {CAP_SYS_NICE, "CAP_SYS_NICE"},         {CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE"},
    {CAP_PERFMON, "CAP_PERFMON"},           {CAP_BPF, "CAP_BPF"},
};

using Words = __user_cap_data_struct[_LINUX_CAPABILITY_U32S_3];

bool read_sets(Words* ret_words) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  return syscall(SYS_capget, &header, *ret_words) == 0;
}

}  // namespace

Capabilities held_capabilities() {
  Words words{};
  if (!read_sets(&words)) return 0;
  return words[0].permitted | Capabilities{words[1].permitted} << 32;
}

Result<void> keep_capabilities(Capabilities kept) {
  Words words{};
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  bool done = read_sets(&words);
  for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
    const uint32_t mask = static_cast<uint32_t>(kept >> (32 * i));
    words[i].permitted &= mask;
    words[i].effective = words[i].permitted;
    // What is executed gets nothing; the kernel clears the ambient set with the inheritable one.
    words[i].inheritable = 0;
  }
  done = done && syscall(SYS_capset, &header, words) == 0;
  if (!done) return Error{std::string("cannot give up capabilities: ") + strerror(errno)};
  return {};
}

std::string format_capabilities(Capabilities set) {
  std::string text;
  for (int number = 0; number < 64; number++) {
    if ((set & capability(number)) == 0) continue;
    if (!text.empty()) text += ' ';
    const char* name = nullptr;
    for (const Name& known : kNames) {
      if (known.number == number) name = known.name;
    }
    text += name != nullptr ? name : "CAP_" + std::to_string(number);
  }
  return text;
}

}  // namespace mn
