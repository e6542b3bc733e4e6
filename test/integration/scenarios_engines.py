# SPDX-License-Identifier: MIT
"""Scenarios with several engines for one NIC, each with a pair of queues of its own."""
import json
import os
import time

from harness import Bed, check, say, scenarios, sh, sigterm
from raw_peer import RawPeer
from scenarios_failure import refused, wait_until
from scenarios_traffic import result, server_result

SCENARIOS, scenario = scenarios()

ENGINES = 4


def bed_of_four(build, mode, hosts="AB"):
    bed = Bed(build, mode, daemons=False, queues=ENGINES)
    for host in (bed.a, bed.b):
        if host.name in hosts:
            host.start_daemon(extra_nic=f"engines = {ENGINES}\n")
            nics = host.status()["nics"]
            check([nic["engines"] for nic in nics] == [ENGINES], f"not one NIC of four engines: {nics}")
    return bed


def exchange(bed):
    """81 flows from A to B."""
    server = bed.b.server(size=20000)
    for options in ({"size": 64, "flows": 64, "count": 200}, {"size": 20000, "mixed": True, "flows": 16, "count": 50},
                    {"size": 1000, "count": 3000}):
        got = result(bed.a.app("ping", remote=bed.b.address, window=4, **options), 90)
        say(f"{options}: {got['rate']} requests/s")
    check(server_result(server)["wrong"] == 0, "wrong messages")


@scenario()
def several_engines(build, mode):
    """Four queues, an engine each: flows spread over them, both ways."""
    bed = bed_of_four(build, mode)
    exchange(bed)
    for host in (bed.a, bed.b):
        opened, came, over, lost = host.counters("flows_opened", "rx_packets", "handed_over", "handed_lost")
        say(f"{host.name}: flows opened by each engine {opened}, packets {came}, handed over {over}")
        check(sum(opened) == 81 and sum(count > 0 for count in opened) >= 3, "flows are not spread")
        check(sum(over) * 10 < sum(came) and sum(lost) == 0, "packets go on arriving at the wrong engine")
    bed.finish()


@scenario("af_xdp")
def one_queue_of_several(build, mode):
    """A peer sends on one queue, whatever it is sent on: what is for other engines is handed over."""
    bed = bed_of_four(build, mode, "A")
    # A packet socket's queue follows from the processor that sends.
    cpu = min(os.sched_getaffinity(0))
    bed.b.start_daemon(mode="af_packet", extra_nic=f"engines = {ENGINES}\ncpus = {cpu}\n")
    exchange(bed)
    opened, came, over, lost = bed.a.counters("flows_opened", "rx_packets", "handed_over", "handed_lost")
    say(f"flows opened by each engine {opened}, packets {came}, handed over {over}")
    check(came[cpu % ENGINES] == sum(came), f"packets came on several queues: {came}")
    check(sum(opened) == 81 and sum(over) > 0 and sum(lost) == 0, f"not handed over: {over}, lost {lost}")
    bed.finish()


def send_on_queue(host, queue):
    """The host's kernel does so from now on, on any processor."""
    mask = f"{sum(1 << cpu for cpu in os.sched_getaffinity(0)):x}"
    mask = ",".join(mask[max(end - 8, 0):end] for end in range(len(mask), 0, -8)[::-1])  # as the kernel reads it
    for other in range(ENGINES):
        path = f"/sys/class/net/{host.interface}/queues/tx-{other}/xps_cpus"
        host.run(["sh", "-c", f"echo {mask if other == queue else 0} > {path}"]).expect_exit(0, 5)


@scenario("af_xdp")
def every_queue(build, mode):
    """ARP, ping and a flow on each of the queues in turn: its engine answers."""
    bed = bed_of_four(build, mode, "A")
    server = bed.a.server()
    for queue in range(ENGINES):
        send_on_queue(bed.b, queue)  # on veth it comes in on the same one
        before = bed.a.counters("rx_packets", "arp_received", "icmp_received", "flows_opened")
        peer = RawPeer(bed.b, bed.a, address=f"10.77.0.{70 + queue}", seed=queue)
        check(peer.asks_who_has(), f"no answer to ARP on queue {queue}")
        check(peer.pings(b"as sent"), f"no answer to a ping on queue {queue}")
        flow = peer.open(888)
        flow.data(b"as sent")
        check(flow.wait_for(lambda packet: packet.payload == b"as sent"), f"no echo of a message on queue {queue}")
        came, *said = [[now - then for now, then in zip(*pair)] for pair in
                       zip(bed.a.counters("rx_packets", "arp_received", "icmp_received", "flows_opened"), before)]
        say(f"queue {queue}: packets at the engines {came}, of them ARP, ping, flows {said}")
        check(sum(came) == came[queue], f"queue {queue} leads elsewhere: {came}")
        check(all(counts[queue] >= 1 for counts in said), f"not answered where it came: {said}")
    server.stop()
    bed.finish()


