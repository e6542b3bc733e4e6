// SPDX-License-Identifier: MIT
#include "device/metadata_parse.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "support/sim_random.h"
extern "C" {
#include <cmocka.h>
}

using namespace mn;
using namespace mn::device;

namespace {

constexpr Mac kMac{{0x00, 0x0d, 0x3a, 0xab, 0xcd, 0x02}};

constexpr char kAzure[] = R"({"interface":[
  {"ipv4":{"ipAddress":[{"privateIpAddress":"10.0.0.4","publicIpAddress":"203.0.113.9"}],
           "subnet":[{"address":"10.0.0.0","prefix":"24"}]},
   "ipv6":{"ipAddress":[]},"macAddress":"000D3AABCD01"},
  {"ipv4":{"ipAddress":[{"privateIpAddress":"10.0.17.5","publicIpAddress":""},
                        {"privateIpAddress":"10.0.17.6","publicIpAddress":""}],
           "subnet":[{"address":"10.0.16.0","prefix":"20"}]},
   "ipv6":{"ipAddress":[]},"macAddress":"000D3AABCD02"}]})";

constexpr char kGcp[] = R"([
  {"accessConfigs":[{"externalIp":"203.0.113.9","type":"ONE_TO_ONE_NAT"}],"dnsServers":
   ["169.254.169.254"],"forwardedIps":[],"gateway":"10.128.0.1","ip":"10.128.0.7","ipAliases":[],
   "mac":"42:01:0a:80:00:07","mtu":1460,"network":"projects/1/networks/default","subnetmask":
   "255.255.240.0"},
  {"gateway":"10.200.0.1","ip":"10.200.0.9","mac":"00:0D:3A:ab:cd:02","mtu":8896,
   "subnetmask":"255.255.255.0"}])";

struct Fixture {
  std::string text;
  std::string error;
  MetadataNic nic;
};

int setup(void** state) {
  *state = new Fixture;
  return 0;
}

int teardown(void** state) {
  delete static_cast<Fixture*>(*state);
  return 0;
}

Fixture* of(void** state) { return static_cast<Fixture*>(*state); }

bool keep(Fixture* fixture, const Result<MetadataNic>& nic) {
  fixture->error = nic ? "" : nic.error();
  if (nic) fixture->nic = nic.value();
  return nic.ok();
}

// The first `from` of the text becomes `to`.
std::string changed(std::string text, const char* from, const char* to) {
  const size_t at = text.find(from);
  if (at == std::string::npos) fail_msg("no %s in the sample", from);
  return text.replace(at, strlen(from), to);
}

void parse_azure__finds_the_nic_by_mac(void** state) {
  assert_true(keep(of(state), parse_azure(kAzure, kMac)));
  const MetadataNic& nic = of(state)->nic;
  assert_string_equal(nic.cloud.c_str(), "azure");
  assert_int_equal(nic.address, 0x0a001105);
  assert_int_equal(nic.prefix_length, 20);
  assert_int_equal(nic.gateway, 0x0a001001);
  assert_int_equal(nic.mtu, 0);
}

void parse_azure__says_what_is_wrong(void** state) {
  const struct {
    const char* from;
    const char* to;
    const char* error;
  } kWrong[] = {
      {"CD02", "CD03", "no NIC with this MAC (it has 000D3AABCD01, 000D3AABCD03)"},
      {"interface", "interfaces", "no list of interfaces: "},
      {"\"10.0.17.5\"", "17", "a NIC without a private IPv4 address"},
      {"10.0.17.5", "10.0.17.256", "\"10.0.17.256\" for a private IPv4 address"},
      {"10.0.17.5", "10.1.17.5", "the address 10.1.17.5 outside its subnet 10.0.16.0/20"},
      {"\"prefix\":\"20\"", "\"prefix\":\"\"", "\"10.0.16.0/\" for an IPv4 subnet"},
      {"\"20\"", "\"32\"", "\"10.0.16.0/32\" for an IPv4 subnet"},
      {"[{\"address\":\"10.0.16.0\",\"prefix\":\"20\"}]", "[]", "a NIC without an IPv4 subnet"},
      {"]}", "]", "no JSON (line "},
  };
  for (const auto& wrong : kWrong) {
    of(state)->text = changed(kAzure, wrong.from, wrong.to);
    if (keep(of(state), parse_azure(of(state)->text, kMac))) fail_msg("%s", wrong.to);
    if (!of(state)->error.starts_with(wrong.error)) fail_msg("%s", of(state)->error.c_str());
  }
  assert_false(keep(of(state), parse_azure("<html>\nno", kMac)));
  assert_string_equal(of(state)->error.c_str(),
                      "no JSON (line 1: '[' or '{' expected near '<'): \"<html>?no\"");
  assert_false(keep(of(state), parse_azure("{\"interface\":[]}", kMac)));
  assert_string_equal(of(state)->error.c_str(), "no NIC with this MAC (it has none)");
  assert_false(keep(of(state), parse_azure("[1]", kMac)));
  assert_false(keep(of(state), parse_azure("{\"interface\":[1,null,[],{}]}", kMac)));
  assert_false(keep(of(state), parse_azure(std::string(5000, '['), kMac)));
}

