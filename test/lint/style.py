# SPDX-License-Identifier: MIT
"""Sizes, licence lines, opening comments, and words that mean "not finished"."""
import os
import re

import lint

FOLDERS = ["daemon", "include", "libmachnet", "test", "bench"]
SOURCES = (".cc", ".c", ".h")
OTHERS = (".py", ".sh", ".bash", ".lua")
LINES_MAX = {".h": 300, ".cc": 600, ".c": 600, ".py": 600, ".sh": 600}
COLUMNS_MAX = 120
# Split, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(" + "|".join(["FIX" + "ME", "X" + "XX", "HA" + "CK", "TO" + "DO"]) + r")\b")


def findings_in(top):
    found = []
    for path, full in lint.files(top, FOLDERS, SOURCES + OTHERS):
        lines = lint.read(full).splitlines()
        limit = LINES_MAX.get(os.path.splitext(path)[1], 600)
        if len(lines) > limit:
            found.append(f"{path}: {len(lines)} lines, more than {limit}: split it by concept")
        head = lines[1:2] if lines and lines[0].startswith("#!") else lines[:1]
        if not head or "SPDX-License-Identifier: MIT" not in head[0]:
            found.append(f"{path}: the first line must be the SPDX line")
        for number, line in enumerate(lines, 1):
            if UNFINISHED.search(line):
                found.append(f"{path}:{number}: left open: {line.strip()}")
            if len(line) > COLUMNS_MAX:
                found.append(f"{path}:{number}: {len(line)} columns")
            if "\t" in line and path.endswith(SOURCES):
                found.append(f"{path}:{number}: a tab")
        if path.endswith(".h") and not path.startswith("test") and \
                not any(re.match(r"\s*(//|\*|/\*)", line) for line in lines[1:3]):
            found.append(f"{path}: a header opens with what it is, whose it is and what it never does")
    return found


def self_test(directory):
    spdx = "// SPDX-License-Identifier: MIT\n"
    wrong = {
        "daemon/long.h": spdx + "// What.\n" + "int a;\n" * 300,
        "daemon/long.cc": spdx + "\n" * 600,
        "daemon/nolicence.cc": "int a;\n",
        "daemon/open.cc": spdx + "// " + "FIX" + "ME later\n",
        "daemon/wide.cc": spdx + "// " + "x" * 120 + "\n",
        "daemon/silent.h": spdx + "#pragma once\nint a;\n",
        "test/script.sh": "#!/bin/sh\necho\n",
    }
    lint.write_tree(directory, wrong)
    lint.write_tree(directory, {"daemon/right.h": spdx + "// What it is.\n#pragma once\n",
                                "test/right.sh": "#!/bin/sh\n# SPDX-License-Identifier: MIT\n"})
    found = findings_in(directory)
    for path in wrong:
        assert any(sentence.startswith(path) for sentence in found), f"not found out: {path}"
    assert len(found) == len(wrong), f"something right was refused: {found}"


if __name__ == "__main__":
    lint.main(lambda arguments: findings_in(lint.TOP), self_test)
