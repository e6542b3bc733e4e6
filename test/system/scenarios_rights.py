# SPDX-License-Identifier: MIT
"""What the service may do, and what it gets to know, when a NIC needs more than its unit file says."""
import re

from bed import NIC, SERVICE, Bed, interrupt
from harness import check, say
from scenarios_life import expect_driven, scenario, SCENARIOS  # noqa: F401

FAKE = "/root/fake"  # a machine on Hyper-V, for machnet-nic --root
UUID = "000d3a6e-1234-5678-9abc-def012345678"
CAP_SYS_ADMIN = 21
DROP_IN = f"/run/systemd/system/{SERVICE}.d/machnet-nic.conf"
RULES = f"/etc/systemd/system/{SERVICE}.d"
MACHINE = f"""set -e
cd {FAKE}
device=sys/devices/vmbus/{UUID}
mkdir -p $device/net/eth2 sys/bus/vmbus/devices sys/bus/vmbus/drivers/hv_netvsc sys/class/net sys/module \\
  proc/sys/kernel/random var/lib/machnet run/machnet run/systemd net bin etc
ln -s {FAKE}/sys/bus/vmbus/drivers/hv_netvsc $device/driver
ln -s {FAKE}/sys/bus/vmbus $device/subsystem
ln -s {FAKE}/$device sys/bus/vmbus/devices/{UUID}
ln -s {FAKE}/$device $device/net/eth2/device
ln -s {FAKE}/$device/net/eth2 sys/class/net/eth2
echo '{{f8615163-df3e-46c5-913f-f2d2f965ed0e}}' >$device/class_id
echo '(null)' >$device/driver_override
echo boot >proc/sys/kernel/random/boot_id
printf 'mac 00:0d:3a:11:22:33\\nmtu 1500\\nup yes\\naddress 10.4.0.4/24\\n' >net/eth2
printf '#!/bin/sh\\nexit 0\\n' >bin/modprobe
cat >bin/driverctl <<'END'
#!/bin/sh
mkdir -p {FAKE}/sys/bus/vmbus/drivers/uio_hv_generic
ln -sfn {FAKE}/sys/bus/vmbus/drivers/uio_hv_generic {FAKE}/sys/devices/vmbus/{UUID}/driver
END
chmod 755 bin/*
# These two are the real ones.
ln -s /usr/bin/systemctl bin/systemctl
ln -s /run/systemd/system run/systemd/system
"""


def bounding_set(machine):
    with open(f"/proc/{machine.main_pid()}/status") as file:
        return int(re.search(r"CapBnd:\s+(\w+)", file.read())[1], 16)


@scenario("af_packet")
def rights(setup, mode):
    """A NIC on VMBus: the same start that takes it gives the service the rights for it, and later ones take them."""
    bed = Bed(setup, mode, names="A")
    machine = bed.a
    machine.configure()
    machine.run("mkdir", FAKE)
    machine.run("bash", "-c", MACHINE)
    machine.write(f"{FAKE}/etc/machnet.conf", "[machnet]\nhugepages = no\n[nic eth2]\n")
    machine.write(f"{RULES}/fake.conf",
                  f"[Service]\nExecStartPre=+/usr/sbin/machnet-nic --root {FAKE} --service bind\n")
    machine.run("systemctl", "daemon-reload")
    for turn in ("first", "second"):
        machine.start_service()
        check(machine.exists(DROP_IN), f"no {DROP_IN}:\n{machine.service_journal()}")
        # This very process, not the next one.
        check(bounding_set(machine) >> CAP_SYS_ADMIN & 1, f"the {turn} start does not have CAP_SYS_ADMIN")
        check("cap_sys_admin" in machine.show(SERVICE, "AmbientCapabilities"), "systemctl show does not show it")
        check(UUID in machine.show(SERVICE, "ReadWritePaths"), "its files in sysfs are not among ReadWritePaths=")
        check(machine.show(SERVICE, "NeedDaemonReload") == "no", "systemd was not told")
        check(machine.restarts() == 0, f"{machine.restarts()} restarts")
        expect_driven(machine)
        machine.stop_service()
    say([line for line in machine.service_journal("--output=cat").splitlines() if "may do what" in line][0])
    # Not needed any more: gone with the next start.
    machine.run("rm", f"{RULES}/fake.conf")
    machine.start_service()
    check(not machine.exists(DROP_IN), f"{DROP_IN} outlived what it was for")
    check(not bounding_set(machine) >> CAP_SYS_ADMIN & 1, "the service still has CAP_SYS_ADMIN")
    machine.stop_service()
    bed.finish()


