// SPDX-License-Identifier: MIT
#include "device/saved_nic.h"

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

struct Fixture {
  SavedNic nic;
  std::string text;
  std::string error;
  std::vector<std::string> lines;  // of `text`, each with its end
};

SavedNic full_nic() {
  SavedNic nic;
  nic.name = "0000:3b:00.1";
  nic.ifname = "enp59s0f1";
  nic.mac = Mac{{0x02, 0x0d, 0x3a, 0x12, 0x34, 0xff}};
  nic.bus = Bus::kPci;
  nic.device = "0000:3b:00.1";
  nic.driver = "ice";
  nic.mode = "vfio-pci";
  nic.reason = "PCI device in IOMMU group 17 = alone, # not shared";
  nic.address = 0x0a010002;
  nic.prefix_length = 24;
  nic.gateway = 0x0a010001;
  nic.address_reason = "the kernel had it on enp59s0f1";
  nic.mtu = 9000;
  nic.is_up = true;
  nic.addresses.push_back({.address = "10.1.0.2",
                           .prefix_length = 24,
                           .peer = "",
                           .broadcast = "10.1.0.255",
                           .label = "enp59s0f1:x",
                           .scope = 0,
                           .flags = 0x200,
                           .metric = 100,
                           .valid_s = 3600,
                           .preferred_s = 1800});
  KernelAddress ipv6;
  ipv6.address = "fd00::2";
  ipv6.prefix_length = 64;
  nic.addresses.push_back(ipv6);
  KernelRoute route;
  route.destination = "default";
  route.gateway = "10.1.0.1";
  route.source = "10.1.0.2";
  route.metric = 100;
  route.table = 1000;
  route.protocol = 16;
  route.is_onlink = true;
  route.mtu = 1400;
  nic.routes.push_back(route);
  KernelRoute wide;
  wide.destination = "10.9.0.0/16";
  wide.hops.push_back({.ifname = "enp59s0f1", .gateway = "10.1.0.1", .weight = 3});
  wide.hops.push_back({.ifname = "eth9", .gateway = "", .weight = 1, .is_onlink = true});
  nic.routes.push_back(wide);
  nic.numa_node = 1;
  nic.bound = Bound::kYes;
  nic.noiommu_enabled = true;
  nic.hugepages.push_back({.node = 1, .page_bytes = 2 << 20, .count = 128, .floor = {}});
  nic.hugepages.push_back({.node = -1, .page_bytes = 1 << 30, .count = 1, .floor = uint64_t{0}});
  nic.boot_id = "0a1b2c3d-0000-4000-8000-0123456789ab";
  return nic;
}

int setup(void** state) {
  auto* fixture = new Fixture;
  fixture->nic = full_nic();
  fixture->text = format_saved_nic(fixture->nic);
  for (size_t at = 0; at < fixture->text.size();) {
    const size_t end = fixture->text.find('\n', at) + 1;
    fixture->lines.push_back(fixture->text.substr(at, end - at));
    at = end;
  }
  *state = fixture;
  return 0;
}

int teardown(void** state) {
  delete static_cast<Fixture*>(*state);
  return 0;
}

Fixture* of(void** state) { return static_cast<Fixture*>(*state); }

bool parses(Fixture* fixture, std::string_view text) {
  auto nic = parse_saved_nic(text, "x.nic");
  fixture->error = nic ? "" : nic.error();
  if (nic) fixture->nic = nic.value();
  return nic.ok();
}

// The text with a line replaced; the last line is made to fit unless it is the one.
std::string with_line(const Fixture* fixture, size_t number, const std::string& line) {
  std::string text;
  for (size_t i = 0; i < fixture->lines.size(); i++) text += i == number ? line : fixture->lines[i];
  return text;
}

// As with_line, with the count at the end made to fit again.
std::string counted(std::string text) {
  const size_t end = text.rfind("lines = ");
  if (end == std::string::npos) return text;
  text.resize(end);
  size_t lines = 0;
  for (const char c : text) lines += c == '\n';
  return text + "lines = " + std::to_string(lines) + "\n";
}

bool says(const Fixture* fixture, const char* text) {
  if (fixture->error.find(text) != std::string::npos) return true;
  print_error("not said: %s\nsaid: %s\n", text, fixture->error.c_str());
  return false;
}

