# SPDX-License-Identifier: MIT
"""The first day and the last one: install, configure, start, use, upgrade, remove, purge."""
import json
import re
import time

import leftovers
import packages
from bed import CONFIG, NIC, SERVICE, SOCKET, Bed, interrupt
from harness import check, patience, say, scenarios

SCENARIOS, scenario = scenarios()


def expect_nothing_happened(machine, network):
    """After an installation: nothing runs, the NIC is as it was."""
    check(machine.show(SERVICE, "ActiveState") == "inactive", "installing started the service")
    check(machine.show(SERVICE, "LoadState") == "loaded", "there is no machnet.service")
    check(machine.show(SOCKET, "LoadState") == "loaded", "there is no machnet.socket")
    check(machine.network() == network, f"installing touched the NIC: {machine.network()}, was {network}")


def expect_driven(machine):
    """The service serves at the address of the NIC, and says so in one line."""
    status = machine.show(SERVICE, "StatusText")
    check(NIC in status and machine.address in status, f"the status line names no NIC: '{status}'")
    check("\n" not in status, f"more than one line of status: {status}")
    say(f"{machine.name}: {status}")


def expect_given_back(machine, network):
    """The kernel itself needs a moment for the IPv6 address of an interface that has come up."""
    end = time.monotonic() + patience(5)
    while machine.network() != network and time.monotonic() < end:
        time.sleep(0.2)
    now = machine.network()
    check(now == network, f"{machine.name}: the NIC was not given back:\n  was {network}\n  is  {now}")


def end_of_service(bed):
    """The service of A stops, and what it had taken is the kernel's again."""
    bed.a.stop_service()
    expect_given_back(bed.a, bed.a.before)
    bed.finish()


@scenario()
def whole_life(setup, mode):
    """Install with apt, configure, start, hello_world, msg_gen, stop, remove, purge: and nothing is left."""
    bed = Bed(setup, mode, installed=False)
    before = {}
    for machine in bed.machines:
        machine.network_before = machine.network()
        before[machine.name] = leftovers.changed(machine.upper, setup.tree)
        start = time.monotonic()
        machine.install()
        say(f"{machine.name}: apt install took {time.monotonic() - start:.1f} s")
        expect_nothing_happened(machine, machine.network_before)
    for machine in bed.machines:
        machine.configure()
        start = time.monotonic()
        machine.start_service()
        say(f"{machine.name}: systemctl start took {time.monotonic() - start:.1f} s")
        expect_driven(machine)
    server = bed.b.serve_hello()
    bed.a.greet(bed.b)
    server.expect("says: hello world", 5)
    check(interrupt(server) == 0, "the server did not end on Ctrl-C")
    pong = bed.b.serve_pong()
    for size, messages in ((64, 20000), (100000, 300)):
        output = bed.a.ping(bed.b, messages=messages, size=size)
        say(f"msg_gen, {size} bytes: {output.strip().splitlines()[-1]}")
    interrupt(pong)
    bed.a.stop_service()
    check(bed.a.show(SERVICE, "Result") == "success", f"the service ended: {bed.a.show(SERVICE, 'Result')}")
    expect_given_back(bed.a, bed.a.network_before)
    # B removes the package while the service runs: that gives the NIC back just as well.
    for machine in bed.machines:
        machine.remove()
        expect_given_back(machine, machine.network_before)
        check(machine.exists(CONFIG), "removing took the configuration: that is for purge")
        check(not machine.exists("/usr/sbin/machnetd"), "removing left machnetd")
        check(not machine.exists("/run/machnet/machnet.sock"), "removing left the socket")
        machine.remove("machnet", purge=True)  # of the others nothing was left to purge
        expect_given_back(machine, machine.network_before)
        left = leftovers.running_findings(machine)
        left += leftovers.findings(machine.upper, setup.tree, before[machine.name])
        check(not left, f"{machine.name}: after purge there is\n  " + "\n  ".join(left))
    bed.finish()


@scenario("af_packet")
def purge_at_once(setup, mode):
    """Purge without a remove before it, on a machine where the service runs: nothing is left either."""
    bed = Bed(setup, mode, names="A", installed=False)
    before = leftovers.changed(bed.a.upper, setup.tree)
    network = bed.a.network()
    bed.a.install()
    bed.a.configure()
    bed.a.run("systemctl", "enable", SERVICE, SOCKET)
    bed.a.start_service()
    bed.a.remove(purge=True)
    expect_given_back(bed.a, network)
    left = leftovers.running_findings(bed.a) + leftovers.findings(bed.a.upper, setup.tree, before)
    check(not left, "after purge there is\n  " + "\n  ".join(left))
    bed.finish()