@scenario("af_packet")
def remembered_address(setup, mode):
    """machnetd believes what machnet-nic remembered a moment before, also in a container, whose boot it sees
    under another name."""
    bed = Bed(setup, mode, names="A")
    machine = bed.a
    machine.configure()
    machine.write(f"{RULES}/flush.conf", f"[Service]\nExecStartPre=+ip address flush dev {NIC} scope global\n")
    machine.run("systemctl", "daemon-reload")
    before = machine.network()
    machine.start_service()
    expect_driven(machine)
    machine.stop_service()
    machine.run("ip", "address", "add", f"{machine.address}/24", "dev", NIC)
    check(sum(fact.startswith("address") for fact in before) ==
          sum(fact.startswith("address") for fact in machine.network()), "the address is not back")
    bed.finish()


def kernel_counts(machine):
    """What the kernel itself received on IPv4, and the ICMP errors it sent for it."""
    lines = [line.split() for line in machine.run("cat", "/proc/net/snmp").splitlines()]
    table = {names[0] + name: int(value) for names, values in zip(lines[::2], lines[1::2])
             for name, value in zip(names[1:], values[1:])}
    return table["Ip:InReceives"], table["Icmp:OutDestUnreachs"]


@scenario()
def shared_address(setup, mode):
    """Kernel and Machnet have one address, as `address = auto` makes it: with af_xdp the kernel gets nothing for it,
    with af_packet it complains to the peer now and then, which breaks no flow."""
    bed = Bed(setup, mode, started=True)
    said = bed.a.service_journal("--output=cat")
    check(f"the kernel has {bed.a.address} too" in said, f"no word about it:\n{said}")
    pong = bed.b.serve_pong()
    bed.a.ping(bed.b)
    for machine in bed.machines:
        received, complaints = kernel_counts(machine)
        say(f"{machine.name}: the kernel received {received} IPv4 packets and sent {complaints} errors")
        if mode == "af_xdp":
            check(received == 0 and complaints == 0, "the kernel got packets for Machnet's address")
        else:
            check(received > 0 and 0 < complaints < 100, "not what machnet.conf(5) says")
    interrupt(pong)
    bed.finish()


@scenario("af_xdp")
def locked_memory(setup, mode):
    """Without the memory that it must lock, the service does not start, and says which limit to raise."""
    bed = Bed(setup, mode, names="A")
    machine = bed.a
    machine.configure()
    kept = "CAP_NET_RAW CAP_NET_ADMIN CAP_BPF"
    machine.write(f"{RULES}/zz-limit.conf",
                  "[Service]\nLimitMEMLOCK=64K\n" + "".join(f"{key}=\n{key}={kept}\n" for key in
                                                           ("AmbientCapabilities", "CapabilityBoundingSet")))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", SERVICE, code=1, timeout=60)
    machine.wait_for("the end of the tries", lambda: machine.show(SERVICE, "ActiveState") == "failed", 40)
    said = machine.service_journal("--output=cat")
    check("LimitMEMLOCK" in said, f"the journal does not name the limit:\n{said}")
    say([line for line in said.splitlines() if "LimitMEMLOCK" in line][0])
    machine.run("rm", f"{RULES}/zz-limit.conf")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "reset-failed", SERVICE, "machnet.socket")
    machine.start_service()
    expect_driven(machine)
    machine.stop_service()
    bed.finish()