size_t line_of(const Fixture* fixture, const char* key) {
  for (size_t i = 0; i < fixture->lines.size(); i++) {
    if (fixture->lines[i].starts_with(key)) return i;
  }
  return SIZE_MAX;
}

void parse__gives_back_what_was_written(void** state) {
  assert_true(parses(of(state), of(state)->text));
  assert_true(of(state)->nic == full_nic());
  SavedNic& nic = of(state)->nic;
  nic = SavedNic();
  nic.name = "eth0";
  of(state)->text = format_saved_nic(nic);
  assert_true(parses(of(state), of(state)->text));
  assert_string_equal(nic.name.c_str(), "eth0");
  nic.name = "";
  assert_true(nic == SavedNic());
}

void parse__refuses_every_beginning_of_a_file(void** state) {
  const std::string& text = of(state)->text;
  for (size_t size = 0; size < text.size(); size++) {
    if (parses(of(state), std::string_view(text).substr(0, size))) fail_msg("%zu bytes", size);
    assert_true(of(state)->error.starts_with("x.nic:"));
  }
}

void parse__refuses_a_file_without_one_of_its_lines(void** state) {
  for (size_t i = 0; i < of(state)->lines.size(); i++) {
    const bool is_comment = of(state)->lines[i][0] == '#';
    assert_false(parses(of(state), with_line(of(state), i, "")));
    // Lists and comments may be shorter when the count fits.
    const bool is_list =
        of(state)->lines[i].starts_with("kernel_") || of(state)->lines[i].starts_with("hugepages");
    assert_int_equal(parses(of(state), counted(with_line(of(state), i, ""))),
                     is_comment || is_list);
  }
  assert_true(parses(of(state), of(state)->text));
  assert_false(parses(of(state), counted(with_line(of(state), line_of(of(state), "mtu"), ""))));
  assert_true(says(of(state), "the key \"mtu\" is missing"));
}

void parse__refuses_a_line_twice(void** state) {
  for (size_t i = 1; i + 1 < of(state)->lines.size(); i++) {
    const std::string& line = of(state)->lines[i];
    assert_false(parses(of(state), with_line(of(state), i, line + line)));
    if (line.starts_with("kernel_") || line.starts_with("hugepages")) continue;
    assert_false(parses(of(state), counted(with_line(of(state), i, line + line))));
    assert_true(says(of(state), "twice"));
    const std::string place = "x.nic:" + std::to_string(i + 2) + ": ";
    assert_true(of(state)->error.starts_with(place));
  }
}

void parse__refuses_values_that_are_none(void** state) {
  const struct {
    const char* key;
    const char* line;
  } kWrong[] = {
      {"name", "name ="},
      {"mac", "mac = 02:0d:3a:12:34"},
      {"bus", "bus = usb"},
      {"address", "address = 10.1.0"},
      {"address", "address = 0.0.0.0"},
      {"prefix_length", "prefix_length = 33"},
      {"gateway", "gateway ="},
      {"mtu", "mtu = -1"},
      {"mtu", "mtu = 4294967296"},
      {"up", "up = 1"},
      {"kernel_address", "kernel_address = 10.1.0.2"},
      {"kernel_address", "kernel_address = 10.1.0.2/33"},
      {"kernel_address", "kernel_address = 10.1.0.2/24 scope 256"},
      {"kernel_route", "kernel_route = 10.0.0.0"},
      {"kernel_route", "kernel_route = default via"},
      {"kernel_route", "kernel_route = default via nowhere"},
      {"kernel_route", "kernel_route = default metric 1 metric 2"},
      {"numa_node", "numa_node = -1"},
      {"bound", "bound = maybe"},
      {"hugepages", "hugepages = 1 x 2097152"},
      {"hugepages", "hugepages = 1 x 2097152 on moon"},
      {"hugepages", "hugepages = 1 x 2097152 on 0 above"},
      {"hugepages", "hugepages = 1 x 2097152 on 0 below 3"},
      {"mode", "mode vfio-pci"},
      {"mode", "mode =vfio-pci"},
      {"mode", " = vfio-pci"},
      {"mode", "modus = vfio-pci"},
      {"mode", "mode = vfio\tpci"},
      {"mode", "mode = vfio\xc3\xa4"},
      {"version", "version = 0"},
      {"version", "version = 2"},
  };
  for (const auto& wrong : kWrong) {
    const size_t at = line_of(of(state), wrong.key);
    assert_true(at < of(state)->lines.size());
    if (parses(of(state), with_line(of(state), at, std::string(wrong.line) + "\n"))) {
      fail_msg("%s", wrong.line);
    }
    const bool has_place = of(state)->error.starts_with("x.nic:" + std::to_string(at + 1) + ": ") ||
                           strcmp(wrong.key, "name") == 0;  // found out at the end
    if (!has_place) fail_msg("%s: %s", wrong.line, of(state)->error.c_str());
    assert_null(strchr(of(state)->error.c_str(), '\n'));
    assert_true(says(of(state), "; remove the file to forget what it says of the NIC"));
  }
}

