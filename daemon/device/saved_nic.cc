// SPDX-License-Identifier: MIT
// The text of a saved NIC: lines `key = value`, the last of which says how many came before, so
// that a file that lost its end is found out. saved_nic_file.cc has the files.
#include "device/saved_nic.h"

#include <algorithm>
#include <functional>
#include <set>

#include "config/values.h"
#include "device/text.h"

namespace mn::device {

namespace {

// Raised when a key is added, which then gets this number as its `since`: files of older versions
// are read, and say nothing about it.
constexpr uint64_t kVersion = 1;
constexpr size_t kTextBytesMax = 256 << 10;
constexpr size_t kLineBytesMax = 4096;
constexpr char kEnd[] = "lines";

constexpr const char* kBusWords[] = {"other", "pci", "vmbus"};
constexpr const char* kBoundWords[] = {"no", "yes", "found"};

using Values = std::vector<std::string>;

struct Key {
  const char* name;
  uint64_t since;  // the version that brought it
  bool repeats;    // any number of times; otherwise exactly once
  std::function<Values(const SavedNic&)> values;
  std::function<bool(const std::string&, SavedNic*)> take;
};

Key word_key(const char* name, std::string SavedNic::*member) {
  return {name, 1, false,
          [member](const SavedNic& nic) { return Values{printable(trim(nic.*member), 1024)}; },
          [member](const std::string& value, SavedNic* nic) {
            nic->*member = value;
            return true;
          }};
}

Key number_key(const char* name, uint32_t SavedNic::*member, uint32_t max) {
  return {name, 1, false,
          [member](const SavedNic& nic) { return Values{std::to_string(nic.*member)}; },
          [member, max](const std::string& value, SavedNic* nic) {
            const auto number = config::parse_number(value, 0, max);
            if (number) nic->*member = static_cast<uint32_t>(*number);
            return number.has_value();
          }};
}

Key ip_key(const char* name, Ipv4 SavedNic::*member) {
  return {name, 1, false,
          [member](const SavedNic& nic) {
            return Values{nic.*member == 0 ? "none" : format_ipv4(nic.*member)};
          },
          [member](const std::string& value, SavedNic* nic) {
            const auto address = config::parse_ipv4(value);
            if (address) nic->*member = *address;
            return value == "none" || (address && *address != 0);
          }};
}

Key flag_key(const char* name, bool SavedNic::*member) {
  return {name, 1, false,
          [member](const SavedNic& nic) { return Values{nic.*member ? "yes" : "no"}; },
          [member](const std::string& value, SavedNic* nic) {
            nic->*member = value == "yes";
            return value == "yes" || value == "no";
          }};
}

template <typename Enum, size_t N>
Key enum_key(const char* name, Enum SavedNic::*member, const char* const (&words)[N]) {
  return {name, 1, false,
          [member, &words](const SavedNic& nic) {
            return Values{words[static_cast<size_t>(nic.*member)]};
          },
          [member, &words](const std::string& value, SavedNic* nic) {
            for (size_t i = 0; i < N; i++) {
              if (value == words[i]) {
                nic->*member = static_cast<Enum>(i);
                return true;
              }
            }
            return false;
          }};
}

// A list of what has a text form of its own.
template <typename T>
Key list_key(const char* name, std::vector<T> SavedNic::*member, std::string (*format)(const T&),
             Result<T> (*parse)(const std::string&)) {
  return {name, 1, true,
          [member, format](const SavedNic& nic) {
            Values values;
            for (const T& one : nic.*member) values.push_back(format(one));
            return values;
          },
          [member, parse](const std::string& value, SavedNic* nic) {
            auto one = parse(value);
            if (one) (nic->*member).push_back(std::move(one.value()));
            return one.ok();
          }};
}

Key mac_key() {
  return {"mac", 1, false, [](const SavedNic& nic) { return Values{format_mac(nic.mac)}; },
          [](const std::string& value, SavedNic* nic) {
            const auto mac = config::parse_mac(value);
            if (mac) nic->mac = *mac;
            return mac.has_value();
          }};
}

Key node_key() {
  return {"numa_node", 1, false,
          [](const SavedNic& nic) {
            return Values{nic.numa_node < 0 ? "none" : std::to_string(nic.numa_node)};
          },
          [](const std::string& value, SavedNic* nic) {
            const auto node = config::parse_number(value, 0, 1023);
            nic->numa_node = node ? static_cast<int>(*node) : -1;
            return node || value == "none";
          }};
}

// count x page_bytes on node N|any [above FLOOR]
std::string format_pages(const ReservedPages& pages) {
  return std::to_string(pages.count) + " x " + std::to_string(pages.page_bytes) + " on " +
         (pages.node < 0 ? "any" : std::to_string(pages.node)) +
         (pages.floor ? " above " + std::to_string(*pages.floor) : "");
}

Result<ReservedPages> parse_pages(const std::string& text) {
  std::vector<std::string> words;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t end = std::min(rest.find(' '), rest.size());
    words.emplace_back(rest.substr(0, end));
    rest = trim(rest.substr(end));
  }
  const bool has_floor = words.size() == 7 && words[5] == "above";
  if ((words.size() != 5 && !has_floor) || words[1] != "x" || words[3] != "on") {
    return Error{"not pages"};
  }
  const auto count = config::parse_number(words[0], 0, UINT32_MAX);
  const auto bytes = config::parse_number(words[2], 4096, uint64_t{1} << 40);
  const auto node = config::parse_number(words[4], 0, 1023);
  const auto floor = config::parse_number(has_floor ? words[6] : "0", 0, UINT32_MAX);
  if (!count || !bytes || !floor || (!node && words[4] != "any")) return Error{"not pages"};
  return ReservedPages{.node = node ? static_cast<int>(*node) : -1,
                       .page_bytes = *bytes,
                       .count = *count,
                       .floor = has_floor ? floor : std::nullopt};
}

const std::vector<Key>& keys() {
  static const std::vector<Key> all = {
      word_key("name", &SavedNic::name),
      word_key("ifname", &SavedNic::ifname),
      mac_key(),
      enum_key("bus", &SavedNic::bus, kBusWords),
      word_key("device", &SavedNic::device),
      word_key("driver", &SavedNic::driver),
      word_key("mode", &SavedNic::mode),
      word_key("reason", &SavedNic::reason),
      ip_key("address", &SavedNic::address),
      number_key("prefix_length", &SavedNic::prefix_length, 32),
      ip_key("gateway", &SavedNic::gateway),
      word_key("address_reason", &SavedNic::address_reason),
      number_key("mtu", &SavedNic::mtu, UINT32_MAX),
      flag_key("up", &SavedNic::is_up),
      list_key("kernel_address", &SavedNic::addresses, format_kernel_address, parse_kernel_address),
      list_key("kernel_route", &SavedNic::routes, format_kernel_route, parse_kernel_route),
      node_key(),
      enum_key("bound", &SavedNic::bound, kBoundWords),
      flag_key("noiommu_enabled", &SavedNic::noiommu_enabled),
      list_key("hugepages", &SavedNic::hugepages, format_pages, parse_pages),
      word_key("boot_id", &SavedNic::boot_id),
  };
  return all;
}

// Reads line by line; the first thing that is wrong ends it.
class Reader {
 public:
  Reader(std::string_view text, const std::string& file) : text_(text), file_(file) {}

