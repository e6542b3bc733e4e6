# SPDX-License-Identifier: MIT
"""The file system that containers boot: a minimal Debian with systemd, plus exactly what the packages
under test depend on, as apt resolves it; so a dependency that they forget to name is not there either.
Built from the machine's own apt sources, and kept in build/system until one of these changes."""
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess

# libpam-systemd, polkit and the like are not needed: tests are root.
BASE = ("systemd", "systemd-sysv", "udev", "dbus", "kmod", "iproute2", "procps", "init-system-helpers")
FORMAT = 1  # raise it when the steps below change
SUITE = "bookworm"


def sources():
    """The lines of sources.list that the machine itself uses, of the distribution only."""
    form = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    done = subprocess.run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"],
                          capture_output=True, text=True, check=True)
    lines = []
    for entry in done.stdout.split():
        origin, uri, release, component = entry.split("|")
        if origin == "Debian":
            lines.append(f"deb {uri} {release} {component}")
    if not lines:
        raise RuntimeError("apt knows no Debian archive: run apt-get update")
    return sorted(set(lines))


def apt_options():
    """Of the machine's own configuration, what decides whether the archive can be reached."""
    done = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True)
    wanted = ("Acquire::http", "Acquire::https", "Acquire::Check-Valid-Until", "Acquire::Check-Date")
    return [line for line in done.stdout.splitlines() if line.startswith(wanted) and '""' not in line]


def key(needs):
    text = "\n".join([str(FORMAT), SUITE, *BASE, *needs, *sources()])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def build(path, needs, log):
    hooks = [
        # What nobody asked for by name is not installed: dependencies have to be complete.
        'chroot "$1" apt-get -y --no-install-recommends satisfy ' + shlex.join(needs)
        if needs else "true",
        # Without an identity the first boot enables whatever has a preset.
        'echo 5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e >"$1/etc/machine-id"',
        # Of no use in a container, and slow or refused there.
        'for unit in dpdk.service systemd-networkd-wait-online.service apt-daily.timer '
        'apt-daily-upgrade.timer e2scrub_all.timer systemd-resolved.service; do '
        'ln -sf /dev/null "$1/etc/systemd/system/$unit"; done',
        'rm -f "$1"/etc/resolv.conf; echo machnet-test >"$1/etc/hostname"',
        'mkdir -p "$1/var/log/journal"',
    ]
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=" + ",".join(BASE)]
    command += [f"--aptopt={option}" for option in apt_options()]
    command += [f"--customize-hook={hook}" for hook in hooks]
    command += [SUITE, path, "-"]
    with open(log, "w") as out:
        done = subprocess.run(command, input="\n".join(sources()) + "\n", stdout=out,
                              stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        with open(log, errors="replace") as out:
            raise RuntimeError("the tree could not be built:\n" + out.read()[-3000:])


def get(cache, needs):
    """The directory of a tree for packages with these dependencies; builds it if it is not there."""
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = os.path.join(cache, f"tree-{key(needs)}")
        if os.path.isdir(path):
            return path
        for old in os.listdir(cache):
            if old.startswith("tree-"):
                shutil.rmtree(os.path.join(cache, old))
        print(f"   building {path} with mmdebstrap (about a minute, once)", flush=True)
        # Its name until it is whole: a build that was killed is not taken for a tree.
        build(f"{path}.part", needs, os.path.join(cache, "tree.log"))
        os.rename(f"{path}.part", path)
        return path