@scenario()
def upgrade(setup, mode):
    """Upgrade to a higher version while messages run: config kept, service restarted, old flows told."""
    debs = packages.find(setup.next_packages)
    version = packages.field(debs["machnet"], "Version")
    check(version != setup.version, f"the packages of a higher version have the version {version}")
    bed = Bed(setup, mode, started=True)
    pong = bed.b.serve_pong()
    traffic = bed.a.start("msg_gen", "--local_ip", bed.a.address, "--remote_ip", bed.b.address, "--wait",
                          "--verify", "--json", "--duration", "120")
    bed.a.wait_for("messages", lambda: traffic.output().count('"') > 0)
    config = bed.a.read(CONFIG)
    old_pid = bed.a.main_pid()
    bed.a.provide(debs, "/root/next")
    bed.a.install("/root/next")
    check(bed.a.run("dpkg-query", "--show", "--showformat=${Version}", "machnet") == version, "not upgraded")
    check(bed.a.read(CONFIG) == config, "the upgrade changed the configuration")
    check(not [path for path in ("-dist", "-new", "-old") if bed.a.exists(f"{CONFIG}.dpkg{path}")],
          "the upgrade left a second configuration")
    check(bed.a.show(SERVICE, "ActiveState") == "active", "the service does not run after the upgrade")
    check(bed.a.main_pid() not in (0, old_pid), "the upgrade did not restart the service")
    # Its service is another one now: the program is told instead of waiting for ever.
    code = traffic.wait(20)
    check(code != 0, f"msg_gen took a lost service for success:\n{traffic.tail()}")
    say(f"msg_gen across the upgrade ended with {code}: {traffic.output().strip().splitlines()[-1]}")
    check(bed.b.show(SERVICE, "ActiveState") == "active", "the other host's service ended")
    say(bed.a.ping(bed.b).strip().splitlines()[-1])
    interrupt(pong)
    end_of_service(bed)


@scenario("af_packet")
def reinstall_after_remove(setup, mode):
    """Remove keeps the configuration, and a later installation uses it."""
    bed = Bed(setup, mode, names="A", started=True)
    config = bed.a.read(CONFIG)
    bed.a.remove()
    bed.a.install()
    check(bed.a.read(CONFIG) == config, "the configuration is another one")
    check(bed.a.show(SERVICE, "ActiveState") == "inactive", "installing started the service")
    bed.a.start_service()
    expect_driven(bed.a)
    bed.finish()


@scenario("af_packet")
def units(setup, mode):
    """systemd-analyze has nothing to say against the units, and rates the service 2.5 or better."""
    bed = Bed(setup, mode, names="A")
    said = bed.a.run("systemd-analyze", "verify", "--man=no", SERVICE, SOCKET)
    check(not said.strip(), f"systemd-analyze verify:\n{said}")
    report = json.loads(bed.a.run("systemd-analyze", "security", "--json=short", SERVICE) or "[]")
    exposed = [entry for entry in report if float(entry.get("exposure") or 0) > 0]
    text = bed.a.run("systemd-analyze", "security", "--no-pager", SERVICE)
    rating = re.search(r"Overall exposure level for machnet.service: ([\d.]+)", text)
    check(rating, f"no rating: {text}")
    say(f"security: {rating[1]}; exceptions: " + ", ".join(entry["name"] for entry in exposed))
    check(float(rating[1]) <= 2.5, f"systemd-analyze security: {rating[1]}\n{text}")
    # The directives are enforced, too: what the running service can and cannot do.
    bed.a.configure()
    bed.a.start_service()
    pid = bed.a.main_pid()
    with open(f"/proc/{pid}/status") as file:
        status = dict(line.split(":", 1) for line in file)
    user = bed.a.run("ps", "-o", "user=", "-p", bed.a.show(SERVICE, "MainPID")).strip()
    check(user == "machnet", f"machnetd runs as {user}")
    check(status["NoNewPrivs"].strip() == "1", "NoNewPrivileges is not set")
    check(status["Seccomp"].strip() == "2", "no system call filter")
    say(f"capabilities {status['CapEff'].strip()}")
    bed.finish()
