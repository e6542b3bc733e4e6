# SPDX-License-Identifier: MIT
"""machnet.h compiles alone, as C11 and as C++, without a warning, and brings what the published header
brought along."""
import os
import subprocess
import sys

import lint

LANGUAGES = [("c", "c11"), ("c", "gnu17"), ("c++", "c++11"), ("c++", "c++17"), ("c++", "c++20")]
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wshadow", "-Wconversion"]

# Only what <stdio.h>, <stdlib.h>, <unistd.h> and <stdint.h> give, without including them.
USE = """#include <machnet.h>
int main(void) {
  MachnetFlow_t flow = {0, 0, 0, 0};
  uint8_t *bytes = (uint8_t *)malloc(8);
  printf("%u %ld\\n", flow.src_ip, (long)getpid());
  free(bytes);
  return (int)sizeof(MachnetMsgHdr_t) - (int)sizeof(struct MachnetMsgHdr);
}
"""


def findings_for(include_dir):
    found = []
    for compiler in ("gcc", "clang"):
        for language, standard in LANGUAGES:
            done = subprocess.run([compiler, "-x", language, f"-std={standard}", *WARNINGS, "-fsyntax-only",
                                   f"-I{include_dir}", "-"], input=USE, capture_output=True, text=True)
            if done.returncode != 0:
                found.append(f"{compiler} -std={standard}:\n{done.stderr}")
    return found


def self_test(directory):
    right = lint.read(os.path.join(lint.TOP, "include/machnet.h"))
    for name, text in {"nostdio": right.replace("#include <stdio.h>", ""),
                       "pedantic": right.replace("#ifdef __cplusplus", "struct {int a;};\n#ifdef __cplusplus", 1),
                       "cplusplus": right + "struct Oops { int class; };\n"}.items():
        lint.write_tree(directory, {f"{name}/machnet.h": text})
        assert findings_for(os.path.join(directory, name)), f"not found out: {name}"


if __name__ == "__main__":
    lint.main(lambda arguments: findings_for(os.path.join(lint.TOP, "include")), self_test)
    sys.exit(0)
