# SPDX-License-Identifier: MIT
"""What the service may do, and what it gets to know, when a NIC needs more than its unit file says."""
from bed import NIC, SERVICE, Bed, interrupt
from harness import check, say
from scenarios_life import expect_driven, scenario, SCENARIOS  # noqa: F401

RULES = f"/etc/systemd/system/{SERVICE}.d"


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
