// SPDX-License-Identifier: MIT
#include "config/changes.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <string>
extern "C" {
#include <cmocka.h>
}

using namespace mn;
using namespace mn::config;

namespace {

Config before;
Config after;
std::string found;  // what find_changes said, a line each

void compare(const char* old_text, const char* new_text) {
  before = parse_config(old_text, "f").config;
  after = parse_config(new_text, "f").config;
  found.clear();
  for (const Change& change : find_changes(before, after)) {
    found += describe(change) + (change.reloadable ? "\n" : " (restart)\n");
  }
}

void find_changes__none_where_the_same_is_said_in_other_words(void**) {
  compare("[machnet]\nmemory = 1024M\nlog_level = info\n[nic e]\nmtu = 1500\n",
          "# said in another way\n[nic e]\nmtu=1500\nidle = adaptive\n[machnet]\nmemory = 1G\n");
  assert_string_equal(found.c_str(), "");
}

void find_changes__says_old_and_new_and_who_needs_a_restart(void**) {
  compare(
      "[machnet]\nlog_level = debug\nmemory = 16M\n[nic e]\naddress = 10.0.0.1/8\nidle = spin\n",
      "[machnet]\nsocket_group = g\nchannels_per_user = 9\nmemory_per_user = 1G\n"
      "flows_per_user = 8\nlisteners_per_user = 7\n[nic e]\naddress = metadata\n");
  assert_string_equal(found.c_str(),
                      "[machnet] socket_group: absent -> g (restart)\n"
                      "[machnet] memory: 16M -> auto (restart)\n"
                      "[machnet] log_level: debug -> info\n"
                      "[machnet] channels_per_user: 2048 -> 9\n"
                      "[machnet] memory_per_user: auto -> 1G\n"
                      "[machnet] flows_per_user: 8192 -> 8\n"
                      "[machnet] listeners_per_user: 512 -> 7\n"
                      "[nic e] address: 10.0.0.1/8 -> metadata (restart)\n"
                      "[nic e] idle: spin -> adaptive\n");
}

void find_changes__sections_that_come_and_go(void**) {
  compare("[nic a]\n[nic b]\n", "[nic b]\n[nic c]\n");
  assert_string_equal(
      found.c_str(),
      "[nic a]: present -> absent (restart)\n[nic c]: absent -> present (restart)\n");
}

void apply_reloadable__leaves_the_rest_to_be_said_again(void**) {
  compare(
      "[machnet]\nmemory = 16M\nlog_level = error\nmemory_per_user = 1G\n[nic e]\nidle = spin\n",
      "[machnet]\nmemory = 17M\nlog_level = debug\n[nic e]\n[nic f]\nidle = spin\n");
  apply_reloadable(after, &before);
  assert_true(before.log_level == LogLevel::kDebug);
  assert_int_equal(before.quotas.memory_per_user, 0);
  assert_true(before.nics[0].idle == Idle::kAdaptive);
  assert_int_equal(before.nics.size(), 1);
  static std::vector<Change> left;
  left = find_changes(before, after);
  assert_int_equal(left.size(), 2);
  assert_string_equal(describe(left[0]).c_str(), "[machnet] memory: 16M -> 17M");
  assert_string_equal(describe(left[1]).c_str(), "[nic f]: absent -> present");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(find_changes__none_where_the_same_is_said_in_other_words),
      cmocka_unit_test(find_changes__says_old_and_new_and_who_needs_a_restart),
      cmocka_unit_test(find_changes__sections_that_come_and_go),
      cmocka_unit_test(apply_reloadable__leaves_the_rest_to_be_said_again),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
