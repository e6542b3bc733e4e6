// SPDX-License-Identifier: MIT
#include "device/address_facts.h"

#include "config/values.h"
#include "device/kernel_net.h"
#include "device/text.h"

namespace mn::device {

namespace {

Error refused(const config::NicConfig& wanted, const std::string& why) {
  return Error{"nic " + wanted.name + ": " + why};
}

bool is_zero(const Mac& mac) { return mac == Mac{}; }

Result<AddressFacts> from_kernel(const config::NicConfig& wanted, const Candidate& nic,
                                 const SavedNic* saved) {
  AddressFacts facts;
  const KernelAddress* own = nic.has_interface() ? primary_address(nic.net) : nullptr;
  if (own != nullptr) {
    const auto address = config::parse_ipv4(own->address);
    if (!address)
      return refused(wanted, "the kernel's address " + own->address + " is no IPv4 one");
    facts.address = *address;
    facts.prefix_length = own->prefix_length;
    facts.gateway = gateway_of(nic.net);
    facts.reason = "the kernel's, read from " + nic.net.ifname;
    return facts;
  }
  if (saved != nullptr && saved->address != 0) {
    facts.address = saved->address;
    facts.prefix_length = saved->prefix_length;
    facts.gateway = saved->gateway;
    facts.reason = "remembered, as the kernel has none now";
    return facts;
  }
  const std::string ways = "set address = metadata in a cloud, or address = A.B.C.D/LEN";
  if (nic.has_interface()) {
    return refused(wanted,
                   "address = auto, but " + nic.net.ifname +
                       " has no IPv4 address; give it one (ip address add A.B.C.D/LEN dev " +
                       nic.net.ifname + "), or " + ways);
  }
  return refused(wanted, "address = auto, but the kernel has no interface of " + nic.label() +
                             (nic.driver.empty() ? " (it has no driver)" : "") +
                             " to read an address from, and none is remembered; " + ways);
}

Result<AddressFacts> from_metadata(const config::NicConfig& wanted, const Candidate& nic,
                                   const SavedNic* saved, const MetadataSource& metadata) {
  Mac mac = nic.net.mac;
  if (!nic.has_interface() && saved != nullptr) mac = saved->mac;
  if (is_zero(mac)) {
    return refused(wanted,
                   "address = metadata, but the MAC of " + nic.label() +
                       ", by which the service knows it, is not known; give the device back "
                       "to the kernel, or set address = A.B.C.D/LEN");
  }
  auto answer = metadata(mac);
  if (!answer) return refused(wanted, answer.error());
  const MetadataNic& known = answer.value();
  AddressFacts facts{.address = known.address,
                     .prefix_length = known.prefix_length,
                     .gateway = known.gateway,
                     .mtu = known.mtu,
                     .reason = "from the metadata service of " + known.cloud};
  return facts;
}

Result<void> check_gateway(const config::NicConfig& wanted, const AddressFacts& facts) {
  if (facts.gateway == 0 || facts.prefix_length == 32) return {};
  if (facts.gateway == facts.address) {
    return refused(wanted, "gateway = " + format_ipv4(facts.gateway) + " is the NIC's own address");
  }
  if (((facts.gateway ^ facts.address) & netmask(facts.prefix_length)) == 0) return {};
  return refused(wanted, "gateway " + format_ipv4(facts.gateway) + " is not in the NIC's network " +
                             format_network(facts.address, facts.prefix_length) +
                             "; set gateway to a host of it, or to none");
}

}  // namespace

Result<AddressFacts> choose_address(const config::NicConfig& wanted, const Candidate& nic,
                                    const SavedNic* saved, const MetadataSource& metadata) {
  Result<AddressFacts> chosen = AddressFacts{};
  switch (wanted.address_source) {
    case config::AddressSource::kGiven:
      chosen.value() = {.address = wanted.address,
                        .prefix_length = wanted.prefix_length,
                        .gateway = 0,
                        .mtu = 0,
                        .reason = "given in the configuration"};
      break;
    case config::AddressSource::kAuto:
      chosen = from_kernel(wanted, nic, saved);
      break;
    case config::AddressSource::kMetadata:
      chosen = from_metadata(wanted, nic, saved, metadata);
      break;
  }
  if (!chosen) return chosen;
  if (wanted.gateway_source == config::GatewaySource::kGiven) {
    chosen.value().gateway = wanted.gateway;
  } else if (wanted.gateway_source == config::GatewaySource::kNone) {
    chosen.value().gateway = 0;
  }
  if (auto checked = check_gateway(wanted, chosen.value()); !checked) return Error{checked.error()};
  return chosen;
}

}  // namespace mn::device
