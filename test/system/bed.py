# SPDX-License-Identifier: MIT
"""Two machines and a cable, and what the scenarios do with them: install, configure, start, use, remove."""
import concurrent.futures
import os
import re
import shutil
import signal
import subprocess

import isolation
import packages
from container import Container
from harness import Process, check, say, sh
from operations import CONFIG, NIC, SERVICE, SOCKET  # noqa: F401  (for the scenarios)

ADDRESSES = {"A": "10.77.0.1", "B": "10.77.0.2"}
MACS = {"A": "02:00:00:00:77:01", "B": "02:00:00:00:77:02"}
ROUTED = "192.0.2.0/24"  # behind a router on the cable that does not exist
# Where no container can raise the limit of locked memory.
LOCK = """[Service]
AmbientCapabilities=CAP_IPC_LOCK
CapabilityBoundingSet=CAP_IPC_LOCK
"""


class Setup:
    """What all scenarios share: the packages, those of a higher version, the tree, and the example program."""

    def __init__(self, directory, next_directory, tree):
        self.debs = debs = packages.find(directory)
        self.next_packages = next_directory
        self.tree = tree
        self.version = packages.field(debs["machnet"], "Version")
        self.beds = []
        self._hello = None

    def hello_world(self):
        """The example, built as a user of libmachnet-dev does it, against the files of the packages."""
        if not self._hello:
            sdk = f"{isolation.WORK}/sdk"
            for name in ("libmachnet0", "libmachnet-dev"):
                sh("dpkg-deb", "--extract", self.debs[name], sdk)
            found = sh("find", sdk, "-name", "hello_world.c").split()
            check(len(found) == 1, f"libmachnet-dev has {len(found)} files hello_world.c, not one")
            described = sh("find", sdk, "-name", "machnet.pc").split()
            check(len(described) == 1, f"libmachnet-dev has {len(described)} files machnet.pc, not one")
            done = subprocess.run(["pkg-config", "--cflags", "--libs", described[0]], capture_output=True,
                                  text=True, check=True, env=dict(os.environ, PKG_CONFIG_SYSROOT_DIR=sdk))
            sh("cc", "-Wall", "-Werror", "-o", f"{sdk}/hello_world", found[0], *done.stdout.split())
            self._hello = f"{sdk}/hello_world"
        return self._hello


class Machine(Container):
    """A container with a NIC on the cable."""

    def __init__(self, bed, name):
        super().__init__(name, bed.setup.tree)
        self.bed = bed
        self.address = ADDRESSES[name]
        shutil.copy(bed.setup.hello_world(), f"{self.root}/usr/local/bin/hello_world")
        if bed.mode == "af_xdp" and not isolation.can_lock_memory():
            say("this machine lets nobody raise the limit of locked memory: CAP_IPC_LOCK takes its place")
            os.makedirs(f"{self.root}/etc/systemd/system/{SERVICE}.d")
            self.write(f"/etc/systemd/system/{SERVICE}.d/lock.conf", LOCK)
        self.provide(bed.setup.debs)

    def provide(self, debs, directory="/root/debs"):
        os.makedirs(self.path(directory))
        for deb in debs.values():
            shutil.copy(deb, self.path(directory))

    # ---- Installing

    def install(self, directory="/root/debs"):
        debs = [f"{directory}/{name}" for name in sorted(os.listdir(self.path(directory)))]
        return self.run("apt-get", "--yes", "-o", "Dpkg::Use-Pty=0", "install", *debs, timeout=120)

    def remove(self, *packages_, purge=False):
        return self.run("apt-get", "--yes", "-o", "Dpkg::Use-Pty=0", "purge" if purge else "remove",
                        *(packages_ or packages.INSTALLED), timeout=120)

    # ---- The service

    def configure(self, mode=None, machnet="", nic=""):
        """As the operator does it: what the package brought, and a section for the NIC."""
        if not hasattr(self, "shipped"):
            self.shipped = self.read(CONFIG)
        text = re.sub(r"(?m)^\[machnet\]$", f"[machnet]\n{machnet}", self.shipped, count=1)
        text += f"\n[nic {NIC}]\nmode = {mode or self.bed.mode}\n{nic}"
        self.write(CONFIG, text)

    def main_pid(self):
        """As this process sees it; 0 when there is none."""
        inner = int(self.show(SERVICE, "MainPID"))
        if inner == 0:
            return 0
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/status") as file:
                    ids = re.search(r"(?m)^NSpid:\s+(.*)$", file.read())
                same = os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{self.leader}/ns/pid")
            except OSError:
                continue
            if ids and same and int(ids[1].split()[-1]) == inner:
                return int(pid)
        return 0

    # ---- Applications

    def serve_hello(self, *options):
        server = self.start("hello_world", "--listen", self.address, *options)
        server.expect("^listening", 10)
        return server

    def greet(self, other, timeout=15):
        client = self.start("hello_world", "--connect", other.address)
        output = client.expect_exit(0, timeout)
        check("hello to you" in output, f"no answer: {output}")

    def serve_pong(self):
        """msg_gen that answers, ready for clients."""
        server = self.start("msg_gen", "--local_ip", self.address, "--wait")
        server.expect("^msg_gen: listening", 10)
        return server

    def ping(self, other, *options, messages=20000, size=64):
        """msg_gen there and back; returns what it printed."""
        client = self.start("msg_gen", "--local_ip", self.address, "--remote_ip", other.address, "--verify",
                            "--wait", "--msg_nr", str(messages), "--msg_size", str(size), *options)
        return client.expect_exit(0, 60)


