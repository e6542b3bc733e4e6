# SPDX-License-Identifier: MIT
"""NICs that are really taken from the kernel: two virtual machines, each with a virtio NIC and an e1000e behind
an IOMMU, joined NIC to NIC. Minutes, so only with test/run.sh --system."""
import json
import os
import re
import subprocess
import time

import image
import isolation
import packages
from guest import Guest
from harness import Failure, check, say
from operations import CONFIG, SERVICE, SOCKET

SCENARIOS = {}
MODELS = ("virtio-net-pci", "e1000e")
DRIVERS = ("virtio-pci", "e1000e")  # of the PCI device, in the kernel
HOSTS = {"A": 1, "B": 2}
CAP_IPC_LOCK = 14
NO_LOCK = """[Service]
AmbientCapabilities=
AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN CAP_BPF
CapabilityBoundingSet=
CapabilityBoundingSet=CAP_NET_RAW CAP_NET_ADMIN CAP_BPF
"""


class Nic:
    """One NIC of a guest, as it was before Machnet."""

    def __init__(self, guest, index):
        self.guest = guest
        links = json.loads(guest.run("ip", "-json", "link"))
        self.name = next(link["ifname"] for link in links if link.get("address") == guest.nics[index])
        self.pci = os.path.basename(guest.run("readlink", f"/sys/class/net/{self.name}/device").strip())
        if self.pci.startswith("virtio"):  # a bus of its own between the device and its driver
            self.pci = os.path.basename(os.path.dirname(
                guest.run("readlink", "-f", f"/sys/class/net/{self.name}/device").strip()))
        self.address = f"10.77.{index}.{HOSTS[guest.name]}"
        self.peer = f"10.77.{index}.{3 - HOSTS[guest.name]}"
        guest.run("ip", "address", "add", f"{self.address}/24", "dev", self.name)
        guest.run("ip", "link", "set", self.name, "up")
        guest.run("ip", "route", "add", f"192.0.{index}.0/24", "via", f"10.77.{index}.254", "dev", self.name)
        # The kernel makes it when the link is there, which with e1000e is seconds after `up`; without it
        # `before` would say that there was none.
        guest.wait_for(f"{self.name} to have an IPv6 address that is not tentative", self.is_settled, 60)
        self.before = guest.network(self.name)

    def is_settled(self):
        addresses = json.loads(self.guest.run("ip", "-json", "-6", "address", "show", "dev", self.name))
        entries = [entry for link in addresses for entry in link.get("addr_info", ())]
        return bool(entries) and not any(entry.get("tentative") for entry in entries)

    def driver(self):
        link = self.guest.run("readlink", f"/sys/bus/pci/devices/{self.pci}/driver", code=None)
        return os.path.basename(link.strip())

    def override(self):
        return self.guest.read(f"/sys/bus/pci/devices/{self.pci}/driver_override").strip()


def hugepages(guest):
    return int(guest.read("/proc/sys/vm/nr_hugepages"))


def expect_driven(guest):
    for nic in guest.nic:
        check(nic.driver() == "vfio-pci", f"{guest.name}: {nic.pci} has the driver {nic.driver()}")
    status = guest.show(SERVICE, "StatusText")
    say(f"{guest.name}: {status}; {hugepages(guest)} hugepages")
    check(hugepages(guest) > 0, f"{guest.name}: no hugepages were reserved")


def expect_given_back(guest):
    for nic, driver in zip(guest.nic, DRIVERS):
        check(nic.driver() == driver, f"{guest.name}: {nic.pci} has the driver {nic.driver()}, not {driver}")
        check(nic.override() == "(null)", f"{guest.name}: {nic.pci} has the override {nic.override()}")
        # The kernel's own IPv6 address comes with the link.
        try:
            guest.wait_for("", lambda nic=nic: guest.network(nic.name) == nic.before, 60)
        except Failure:
            now = guest.network(nic.name)
            raise Failure(f"{guest.name}: {nic.name} is not as before within 60 s:\nbefore: {nic.before}\n"
                          f"now:    {now}\n{guest.run('ip', '-details', 'address', 'show', 'dev', nic.name)}") \
                from None
    check(hugepages(guest) == 0, f"{guest.name}: {hugepages(guest)} hugepages are left")


