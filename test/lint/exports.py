# SPDX-License-Identifier: MIT
"""libmachnet.so exports exactly its map, which is exactly what machnet.h declares, and needs libc only.
exports.py LIBRARY"""
import os
import re
import subprocess

import lint


def declared(header):
    text = re.sub(r"/\*.*?\*/", "", lint.read(header), flags=re.S)
    return set(re.findall(r"^\s*[\w *]*?\b(machnet_\w+)\s*\(", text, flags=re.M))


def mapped(path):
    text = re.sub(r"/\*.*?\*/", "", lint.read(path), flags=re.S)
    names = set()
    for part in re.findall(r"global:(.*?)local:", text, flags=re.S):
        names.update(re.findall(r"(\w+)\s*;", part))
    return names


def exported(library):
    names = set()
    for line in lint.run("nm", "-D", "--defined-only", library).splitlines():
        kind, name = line.split()[-2:]
        if kind != "A":  # the version nodes themselves
            names.add(name.split("@")[0])
    return names


def needed(library):
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", lint.run("readelf", "-d", library)))


def findings_for(library, header, map_path):
    found = []
    sets = {"machnet.h": declared(header), "libmachnet.map": mapped(map_path),
            "libmachnet.so": exported(library)}
    for first in sets:
        for second in sets:
            for name in sorted(sets[first] - sets[second]):
                found.append(f"{name} is in {first} and not in {second}")
    if not sets["machnet.h"]:
        found.append("machnet.h declares nothing")
    for name in sorted(needed(library) - {"libc.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}):
        # Sanitized builds bring their runtimes along.
        if not re.match(r"lib(asan|ubsan|tsan)\.so", name):
            found.append(f"libmachnet.so needs {name}")
    return found


def findings(arguments):
    return findings_for(arguments[0], os.path.join(lint.TOP, "include/machnet.h"),
                        os.path.join(lint.TOP, "libmachnet/libmachnet.map"))


def self_test(directory):
    def sample(name, header, map_text, source, *options):
        base = os.path.join(directory, name)
        lint.write_tree(directory, {f"{name}.h": header, f"{name}.map": map_text, f"{name}.c": source})
        subprocess.run(["gcc", "-shared", "-fPIC", f"{base}.c", "-o", f"{base}.so",
                        f"-Wl,--version-script={base}.map", "-Wl,--no-as-needed", *options], check=True)
        return findings_for(f"{base}.so", f"{base}.h", f"{base}.map")

    header = "int machnet_a(void);\nconst char *machnet_b(int x);\n"
    map_text = "V { global: machnet_a; machnet_b; local: *; };\n"
    source = "int machnet_a(void) { return 0; }\nconst char *machnet_b(int x) { return x ? \"\" : 0; }\n"
    assert sample("right", header, map_text, source) == []
    assert sample("undeclared", header.splitlines()[0], map_text, source)
    assert sample("unmapped", header, map_text.replace("machnet_b;", ""), source)
    assert sample("leak", header, map_text.replace("local: *;", ""), source + "int helper(void) { return 1; }\n")
    assert sample("absent", header + "void machnet_c(void);\n", map_text, source)
    assert sample("needs", header, map_text, source, "-lm")


if __name__ == "__main__":
    lint.main(findings, self_test)
