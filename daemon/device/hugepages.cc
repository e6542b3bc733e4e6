// SPDX-License-Identifier: MIT
#include "device/hugepages.h"

#include <algorithm>
#include <cstdio>
#include <optional>

#include "config/values.h"
#include "device/text.h"

namespace mn::device {

namespace {

constexpr uint64_t kUsualPageBytes = 2 << 20;
constexpr uint64_t kLeaveBytesMin = 128 << 20;  // of memory, to everybody else
constexpr uint64_t kLeaveShare = 16;            // and at least one part in so many of all there is

struct Pool {
  std::string folder;  // .../hugepages-2048kB
  uint64_t page_bytes = 0;
};

std::string kib(uint64_t bytes) { return std::to_string(bytes >> 10) + "kB"; }

// Rounded up: "0 MiB" would be a riddle.
std::string mib(uint64_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; }

std::string node_folder(const SysRoot& root, int node) {
  return root.sys + "/devices/system/node/node" + std::to_string(node);
}

std::string where(int node) {
  return node < 0 ? "on this machine" : "on NUMA node " + std::to_string(node);
}

// The pools of all page sizes, of one node or (-1) of the machine, the smallest page first.
std::vector<Pool> pools_of(const SysRoot& root, int node) {
  const std::string top =
      node < 0 ? root.sys + "/kernel/mm/hugepages" : node_folder(root, node) + "/hugepages";
  std::vector<Pool> pools;
  for (const std::string& name : list_folder(top)) {
    unsigned long kilobytes = 0;
    int used = 0;
    if (sscanf(name.c_str(), "hugepages-%lukB%n", &kilobytes, &used) != 1 ||
        static_cast<size_t>(used) != name.size() || kilobytes == 0) {
      continue;
    }
    pools.push_back({top + "/" + name, uint64_t{kilobytes} << 10});
  }
  std::sort(pools.begin(), pools.end(),
            [](const Pool& a, const Pool& b) { return a.page_bytes < b.page_bytes; });
  return pools;
}

uint64_t count_of(const std::string& path) {
  const auto number = read_number(path);
  return number && *number > 0 ? static_cast<uint64_t>(*number) : 0;
}

uint64_t total_of(const Pool& pool) { return count_of(pool.folder + "/nr_hugepages"); }

// Pages that are neither used nor promised. Promises are counted for the machine alone.
uint64_t free_of(const SysRoot& root, const Pool& pool) {
  const std::string machine = root.sys + "/kernel/mm/hugepages/hugepages-" + kib(pool.page_bytes);
  const uint64_t free = count_of(pool.folder + "/free_hugepages");
  if (!exists(machine)) return free;
  const uint64_t all_free = count_of(machine + "/free_hugepages");
  const uint64_t promised = count_of(machine + "/resv_hugepages");
  return std::min(free, all_free - std::min(promised, all_free));
}

std::vector<int> nodes_of(const SysRoot& root) {
  std::vector<int> nodes;
  for (const std::string& name : list_folder(root.sys + "/devices/system/node")) {
    if (!name.starts_with("node")) continue;
    const auto number = config::parse_number(std::string_view(name).substr(4), 0, 1023);
    if (number) nodes.push_back(static_cast<int>(*number));
  }
  return nodes;
}

// Lines `Name:  123 kB` of /proc/meminfo.
std::optional<uint64_t> memory_fact(const std::string& meminfo, const std::string& name) {
  size_t at = meminfo.find(name + ":");
  if (at == std::string::npos || (at != 0 && meminfo[at - 1] != '\n')) return std::nullopt;
  unsigned long kilobytes = 0;
  if (sscanf(meminfo.c_str() + at + name.size() + 1, " %lu kB", &kilobytes) != 1) {
    return std::nullopt;
  }
  return uint64_t{kilobytes} << 10;
}

// How much may be taken from everybody else: the kernel would give all that it can scrape together.
uint64_t to_spare(const SysRoot& root) {
  const std::string meminfo = read_text(root.proc + "/meminfo").value_or("");
  const auto total = memory_fact(meminfo, "MemTotal");
  const auto available = memory_fact(meminfo, "MemAvailable");
  if (!total || !available) return UINT64_MAX;
  const uint64_t leave = std::max(kLeaveBytesMin, *total / kLeaveShare);
  return *available > leave ? *available - leave : 0;
}

// Total pages per node, for finding out where the kernel put what was asked of the machine.
std::vector<uint64_t> totals_of(const SysRoot& root, const std::vector<int>& nodes,
                                uint64_t page_bytes) {
  std::vector<uint64_t> totals;
  for (const int node : nodes) {
    totals.push_back(count_of(node_folder(root, node) + "/hugepages/hugepages-" + kib(page_bytes) +
                              "/nr_hugepages"));
  }
  return totals;
}

std::vector<ReservedPages> growth(const std::vector<int>& nodes, uint64_t page_bytes,
                                  const std::vector<uint64_t>& before,
                                  const std::vector<uint64_t>& after) {
  std::vector<ReservedPages> added;
  for (size_t i = 0; i < nodes.size(); i++) {
    if (after[i] <= before[i]) continue;
    added.push_back({.node = nodes[i],
                     .page_bytes = page_bytes,
                     .count = after[i] - before[i],
                     .floor = std::nullopt});
  }
  return added;
}

uint64_t sum_of(const std::vector<ReservedPages>& pages) {
  uint64_t sum = 0;
  for (const ReservedPages& one : pages) sum += one.count;
  return sum;
}

// One reservation from beginning to end.
class Reservation {
 public:
  Reservation(const SysRoot& root, uint64_t bytes, int wanted_node)
      : root_(root),
        bytes_(bytes),
        node_(wanted_node >= 0 && exists(node_folder(root, wanted_node)) ? wanted_node : -1),
        pools_(pools_of(root, node_)) {}