def pack(debs):
    """A disk that holds the packages and the example program as a tar archive."""
    path = f"{isolation.WORK}/debs.tar"
    files = [argument for deb in debs for argument in ("-C", os.path.dirname(deb), os.path.basename(deb))]
    subprocess.check_call(["tar", "--create", "--file", path, "--blocking-factor=2048", *files])
    return path


def both(guests, function):
    """In one after the other: each of them waits most of the time for the same processors."""
    return [function(guest) for guest in guests]


def boot(setup):
    files = image.get(setup.cache, setup.kernel, setup.tree)
    archive = pack([*setup.debs.values(), setup.hello_world()])
    directory = f"{isolation.WORK}/cables"
    os.makedirs(directory)
    guests = []
    for name in HOSTS:
        guest = Guest(name, files, archive, directory, MODELS, is_server=not guests)
        setup.beds.append(guest)
        guests.append(guest)
        while not os.path.exists(f"{directory}/cable{len(MODELS) - 1}"):
            guest.check_alive()
            time.sleep(0.1)
    for guest in guests:
        say(f"{guest.name} booted in {guest.wait_for_boot():.0f} s")
    return guests


def install(guest):
    guest.shell("mkdir /root/debs && tar -C /root/debs -xf /dev/vdb && mv /root/debs/hello_world /usr/local/bin")
    guest.nic = [Nic(guest, index) for index in range(len(MODELS))]
    start = time.monotonic()
    guest.shell("apt-get --yes -o Dpkg::Use-Pty=0 install /root/debs/*.deb", timeout=200)
    say(f"{guest.name}: apt install took {time.monotonic() - start:.0f} s")
    for nic, driver in zip(guest.nic, DRIVERS):
        check(nic.driver() == driver, f"installing touched {nic.name}")
    listed = guest.run("machnet-nic", "list")
    for line in listed.splitlines():
        say(f"{guest.name}: {line}")
    for nic in guest.nic:
        check(nic.pci in listed and nic.name in listed, f"machnet-nic list misses {nic.name}")


def refuse_default_route(guest):
    """Machnet takes no NIC that carries the default route, and says what to do."""
    nic = guest.nic[0]
    guest.run("ip", "route", "add", "default", "via", nic.peer, "dev", nic.name)
    shipped = guest.read(CONFIG)
    guest.write(CONFIG, shipped + f"\n[nic {nic.name}]\n")
    guest.run("systemctl", "start", SERVICE, code=1, timeout=120)
    said = guest.service_journal("--output=cat")
    check("default route" in said and "force = yes" in said, f"the refusal is not clear:\n{said}")
    check(nic.driver() == DRIVERS[0], "the NIC was taken nevertheless")
    check(said.count("default route") == 1 and said.count("Starting machnet.service") == 1,
          f"more than one line, or more than one start:\n{said}")
    say([line for line in said.splitlines() if "default route" in line][0])
    guest.run("systemctl", "stop", SERVICE, SOCKET, timeout=60)
    guest.run("systemctl", "reset-failed", SERVICE, code=None)
    guest.run("ip", "route", "delete", "default")
    guest.write(CONFIG, shipped)


def start(guest):
    # One by its name in the kernel, one by its place: both must be found again when the kernel's name is gone.
    shipped = guest.read(CONFIG)
    guest.write(CONFIG, shipped + f"\n[nic {guest.nic[0].name}]\n[nic {guest.nic[1].pci}]\n")
    begun = time.monotonic()
    done = guest.call(["systemctl", "start", SERVICE], timeout=120)
    check(done.returncode == 0, f"{guest.name}: systemctl start: {done.stdout}{guest.service_journal()}")
    say(f"{guest.name}: systemctl start took {time.monotonic() - begun:.0f} s")
    expect_driven(guest)
    for line in guest.service_journal("--output=cat").splitlines():
        say(f"{guest.name}: {line}")