  Result<SavedNic> read() {
    if (text_.size() > kTextBytesMax) return wrong("it is too long for what machnet-nic writes");
    while (!text_.empty()) {
      line_++;
      const size_t end = text_.find('\n');
      if (end == std::string_view::npos) return wrong("the line has no end: the file is cut off");
      if (end > kLineBytesMax) {
        return wrong("the line is longer than " + std::to_string(kLineBytesMax) + " bytes");
      }
      const std::string_view line = text_.substr(0, end);
      text_.remove_prefix(end + 1);
      if (const std::string problem = take(line); !problem.empty()) return wrong(problem);
    }
    if (!ended_) return wrong("there is no last line \"lines = N\": the file is cut off");
    for (const Key& key : keys()) {
      if (!key.repeats && key.since <= version_ && !seen_.contains(key.name)) {
        return wrong(std::string("the key \"") + key.name + "\" is missing");
      }
    }
    if (nic_.name.empty()) return wrong("the key \"name\" has no value");
    return std::move(nic_);
  }

 private:
  Error wrong(const std::string& problem) const {
    return Error{file_ + ":" + std::to_string(std::max<uint64_t>(line_, 1)) + ": " + problem +
                 "; remove the file to forget what it says of the NIC"};
  }

  std::string take(std::string_view line) {
    if (ended_) return "there is more after the last line";
    for (const char c : line) {
      if (c < ' ' || c > '~') return "a byte that is no printable character";
    }
    if (line.starts_with('#')) return "";
    const size_t equals = line.find(" =");
    if (equals == std::string_view::npos || equals == 0) return "it is not \"key = value\"";
    const std::string key(line.substr(0, equals));
    std::string_view rest = line.substr(equals + 2);
    if (!rest.empty() && rest[0] != ' ') return "it is not \"key = value\"";
    return take_key(key, std::string(trim(rest)));
  }

