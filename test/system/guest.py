# SPDX-License-Identifier: MIT
"""A virtual machine with an IOMMU and two NICs behind it, in qemu without the help of the processor, so it
runs where no virtualisation is to be had, slowly: no deadline in it says anything about Machnet.

It boots the tree of the containers; a program in it (see image.py) does on the second serial line what
the test asks for. Its disk is thrown away with it."""
import base64
import os
import shlex
import socket
import subprocess
import time

import isolation
from harness import Failure, check
from operations import ENVIRONMENT, Operations

BOOT_SECONDS = 400
MEMORY_MIB = 2048
KERNEL_OPTIONS = ("console=ttyS0 root=/dev/vda rw intel_iommu=on iommu=pt mitigations=off tsc=reliable no_timer_check "
                  "nowatchdog quiet systemd.show_status=no")
MACS = {"A": "52:54:00:77:0{}:01", "B": "52:54:00:77:0{}:02"}


def kernel_options():
    """The guest reads the host's time stamp counter; measuring its speed while the host is busy goes wrong by
    factors, so it is told."""
    with open("/proc/cpuinfo") as file:
        speeds = [line.split(":")[1] for line in file if line.startswith("cpu MHz")]
    return KERNEL_OPTIONS + (f" tsc_early_khz={int(float(speeds[0]) * 1000)}" if speeds else "")


class Guest(Operations):
    """Its NICs are `models`, as qemu names them; each is joined to that of the other guest in `directory`."""

    def __init__(self, name, image, archive, directory, models, is_server):
        self.name = name
        self.nics = []
        self.log = f"{isolation.WORK}/out/console-{name}"
        self.control = f"{isolation.WORK}/{name}.control"
        vmlinuz, initrd, disk = image
        command = [
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "Nehalem", "-M", "q35,kernel-irqchip=split",
            "-smp", "2", "-m", str(MEMORY_MIB), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-kernel", vmlinuz, "-initrd", initrd, "-append", kernel_options(),
            "-device", "intel-iommu,intremap=on,caching-mode=on",
            "-drive", f"file={disk},format=raw,if=virtio,snapshot=on",
            "-drive", f"file={archive},format=raw,if=virtio,readonly=on",
            "-serial", f"file:{self.log}", "-serial", f"unix:{self.control},server=on,wait=off"]
        for index, model in enumerate(models):
            mac = MACS[name].format(index)
            server = "on" if is_server else "off"
            options = "disable-legacy=on,iommu_platform=on," if model.startswith("virtio") else ""
            path = f"{directory}/cable{index}"
            command += ["-netdev", f"stream,id=n{index},server={server},addr.type=unix,addr.path={path}",
                        "-device", f"{model},netdev=n{index},mac={mac},{options}romfile="]
            self.nics.append(mac)
        # qemu's own words: of use only if it does not start.
        with open(f"{isolation.WORK}/out/qemu-{name}", "wb") as out:
            self.qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                         env=dict(os.environ, TMPDIR=isolation.WORK))
        self.waiting = b""
        self.line = self._connect()  # at once: what is said to nobody is lost

    def wait_for_boot(self):
        start = time.monotonic()
        while self._read_line(BOOT_SECONDS).strip() != "ready":
            pass
        state = self.run("systemctl", "is-system-running", "--wait", code=None, timeout=BOOT_SECONDS).strip()
        check(state == "running", f"{self.name} is {state}: {self.run('systemctl', '--failed', code=None)}")
        return time.monotonic() - start

    def _connect(self):
        end = time.monotonic() + 30
        while True:
            self.check_alive()
            try:
                line = socket.socket(socket.AF_UNIX)
                line.connect(self.control)
                return line
            except OSError:
                check(time.monotonic() < end, f"{self.name}: no serial line")
                time.sleep(0.1)

    def check_alive(self):
        check(self.qemu.poll() is None, f"{self.name}: qemu ended:\n{self.said()}")

    def said(self):
        text = ""
        for path in (f"{isolation.WORK}/out/qemu-{self.name}", self.log):
            if os.path.exists(path):
                with open(path, errors="replace") as file:
                    text += file.read()[-3000:]
        return text

    def _read_line(self, timeout):
        end = time.monotonic() + timeout
        self.line.settimeout(1)
        while b"\n" not in self.waiting:
            self.check_alive()
            check(time.monotonic() < end, f"{self.name}: no answer within {timeout} s; the console:\n{self.said()}")
            try:
                self.waiting += self.line.recv(65536)
            except TimeoutError:
                pass
        line, self.waiting = self.waiting.split(b"\n", 1)
        return line.decode(errors="replace")

    def call(self, args, timeout=60):
        settings = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        command = shlex.join(["env", *settings, *args])
        self.line.sendall(base64.b64encode(command.encode()) + b"\n")
        try:
            answer = self._read_line(timeout * 5 + 30)
        except Failure as failure:
            raise Failure(f"{' '.join(args)}: {failure}") from None
        code, _, output = answer.partition(" ")
        return subprocess.CompletedProcess(args, int(code), base64.b64decode(output).decode(errors="replace"), "")

    def shell(self, script, **options):
        return self.run("bash", "-c", script, **options)

    def read(self, path):
        return self.run("cat", path)

    def write(self, path, text):
        self.run("bash", "-c", f"printf %s {shlex.quote(text)} >{shlex.quote(path)}")

    def exists(self, path):
        return self.code("test", "-e", path) == 0

    def background(self, unit, *args):
        """Starts a program as a transient unit; its output is in the unit's journal."""
        self.run("systemd-run", "--quiet", f"--unit={unit}", "--", *args)

    def output_of(self, unit):
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}", code=None)

    def power_off(self):
        self.line.sendall(base64.b64encode(b"systemctl poweroff") + b"\n")
        try:
            self.qemu.wait(200)
        except subprocess.TimeoutExpired:
            self.qemu.kill()
            raise Failure(f"{self.name} does not power off:\n{self.said()}") from None

    def describe(self):
        if self.qemu.poll() is not None:
            return f"--- {self.name}:\n{self.said()}"
        try:
            state = self.shell("ip address; systemctl status machnet; machnet-nic list; ls -l /dev/vfio", code=None)
            return f"--- journal of {self.name}:\n{self.journal('--lines=150')}\n{state}"
        except Failure as failure:
            return f"--- {self.name}: {failure}\n{self.said()}"
