#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""run.py BUILD CASE: one check of the packages in BUILD/packages (made by packaging/build.sh --format
both, and once more with --next). Without arguments: the names of the checks."""
import os
import sys

import contents
import packages
import scripts
import use

CASES = {case.__name__: case for module in (contents, scripts, use) for case in module.CASES}


def main():
    if len(sys.argv) != 3 or sys.argv[2] not in CASES:
        print("\n".join(CASES))
        return 0 if len(sys.argv) == 1 else 2
    build = os.path.abspath(sys.argv[1])
    if os.geteuid() != 0 and sys.argv[2] in ("deb_scripts", "rpm_scripts"):
        print("skipped: only root can run dpkg and rpm in a tree of its own")
        return 77
    try:
        debs, rpms = packages.load(os.path.join(build, "packages"))
        CASES[sys.argv[2]](debs, rpms, build)
    except packages.Failure as failure:
        print(failure)
        return 1
    print("as it should be")
    return 0


sys.exit(main())