void parse__says_what_is_wrong(void** state) {
  assert_false(parses(of(state), ""));
  assert_string_equal(of(state)->error.c_str(),
                      "x.nic:1: there is no last line \"lines = N\": the file is cut off; remove "
                      "the file to forget what it says of the NIC");
  assert_false(parses(of(state), with_line(of(state), 1, "version = 7\n")));
  assert_true(
      says(of(state), "x.nic:2: written by a newer machnet-nic (version 7, this one reads 1)"));
  assert_false(parses(of(state), with_line(of(state), 1, "")));
  assert_true(says(of(state), "x.nic:2: the first line is not \"version = N\""));
  assert_false(parses(of(state), of(state)->text + "x"));
  assert_true(says(of(state), "the line has no end"));
  assert_false(parses(of(state), of(state)->text + "name = b\n"));
  assert_true(says(of(state), "there is more after the last line"));
  assert_false(
      parses(of(state), with_line(of(state), 2, "name = " + std::string(4097, 'x') + "\n")));
  assert_true(says(of(state), "x.nic:3: the line is longer than 4096 bytes"));
  assert_false(parses(of(state), std::string(300 << 10, '\n')));
  assert_true(says(of(state), "it is too long"));
  assert_false(parses(of(state), std::string_view("\0\0\0\n", 4)));
  assert_true(says(of(state), "a byte that is no printable character"));
}

void format__keeps_every_value_on_its_line(void** state) {
  of(state)->nic.reason = "  two\nlines\x01 " + std::string(5000, 'x');
  of(state)->text = format_saved_nic(of(state)->nic);
  assert_true(parses(of(state), of(state)->text));
  assert_true(of(state)->nic.reason.starts_with("two?lines? xxx"));
  assert_true(of(state)->nic.reason.ends_with("x..."));
}

// Whatever is done to a file: refused, or something that can be written and read again. Never read
// beyond its end (under the sanitizer).
void parse__bears_damaged_files(void** state) {
  test::SimRandom random(20240607);
  size_t accepted = 0;
  for (int round = 0; round < 20000; round++) {
    std::string text = of(state)->text;
    const uint32_t changes = 1 + static_cast<uint32_t>(random.below(3));
    for (uint32_t i = 0; i < changes; i++) {
      const size_t at = random.below(text.size());
      switch (random.below(4)) {
        case 0:
          text[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          text.erase(at, random.below(40));
          break;
        case 2:
          text.insert(at, text.substr(random.below(text.size()), random.below(40)));
          break;
        default:
          text[at] = static_cast<char>(text[at] ^ (1 << random.below(8)));
          break;
      }
    }
    if (!parses(of(state), text)) {
      assert_true(of(state)->error.starts_with("x.nic:"));
      assert_null(strchr(of(state)->error.c_str(), '\n'));
      continue;
    }
    accepted++;
    const SavedNic first = of(state)->nic;
    assert_true(parses(of(state), format_saved_nic(first)));
    assert_true(of(state)->nic == first);
  }
  // Damage within a value often leaves a value.
  assert_true(accepted > 100 && accepted < 15000);
}

}  // namespace

#define with_nic(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main() {
  const CMUnitTest tests[] = {
      with_nic(parse__gives_back_what_was_written),
      with_nic(parse__refuses_every_beginning_of_a_file),
      with_nic(parse__refuses_a_file_without_one_of_its_lines),
      with_nic(parse__refuses_a_line_twice),
      with_nic(parse__refuses_values_that_are_none),
      with_nic(parse__says_what_is_wrong),
      with_nic(format__keeps_every_value_on_its_line),
      with_nic(parse__bears_damaged_files),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
