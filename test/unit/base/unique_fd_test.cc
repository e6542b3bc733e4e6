// SPDX-License-Identifier: MIT
#include "base/unique_fd.h"

#include <fcntl.h>
#include <unistd.h>

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <utility>
extern "C" {
#include <cmocka.h>
}

namespace {

bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }
int open_one() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

void unique_fd__closes_at_the_end(void**) {
  int raw;
  {
    mn::UniqueFd fd(open_one());
    raw = fd.get();
    assert_true(fd.valid() && is_open(raw));
  }
  assert_false(is_open(raw));
}

void unique_fd__moves(void**) {
  mn::UniqueFd a(open_one());
  const int raw = a.get();
  mn::UniqueFd b(std::move(a));
  assert_false(a.valid());
  assert_int_equal(b.get(), raw);
  mn::UniqueFd c(open_one());
  const int other = c.get();
  c = std::move(b);
  assert_false(is_open(other));
  assert_int_equal(c.get(), raw);
  assert_int_equal(c.release(), raw);
  assert_true(is_open(raw));
  c.reset(raw);
  c.reset();
  assert_false(is_open(raw));
  assert_false(static_cast<bool>(c));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(unique_fd__closes_at_the_end),
      cmocka_unit_test(unique_fd__moves),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