  std::string take_key(const std::string& key, const std::string& value) {
    if (key == "version") return take_version(value);
    if (version_ == 0) return "the first line is not \"version = N\"";
    if (key == kEnd) {
      ended_ = true;
      if (value == std::to_string(line_ - 1)) return "";
      return "it says that " + printable(value) + " lines come before it, but " +
             std::to_string(line_ - 1) + " do";
    }
    const auto known =
        std::find_if(keys().begin(), keys().end(), [&](const Key& one) { return key == one.name; });
    if (known == keys().end()) return "unknown key \"" + printable(key) + "\"";
    if (!seen_.insert(key).second && !known->repeats) return "the key \"" + key + "\" twice";
    if (!known->take(value, &nic_)) return "\"" + printable(value) + "\" is no value of " + key;
    return "";
  }

  std::string take_version(const std::string& value) {
    if (version_ != 0) return "the key \"version\" twice";
    const auto version = config::parse_number(value, 1, UINT32_MAX);
    if (!version) return "\"" + printable(value) + "\" is no version";
    if (*version > kVersion) {
      return "written by a newer machnet-nic (version " + value + ", this one reads " +
             std::to_string(kVersion) + ")";
    }
    version_ = *version;
    return "";
  }

  std::string_view text_;
  const std::string& file_;
  uint64_t line_ = 0;
  uint64_t version_ = 0;
  bool ended_ = false;
  std::set<std::string> seen_;
  SavedNic nic_;
};

}  // namespace

Result<SavedNic> parse_saved_nic(std::string_view text, const std::string& file) {
  return Reader(text, file).read();
}

std::string format_saved_nic(const SavedNic& nic) {
  std::string text =
      "# What Machnet remembers of this NIC, to give it back. Written by machnet-nic.\n"
      "version = " +
      std::to_string(kVersion) + "\n";
  for (const Key& key : keys()) {
    for (const std::string& value : key.values(nic)) {
      text += std::string(key.name) + " =" + (value.empty() ? "" : " ") + value + "\n";
    }
  }
  return text + kEnd + " = " + std::to_string(std::count(text.begin(), text.end(), '\n')) + "\n";
}

KernelNic kernel_part(const SavedNic& nic) {
  KernelNic had;
  had.ifname = nic.ifname;
  had.mac = nic.mac;
  had.mtu = nic.mtu;
  had.is_up = nic.is_up;
  had.addresses = nic.addresses;
  had.routes = nic.routes;
  return had;
}

}  // namespace mn::device
