// SPDX-License-Identifier: MIT
#include "device/metadata_parse.h"

#include <jansson.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "config/values.h"
#include "device/text.h"

namespace mn::device {

namespace {

constexpr uint32_t kMtuMin = 576;
constexpr uint32_t kMtuMax = 65535;
constexpr size_t kListedMax = 4;  // MACs in an error

struct JsonDeleter {
  void operator()(json_t* json) const { json_decref(json); }
};
using Json = std::unique_ptr<json_t, JsonDeleter>;

Result<Json> parse_json(std::string_view text) {
  json_error_t error;
  Json json(json_loadb(text.data(), text.size(), JSON_REJECT_DUPLICATES, &error));
  if (!json) {
    return Error{"no JSON (line " + std::to_string(error.line) + ": " + printable(error.text) +
                 "): \"" + printable(text) + "\""};
  }
  return json;
}

// A member of an object, or nullptr; borrowed.
const json_t* member(const json_t* object, const char* key) {
  return object == nullptr ? nullptr : json_object_get(object, key);
}

std::string_view text_of(const json_t* json) {
  if (!json_is_string(json)) return {};
  return {json_string_value(json), json_string_length(json)};
}

// With or without colons, any case.
std::optional<Mac> parse_any_mac(std::string_view word) {
  if (word.size() != 12) return config::parse_mac(word);
  std::string spaced;
  for (size_t i = 0; i < word.size(); i += 2) {
    spaced += (i == 0 ? "" : ":") + std::string(word.substr(i, 2));
  }
  return config::parse_mac(spaced);
}

// The object of the array whose `key` is the MAC; an error says which MACs there are.
Result<const json_t*> find_by_mac(const json_t* array, const char* key, const Mac& mac) {
  std::string listed;
  for (size_t i = 0; i < json_array_size(array); i++) {
    const json_t* const one = json_array_get(array, i);
    const std::string_view word = text_of(member(one, key));
    if (parse_any_mac(word) == mac) return one;
    if (i < kListedMax) listed += (i == 0 ? "" : ", ") + printable(word, 20);
    if (i == kListedMax) listed += ", ...";
  }
  if (listed.empty()) listed = "none";
  return Error{"no NIC with this MAC (it has " + listed + ")"};
}

Error lacks(const char* what, std::string_view value) {
  if (value.empty()) return Error{std::string("a NIC without ") + what};
  return Error{std::string("\"") + printable(value) + "\" for " + what};
}

// The first host of a subnet: the virtual router of Azure's and AWS's networks.
Ipv4 first_host(Ipv4 network, uint32_t prefix_length) {
  return (network & netmask(prefix_length)) + 1;
}

// Address and subnet that fit each other, with the router that both clouds have in each subnet.
Result<MetadataNic> nic_in_subnet(const char* cloud, std::string_view address,
                                  std::string_view subnet) {
  const auto own = config::parse_ipv4(address);
  if (!own || !config::is_host_address(*own)) return lacks("a private IPv4 address", address);
  const auto network = config::parse_network(subnet);
  if (!network || network->prefix_length > 30) return lacks("an IPv4 subnet", subnet);
  if (((*own ^ network->address) & netmask(network->prefix_length)) != 0) {
    return Error{"the address " + format_ipv4(*own) + " outside its subnet " +
                 printable(subnet, 20)};
  }
  return MetadataNic{.cloud = cloud,
                     .address = *own,
                     .prefix_length = network->prefix_length,
                     .gateway = first_host(network->address, network->prefix_length),
                     .mtu = 0};
}

}  // namespace

Result<MetadataNic> parse_azure(std::string_view text, const Mac& mac) {
  auto json = parse_json(text);
  if (!json) return Error{json.error()};
  const json_t* const all = member(json.value().get(), "interface");
  if (!json_is_array(all)) return Error{"no list of interfaces: \"" + printable(text) + "\""};
  auto found = find_by_mac(all, "macAddress", mac);
  if (!found) return Error{found.error()};
  const json_t* const ipv4 = member(found.value(), "ipv4");
  const json_t* const address = json_array_get(member(ipv4, "ipAddress"), 0);
  const json_t* const subnet = json_array_get(member(ipv4, "subnet"), 0);
  const std::string network = std::string(text_of(member(subnet, "address"))) + "/" +
                              std::string(text_of(member(subnet, "prefix")));
  return nic_in_subnet("azure", text_of(member(address, "privateIpAddress")),
                       network == "/" ? "" : network);
}

Result<MetadataNic> parse_gcp(std::string_view text, const Mac& mac) {
  auto json = parse_json(text);
  if (!json) return Error{json.error()};
  if (!json_is_array(json.value().get())) {
    return Error{"no list of interfaces: \"" + printable(text) + "\""};
  }
  auto found = find_by_mac(json.value().get(), "mac", mac);
  if (!found) return Error{found.error()};
  const std::string_view ip = text_of(member(found.value(), "ip"));
  const std::string_view router = text_of(member(found.value(), "gateway"));
  const auto address = config::parse_ipv4(ip);
  if (!address || !config::is_host_address(*address)) return lacks("an IPv4 address", ip);
  const auto gateway = config::parse_ipv4(router);
  if (!gateway || !config::is_host_address(*gateway)) return lacks("a gateway", router);
  const json_t* const mtu = member(found.value(), "mtu");
  const json_int_t bytes = json_is_integer(mtu) ? json_integer_value(mtu) : 0;
  if (mtu != nullptr && (bytes < kMtuMin || bytes > kMtuMax)) return Error{"an MTU out of range"};
  return MetadataNic{.cloud = "gcp",
                     .address = *address,
                     .prefix_length = 32,
                     .gateway = *gateway,
                     .mtu = static_cast<uint32_t>(bytes)};
}

Result<MetadataNic> parse_aws(std::string_view addresses, std::string_view subnet) {
  const std::string_view first = addresses.substr(0, addresses.find('\n'));
  return nic_in_subnet("aws", trim(first), trim(subnet));
}

std::string list_aws_macs(std::string_view listing) {
  std::string listed;
  for (size_t i = 0; !listing.empty() && i <= kListedMax; i++) {
    const size_t end = std::min(listing.find('\n'), listing.size());
    std::string_view word = trim(listing.substr(0, end));
    if (word.ends_with('/')) word.remove_suffix(1);
    if (i < kListedMax) listed += (i == 0 ? "" : ", ") + printable(word, 20);
    if (i == kListedMax) listed += ", ...";
    listing.remove_prefix(std::min(end + 1, listing.size()));
  }
  return listed.empty() ? "none" : listed;
}

}  // namespace mn::device