def exchange(a, b, unit):
    """Greetings and measured messages on each pair of NICs; returns msg_gen's lines."""
    results = []
    for model, here, there in zip(MODELS, a.nic, b.nic):
        b.background(f"{unit}-hello-{model}", "hello_world", "--listen", there.address, "--count", "1")
        b.wait_for("the server", lambda: "listening" in b.output_of(f"{unit}-hello-{model}"), 60)
        said = a.run("hello_world", "--connect", there.address, timeout=60)
        check("hello to you" in said, f"no answer over {model}: {said}")
        b.background(f"{unit}-pong-{model}", "msg_gen", "--local_ip", there.address, "--wait")
        for options in (["--msg_size", "64", "--msg_nr", "3000"], ["--msg_size", "20000", "--msg_nr", "100"]):
            text = a.run("msg_gen", "--local_ip", here.address, "--remote_ip", there.address, "--verify", "--wait",
                         "--msg_window", "4", *options, timeout=120)
            results.append(f"{model} {' '.join(options)}: {text.strip().splitlines()[-1]}")
            say(results[-1])
        b.run("systemctl", "stop", f"{unit}-pong-{model}.service")
    return results


def limit_suffices(guest):
    """The memory of AF_XDP needs LimitMEMLOCK= of the unit and nothing more. (Where containers are tested, nobody
    may be allowed to raise that limit; here it is all ours.)"""
    nic = guest.nic[1]
    guest.write(CONFIG, re.sub(r"(?s)\n\[nic .*", "", guest.read(CONFIG)) + f"\n[nic {nic.name}]\nmode = af_xdp\n")
    guest.run("mkdir", "-p", f"/etc/systemd/system/{SERVICE}.d")
    guest.write(f"/etc/systemd/system/{SERVICE}.d/no-lock.conf", NO_LOCK)
    guest.run("systemctl", "daemon-reload")
    guest.run("systemctl", "start", SERVICE, timeout=120)
    pid = guest.show(SERVICE, "MainPID")
    limits = [line.split() for line in guest.read(f"/proc/{pid}/limits").splitlines() if "locked memory" in line]
    check(limits[0][3:5] == ["unlimited", "unlimited"], f"locked memory: {limits}")
    held = int(re.search(r"CapEff:\s+(\w+)", guest.read(f"/proc/{pid}/status"))[1], 16)
    check(held >> CAP_IPC_LOCK & 1 == 0, f"it has CAP_IPC_LOCK: {held:#x}")
    say(f"{guest.name}: {guest.show(SERVICE, 'StatusText')}, af_xdp without CAP_IPC_LOCK")
    guest.run("systemctl", "stop", SERVICE, SOCKET, timeout=120)
    expect_given_back(guest)


def machines(setup, mode):
    """Two NICs behind an IOMMU in each of two guests: vfio-pci and back, killed in between, removed, purged."""
    a, b = boot(setup)
    guests = (a, b)
    both(guests, install)
    refuse_default_route(a)
    both(guests, start)
    exchange(a, b, "first")
    # kill -9 while the device is bound: the next start has to take it from there.
    pid = a.show(SERVICE, "MainPID")
    a.run("kill", "-KILL", pid)
    a.wait_for("a new process that is ready", lambda: a.show(SERVICE, "ActiveState") == "active"
               and a.show(SERVICE, "MainPID") not in ("0", pid), 200)
    expect_driven(a)
    exchange(b, a, "second")
    for guest in guests:
        begun = time.monotonic()
        guest.run("systemctl", "stop", SERVICE, SOCKET, timeout=120)
        say(f"{guest.name}: systemctl stop took {time.monotonic() - begun:.0f} s")
        check(guest.show(SERVICE, "Result") == "success", f"it ended: {guest.show(SERVICE, 'Result')}")
        expect_given_back(guest)
    limit_suffices(b)
    # Removed while it runs, and purged.
    a.run("systemctl", "start", SERVICE, timeout=120)
    expect_driven(a)
    a.run("apt-get", "--yes", "-o", "Dpkg::Use-Pty=0", "purge", *packages.INSTALLED, timeout=200)
    expect_given_back(a)
    left = a.shell("find / -xdev -iname '*machnet*' -not -path '/root/*' -not -path '/var/log/*'", code=None)
    check(not left.strip(), f"after purge there is {left}")
    check(not re.search("machnet", a.shell("getent passwd; getent group")), "after purge there is a user")
    for guest in guests:
        guest.power_off()


machines.modes = ("vfio",)
SCENARIOS["machines"] = machines
