# SPDX-License-Identifier: MIT
"""Turns ctest's JUnit report into lines for test/run.sh: `passed N`, `skipped NAME: WHY`, `failed NAME`."""
import re
import sys
import xml.etree.ElementTree as ElementTree


def main():
    report, preset = sys.argv[1], sys.argv[2]
    passed = 0
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = f"{preset}: {case.get('name')}"
        skipped = case.find("skipped")
        if case.get("status") == "run" and case.find("failure") is None and skipped is None:
            passed += 1
        elif skipped is not None and "SKIP_RETURN_CODE" in (skipped.get("message") or ""):
            why = re.search(r"(?m)^skipped: (.*)$", case.findtext("system-out") or "")
            print("skipped", f"{name}: {why[1] if why else 'it does not say why'}")
        else:  # also a test that could not be started: its program is missing
            reason = skipped.get("message") if skipped is not None else ""
            print("failed", name, reason)
    print("passed", passed)


if __name__ == "__main__":
    main()
