# SPDX-License-Identifier: MIT
"""The packages' scripts, run by dpkg and rpm themselves in a small tree of its own where every program
that they call is a stand-in that writes down how it was called. What they do to a real system is tested
on a real one (label system)."""
import fnmatch
import os
import shutil
import subprocess
import tempfile

from packages import Failure, expect, run

# Stand-ins that keep the books of users, so that "is there a user" has an answer.
ACTING = {
    "getent": 'grep -q "^$2:" "/etc/$1"',
    "systemd-sysusers": "echo machnet:x:999: >>/etc/group; echo machnet:x:999:999::/: >>/etc/passwd",
    "groupadd": "echo machnet:x:999: >>/etc/group",
    "useradd": "echo machnet:x:999:999::/: >>/etc/passwd",
    "userdel": "sed -i /^machnet:/d /etc/passwd",
    "groupdel": "sed -i /^machnet:/d /etc/group",
}
SILENT = ["systemctl", "systemd-tmpfiles", "deb-systemd-helper", "deb-systemd-invoke", "journalctl",
          "ldconfig"]
CARD = "/var/lib/machnet/eth1.nic"


class Tree:
    """A system of a shell and stand-ins, for one test."""

    def __init__(self, folder):
        self.top = folder
        for name in ("usr/bin", "usr/sbin", "usr/lib", "etc", "run/systemd/system", "tmp", "var/log",
                     "var/lib", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers",
                     "var/lib/rpm", "var/tmp", "proc", "dev"):
            os.makedirs(self.path(name))
        for name in ("bin", "sbin", "lib"):
            os.symlink("usr/" + name, self.path(name))
        for name in ("var/lib/dpkg/status", "var/lib/dpkg/available", "etc/passwd", "etc/group",
                     "dev/null"):
            self.write(name, "")
        busybox = shutil.which("busybox")
        expect(busybox, "there is no busybox; install busybox-static")
        shutil.copy(busybox, self.path("usr/bin/busybox"))
        for name in ("sh", "rm", "grep", "sed", "echo", "cat", "test", "[", "true"):
            os.symlink("busybox", self.path("usr/bin/" + name))
        for name in SILENT + list(ACTING):
            self.stand_in("usr/bin/" + name, ACTING.get(name, ":"))

    def path(self, name):
        return os.path.join(self.top, name.lstrip("/"))

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def stand_in(self, name, action):
        self.write(name, f'#!/bin/sh\necho "${{0##*/}} $*" >>/calls\n{action}\n')
        os.chmod(self.path(name), 0o755)

    def calls(self):
        """What was called since the last question."""
        lines = self.read("calls").splitlines() if os.path.exists(self.path("calls")) else []
        self.write("calls", "")
        return lines

    def things(self):
        """All there is, but for the books of the package managers."""
        found = set()
        for where, folders, files in os.walk(self.top):
            place = where.removeprefix(self.top)
            if place.startswith(("/var/lib/dpkg", "/var/lib/rpm", "/var/log", "/var/tmp")):
                continue
            found |= {f"{place}/{name}" for name in folders + files}
        return found - {"/calls"}


def has(calls, *starts):
    """Was each of these called, in this order?"""
    rest = iter(calls)
    for start in starts:
        expect(any(line.startswith(start) for line in rest), f"{start}: not called, or too late: {calls}")


def has_not(calls, *words):
    for line in calls:
        for word in words:
            expect(word not in line.split(), f"must not be called: {line}")


def installed(tree, calls):
    has(calls, "systemd-tmpfiles --create machnet.conf")
    # Nothing that runs may start because of an installation: no card was chosen yet.
    has_not(calls, "start", "restart", "try-restart", "enable", "--now", "machnet-nic")
    for name in ("passwd", "group"):
        expect(tree.read(f"etc/{name}").count("machnet:") == 1, f"one machnet in /etc/{name}")
    # From here on only that it is called matters; the real one would need the system's libraries.
    tree.stand_in("usr/sbin/machnet-nic", ":")
    tree.write("etc/machnet.conf", "[nic eth1]\n")
    tree.write(CARD, "name = eth1\n")
    tree.write("run/machnet/machnet.sock", "")
    tree.write("run/systemd/system/machnet.service.d/machnet-nic.conf", "[Service]\n")


