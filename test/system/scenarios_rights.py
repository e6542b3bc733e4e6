# SPDX-License-Identifier: MIT
"""What the service may do, and what it gets to know, when a NIC needs more than its unit file says."""
from bed import NIC, SERVICE, Bed
from harness import check, say
from scenarios_life import expect_driven, scenario, SCENARIOS  # noqa: F401

RULES = f"/etc/systemd/system/{SERVICE}.d"


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
