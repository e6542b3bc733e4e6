// SPDX-License-Identifier: MIT
#include "base/capabilities.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
extern "C" {
#include <cmocka.h>
}

using namespace mn;

namespace {

void format__names_and_numbers(void**) {
  assert_string_equal(format_capabilities(0).c_str(), "");
  assert_string_equal(
      format_capabilities(capability(CAP_NET_RAW) | capability(CAP_BPF) | capability(63)).c_str(),
      "CAP_NET_RAW CAP_BPF CAP_63");
}

// In a child: what is given up does not come back. 0 as it should be, else the step that failed.
int give_up() {
  const Capabilities before = held_capabilities();
  const Capabilities kept = before & capability(CAP_NET_RAW);
  if (!keep_capabilities(capability(CAP_NET_RAW))) return 1;
  if (held_capabilities() != kept) return 2;
  if (!keep_capabilities(before)) return 3;   // asking for more is no error,
  if (held_capabilities() != kept) return 4;  // and gives nothing
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0, 0) != 0) return 5;
  if (!keep_capabilities(0)) return 6;
  if (held_capabilities() != 0) return 7;
  return 0;
}

void keep_capabilities__is_for_ever(void**) {
  const pid_t child = fork();
  if (child == 0) _exit(give_up());
  int status = -1;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(format__names_and_numbers),
      cmocka_unit_test(keep_capabilities__is_for_ever),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
