// SPDX-License-Identifier: MIT
#include "libmachnet/tools/flags.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
extern "C" {
#include <cmocka.h>
}

namespace {

struct Values {
  bool verify;
  uint64_t size;
  double seconds;
  char text[32];
};

// Parses up to four words; true if they were understood. No owner lives in a test's body.
bool parse(Values* values, const char* a, const char* b = nullptr, const char* c = nullptr,
           const char* d = nullptr) {
  const char* words[] = {"program", a, b, c, d};
  int count = 1;
  while (count < 5 && words[count] != nullptr) count++;
  std::string text = "unset";
  *values = {false, 64, 0, ""};
  mn::tools::FlagSet flags;
  flags.add_switch("verify", &values->verify, "");
  flags.add_number("msg_size", &values->size, 1, 1000, "");
  flags.add_seconds("duration", &values->seconds, "");
  flags.add_text("local_ip", &text, "");
  const bool understood = flags.parse(count, const_cast<char**>(words)).empty();
  strncpy(values->text, text.c_str(), sizeof values->text - 1);
  return understood;
}

void parse__all_spellings(void**) {
  Values values;
  assert_true(parse(&values, "--msg_size", "8", "--verify"));
  assert_int_equal(values.size, 8);
  assert_true(values.verify);
  assert_true(parse(&values, "--msg-size=9", "-verify=false", "-local_ip", "10.0.0.1"));
  assert_int_equal(values.size, 9);
  assert_false(values.verify);
  assert_string_equal(values.text, "10.0.0.1");
  assert_true(parse(&values, "--duration", "1.5"));
  assert_true(values.seconds == 1.5);
}

void parse__refuses(void**) {
  Values values;
  assert_false(parse(&values, "--msg_size"));
  assert_false(parse(&values, "--msg_size", "0"));
  assert_false(parse(&values, "--msg_size", "1001"));
  assert_false(parse(&values, "--msg_size", "8x"));
  assert_false(parse(&values, "--msg_size", "-1"));
  assert_false(parse(&values, "--msg_size="));
  assert_false(parse(&values, "--duration", "-1"));
  assert_false(parse(&values, "--duration", "nan"));
  assert_false(parse(&values, "--verify=maybe"));
  assert_false(parse(&values, "--unknown"));
  assert_false(parse(&values, "word"));
  assert_false(parse(&values, "--"));
  assert_false(parse(&values, ""));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(parse__all_spellings),
      cmocka_unit_test(parse__refuses),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
