# SPDX-License-Identifier: MIT
"""What every lint test shares: the tree, complaints, and a self-test that each must pass.

A check is a function `findings(top, ...)` that returns sentences. `main` prints them and fails if there
are any; with --self-test it runs the check's samples, each a wrong tree that must be found out, so that
a check that sees nothing any more fails."""
import os
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def files(top, folders, endings):
    for folder in folders:
        for directory, names, file_names in os.walk(os.path.join(top, folder)):
            names[:] = sorted(n for n in names if n not in ("build", "__pycache__", ".git"))
            for name in sorted(file_names):
                if name.endswith(endings):
                    full = os.path.join(directory, name)
                    yield os.path.relpath(full, top), full


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def run(*args):
    return subprocess.run(args, capture_output=True, text=True, check=True).stdout


def write_tree(top, contents):
    for path, text in contents.items():
        full = os.path.join(top, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)


def main(findings, self_test):
    """`findings(arguments)` for the real tree, `self_test(directory)` raising AssertionError."""
    if "--self-test" in sys.argv:
        with tempfile.TemporaryDirectory() as directory:
            self_test(directory)
        print("each wrong sample was found out")
        return
    found = findings([a for a in sys.argv[1:] if not a.startswith("--")])
    for sentence in found:
        print(sentence)
    sys.exit(1 if found else 0)
