// SPDX-License-Identifier: MIT
// Addresses and routes of the kernel as lines of words, and back.
#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>

#include "config/values.h"
#include "device/kernel_net.h"
#include "device/text.h"

namespace mn::device {

namespace {

// Words of a line, one after the other.
class Words {
 public:
  explicit Words(std::string_view text) : rest_(trim(text)) {}
  bool empty() const { return rest_.empty(); }
  std::string next() {
    const size_t end = std::min(rest_.find_first_of(" \t"), rest_.size());
    const std::string word(rest_.substr(0, end));
    rest_ = trim(rest_.substr(end));
    return word;
  }

 private:
  std::string_view rest_;
};

bool is_ip(const std::string& word) {
  in6_addr address;
  if (word.find(':') != std::string::npos) return inet_pton(AF_INET6, word.c_str(), &address) == 1;
  return config::parse_ipv4(word).has_value();
}

bool is_network(const std::string& word, std::string* ret_address, uint32_t* ret_length) {
  const size_t slash = word.find('/');
  if (slash == std::string::npos) return false;
  const std::string address = word.substr(0, slash);
  const uint64_t max = address.find(':') != std::string::npos ? 128 : 32;
  const auto length = config::parse_number(word.substr(slash + 1), 0, max);
  if (!is_ip(address) || !length) return false;
  *ret_address = address;
  *ret_length = static_cast<uint32_t>(*length);
  return true;
}

bool is_ifname(const std::string& word) {
  if (word.empty() || word.size() >= IFNAMSIZ) return false;
  for (const char c : word) {
    if (c <= ' ' || c > '~' || c == '/') return false;
  }
  return true;
}

// A number of `word` into any unsigned type, which bounds it.
template <typename T>
bool take_number(const std::string& word, T* ret_value) {
  const auto value = config::parse_number(word, 0, static_cast<T>(~T{0}));
  if (value) *ret_value = static_cast<T>(*value);
  return value.has_value();
}

bool take_ip(const std::string& word, std::string* ret_address) {
  if (!is_ip(word)) return false;
  *ret_address = word;
  return true;
}

bool take_name(const std::string& word, std::string* ret_name) {
  if (!is_ifname(word)) return false;
  *ret_name = word;
  return true;
}

bool take_address_word(const std::string& key, const std::string& value, KernelAddress* address) {
  if (key == "peer") return take_ip(value, &address->peer);
  if (key == "broadcast") return take_ip(value, &address->broadcast);
  if (key == "label") return take_name(value, &address->label);
  if (key == "scope") return take_number(value, &address->scope);
  if (key == "flags") return take_number(value, &address->flags);
  if (key == "metric") return take_number(value, &address->metric);
  if (key == "valid") return take_number(value, &address->valid_s);
  if (key == "preferred") return take_number(value, &address->preferred_s);
  return false;
}

bool take_hop_word(const std::string& key, const std::string& value, KernelHop* hop) {
  if (key == "dev") return take_name(value, &hop->ifname);
  if (key == "via") return take_ip(value, &hop->gateway);
  // The kernel keeps it less one in a byte.
  if (key == "weight")
    return take_number(value, &hop->weight) && hop->weight >= 1 && hop->weight <= 256;
  return false;
}

bool take_route_word(const std::string& key, const std::string& value, KernelRoute* route) {
  if (!route->hops.empty()) return take_hop_word(key, value, &route->hops.back());
  if (key == "via") return take_ip(value, &route->gateway);
  if (key == "src") return take_ip(value, &route->source);
  if (key == "metric") return take_number(value, &route->metric);
  if (key == "table") return take_number(value, &route->table);
  if (key == "proto") return take_number(value, &route->protocol);
  if (key == "scope") return take_number(value, &route->scope);
  if (key == "tos") return take_number(value, &route->tos);
  if (key == "mtu") return take_number(value, &route->mtu);
  if (key == "advmss") return take_number(value, &route->advmss);
  if (key == "initcwnd") return take_number(value, &route->initcwnd);
  if (key == "initrwnd") return take_number(value, &route->initrwnd);
  if (key == "lost") return take_name(value, &route->lost);
  return false;
}

Error bad(const char* what, const std::string& key, const std::string& value) {
  const std::string shown = printable(value.empty() ? key : key + " " + value);
  return Error{std::string("\"") + shown + "\" is no part of " + what};
}

Error twice(const std::string& key) { return Error{"\"" + printable(key) + "\" twice"}; }

void add_word(std::string* line, const char* key, const std::string& value) {
  if (!value.empty()) *line += std::string(" ") + key + " " + value;
}

void add_word(std::string* line, const char* key, uint32_t value, uint32_t usual) {
  if (value != usual) *line += std::string(" ") + key + " " + std::to_string(value);
}

}  // namespace

std::string format_kernel_address(const KernelAddress& address) {
  std::string line = address.address + "/" + std::to_string(address.prefix_length);
  add_word(&line, "peer", address.peer);
  add_word(&line, "broadcast", address.broadcast);
  add_word(&line, "label", address.label);
  add_word(&line, "scope", address.scope, 0);
  add_word(&line, "flags", address.flags, 0);
  add_word(&line, "metric", address.metric, 0);
  add_word(&line, "valid", address.valid_s, kForever);
  add_word(&line, "preferred", address.preferred_s, kForever);
  return line;
}

std::string format_kernel_route(const KernelRoute& route) {
  std::string line = route.destination;
  add_word(&line, "via", route.gateway);
  add_word(&line, "src", route.source);
  add_word(&line, "metric", route.metric, 0);
  add_word(&line, "table", route.table, 254);
  add_word(&line, "proto", route.protocol, 3);
  add_word(&line, "scope", route.scope, 0);
  add_word(&line, "tos", route.tos, 0);
  if (route.is_onlink) line += " onlink";
  add_word(&line, "mtu", route.mtu, 0);
  add_word(&line, "advmss", route.advmss, 0);
  add_word(&line, "initcwnd", route.initcwnd, 0);
  add_word(&line, "initrwnd", route.initrwnd, 0);
  add_word(&line, "lost", route.lost);
  for (const KernelHop& hop : route.hops) {
    line += " nexthop dev " + hop.ifname;
    add_word(&line, "via", hop.gateway);
    add_word(&line, "weight", hop.weight, 1);
    if (hop.is_onlink) line += " onlink";
  }
  return line;
}

Result<KernelAddress> parse_kernel_address(const std::string& text) {
  Words words(text);
  KernelAddress address;
  const std::string first = words.next();
  if (!is_network(first, &address.address, &address.prefix_length)) {
    return Error{"\"" + printable(first) + "\" is no address with a prefix length"};
  }
  std::set<std::string> seen;
  while (!words.empty()) {
    const std::string key = words.next();
    if (!seen.insert(key).second) return twice(key);
    const std::string value = words.next();
    if (!take_address_word(key, value, &address)) return bad("an address", key, value);
  }
  return address;
}

Result<KernelRoute> parse_kernel_route(const std::string& text) {
  Words words(text);
  KernelRoute route;
  route.destination = words.next();
  std::string address;
  uint32_t length = 0;
  if (route.destination != "default" && route.destination != "default6" &&
      !is_network(route.destination, &address, &length)) {
    return Error{"\"" + printable(route.destination) + "\" is no destination of a route"};
  }
  std::set<std::string> seen;
  while (!words.empty()) {
    const std::string key = words.next();
    if (key == "nexthop") {
      seen.clear();
      route.hops.emplace_back();
    } else if (!seen.insert(key).second) {
      return twice(key);
    } else if (key == "onlink") {
      (route.hops.empty() ? route.is_onlink : route.hops.back().is_onlink) = true;
    } else {
      const std::string value = words.next();
      if (!take_route_word(key, value, &route)) return bad("a route", key, value);
    }
  }
  for (const KernelHop& hop : route.hops) {
    if (hop.ifname.empty()) return Error{"a nexthop without dev"};
  }
  return route;
}

}  // namespace mn::device
