// SPDX-License-Identifier: MIT
// ask_metadata against a local fake of each cloud's service: what it asks and with which headers,
// and the line that it answers with when the service is slow, strange or not there.
#include "device/metadata.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>

#include "unit/device/fake_service.h"
#include "unit/device/scratch_folder.h"
extern "C" {
#include <cmocka.h>
}

using namespace mn;
using namespace mn::device;
using mn::test::http;

namespace {

constexpr Mac kMac{{0x00, 0x0d, 0x3a, 0xab, 0xcd, 0x02}};
constexpr Mac kOtherMac{{0x00, 0x0d, 0x3a, 0xab, 0xcd, 0x99}};
constexpr char kByHand[] = "; or give the address yourself: address = A.B.C.D/LEN in [nic]";
constexpr char kMacs[] = "/latest/meta-data/network/interfaces/macs/";

struct Fixture {
  test::ScratchFolder folder;
  SysRoot root = folder.root();
  std::unique_ptr<test::FakeService> service;
  std::map<std::string, std::string> answers;  // by "METHOD path"
  MetadataNic nic;
  std::string error;
  std::string expected;
  std::vector<std::string> requests;
};

std::string first_words(const std::string& request) {
  return request.substr(0, request.find(" HTTP/"));
}

bool has_header(const std::string& request, const std::string& header) {
  return request.find("\r\n" + header + "\r\n") != std::string::npos;
}

int setup(void** state) {
  auto* fixture = new Fixture;
  fixture->service = std::make_unique<test::FakeService>([fixture](const std::string& request) {
    const auto answer = fixture->answers.find(first_words(request));
    return answer == fixture->answers.end() ? http("404 Not Found", "no") : answer->second;
  });
  fixture->root.metadata_url = fixture->service->url();
  *state = fixture;
  return 0;
}

int teardown(void** state) {
  auto* fixture = static_cast<Fixture*>(*state);
  fixture->service.reset();  // its thread looks at the fixture
  delete fixture;
  return 0;
}

Fixture* of(void** state) { return static_cast<Fixture*>(*state); }

void be_azure(Fixture* fixture) {
  fixture->folder.write("sys/class/dmi/id/sys_vendor", "Microsoft Corporation\n");
  fixture->folder.write("sys/class/dmi/id/product_name", "Virtual Machine\n");
  fixture->folder.write("sys/class/dmi/id/chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77\n");
}

void be_aws(Fixture* fixture) {
  fixture->folder.write("sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
  fixture->folder.write("sys/class/dmi/id/product_name", "c6i.large\n");
}

void be_gcp(Fixture* fixture) {
  fixture->folder.write("sys/class/dmi/id/sys_vendor", "Google\n");
  fixture->folder.write("sys/class/dmi/id/product_name", "Google Compute Engine\n");
}

constexpr char kAzureAsked[] = "GET /metadata/instance/network?api-version=2021-02-01";
constexpr char kGcpAsked[] =
    "GET /computeMetadata/v1/instance/network-interfaces/?recursive=true&alt=json";
constexpr char kAzureBody[] =
    R"({"interface":[{"ipv4":{"ipAddress":[{"privateIpAddress":"10.0.0.5"}],"subnet":[{"address":)"
    R"("10.0.0.0","prefix":"24"}]},"macAddress":"000D3AABCD02"}]})";
constexpr char kGcpBody[] =
    R"([{"mac":"00:0d:3a:ab:cd:02","ip":"10.8.0.5","gateway":"10.8.0.1","mtu":1460}])";

void put_aws(Fixture* fixture) {
  const std::string folder = std::string("GET ") + kMacs + "00:0d:3a:ab:cd:02/";
  fixture->answers["PUT /latest/api/token"] = http("200 OK", "TOKEN==");
  fixture->answers[std::string("GET ") + kMacs] = http("200 OK", "00:0d:3a:ab:cd:02/\n");
  fixture->answers[folder + "local-ipv4s"] = http("200 OK", "10.4.1.5\n10.4.1.6");
  fixture->answers[folder + "subnet-ipv4-cidr-block"] = http("200 OK", "10.4.0.0/16");
}

bool ask(Fixture* fixture, const Mac& mac = kMac) {
  auto nic = ask_metadata(fixture->root, mac);
  fixture->error = nic ? "" : nic.error();
  if (nic) fixture->nic = nic.value();
  if (fixture->service) fixture->requests = fixture->service->requests();
  return nic.ok();
}

// That it failed with this line, which begins with who was asked about which NIC.
bool failed_with(Fixture* fixture, const char* cloud, const std::string& asked,
                 const std::string& what, const Mac& mac = kMac) {
  const size_t space = asked.find(' ');
  fixture->expected = std::string("metadata of ") + cloud +
                      " for NIC 00:0d:3a:ab:cd:" + (mac == kMac ? "02" : "99") + ": asked " +
                      asked.substr(0, space + 1) + fixture->root.metadata_url +
                      asked.substr(space + 1) + ": " + what + kByHand;
  if (ask(fixture, mac)) return false;
  if (fixture->error == fixture->expected) return true;
  print_error("expected: %s\nsaid:     %s\n", fixture->expected.c_str(), fixture->error.c_str());
  return false;
}

void detect__knows_clouds_by_their_firmware(void** state) {
  assert_int_equal(detect_cloud(of(state)->root), Cloud::kNone);
  of(state)->folder.write("sys/class/dmi/id/sys_vendor", "Microsoft Corporation\n");
  of(state)->folder.write("sys/class/dmi/id/product_name", "Virtual Machine\n");
  assert_int_equal(detect_cloud(of(state)->root), Cloud::kNone);  // Hyper-V at home
  be_azure(of(state));
  assert_int_equal(detect_cloud(of(state)->root), Cloud::kAzure);
  of(state)->folder.write("sys/class/dmi/id/chassis_asset_tag", "\n");
  be_aws(of(state));
  assert_int_equal(detect_cloud(of(state)->root), Cloud::kAws);
  of(state)->folder.write("sys/class/dmi/id/sys_vendor", "Xen\n");
  of(state)->folder.write("sys/class/dmi/id/bios_version", "4.11.amazon\n");
  assert_int_equal(detect_cloud(of(state)->root), Cloud::kAws);
  of(state)->folder.write("sys/class/dmi/id/bios_version", "1.0\n");
  be_gcp(of(state));
  assert_int_equal(detect_cloud(of(state)->root), Cloud::kGcp);
}

void ask__refuses_where_there_is_no_cloud(void** state) {
  of(state)->folder.write("sys/class/dmi/id/sys_vendor", "QEMU\n");
  of(state)->folder.write("sys/class/dmi/id/product_name", "Standard PC (Q35 + ICH9, 2009)\n");
  assert_false(ask(of(state)));
  of(state)->expected =
      "address = metadata works on Azure, AWS and GCP, but this machine is none of "
      "them (" +
      of(state)->folder.path("sys/class/dmi/id") +
      " has sys_vendor \"QEMU\", product_name \"Standard PC (Q35 + ICH9, 2009)\", "
      "chassis_asset_tag \"\")" +
      kByHand;
  assert_string_equal(of(state)->error.c_str(), of(state)->expected.c_str());
  assert_int_equal(of(state)->requests.size(), 0);
}

void azure__answers(void** state) {
  be_azure(of(state));
  of(state)->answers[kAzureAsked] = http("200 OK", kAzureBody);
  assert_true(ask(of(state)));
  assert_string_equal(of(state)->nic.cloud.c_str(), "azure");
  assert_int_equal(of(state)->nic.address, 0x0a000005);
  assert_int_equal(of(state)->nic.prefix_length, 24);
  assert_int_equal(of(state)->nic.gateway, 0x0a000001);
  assert_int_equal(of(state)->requests.size(), 1);
  assert_true(has_header(of(state)->requests[0], "Metadata: true"));
}

void aws__answers(void** state) {
  be_aws(of(state));
  put_aws(of(state));
  assert_true(ask(of(state)));
  assert_string_equal(of(state)->nic.cloud.c_str(), "aws");
  assert_int_equal(of(state)->nic.address, 0x0a040105);
  assert_int_equal(of(state)->nic.prefix_length, 16);
  assert_int_equal(of(state)->nic.gateway, 0x0a040001);
  assert_int_equal(of(state)->requests.size(), 3);
  assert_true(has_header(of(state)->requests[0], "X-aws-ec2-metadata-token-ttl-seconds: 60"));
  assert_true(has_header(of(state)->requests[1], "X-aws-ec2-metadata-token: TOKEN=="));
  assert_true(has_header(of(state)->requests[2], "X-aws-ec2-metadata-token: TOKEN=="));
}

void gcp__answers(void** state) {
  be_gcp(of(state));
  of(state)->answers[kGcpAsked] = http("200 OK", kGcpBody, "Metadata-Flavor: Google\r\n");
  assert_true(ask(of(state)));
  assert_string_equal(of(state)->nic.cloud.c_str(), "gcp");
  assert_int_equal(of(state)->nic.address, 0x0a080005);
  assert_int_equal(of(state)->nic.prefix_length, 32);
  assert_int_equal(of(state)->nic.gateway, 0x0a080001);
  assert_int_equal(of(state)->nic.mtu, 1460);
  assert_int_equal(of(state)->requests.size(), 1);
  assert_true(has_header(of(state)->requests[0], "Metadata-Flavor: Google"));
}

void gcp__must_say_that_it_is_google(void** state) {
  be_gcp(of(state));
  of(state)->answers[kGcpAsked] = http("200 OK", kGcpBody);
  assert_true(failed_with(of(state), "GCP", kGcpAsked,
                          "answered with no header \"Metadata-Flavor: Google\"; is it this "
                          "machine's NIC?"));
}

void each__without_what_was_asked(void** state) {
  const char* kWhat = "answered 404 (not found); does this machine have metadata switched off?";
  be_azure(of(state));
  assert_true(failed_with(of(state), "Azure", kAzureAsked, kWhat));
  of(state)->folder.write("sys/class/dmi/id/chassis_asset_tag", "");
  be_gcp(of(state));
  assert_true(failed_with(of(state), "GCP", kGcpAsked, kWhat));
  be_aws(of(state));
  assert_true(failed_with(of(state), "AWS", "PUT /latest/api/token", kWhat));
  of(state)->answers["PUT /latest/api/token"] = http("403 Forbidden", "");
  assert_true(
      failed_with(of(state), "AWS", "PUT /latest/api/token",
                  "answered 403 (forbidden); does this machine have metadata switched off?"));
  put_aws(of(state));
  of(state)->answers.erase(std::string("GET ") + kMacs +
                           "00:0d:3a:ab:cd:02/subnet-ipv4-cidr-block");
  assert_true(failed_with(of(state), "AWS",
                          std::string("GET ") + kMacs + "00:0d:3a:ab:cd:02/subnet-ipv4-cidr-block",
                          kWhat));
}

void each__for_a_nic_that_it_does_not_know(void** state) {
  be_azure(of(state));
  of(state)->answers[kAzureAsked] = http("200 OK", kAzureBody);
  assert_true(failed_with(of(state), "Azure", kAzureAsked,
                          "answered with no NIC with this MAC (it has 000D3AABCD02); is it this "
                          "machine's NIC?",
                          kOtherMac));
  of(state)->folder.write("sys/class/dmi/id/chassis_asset_tag", "");
  be_gcp(of(state));
  of(state)->answers[kGcpAsked] = http("200 OK", kGcpBody, "Metadata-Flavor: Google\r\n");
  assert_true(failed_with(of(state), "GCP", kGcpAsked,
                          "answered with no NIC with this MAC (it has 00:0d:3a:ab:cd:02); is it "
                          "this machine's NIC?",
                          kOtherMac));
  be_aws(of(state));
  put_aws(of(state));
  assert_true(failed_with(of(state), "AWS", std::string("GET ") + kMacs,
                          "answered with no NIC with this MAC (it has 00:0d:3a:ab:cd:02); is it "
                          "this machine's NIC?",
                          kOtherMac));
}

// Both give the same answer and get the same line. Leaves a machine that is none of theirs.
bool azure_and_gcp_failed(Fixture* fixture, const std::string& answer, const char* what) {
  be_azure(fixture);
  fixture->answers[kAzureAsked] = answer;
  if (!failed_with(fixture, "Azure", kAzureAsked, what)) return false;
  fixture->folder.write("sys/class/dmi/id/chassis_asset_tag", "");
  be_gcp(fixture);
  fixture->answers[kGcpAsked] = answer;
  return failed_with(fixture, "GCP", kGcpAsked, what);
}

void each__with_garbage(void** state) {
  const std::string garbage =
      http("200 OK", "<html>\n\x1b[31mportal", "Metadata-Flavor: Google\r\n");
  const char* kWhat =
      "answered with no JSON (line 1: '[' or '{' expected near '<'): "
      "\"<html>??[31mportal\"; is it this machine's NIC?";
  assert_true(azure_and_gcp_failed(of(state), garbage, kWhat));
  be_aws(of(state));
  put_aws(of(state));
  of(state)->answers["PUT /latest/api/token"] = garbage;
  assert_true(failed_with(of(state), "AWS", "PUT /latest/api/token",
                          "answered with \"<html>??[31mportal\", which is no token; is it this "
                          "machine's NIC?"));
  put_aws(of(state));
  const std::string asked = std::string("GET ") + kMacs + "00:0d:3a:ab:cd:02/local-ipv4s";
  of(state)->answers[asked] = garbage;
  assert_true(failed_with(of(state), "AWS",
                          std::string("GET ") + kMacs + "00:0d:3a:ab:cd:02/subnet-ipv4-cidr-block",
                          "answered with \"<html>\" for a private IPv4 address; is it this "
                          "machine's NIC?"));
}

void each__with_far_too_much(void** state) {
  const std::string huge = http("200 OK", std::string(1 << 20, ' '));
  const char* kWhat =
      "the answer is longer than 65536 bytes; is the service reachable from this "
      "host?";
  assert_true(azure_and_gcp_failed(of(state), huge, kWhat));
  be_aws(of(state));
  of(state)->answers["PUT /latest/api/token"] = huge;
  assert_true(failed_with(of(state), "AWS", "PUT /latest/api/token", kWhat));
}

void each__too_slowly(void** state) {
  const char* kWhat = "no answer within 2500 ms; is the service reachable from this host?";
  of(state)->service->pause_ms = 100;
  be_azure(of(state));
  assert_true(failed_with(of(state), "Azure", kAzureAsked, kWhat));
  of(state)->folder.write("sys/class/dmi/id/chassis_asset_tag", "");
  be_gcp(of(state));
  assert_true(failed_with(of(state), "GCP", kGcpAsked, kWhat));
  be_aws(of(state));
  assert_true(failed_with(of(state), "AWS", "PUT /latest/api/token", kWhat));
}

void each__when_nobody_is_there(void** state) {
  const std::string port = of(state)->root.metadata_url.substr(17);
  of(state)->service.reset();
  const auto refused = [&](const char* cloud, const char* asked) {
    // Which follow the milliseconds that it took, and curl's reason.
    const size_t space = std::string(asked).find(' ');
    of(state)->expected = std::string("metadata of ") + cloud +
                          " for NIC 00:0d:3a:ab:cd:02: asked " +
                          std::string(asked).substr(0, space + 1) + of(state)->root.metadata_url +
                          std::string(asked).substr(space + 1) +
                          ": no answer (Failed to connect to 127.0.0.1 port " + port;
    return !ask(of(state)) && of(state)->error.starts_with(of(state)->expected) &&
           of(state)->error.ends_with(std::string("; is the service reachable from this host?") +
                                      kByHand);
  };
  be_azure(of(state));
  assert_true(refused("Azure", kAzureAsked));
  of(state)->folder.write("sys/class/dmi/id/chassis_asset_tag", "");
  be_gcp(of(state));
  assert_true(refused("GCP", kGcpAsked));
  be_aws(of(state));
  assert_true(refused("AWS", "PUT /latest/api/token"));
}

void each__that_sends_us_elsewhere(void** state) {
  const std::string elsewhere = http("302 Found", "", "Location: http://127.0.0.1:1/\r\n");
  const char* kWhat =
      "answered 302 (sends us elsewhere); does this machine have metadata switched "
      "off?";
  assert_true(azure_and_gcp_failed(of(state), elsewhere, kWhat));
}

void aws__token_is_never_made_a_second_header(void** state) {
  be_aws(of(state));
  put_aws(of(state));
  of(state)->answers["PUT /latest/api/token"] = http("200 OK", "a\r\nX-Evil: 1");
  assert_true(failed_with(of(state), "AWS", "PUT /latest/api/token",
                          "answered with \"a??X-Evil: 1\", which is no token; is it this machine's "
                          "NIC?"));
  assert_int_equal(of(state)->requests.size(), 1);
}

}  // namespace

#define with_service(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main() {
  const CMUnitTest tests[] = {
      with_service(detect__knows_clouds_by_their_firmware),
      with_service(ask__refuses_where_there_is_no_cloud),
      with_service(azure__answers),
      with_service(aws__answers),
      with_service(gcp__answers),
      with_service(gcp__must_say_that_it_is_google),
      with_service(each__without_what_was_asked),
      with_service(each__for_a_nic_that_it_does_not_know),
      with_service(each__with_garbage),
      with_service(each__with_far_too_much),
      with_service(each__too_slowly),
      with_service(each__when_nobody_is_there),
      with_service(each__that_sends_us_elsewhere),
      with_service(aws__token_is_never_made_a_second_header),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
