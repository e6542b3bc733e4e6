// SPDX-License-Identifier: MIT
#include "transport/intrusive_list.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
extern "C" {
#include <cmocka.h>
}

using namespace mn;
using namespace mn::transport;

namespace {

void list__keeps_the_order(void**) {
  List list;
  Link links[3];
  assert_true(list.empty() && list.front() == nullptr);
  for (Link& link : links) list.push_back(&link);
  assert_ptr_equal(list.front(), &links[0]);
  assert_ptr_equal(list.next(&links[0]), &links[1]);
  list.move_to_back(&links[0]);
  assert_ptr_equal(list.front(), &links[1]);
  assert_null(list.next(&links[0]));
  links[2].unlink();
  links[2].unlink();  // no effect
  assert_ptr_equal(list.next(&links[1]), &links[0]);
  links[1].unlink();
  links[0].unlink();
  assert_true(list.empty() && !links[0].linked());
}

void take__moves_everything(void**) {
  List from, to;
  Link links[2];
  to.take(&from);
  assert_true(to.empty());
  for (Link& link : links) from.push_back(&link);
  to.take(&from);
  assert_true(from.empty());
  assert_ptr_equal(to.front(), &links[0]);
  assert_ptr_equal(to.next(&links[0]), &links[1]);
  links[0].unlink();
  links[1].unlink();
  assert_true(to.empty());
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {cmocka_unit_test(list__keeps_the_order),
                              cmocka_unit_test(take__moves_everything)};
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