  Result<HugepageGrant> run(const RememberPages& remember) {
    for (const Pool& pool : pools_) free_bytes_ += free_of(root_, pool) * pool.page_bytes;
    if (free_bytes_ >= bytes_) return enough();
    if (pools_.empty()) {
      return Error{"memory = " + mib(bytes_) + ": the kernel has no hugepages (no folder " +
                   root_.sys + "/kernel/mm/hugepages); set hugepages = no"};
    }
    const auto usual = std::find_if(pools_.begin(), pools_.end(), [](const Pool& pool) {
      return pool.page_bytes == kUsualPageBytes;
    });
    const Pool& pool = usual == pools_.end() ? pools_.front() : *usual;
    const uint64_t missing = (bytes_ - free_bytes_ + pool.page_bytes - 1) / pool.page_bytes;
    const uint64_t allowed = std::min(missing, to_spare(root_) / pool.page_bytes);
    if (allowed == 0) return less(pool, {}, "too little memory is available");
    const uint64_t before = total_of(pool);
    if (remember != nullptr) {
      auto remembered = remember(
          {{.node = node_, .page_bytes = pool.page_bytes, .count = allowed, .floor = before}});
      if (!remembered) return Error{remembered.error()};
    }
    auto added = add(pool, before, allowed);
    if (!added) return Error{added.error()};
    if (sum_of(added.value()) < missing) {
      return less(pool, added.value(),
                  allowed < missing ? "the rest of the machine needs some memory too"
                                    : "its memory is full or in too small pieces");
    }
    return whole(pool, added.value());
  }

 private:
  std::string asked() const {
    return mib(bytes_) + " of hugepages asked for " + where(node_) + ": " + mib(free_bytes_) +
           " free";
  }