def upgraded(tree, calls):
    has_not(calls, "stop", "start", "restart", "enable", "disable", "machnet-nic")
    expect(tree.read("etc/machnet.conf") == "[nic eth1]\n", "the upgrade changed the configuration")
    expect(os.path.exists(tree.path(CARD)), "the upgrade forgot what the service remembered")
    tree.stand_in("usr/sbin/machnet-nic", ":")


def deb_scripts(debs, _rpms, build):
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(folder)
        before = tree.things()
        dpkg = ["dpkg", "--root=" + folder, "--force-depends", "--force-confdef", "--force-confold"]
        run(*dpkg, "-i", debs["machnet"].path)
        installed(tree, tree.calls())
        run(*dpkg, "-i", next_package(build, "machnet_", ".deb"))
        calls = tree.calls()
        has(calls, "systemctl --system daemon-reload",
            "deb-systemd-invoke try-restart machnet.service")
        upgraded(tree, calls)

        run(*dpkg, "-r", "machnet")
        calls = tree.calls()
        has(calls, "deb-systemd-invoke stop machnet.socket machnet.service", "machnet-nic unbind",
            "systemctl --system daemon-reload")
        expect(tree.read("etc/machnet.conf") == "[nic eth1]\n", "removal took the configuration")
        run(*dpkg, "-P", "machnet")
        calls = tree.calls()
        has(calls, "deb-systemd-helper purge machnet.service", "userdel machnet", "groupdel machnet")
        left(tree, before)

        # Without a systemd that runs (in an image that is being built) nobody is asked to do anything.
        os.rmdir(tree.path("run/systemd/system"))
        run(*dpkg, "-i", debs["machnet"].path)
        has_not(tree.calls(), "daemon-reload", "stop", "start")
        os.unlink(tree.path("usr/sbin/machnet-nic"))
        run(*dpkg, "-P", "machnet")
        has_not(tree.calls(), "daemon-reload", "stop", "start", "machnet-nic")


def rpm_scripts(_debs, rpms, build):
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(folder)
        rpm = ["rpm", "--root", folder, "--nosignature"]
        run(*rpm, "--initdb")
        before = tree.things()
        run(*rpm, "-i", "--nodeps", rpms["machnet"].path)
        verify(rpm, set())
        installed(tree, tree.calls())
        verify(rpm, {"/etc/machnet.conf", "/usr/sbin/machnet-nic"})

        run(*rpm, "-U", "--nodeps", next_package(build, "machnet-[0-9]", ".rpm"))
        calls = tree.calls()
        has(calls, "systemctl daemon-reload", "systemctl try-restart machnet.service")
        upgraded(tree, calls)

        run(*rpm, "-e", "machnet")
        has(tree.calls(), "systemctl --no-reload disable --now machnet.socket machnet.service",
            "machnet-nic unbind", "systemctl daemon-reload")
        # rpm has no purge: it keeps a changed configuration aside, and Fedora keeps users.
        os.unlink(tree.path("etc/machnet.conf.rpmsave"))
        left(tree, before, users=True)


def verify(rpm, changed):
    """rpm -V: every file is as it was packed, but for these."""
    done = subprocess.run(rpm + ["-V", "--nodeps", "machnet"], capture_output=True, text=True,
                          check=False)
    found = {line.split()[-1] for line in done.stdout.splitlines()}
    expect(found == changed, f"rpm -V finds {done.stdout or 'nothing'}{done.stderr}")


def next_package(build, beginning, ending):
    folder = os.path.join(build, "packages-next")
    names = fnmatch.filter(os.listdir(folder) if os.path.isdir(folder) else [],
                           beginning + "*" + ending)
    if len(names) != 1:
        raise Failure(f"no package of a higher version in {folder}; make one with "
                      "packaging/build.sh --format both --next")
    return os.path.join(folder, names[0])


def left(tree, before, users=False):
    # Folders that packages share are never one package's to remove; in a real system others own them.
    more = {thing for thing in tree.things() - before
            if "machnet" in thing or not os.path.isdir(tree.path(thing))}
    expect(not more, f"left behind: {sorted(more)}")
    for name in ("passwd", "group"):
        expect(users or "machnet" not in tree.read(f"etc/{name}"), f"still in /etc/{name}: machnet")


CASES = [deb_scripts, rpm_scripts]