@scenario()
def traced_engines(build, mode):
    """machnetctl trace of a NIC shows the flows of all its engines, and of no other NIC's."""
    bed = Bed(build, mode, daemons=False, queues=ENGINES)
    nothing = "\n[nic null0]\nmode = vdev:net_null0\naddress = 10.78.0.1/24\n"
    bed.a.start_daemon(extra_nic=f"engines = {ENGINES}\n{nothing}")
    bed.b.start_daemon(extra_nic=f"engines = {ENGINES}\n")
    server = bed.b.server(size=1000)
    tool = build.tool("machnetctl")
    for nic in ("dp0", "null0"):
        path = f"/tmp/{nic}.trace"
        tracing = bed.a.run([tool, "trace", "--all", "--nic", nic, "--output", path])
        wait_until(lambda made=path: os.path.exists(made), 5, "no trace")
        result(bed.a.app("ping", remote=bed.b.address, size=1000, window=4, flows=64, count=20))
        sigterm(tracing)
        tracing.expect(r"^\d+ records, 0 lost$")
        tracing.expect_exit(0, 5)
        shown = bed.a.run([tool, "trace", "--print", path, "--json"]).expect_exit(0, 30).splitlines()
        records = [json.loads(line) for line in shown]
        opened = [r["engine"] for r in records if r["kind"] == "state" and r["detail"] == "established"]
        say(f"{nic}: {len(records)} records; flows opened by each engine {[opened.count(i) for i in range(ENGINES)]}")
        if nic == "dp0":
            check(len(opened) == 64 and len(set(opened)) >= 3, f"flows of other engines are missing: {opened}")
        else:
            check(not opened, f"flows of another NIC: {opened}")
        os.unlink(path)
    server_result(server)
    bed.finish()


@scenario("af_xdp")
def kill_several_engines(build, mode):
    """kill -9 of a service with four queues: nothing stays on the interface, a new one takes over."""
    bed = bed_of_four(build, mode)
    server = bed.b.server()
    client = bed.a.app("ping", remote=bed.b.address, seconds=60, window=16, flows=8)
    client.expect("connected")
    check("xdp" in link_of(bed.b), "no XDP program on the interface")
    time.sleep(0.2)
    bed.b.daemon.kill()
    bed.daemons.remove(bed.b.daemon)
    took = wait_until(lambda: "xdp" not in link_of(bed.b), 2, "the XDP program outlives its service")
    say(f"the interface is the kernel's alone after {took * 1000:.0f} ms")
    server.expect_exit(3, 3)
    bed.b.start_daemon(extra_nic=f"engines = {ENGINES}\n")
    client.expect("event (reset|dead)", 8)
    exchange(bed)
    bed.finish()


def link_of(host):
    return sh("ip", "-n", host.namespace, "-details", "link", "show", "dev", host.interface)


@scenario("af_xdp")
def engines_and_queues(build, mode):
    """More or fewer engines than queues are refused, in a line that says what to do; and that helps."""
    bed = bed_of_four(build, mode, "")
    refused(bed, bed.a.config(extra_nic="engines = 8\n"), r"nic dp0: engines = 8 .* dp0 can have 4; set engines = 4")
    refused(bed, bed.a.config(extra_nic="engines = 2\n"),
            r"dp0 has 4 receive and 4 transmit queues, engines = 2 .* `ethtool -L dp0 rx 2 tx 2`")
    ethtool(bed.a, 2)
    refused(bed, bed.a.config(extra_nic="engines = 2\n"), r"nic dp0: .* peer may have no more transmit queues")
    ethtool(bed.b, 2)
    for host in (bed.a, bed.b):
        host.start_daemon(extra_nic="engines = 2\n")
    exchange(bed)
    bed.finish()


def ethtool(host, queues):
    host.run(["ethtool", "-L", host.interface, "rx", str(queues), "tx", str(queues)]).expect_exit(0, 5)