  Result<std::vector<ReservedPages>> add(const Pool& pool, uint64_t before, uint64_t count) {
    const std::vector<int> nodes = node_ < 0 ? nodes_of(root_) : std::vector<int>{};
    const std::vector<uint64_t> nodes_before = totals_of(root_, nodes, pool.page_bytes);
    const std::string path = pool.folder + "/nr_hugepages";
    if (auto written = write_text(path, std::to_string(before + count)); !written) {
      return Error{"cannot reserve hugepages: " + written.error() +
                   "; run as root, or set hugepages = no"};
    }
    // The kernel takes the number for a wish and says here what became of it.
    const uint64_t after = total_of(pool);
    const uint64_t given = std::min(after - std::min(before, after), count);
    const std::vector<ReservedPages> per_node =
        growth(nodes, pool.page_bytes, nodes_before, totals_of(root_, nodes, pool.page_bytes));
    if (sum_of(per_node) == given && given > 0) return per_node;
    if (given == 0) return std::vector<ReservedPages>();
    return std::vector<ReservedPages>{
        {.node = node_, .page_bytes = pool.page_bytes, .count = given, .floor = std::nullopt}};
  }

  HugepageGrant enough() const {
    return {.added = {}, .is_enough = true, .line = asked() + ", none added"};
  }

  HugepageGrant whole(const Pool& pool, std::vector<ReservedPages> added) const {
    const uint64_t count = sum_of(added);
    return {.added = std::move(added),
            .is_enough = true,
            .line = asked() + ", added " + std::to_string(count) + " of " + kib(pool.page_bytes)};
  }

  HugepageGrant less(const Pool& pool, std::vector<ReservedPages> added,
                     const std::string& why) const {
    const uint64_t count = sum_of(added);
    const uint64_t have = free_bytes_ + count * pool.page_bytes;
    return {.added = std::move(added),
            .is_enough = false,
            .line = asked() + ", added " + std::to_string(count) + " of " + kib(pool.page_bytes) +
                    ", which leaves " + mib(bytes_ - have) + " short (" + why +
                    "); ask for less memory, reserve hugepages at boot (hugepages=N on the kernel "
                    "command line), or set hugepages = no"};
  }

  const SysRoot& root_;
  uint64_t bytes_;
  int node_;
  std::vector<Pool> pools_;
  uint64_t free_bytes_ = 0;
};

}  // namespace

Result<HugepageGrant> reserve_hugepages(const SysRoot& root, uint64_t bytes, int numa_node,
                                        const RememberPages& remember) {
  return Reservation(root, bytes, numa_node).run(remember);
}

Result<std::string> return_hugepages(const SysRoot& root, const std::vector<ReservedPages>& pages) {
  uint64_t returned = 0;
  uint64_t kept = 0;
  std::string problems;
  for (const ReservedPages& share : pages) {
    const std::vector<Pool> pools = pools_of(root, share.node);
    const auto pool = std::find_if(pools.begin(), pools.end(), [&](const Pool& one) {
      return one.page_bytes == share.page_bytes;
    });
    if (pool == pools.end()) continue;  // the node or the pool is gone, and the pages with it
    const uint64_t total = total_of(*pool);
    uint64_t ours = std::min(share.count, total);
    if (share.floor) ours = std::min(ours, total - std::min(*share.floor, total));
    const uint64_t back = std::min(ours, free_of(root, *pool));
    if (back > 0) {
      auto written = write_text(pool->folder + "/nr_hugepages", std::to_string(total - back));
      if (!written) {
        problems += (problems.empty() ? "" : "; ") + written.error();
        continue;
      }
    }
    const uint64_t after = total_of(*pool);
    const uint64_t gone = std::min(total - std::min(after, total), back);
    returned += gone;
    kept += ours - gone;
  }
  if (!problems.empty()) return Error{"cannot return hugepages: " + problems + "; run as root"};
  std::string line = "returned " + std::to_string(returned) + " hugepages";
  if (kept > 0) {
    line += ", " + std::to_string(kept) +
            " are still in use by somebody and stay (vm.nr_hugepages takes them away later)";
  }
  return line;
}

}  // namespace mn::device
