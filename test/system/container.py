# SPDX-License-Identifier: MIT
"""A machine with systemd as its first process: a systemd-nspawn container on an overlay of the tree.

The changes are in a layer of their own, which outlives a power-off, so a container can be booted again
as a machine can; they vanish with the run. Programs in it are run with nsenter."""
import os
import signal
import subprocess
import time

import isolation
from harness import Failure, Process, check, patience
from operations import ENVIRONMENT, Operations

CAPABILITIES = "CAP_BPF,CAP_NET_ADMIN,CAP_NET_RAW,CAP_SYS_RESOURCE,CAP_IPC_LOCK,CAP_PERFMON"
BOOT_SECONDS = 60


class Inside(Process):
    """A program in a container. nsenter waits for it outside, so signals go to its child."""

    def inner_pid(self):
        for _ in range(100):
            try:
                with open(f"/proc/{self.pid}/task/{self.pid}/children") as file:
                    children = file.read().split()
            except FileNotFoundError:
                break
            if children:
                return int(children[0])
            time.sleep(0.01)
        raise Failure(f"{self.name} is not running:\n{self.tail()}")

    def signal(self, number):
        os.kill(self.inner_pid(), number)

    def stop(self, timeout=5):
        self.signal(signal.SIGTERM)
        return self.wait(timeout)


class Container(Operations):
    def __init__(self, name, tree):
        self.name = name
        self.leader = 0
        self.nspawn = None
        self.boots = 0
        self.home = f"{isolation.WORK}/{name}"
        self.upper = f"{self.home}/upper"
        self.root = f"{self.home}/root"
        for directory in (self.upper, f"{self.home}/work", self.root):
            os.makedirs(directory)
        subprocess.check_call(["mount", "-t", "overlay", "none", "-o", f"lowerdir={tree},upperdir={self.upper},"
                               f"workdir={self.home}/work", self.root])
        with open(f"{self.root}/etc/hostname", "w") as file:
            file.write(f"host-{name.lower()}\n")

    # ---- Power

    def boot(self, *interfaces):
        """Moves the interfaces in; returns, when systemd says that everything runs, how long it took."""
        check(not self.nspawn, f"{self.name} is on already")
        self.boots += 1
        self.console = f"{self.home}/console-{self.boots}"
        self.cgroup = f"{isolation.cgroup()}/{self.name}-{self.boots}"
        isolation.make_cgroup(self.cgroup)
        with open(self.console, "wb") as out:
            self.nspawn = subprocess.Popen(
                ["systemd-nspawn", "--quiet", f"--machine={self.name}", f"--directory={self.root}", "--boot",
                 "--register=no", "--keep-unit", "--private-network", "--link-journal=no", "--console=pipe",
                 "--resolv-conf=off", "--timezone=off", f"--capability={CAPABILITIES}",
                 "--system-call-filter=bpf",  # else systemd cannot enforce DevicePolicy= and its like
                 "--bind-ro=/sys/module",     # else DPDK takes it for a machine that has vfio, and stops
                 *(f"--network-interface={interface}" for interface in interfaces)],
                env=dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1"),
                preexec_fn=lambda: isolation.enter_cgroup(self.cgroup),
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        start = time.monotonic()
        state = ""
        while state not in ("running", "degraded"):
            check(self.nspawn.poll() is None, f"{self.name} did not boot:\n{self.console_text()}")
            check(time.monotonic() - start < patience(BOOT_SECONDS),
                  f"{self.name} is still '{state}' after {BOOT_SECONDS} s:\n{self.console_text()}")
            time.sleep(0.05)
            if not self._find_leader():
                continue
            done = self.call(["systemctl", "is-system-running"])
            state = done.stdout.strip()
        check(state == "running", f"{self.name} is degraded:\n"
                                  f"{self.run('systemctl', '--no-pager', '--failed')}")
        return time.monotonic() - start

    def _find_leader(self):
        try:
            with open(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children") as file:
                children = file.read().split()
            self.leader = int(children[0])
            # The child is systemd once it has set itself up; before that its namespaces are not ready.
            with open(f"/proc/{self.leader}/comm") as file:
                return file.read().strip() == "systemd"
        except (OSError, IndexError):
            return False

    def console_text(self):
        with open(self.console, errors="replace") as file:
            return file.read()[-3000:]

    def power_off(self):
        """As an administrator does it; the layer of changes stays."""
        if not self.nspawn:
            return
        os.kill(self.leader, signal.SIGRTMIN + 4)
        try:
            self.nspawn.wait(patience(30))
        except subprocess.TimeoutExpired:
            text = self.console_text()
            self.pull_the_plug()
            raise Failure(f"{self.name} does not power off:\n{text}") from None
        self._is_off()

    def pull_the_plug(self):
        """Every process of it dies at once."""
        if not self.nspawn:
            return
        if self.leader:
            os.kill(self.leader, signal.SIGKILL)
        else:
            self.nspawn.kill()
        self.nspawn.wait(patience(10))
        self._is_off()

    def _is_off(self):
        isolation.remove_cgroups(self.cgroup)
        self.nspawn = None
        self.leader = 0

    # ---- Programs and files

    def _enter(self, args):
        return ["nsenter", "--target", str(self.leader), "--all", "--", *args]

    def call(self, args, timeout=60):
        try:
            return subprocess.run(self._enter(args), stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=patience(timeout),
                                  env=ENVIRONMENT)
        except subprocess.TimeoutExpired as late:
            raise Failure(f"{self.name}: {' '.join(args)}: not done after {timeout} s: "
                          f"{late.stdout or ''} {late.stderr or ''}") from None

    def start(self, *args, name=None):
        return Inside(self._enter(args), env=ENVIRONMENT, name=f"{name or os.path.basename(args[0])}@{self.name}")

    def path(self, path):
        """The file as this process sees it, on every file system of the running container."""
        return (f"/proc/{self.leader}/root" if self.leader else self.root) + path

    def exists(self, path):
        return os.path.lexists(self.path(path))

    def read(self, path):
        with open(self.path(path), errors="replace") as file:
            return file.read()

    def write(self, path, text, mode=0o644):
        os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
        with open(self.path(path), "w") as file:
            file.write(text)
        os.chmod(self.path(path), mode)

    def describe(self):
        """What helps to understand a failure."""
        if not self.leader:
            return f"--- {self.name} is off; its console:\n{self.console_text() if self.boots else ''}"
        parts = [f"--- journal of {self.name}:\n", self.journal("--lines=120")]
        for command in (("systemctl", "--no-pager", "status", "machnet.service", "machnet.socket"),
                        ("ip", "address"), ("ps", "-eLo", "user,pid,lwp,stat,wchan:20,comm")):
            parts += [f"--- {' '.join(command)}:\n", self.run(*command, code=None)]
        return "".join(parts)