void parse_gcp__gives_a_single_address_and_its_gateway(void** state) {
  assert_true(keep(of(state), parse_gcp(kGcp, kMac)));
  const MetadataNic& nic = of(state)->nic;
  assert_string_equal(nic.cloud.c_str(), "gcp");
  assert_int_equal(nic.address, 0x0ac80009);
  assert_int_equal(nic.prefix_length, 32);
  assert_int_equal(nic.gateway, 0x0ac80001);
  assert_int_equal(nic.mtu, 8896);
  of(state)->text = changed(kGcp, ",\"mtu\":8896", "");
  assert_true(keep(of(state), parse_gcp(of(state)->text, kMac)));
  assert_int_equal(nic.mtu, 0);
}

void parse_gcp__says_what_is_wrong(void** state) {
  const struct {
    const char* from;
    const char* to;
    const char* error;
  } kWrong[] = {
      {"cd:02", "cd:03", "no NIC with this MAC (it has 42:01:0a:80:00:07, 00:0D:3A:ab:cd:03)"},
      {"10.200.0.9", "::1", "\"::1\" for an IPv4 address"},
      {"\"10.200.0.9\"", "null", "a NIC without an IPv4 address"},
      {"10.200.0.1\"", "\"", "a NIC without a gateway"},
      {"10.200.0.1\"", "0.0.0.0\"", "\"0.0.0.0\" for a gateway"},
      {"8896", "575", "an MTU out of range"},
      {"8896", "-1", "an MTU out of range"},
      {"8896", "\"8896\"", "an MTU out of range"},
      {"8896", "99999999999999999999", "no JSON (line "},
      {"[", "{\"x\":[", "no JSON (line "},
  };
  for (const auto& wrong : kWrong) {
    of(state)->text = changed(kGcp, wrong.from, wrong.to);
    if (keep(of(state), parse_gcp(of(state)->text, kMac))) fail_msg("%s", wrong.to);
    if (!of(state)->error.starts_with(wrong.error)) fail_msg("%s", of(state)->error.c_str());
  }
  assert_false(keep(of(state), parse_gcp("{}", kMac)));
  assert_string_equal(of(state)->error.c_str(), "no list of interfaces: \"{}\"");
}

void parse_aws__takes_the_first_address(void** state) {
  assert_true(keep(of(state), parse_aws("10.0.1.17\n10.0.1.18\n", "10.0.1.0/26\n")));
  const MetadataNic& nic = of(state)->nic;
  assert_string_equal(nic.cloud.c_str(), "aws");
  assert_int_equal(nic.address, 0x0a000111);
  assert_int_equal(nic.prefix_length, 26);
  assert_int_equal(nic.gateway, 0x0a000101);
  assert_int_equal(nic.mtu, 0);
  assert_true(keep(of(state), parse_aws("10.0.1.17", "10.0.1.0/28")) == false);
  assert_string_equal(of(state)->error.c_str(),
                      "the address 10.0.1.17 outside its subnet 10.0.1.0/28");
  assert_false(keep(of(state), parse_aws("", "10.0.1.0/26")));
  assert_string_equal(of(state)->error.c_str(), "a NIC without a private IPv4 address");
  assert_false(keep(of(state), parse_aws("10.0.1.17", "")));
  assert_string_equal(of(state)->error.c_str(), "a NIC without an IPv4 subnet");
  assert_false(keep(of(state), parse_aws("<?xml \x1b[0m", "10.0.1.0/26")));
  assert_string_equal(of(state)->error.c_str(), "\"<?xml ?[0m\" for a private IPv4 address");
}

void list_aws_macs__fits_a_line(void** state) {
  of(state)->text = list_aws_macs("02:aa:00:00:00:01/\n02:aa:00:00:00:02/");
  assert_string_equal(of(state)->text.c_str(), "02:aa:00:00:00:01, 02:aa:00:00:00:02");
  of(state)->text = list_aws_macs("a/\nb/\nc/\nd/\ne/\nf/\n");
  assert_string_equal(of(state)->text.c_str(), "a, b, c, d, ...");
  of(state)->text = list_aws_macs("");
  assert_string_equal(of(state)->text.c_str(), "none");
}

// Whatever a stranger answers: a NIC that makes sense, or an error of one line.
void parse__bears_damaged_answers(void** state) {
  test::SimRandom random(77);
  size_t accepted = 0;
  for (int round = 0; round < 20000; round++) {
    const bool is_azure = (round & 1) == 0;
    std::string& text = of(state)->text;
    text = is_azure ? kAzure : kGcp;
    for (uint64_t i = 0; i <= random.below(3); i++) {
      const size_t at = random.below(text.size());
      if (random.chance(0.5)) {
        text[at] = static_cast<char>(random.below(256));
      } else {
        text.erase(at, random.below(30));
      }
    }
    if (keep(of(state), is_azure ? parse_azure(text, kMac) : parse_gcp(text, kMac))) {
      accepted++;
      assert_true(of(state)->nic.address != 0 && of(state)->nic.gateway != 0);
      assert_true(of(state)->nic.prefix_length <= 32);
      continue;
    }
    assert_false(of(state)->error.empty());
    for (const char c : of(state)->error) assert_true(c >= ' ' && c <= '~');
  }
  assert_true(accepted > 100 && accepted < 19000);
}

}  // namespace

#define with_answer(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main() {
  const CMUnitTest tests[] = {
      with_answer(parse_azure__finds_the_nic_by_mac),
      with_answer(parse_azure__says_what_is_wrong),
      with_answer(parse_gcp__gives_a_single_address_and_its_gateway),
      with_answer(parse_gcp__says_what_is_wrong),
      with_answer(parse_aws__takes_the_first_address),
      with_answer(list_aws_macs__fits_a_line),
      with_answer(parse__bears_damaged_answers),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
