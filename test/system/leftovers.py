# SPDX-License-Identifier: MIT
"""What packages left on a machine after they were purged, told from what installing anything changes."""
import os
import re
import stat

# Written by dpkg, apt, useradd and systemd for themselves, whatever is installed.
BOOKS = re.compile(
    r"var/log/|var/lib/dpkg/(status|available|lock|triggers|info/format|[a-z]+-old)|var/lib/apt/|var/cache/apt/|"
    r"var/cache/ldconfig/|var/cache/debconf/|var/lib/systemd/|var/lib/dbus/|etc/ld\.so\.cache$|etc/\.pwd\.lock$|"
    r"etc/(passwd|group|shadow|gshadow)-?$|(etc|var)/\.updated$|etc/machine-id$|var/tmp/systemd-private|"
    r"root/debs|usr/local/bin/hello_world$|etc/systemd/system/.*\.wants$|(tmp|run|dev|proc|sys)/")
# Copies that these keep of what was before the last change, and histories, say so rightly.
HISTORY = re.compile(r"var/log/|var/lib/apt/|var/cache/apt/|var/lib/dpkg/.*-old$|-$|root/debs|"
                     r"usr/local/bin/hello_world$|var/lib/systemd/(timers|random-seed)")
WORDS = ("machnet",)
RUNNING = ("/run", "/dev/shm", "/dev/hugepages", "/tmp", "/var/tmp")


def changed(upper, tree):
    """{path: kind} of the overlay's layer of changes: new, changed or deleted, as seen from the tree."""
    found = {}
    for directory, names, files in os.walk(upper):
        for name in names + files:
            full = os.path.join(directory, name)
            path = os.path.relpath(full, upper)
            below = os.path.join(tree, path)
            mode = os.lstat(full).st_mode
            if stat.S_ISCHR(mode):
                found[path] = "deleted"
            elif not os.path.lexists(below):
                found[path] = "new"
            elif stat.S_ISREG(mode) and os.path.isfile(below) and _content(full) != _content(below):
                found[path] = "changed"
    return found


def _content(path):
    with open(path, "rb") as file:
        return file.read()


def findings(upper, tree, before):
    """Sentences about what is on the disk now and was not there `before` (an earlier changed())."""
    found = []
    for path, kind in sorted(changed(upper, tree).items()):
        full = os.path.join(upper, path)
        if not BOOKS.match(path) and before.get(path) != kind:
            found.append(f"{kind}: /{path}")
        elif kind != "deleted" and not HISTORY.search(path) and os.path.isfile(full) and not os.path.islink(full):
            content = _content(full)
            found += [f"/{path} still speaks of {word}" for word in WORDS if word.encode() in content]
        named_so = "machnet" in os.path.basename(path) and not path.startswith("root/debs")
        if named_so and path not in before and not HISTORY.search(path):
            found.append(f"named after it: /{path}")
    return sorted(set(found))


def running_findings(machine):
    """The same for what lives in memory: files, units, users, processes."""
    found = []
    for top in RUNNING:
        for line in machine.run("find", top, "-xdev", "-iname", "*machnet*", code=None).splitlines():
            found.append(f"left behind: {line}")
    for what in ("list-units", "list-unit-files", "list-sockets"):
        lines = machine.run("systemctl", what, "--all", "--no-pager", "--plain", "--no-legend")
        found += [f"systemctl {what}: {line}" for line in lines.splitlines() if "machnet" in line]
    for book in ("passwd", "group"):
        lines = machine.run("getent", book)
        found += [f"{book}: {line}" for line in lines.splitlines() if "machnet" in line]
    found += [f"dpkg: {line}" for line in machine.run("dpkg", "--list").splitlines() if "machnet" in line]
    found += [f"process: {line}" for line in machine.run("ps", "-eo", "user,pid,args").splitlines()
              if "machnet" in line]
    found += [f"catalog: {line}" for line in machine.run("journalctl", "--list-catalog").splitlines()
              if "achnet" in line]
    links = machine.run("ip", "-details", "link", "show")
    if "xdp" in links:
        found.append(f"an XDP program: {links}")
    return found
