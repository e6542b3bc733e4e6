# SPDX-License-Identifier: MIT
"""The packages under test: which files they are, what they ask for, and a higher version of them."""
import glob
import os
import re
import subprocess

INSTALLED = ("machnet", "libmachnet0", "libmachnet-dev", "machnet-tools")


def field(deb, name):
    done = subprocess.run(["dpkg-deb", "--field", deb, name], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def find(directory):
    """{name: file} of the packages in `directory`; FileNotFoundError if one is missing or there twice."""
    found = {}
    for deb in sorted(glob.glob(os.path.join(directory, "*.deb"))):
        name = field(deb, "Package")
        if name in INSTALLED:
            if name in found:
                raise FileNotFoundError(f"two packages {name} in {directory}: remove the old one")
            found[name] = deb
    missing = [name for name in INSTALLED if name not in found]
    if missing:
        raise FileNotFoundError(f"no package {', '.join(missing)} in {directory}: build the preset 'package'")
    return found


def needs(debs):
    """What the packages ask of the rest of the distribution, as apt understands it, sorted."""
    wanted = set()
    for deb in debs.values():
        for name in ("Pre-Depends", "Depends"):
            for entry in filter(None, re.split(r"\s*,\s*", field(deb, name))):
                alternatives = [re.split(r"[\s(:]", one.strip())[0] for one in entry.split("|")]
                if not any(one in INSTALLED for one in alternatives):
                    wanted.add(entry)
    return sorted(wanted)
