// SPDX-License-Identifier: MIT
#include "config/config.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
extern "C" {
#include <cmocka.h>
}
#include "config/keys.h"

using namespace mn;

namespace {

// What the last text gave; outlives a test that fails.
config::Loaded loaded;

void parse(const char* text) { loaded = config::parse_config(text, "f"); }

void assert_fine(const char* text) {
  parse(text);
  for (const auto& error : loaded.errors) print_error("%s\n", error.c_str());
  assert_int_equal(loaded.errors.size(), 0);
}

// Exactly one error, and it holds these words.
void assert_refused(const char* text, const char* begin, const char* words) {
  parse(text);
  for (const auto& error : loaded.errors) {
    if (loaded.errors.size() != 1) print_error("%s\n", error.c_str());
  }
  assert_int_equal(loaded.errors.size(), 1);
  const char* error = loaded.errors[0].c_str();
  if (strncmp(error, begin, strlen(begin)) != 0 || strstr(error, words) == nullptr) {
    fail_msg("got: %s", error);
  }
}

void parse_config__empty_text_gives_defaults(void**) {
  assert_fine("");
  assert_string_equal(loaded.config.socket.c_str(), "/run/machnet/machnet.sock");
  assert_int_equal(loaded.config.socket_mode, 0660);
  assert_int_equal(loaded.config.nics.size(), 0);
  assert_true(loaded.config.hugepages == config::Hugepages::kAuto);
}

void parse_config__takes_every_key(void**) {
  assert_fine(
      "# a comment\n"
      "[machnet]\n"
      "socket = /tmp/m.sock   ; why\n"
      "socket_group = users\n"
      "socket_mode = 0666\n"
      "memory = 512M\n"
      "hugepages = no\n"
      "log_level = debug\n"
      "channels_per_user = 10\n"
      "memory_per_user = 2G\n"
      "flows_per_user = 20\n"
      "listeners_per_user = 30\n"
      "\n"
      "[nic eth1]\n"
      "address = 10.0.1.2/24\n"
      "gateway = 10.0.1.1\n"
      "mode = af_xdp\n"
      "allow_unsafe_noiommu = yes\n"
      "force = yes\n"
      "mtu = 3000\n"
      "engines = 1\n"
      "cpus = 2,4-5\n"
      "idle = spin\n"
      "congestion = cubic\n"
      "[nic 0000:03:00.0]\n"
      "address = 10.0.2.2/32\n"
      "gateway = 10.9.9.9\n"
      "[nic link0]\n"
      "address = 10.0.3.2/24\n"
      "mode = vdev:net_memif0,role=server,socket=/tmp/x.sock\n");
  const config::Config& c = loaded.config;
  assert_string_equal(c.socket.c_str(), "/tmp/m.sock");
  assert_string_equal(c.socket_group.c_str(), "users");
  assert_int_equal(c.socket_mode, 0666);
  assert_int_equal(c.memory_bytes, 512u << 20);
  assert_true(c.hugepages == config::Hugepages::kNo);
  assert_true(c.log_level == LogLevel::kDebug);
  assert_int_equal(c.nics.size(), 3);
  assert_string_equal(c.nics[0].name.c_str(), "eth1");
  assert_int_equal(c.nics[0].address, 0x0a000102);
  assert_int_equal(c.nics[0].prefix_length, 24);
  assert_int_equal(c.nics[0].gateway, 0x0a000101);
  assert_int_equal(c.nics[0].mtu, 3000);
  assert_int_equal(c.nics[0].cpus.size(), 3);
  assert_int_equal(c.nics[0].cpus[2], 5);
  assert_true(c.nics[0].idle == config::Idle::kSpin);
  assert_true(c.nics[0].congestion == config::Congestion::kCubic);
  assert_true(c.nics[1].congestion == config::Congestion::kFixed);
  assert_true(c.nics[0].address_source == config::AddressSource::kGiven);
  assert_true(c.nics[0].gateway_source == config::GatewaySource::kGiven);
  assert_true(c.nics[0].force);
  assert_true(c.nics[0].allow_unsafe_noiommu);
  assert_string_equal(c.nics[1].mode.c_str(), "auto");
  assert_int_equal(c.quotas.channels_per_user, 10);
  assert_int_equal(c.quotas.memory_per_user, uint64_t{2} << 30);
  assert_int_equal(c.quotas.flows_per_user, 20);
  assert_int_equal(c.quotas.listeners_per_user, 30);
  assert_string_equal(c.nics[2].mode.c_str(), "vdev:net_memif0,role=server,socket=/tmp/x.sock");
}

void parse_config__names_line_key_and_what_is_allowed(void**) {
  parse("\n\n[machnet]\n\nhugepages = maybe\n");
  assert_int_equal(loaded.errors.size(), 1);
  assert_string_equal(loaded.errors[0].c_str(),
                      "f:5: key 'hugepages' in [machnet]: 'maybe': unknown value; allowed: auto, "
                      "yes, no");
}

void parse_config__refuses_the_unknown(void**) {
  assert_refused("[machnet]\nsockett = /x\n", "f:2: key 'sockett' in [machnet]: unknown;",
                 "socket_group");
  assert_refused("[nick eth0]\nwhat = ever\n", "f:1: section [nick eth0]: unknown;", "[nic NAME]");
  assert_refused("socket = /x\n", "f:1: key 'socket' before any section", "[machnet]");
  assert_refused("[nic a/b]\naddress = 1.2.3.4/8\n", "f:1: section [nic a/b]", "PCI address");
  assert_refused("[nic]\n", "f:1: section [nic]: unknown", "");
}

void parse_config__refuses_what_comes_twice(void**) {
  assert_refused("[machnet]\nsocket=/a\nsocket=/b\n", "f:3: key 'socket' in [machnet]: given twice",
                 "line 2");
  assert_refused("[machnet]\n[machnet]\nsocket=/a\n", "f:2: section [machnet]: given twice",
                 "line 1");
  assert_refused("[nic e]\naddress=10.0.0.1/8\nmode=af_xdp\n[nic  e]\n", "f:4: section [nic e]",
                 "given twice");
  assert_refused(
      "[nic e]\naddress=10.0.0.1/8\nmode=af_xdp\n[nic f]\nmode=af_xdp\naddress=10.0.0.1/8\n",
      "f:6: key 'address' in [nic f]", "line 2");
}

void parse_config__leaves_to_the_machine_what_is_not_said(void**) {
  assert_fine("[nic eth1]\n[nic 00:11:22:33:44:55]\naddress = metadata\ngateway = none\n");
  const config::NicConfig& first = loaded.config.nics[0];
  assert_true(first.address_source == config::AddressSource::kAuto);
  assert_true(first.gateway_source == config::GatewaySource::kAuto);
  assert_int_equal(first.address, 0);
  assert_int_equal(first.mtu, 0);
  assert_string_equal(first.mode.c_str(), "auto");
  assert_false(first.force);
  assert_false(first.allow_unsafe_noiommu);
  const config::NicConfig& second = loaded.config.nics[1];
  assert_true(second.address_source == config::AddressSource::kMetadata);
  assert_true(second.gateway_source == config::GatewaySource::kNone);
  assert_fine("[nic a]\naddress = auto\ngateway = 10.0.0.1\n[nic b]\naddress = auto\n");
  assert_true(loaded.config.nics[0].gateway_source == config::GatewaySource::kGiven);
}

void parse_config__refuses_a_mode_that_cannot_be(void**) {
  static const char kVmbus[] = "[nic f8615163-df3e-46c5-913f-f2d2f965ed0e]\n";
  assert_refused((std::string(kVmbus) + "mode = vfio-pci\n").c_str(), "f:2: key 'mode'",
                 "uio_hv_generic");
  assert_refused((std::string(kVmbus) + "mode = af_xdp\n").c_str(), "f:2: key 'mode'",
                 "kernel interface");
  assert_refused("[nic 3b:00.0]\nmode = uio_hv_generic\n", "f:2: key 'mode'", "vfio-pci");
  assert_refused("[nic l]\nmode = vdev:net_memif0\n", "f:1: key 'address'", "virtual device");
  assert_refused("[nic l]\nmode = vdev:net_memif0\naddress = auto\n", "f:3: key 'address'",
                 "virtual device");
}

void keys__write_what_they_read(void**) {
  static const char kText[] =
      "[machnet]\nsocket = /s\nsocket_group = g\nsocket_mode = 0606\nmemory = 1025M\n"
      "hugepages = yes\nlog_level = error\nchannels_per_user = 3\nmemory_per_user = 7G\n"
      "flows_per_user = 4\nlisteners_per_user = 5\n"
      "[nic e]\naddress = 10.1.2.3/24\ngateway = 10.1.2.254\nmode = bifurcated\n"
      "allow_unsafe_noiommu = yes\nforce = yes\nmtu = 9000\nengines = 1\ncpus = 2,4,5\n"
      "idle = spin\ncongestion = fixed\n";
  assert_fine(kText);
  std::string written = "[machnet]\n";
  for (const auto& key : config::machnet_keys()) {
    written += std::string(key.name) + " = " + key.show(loaded.config) + "\n";
  }
  written += "[nic e]\n";
  for (const auto& key : config::nic_keys()) {
    written += std::string(key.name) + " = " + key.show(loaded.config.nics[0]) + "\n";
  }
  assert_string_equal(written.c_str(), kText);
  for (const char* word : {"address = auto", "address = metadata", "gateway = none"}) {
    parse((std::string("[nic e]\n") + word + "\n").c_str());
    const config::NicKey& key = config::nic_keys()[word[0] == 'a' ? 0 : 1];
    assert_string_equal((std::string(key.name) + " = " + key.show(loaded.config.nics[0])).c_str(),
                        word);
  }
  assert_fine("[nic e]\ncpus = any\n");
  assert_true(loaded.config.nics[0].cpus.empty());
}

void parse_config__refuses_bad_values(void**) {
  static const struct {
    const char* key;
    const char* values[8];
  } kBad[] = {
      {"address",
       {"10.0.0.1", "10.0.0.1/0", "10.0.0.1/33", "10.0.0.256/8", "010.0.0.1/8", "10.0.0.0/8",
        "127.0.0.1/8", "224.0.0.1/24"}},
      {"mtu", {"575", "32769", "x", "1500 # no comment", "-1", "", "1500.0", "0x600"}},
      {"engines", {"0", "17", "a", "", "1 1", "+1", "1x"}},
      {"cpus", {"a", "1,", "3-1", "1,1", "1-2-3", "5000", "-1", ",1"}},
      {"force", {"1", "true", "", "YES", "y", "no.", "-", "none"}},
      {"allow_unsafe_noiommu", {"1", "true", "", "YES", "y", "no.", "-", "none"}},
      {"idle", {"SPIN", "sleep", "", "spin,", "s", "adaptive1", "1", "yes"}},
      {"congestion", {"Swift", "reno", "", "swift,cubic", "bbr", "0", "none", "auto"}},
      {"gateway",
       {"10.0.0.1", "11.0.0.2", "x", "", "0.0.0.0", "255.255.255.255", "1.2.3", "1.2.3.4.5"}},
  };
  char text[256];
  for (const auto& bad : kBad) {
    for (const char* value : bad.values) {
      const bool is_address = strcmp(bad.key, "address") == 0;
      snprintf(text, sizeof(text), "[nic e]\n%s = %s\nmode = af_xdp\n%s", bad.key, value,
               is_address ? "" : "address = 10.0.0.1/8\n");
      char begin[64];
      snprintf(begin, sizeof(begin), "f:2: key '%s' in [nic e]: ", bad.key);
      assert_refused(text, begin, "; allowed: ");
    }
  }
  for (const char* key : {"channels_per_user", "flows_per_user", "listeners_per_user"}) {
    for (const char* value : {"0", "-1", "x", "1000001", "1K"}) {
      snprintf(text, sizeof(text), "[machnet]\n%s = %s\n", key, value);
      assert_refused(text, "f:2:", "1 to 1000000");
    }
  }
  assert_refused("[machnet]\nmemory_per_user = 1K\n", "f:2:", "out of range");
  assert_refused("[machnet]\nmemory_per_user = none\n", "f:2:", "auto");
  assert_refused("[machnet]\nmemory = 1K\n", "f:2:", "out of range");
  assert_refused("[machnet]\nmemory = 99999999999G\n", "f:2:", "not a size");
  assert_refused("[machnet]\nsocket_mode = 0888\n", "f:2:", "octal");
  assert_refused("[machnet]\nsocket = run/x\n", "f:2:", "absolute");
  assert_refused("[nic 0000:00:01.0]\naddress=10.0.0.1/8\nmode = af_xdp\n",
                 "f:3:", "kernel interface");
}

void parse_config__reports_all_errors_in_order(void**) {
  parse("[machnet]\nx = 1\n[nic e\nmode = no\n[nic f]\nmode = no\nmtu = 1\n[wrong]\n");
  assert_int_equal(loaded.errors.size(), 5);
  assert_int_equal(strncmp(loaded.errors[0].c_str(), "f:2:", 4), 0);
  assert_int_equal(strncmp(loaded.errors[1].c_str(), "f:3:", 4), 0);
  assert_int_equal(strncmp(loaded.errors[2].c_str(), "f:6:", 4), 0);
  assert_int_equal(strncmp(loaded.errors[3].c_str(), "f:7:", 4), 0);
  assert_int_equal(strncmp(loaded.errors[4].c_str(), "f:8:", 4), 0);
}

void parse_config__refuses_lines_that_are_none(void**) {
  assert_refused("[machnet]\nsocket\n", "f:2: ", "key = value");
  assert_refused("[machnet\nsocket=/a\n", "f:1: ", "[name]");
  assert_refused("[machnet] socket = /a\n", "f:1: ", "alone");
  loaded = config::parse_config(std::string_view("[machnet]\nsocket = /a\0b\n", 24), "f");
  assert_int_equal(loaded.errors.size(), 1);
  loaded = config::parse_config("[machnet]\nsocket = /" + std::string(300, 'a') + "\n", "f");
  assert_int_equal(loaded.errors.size(), 1);
}

void parse_config__takes_other_line_ends_and_indents(void**) {
  assert_fine("\xEF\xBB\xBF[machnet]\r\n  socket = /a\r\n\tlog_level = error");
  assert_string_equal(loaded.config.socket.c_str(), "/a");
  assert_true(loaded.config.log_level == LogLevel::kError);
}

void load_config__says_which_file_is_missing(void**) {
  loaded = config::load_config("/nonexistent/machnet.conf");
  assert_int_equal(loaded.errors.size(), 1);
  assert_non_null(strstr(loaded.errors[0].c_str(), "/nonexistent/machnet.conf: cannot be read"));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(parse_config__empty_text_gives_defaults),
      cmocka_unit_test(parse_config__takes_every_key),
      cmocka_unit_test(parse_config__names_line_key_and_what_is_allowed),
      cmocka_unit_test(parse_config__refuses_the_unknown),
      cmocka_unit_test(parse_config__refuses_what_comes_twice),
      cmocka_unit_test(parse_config__leaves_to_the_machine_what_is_not_said),
      cmocka_unit_test(parse_config__refuses_a_mode_that_cannot_be),
      cmocka_unit_test(keys__write_what_they_read),
      cmocka_unit_test(parse_config__refuses_bad_values),
      cmocka_unit_test(parse_config__reports_all_errors_in_order),
      cmocka_unit_test(parse_config__refuses_lines_that_are_none),
      cmocka_unit_test(parse_config__takes_other_line_ends_and_indents),
      cmocka_unit_test(load_config__says_which_file_is_missing),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
