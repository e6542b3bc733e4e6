# SPDX-License-Identifier: MIT
"""What goes wrong by itself: an engine that hangs, a process that is killed, power that fails."""
import os
import signal
import sys
import time

from bed import NIC, ROUTED, SERVICE, Bed, interrupt
from harness import Process, check, patience, say
from scenarios_life import end_of_service, expect_driven, expect_given_back, scenario, SCENARIOS  # noqa: F401

STOPPER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stopper.py")

# What configures the network at boot.
NETWORK = """[Unit]
Before=network-online.target

[Service]
Type=oneshot
ExecStart=ip address add {address}/24 dev {nic}
ExecStart=ip link set {nic} up
ExecStart=ip route add {routed} via 10.77.0.254 dev {nic}

[Install]
WantedBy=network-online.target
"""


def wait_for_restart(machine, old_pid, timeout=40):
    start = time.monotonic()
    machine.wait_for("a new process that is ready", lambda: machine.show(SERVICE, "ActiveState") == "active"
                     and machine.main_pid() not in (0, old_pid), timeout)
    return time.monotonic() - start


def expect_service(bed):
    """Messages pass from A to B and back the other way."""
    for client, server in ((bed.a, bed.b), (bed.b, bed.a)):
        serving = server.serve_hello("--count", "1")
        client.greet(server)
        serving.expect_exit(0, 10)


@scenario()
def stuck_engine(setup, mode):
    """An engine thread that hangs: systemd's watchdog restarts the service, and it serves again."""
    bed = Bed(setup, mode, started=True)
    expect_service(bed)
    pid = bed.a.main_pid()
    seconds = int(bed.a.show(SERVICE, "WatchdogUSec").rstrip("s").replace("min", "")) \
        if bed.a.show(SERVICE, "WatchdogUSec").endswith("s") else 0
    check(0 < seconds <= 30, f"WatchdogSec is {bed.a.show(SERVICE, 'WatchdogUSec')}")
    # A watchdog that bites a service that works would be worse than none.
    time.sleep(patience(1.5 * seconds) if seconds <= 10 else 0)
    check(bed.a.main_pid() == pid, "the watchdog restarted a service that works")
    stopper = Process([sys.executable, "-B", STOPPER, str(pid), f"mn-{NIC}.*"])
    stopper.expect("^stopped$")
    took = wait_for_restart(bed.a, pid, 3 * seconds + 30)
    stopper.expect_exit(0, 10)
    check(bed.a.restarts() == 1, f"{bed.a.restarts()} restarts, not 1")
    said = bed.a.service_journal()
    check("watchdog" in said.lower(), f"the journal does not blame the watchdog:\n{said}")
    say(f"WatchdogSec={seconds}: serving again {took:.1f} s after the thread stopped")
    expect_driven(bed.a)
    expect_service(bed)
    end_of_service(bed)


@scenario()
def killed(setup, mode):
    """kill -9 of machnetd: restarted, the flows' programs told on both hosts, the NIC given back at the end."""
    bed = Bed(setup, mode, started=True)
    pong = bed.b.serve_pong()
    traffic = bed.a.start("msg_gen", "--local_ip", bed.a.address, "--remote_ip", bed.b.address, "--wait",
                          "--verify", "--json", "--duration", "120")
    bed.a.wait_for("messages", lambda: traffic.output().count('"') > 0)
    pid = bed.a.main_pid()
    os.kill(pid, signal.SIGKILL)
    say(f"serving again {wait_for_restart(bed.a, pid):.1f} s after the kill")
    check(traffic.wait(20) != 0, f"msg_gen took a lost service for success:\n{traffic.tail()}")
    check(bed.a.restarts() == 1, f"{bed.a.restarts()} restarts, not 1")
    expect_driven(bed.a)
    say(bed.a.ping(bed.b).strip().splitlines()[-1])
    interrupt(pong)
    end_of_service(bed)


@scenario()
def power_fails(setup, mode):
    """Power fails while the service has the NIC: what it remembers of that boot does not hinder the next one."""
    bed = Bed(setup, mode, started=True)
    for machine in bed.machines:
        machine.write("/etc/systemd/system/network-of-test.service",
                      NETWORK.format(address=machine.address, nic=NIC, routed=ROUTED))
        machine.run("systemctl", "enable", "network-of-test.service", SERVICE)
    bed.a.run("sync")
    bed.power_fails()
    bed.boot()
    for machine in bed.machines:
        machine.wait_for("the service to start with the machine",
                         lambda: machine.show(SERVICE, "ActiveState") == "active", 40)
        expect_driven(machine)
    expect_service(bed)
    end_of_service(bed)


@scenario("af_packet")
def killed_for_good(setup, mode):
    """What a dead service left, `machnet-nic unbind` gives back; `machnet-nic status` says what it is."""
    bed = Bed(setup, mode, names="A", started=True)
    bed.a.run("systemctl", "mask", "--runtime", SERVICE)  # nobody starts it again, nothing cleans up
    bed.a.run("systemctl", "kill", "--signal=SIGKILL", "--kill-who=all", SERVICE)
    bed.a.wait_for("its end", lambda: bed.a.main_pid() == 0)
    said = bed.a.run("machnet-nic", "status", code=None)
    check(NIC in said, f"machnet-nic status does not know {NIC}: {said}")
    bed.a.run("machnet-nic", "unbind")
    expect_given_back(bed.a, bed.a.before)
    bed.a.run("machnet-nic", "unbind")  # nothing to do is no error
    expect_given_back(bed.a, bed.a.before)
    bed.power_off()