class Bed:
    def __init__(self, setup, mode, names="AB", installed=True, started=False):
        setup.beds.append(self)
        self.setup = setup
        self.mode = mode
        self.machines = []
        for name in names:
            self.machines.append(Machine(self, name))
        self.a = self.machines[0]
        self.b = self.machines[-1]
        self.boot()
        self.configure_network()
        if installed or started:
            with concurrent.futures.ThreadPoolExecutor() as pool:
                list(pool.map(lambda machine: machine.install(), self.machines))
        if started:
            for machine in self.machines:
                machine.before = machine.network()
                machine.configure()
                machine.start_service()

    def boot(self):
        """The cable is there before the machines are, with the same NICs each time, as hardware is."""
        sh("ip", "link", "add", NIC, "address", MACS["A"], "type", "veth", "peer", "name", "other",
           "address", MACS["B"])
        sh("ip", "link", "set", "other", "up")
        for index, machine in enumerate(self.machines):
            if index == 1:
                sh("ip", "link", "set", "other", "down")
                sh("ip", "link", "set", "other", "name", NIC)
            say(f"{machine.name} booted in {machine.boot(NIC):.1f} s")

    def configure_network(self):
        """The NICs as an administrator has them before Machnet comes."""
        for machine in self.machines:
            machine.run("ip", "address", "add", f"{machine.address}/24", "dev", NIC)
            machine.run("ip", "link", "set", NIC, "up")
            machine.run("ip", "route", "add", ROUTED, "via", "10.77.0.254", "dev", NIC)
        for machine in self.machines:  # the kernel's own IPv6 address is announced first
            machine.wait_for("an IPv6 address that is not tentative",
                             lambda: "tentative" not in machine.run("ip", "address", "show", "dev", NIC))

    def power_fails(self):
        for machine in self.machines:
            machine.pull_the_plug()
        for end in (NIC, "other"):  # what nspawn gave back in time
            sh("ip", "link", "delete", end, must=False)

    def finish(self):
        for machine in self.machines:
            failed = machine.run("systemctl", "--no-pager", "--plain", "--no-legend", "--failed")
            check(not failed.strip(), f"{machine.name}: failed units:\n{failed}")
        self.power_off()

    def power_off(self):
        for machine in self.machines:
            machine.power_off()

    def describe(self):
        return "\n".join(machine.describe() for machine in self.machines)


def interrupt(process):
    process.signal(signal.SIGINT)
    return process.wait(10)


Process.directory = f"{isolation.WORK}/out"
