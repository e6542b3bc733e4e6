// SPDX-License-Identifier: MIT
#include "device/left_refusals.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "device/text.h"

namespace mn::device {

namespace {

std::string path_of(const SysRoot& root) { return root.run_dir + "/refused"; }

}  // namespace

// A line for each: the NIC, a tab, what is to be said.
Result<void> leave_refusals(const SysRoot& root, const std::vector<LeftRefusal>& refusals) {
  const std::string path = path_of(root);
  if (refusals.empty()) {
    if (unlink(path.c_str()) == 0 || errno == ENOENT) return {};
    return Error{path + ": cannot be removed: " + strerror(errno)};
  }
  std::string text;
  for (const LeftRefusal& one : refusals) {
    text += printable(one.nic, 256) + "\t" + printable(one.line, 2048) + "\n";
  }
  return put_file(path, text);
}

std::vector<LeftRefusal> left_refusals(const SysRoot& root) {
  std::vector<LeftRefusal> refusals;
  const std::string text = read_text(path_of(root)).value_or("");
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const size_t tab = line.find('\t');
    if (tab == std::string_view::npos) continue;
    refusals.push_back({std::string(line.substr(0, tab)), std::string(line.substr(tab + 1))});
  }
  return refusals;
}

}  // namespace mn::device
