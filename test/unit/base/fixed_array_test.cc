// SPDX-License-Identifier: MIT
#include "base/fixed_array.h"

#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
extern "C" {
#include <cmocka.h>
}

#include <sys/wait.h>
#include <unistd.h>

#include "base/static_vector.h"

namespace {

int live = 0;  // Counted objects that exist
struct Counted {
  Counted() { live++; }
  ~Counted() { live--; }
  int value = 7;
};

void fixed_array__starts_as_zeros(void**) {
  mn::FixedArray<uint64_t> array(10000);
  assert_int_equal(array.size(), 10000);
  for (uint64_t value : array) assert_int_equal(value, 0);
}

void fixed_array__constructs_and_destroys_each(void**) {
  live = 0;
  {
    mn::FixedArray<Counted> array(33);
    assert_int_equal(live, 33);
    assert_int_equal(array[32].value, 7);
  }
  assert_int_equal(live, 0);
}

void fixed_array__moves_without_copying(void**) {
  live = 0;
  {
    mn::FixedArray<Counted> a(5);
    const Counted* first = a.data();
    mn::FixedArray<Counted> b(std::move(a));
    assert_ptr_equal(b.data(), first);
    assert_int_equal(a.size(), 0);
    b = mn::FixedArray<Counted>(2);
    assert_int_equal(live, 2);
    assert_int_equal(b.size(), 2);
  }
  assert_int_equal(live, 0);
}

void fixed_array__empty(void**) {
  mn::FixedArray<int> none(0), unset;
  assert_true(none.empty() && unset.empty());
  assert_true(none.begin() == none.end());
}

void fixed_array__respects_alignment(void**) {
  struct alignas(64) Line {
    char bytes[64];
  };
  mn::FixedArray<Line> array(3);
  for (const Line& line : array) assert_int_equal(reinterpret_cast<uintptr_t>(&line) % 64, 0);
}

template <typename Body>
bool aborts(Body body) {
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    close(STDERR_FILENO);
    signal(SIGABRT, SIG_DFL);
    body();
    _exit(0);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

void fixed_array__index_out_of_bounds_aborts(void**) {
  assert_true(aborts([] {
    mn::FixedArray<int> array(4);
    array[4] = 1;
  }));
}

void fixed_array__size_that_overflows_aborts(void**) {
  assert_true(aborts([] { mn::FixedArray<uint64_t> array(SIZE_MAX / 4); }));
}

void static_vector__bounds(void**) {
  mn::StaticVector<int, 3> v;
  assert_true(v.empty());
  for (int i = 0; i < 3; i++) v.push_back(i * 10);
  assert_true(v.full());
  v.swap_remove(0);
  assert_int_equal(v.size(), 2);
  assert_int_equal(v[0], 20);
  assert_int_equal(v[1], 10);
  v.swap_remove(1);
  assert_int_equal(v.size(), 1);
  int sum = 0;
  for (int value : v) sum += value;
  assert_int_equal(sum, 20);
  assert_true(aborts([] {
    mn::StaticVector<int, 1> small;
    small.push_back(1);
    small.push_back(2);
  }));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(fixed_array__starts_as_zeros),
      cmocka_unit_test(fixed_array__constructs_and_destroys_each),
      cmocka_unit_test(fixed_array__moves_without_copying),
      cmocka_unit_test(fixed_array__empty),
      cmocka_unit_test(fixed_array__respects_alignment),
      cmocka_unit_test(fixed_array__index_out_of_bounds_aborts),
      cmocka_unit_test(fixed_array__size_that_overflows_aborts),
      cmocka_unit_test(static_vector__bounds),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
