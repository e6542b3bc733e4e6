# SPDX-License-Identifier: MIT
"""Scenarios in which something dies, stops or is refused."""
import os
import re
import signal
import time

from harness import Bed, Daemon, check, files_now, patience, say, scenarios, sh
from scenarios_traffic import result, server_result

SCENARIOS, scenario = scenarios()


def wait_until(condition, timeout, text):
    """How long it took until the condition held."""
    start = time.monotonic()
    while not condition():
        check(time.monotonic() - start < patience(timeout), text)
        time.sleep(0.005)
    return time.monotonic() - start


@scenario()
def kill_application(build, mode):
    """kill -9 of either application: the peer hears of it, the port is free, nothing leaks."""
    bed = Bed(build, mode)
    bystander = bed.b.server(port=900)
    running = bed.a.app("ping", remote=bed.b.address, port=900, seconds=patience(8), window=4)

    server = bed.b.server()
    client = bed.a.app("ping", remote=bed.b.address, seconds=60, window=16, flows=3)
    client.expect("connected")
    time.sleep(0.3)
    server.kill()
    start = time.monotonic()
    client.expect("event reset", 3)
    took = time.monotonic() - start
    say(f"the client heard of its server's death after {took * 1000:.0f} ms")
    check(took < patience(1), "a dead application's peers hear of it within a second")
    client.wait(5)

    start = time.monotonic()  # the port is free again
    while True:
        server = bed.b.app("echo")
        try:
            server.expect("^ready$", 2)
            break
        except Exception:
            check(time.monotonic() - start < patience(1), f"port still in use:\n{server.tail()}")
    client = bed.a.app("ping", remote=bed.b.address, seconds=60, window=16)
    client.expect("connected")
    server.expect("event accepted")
    client.kill()
    server.expect("event reset", patience(1.5))

    # Again and again: descriptors and memory of both services stay where they are.
    def churn():
        for _ in range(15):
            victim = bed.a.app("ping", remote=bed.b.address, seconds=60, window=16, flows=5, size=64)
            victim.expect("connected")
            time.sleep(0.02)
            victim.kill()

    churn()
    time.sleep(1)
    before = [(daemon.descriptors(), daemon.rss_kb()) for daemon in bed.daemons]
    churn()
    time.sleep(1)
    for daemon, (descriptors, rss) in zip(bed.daemons, before):
        say(f"{daemon.name}: {descriptors} -> {daemon.descriptors()} descriptors, "
            f"{rss} -> {daemon.rss_kb()} kB")
        check(daemon.descriptors() <= descriptors, f"{daemon.name} leaks descriptors")
        check(daemon.rss_kb() < rss + 8192, f"{daemon.name} leaks memory")
    result(running, 40)
    server_result(server)
    server_result(bystander)
    bed.finish()


@scenario()
def kill_service(build, mode):
    """kill -9 of a service: its applications fail at once, peers hear of it, a new one takes over."""
    bed = Bed(build, mode)
    server = bed.b.server()
    sleeper = bed.b.server("wait")
    client = bed.a.app("ping", remote=bed.b.address, seconds=60, window=16, stall=30)
    client.expect("connected")
    time.sleep(0.3)
    bed.b.daemon.kill()
    killed = time.monotonic()
    for process in (server, sleeper):
        output = process.expect_exit(3, 2)
        took = time.monotonic() - killed
        say(f"{process.name}: {re.search('error .*', output)[0]} after {took * 1000:.0f} ms")
        check(took < patience(1), f"{process.name} took {took:.1f} s to notice")
    output = client.expect_exit(4, 10)
    check("event dead" in output or "event reset" in output, f"the client got {output}")
    took = time.monotonic() - killed
    say(f"the peer: {re.search('event [a-z]+', output)[0]} after {took:.1f} s")
    check(took < patience(8), "death of a host is reported within seconds")

    bed.daemons.remove(bed.b.daemon)
    took = bed.b.start_daemon()
    say(f"a new machnetd is ready in {took * 1000:.0f} ms")
    server = bed.b.server()
    result(bed.a.app("ping", remote=bed.b.address, count=1000), 20)
    server_result(server)
    bed.finish()


@scenario()
def restart_within_a_flow(build, mode):
    """A service dies and is back at once: old flows end, new ones between the same hosts work."""
    bed = Bed(build, mode)
    server = bed.b.server()
    client = bed.a.app("ping", remote=bed.b.address, seconds=60, window=16)
    client.expect("connected")
    time.sleep(0.2)
    bed.b.daemon.kill()
    bed.daemons.remove(bed.b.daemon)
    start = time.monotonic()
    bed.b.start_daemon()
    server.expect_exit(3, 3)
    client.expect("event (reset|dead)", 8)
    say(f"the old flow ended {time.monotonic() - start:.1f} s after the restart")
    server = bed.b.server()
    result(bed.a.app("ping", remote=bed.b.address, count=2000), 20)
    server_result(server)
    bed.finish()


@scenario()
def stop_service(build, mode):
    """SIGTERM: the service tells its applications and its peers before it ends."""
    bed = Bed(build, mode)
    server = bed.b.server()
    client = bed.a.app("ping", remote=bed.b.address, seconds=60, window=16)
    client.expect("connected")
    bed.daemons.remove(bed.b.daemon)
    start = time.monotonic()
    took = bed.b.daemon.stop_cleanly()
    client.expect("event reset", 2)
    say(f"ended in {took * 1000:.0f} ms, the peer knew after {(time.monotonic() - start) * 1000:.0f} ms")
    server.expect_exit(3, 2)
    bed.finish()


@scenario()
def stopped_receiver(build, mode):
    """A receiver that stops reading stops its sender, nobody else, and loses nothing."""
    bed = Bed(build, mode)
    stopped = bed.b.server("sink", port=700, size=20000, stop_after=100)
    bystander = bed.b.server(port=701)
    count = 30000
    sender = bed.a.app("blast", remote=bed.b.address, port=700, size=20000, mixed=True, count=count,
                       stall=60)
    stopped.expect("^stopped$")

    def sent():
        lines = re.findall(r"^sent (\d+)", sender.output(), re.MULTILINE)
        return int(lines[-1]) if lines else 0

    end = time.monotonic() + patience(10)
    while True:  # until the window is closed
        before = sent()
        time.sleep(1.2)
        if before > 0 and sent() == before:
            break
        check(time.monotonic() < end, "the sender never felt back-pressure")
    check(before < count, "everything was accepted: nothing was held back")
    # Longer than a flow may be silent before it counts as dead.
    other = result(bed.a.app("ping", remote=bed.b.address, port=701, seconds=7, window=8), 30)
    check(other["rate"] > 500, f"the neighbour's flow crawls: {other['rate']} requests/s")
    check(sent() == before, "the sender sent more into a closed window")
    say(f"held back after {before} messages; the neighbour did {other['rate']} requests/s")
    stopped.signal(signal.SIGUSR1)
    got = result(sender, 60)
    check(got["messages"] == count, f"only {got['messages']} messages were taken")
    got = server_result(stopped)
    check(got["messages"] == count and got["wrong"] == 0, f"the receiver counted {got}")
    server_result(bystander)
    bed.finish()


@scenario()
def slow_receiver(build, mode):
    """A receiver slower than its sender gets everything, while others run on."""
    bed = Bed(build, mode)
    slow = bed.b.server("sink", port=700, size=8000, delay_us=100)
    count = 20000
    sender = bed.a.app("blast", remote=bed.b.address, port=700, size=8000, mixed=True, count=count,
                       stall=30)
    bystander = bed.b.server(port=701)
    other = result(bed.a.app("ping", remote=bed.b.address, port=701, seconds=2, window=8), 30)
    got = result(sender, 90)
    check(got["messages"] == count, "the sender gave up")
    say(f"{got['rate']} messages/s to a slow receiver, the neighbour did {other['rate']} requests/s")
    got = server_result(slow)
    check(got["messages"] == count and got["wrong"] == 0, f"the receiver counted {got}")
    server_result(bystander)
    bed.finish()


@scenario("af_packet")
def two_services(build, mode):
    """Several services on one machine; one dies by kill -9, the other runs on; nothing is left."""
    bed = Bed(build, mode, daemons=False)
    hugepage_files = sh("sh", "-c", "ls /dev/hugepages 2>/dev/null || true")
    sh("ip", "link", "add", "dp1", "netns", bed.a.namespace, "type", "veth",
       "peer", "name", "dp1", "netns", bed.b.namespace)
    for host in (bed.a, bed.b):
        bed._up(host.namespace, "dp1")
        host.start_daemon()
    seconds = {}
    for host, address in ((bed.a, "10.78.0.1"), (bed.b, "10.78.0.2")):
        path = f"/run/machnet/{host.name}2.sock"
        daemon = Daemon(host, f"[machnet]\nsocket = {path}\nhugepages = no\n\n[nic dp1]\n"
                              f"address = {address}/24\nmode = {mode}\n", path)
        daemon.wait_ready()
        seconds[host.name] = daemon
    first, second = bed.b.server(), None
    running = bed.a.app("ping", remote=bed.b.address, seconds=5, window=8)
    saved = bed.a.socket_path, bed.b.socket_path
    bed.a.socket_path, bed.b.socket_path = "/run/machnet/A2.sock", "/run/machnet/B2.sock"
    second = bed.b.server()
    result(bed.a.app("ping", remote="10.78.0.2", count=5000, window=8))
    seconds["B"].kill()
    second.expect_exit(3, 3)
    bed.a.socket_path, bed.b.socket_path = saved
    result(running, 30)

    # A killed service leaves its socket's name (nobody could remove it); a new one takes it over.
    left = files_now() - bed.files_before
    check(left == {f"/run/machnet/{name}.sock" for name in ("A", "B", "A2", "B2")},
          f"files while running: {sorted(left)}")
    replacement = Daemon(bed.b, "[machnet]\nsocket = /run/machnet/B2.sock\nhugepages = no\n",
                         "/run/machnet/B2.sock")
    replacement.wait_ready()
    bed.daemons += [seconds["A"], replacement]
    server_result(first)
    bed.finish()
    check(sh("sh", "-c", "ls /dev/hugepages 2>/dev/null || true") == hugepage_files,
          "hugepage files were left behind")
    listing = sh("ps", "-e", "-o", "comm=")
    check("machnetd" not in listing.split(), f"a machnetd is still there:\n{listing}")


def refused(bed, config, pattern, exit_code=None, arguments=()):
    """machnetd does not start: one line on stderr that matches, and an exit code."""
    path = "/tmp/refused.conf"
    with open(path, "w") as file:
        file.write(config)
    process = bed.a.run([bed.build.machnetd, "--config", path, *arguments], name="machnetd")
    code = process.wait(5)
    lines = [line for line in process.output().splitlines() if line.strip()]
    check(code not in (0, None) and code > 0, f"exit code {code} for\n{config}\n{process.tail()}")
    check(exit_code is None or code == exit_code, f"exit code {code}, expected {exit_code}")
    check(re.search(pattern, process.output()), f"no '{pattern}' in:\n{process.tail()}")
    check(len(lines) == 1, f"not one line:\n{process.tail()}")
    say(lines[0])
    os.unlink(path)


@scenario("af_packet")
def refusals(build, mode):
    """Wrong configurations, a missing interface and a busy socket are refused in one line."""
    bed = Bed(build, mode, daemons=False)
    head = "[machnet]\nsocket = /run/machnet/R.sock\nhugepages = no\n"
    nic = "[nic dp0]\naddress = 10.77.0.1/24\nmode = af_packet\n"
    refused(bed, head + "colour = blue\n", r"refused\.conf:4.*colour")
    refused(bed, head + "[nix dp0]\n", r"refused\.conf:4.*nix")
    refused(bed, head + "hugepages = yes\n", r"refused\.conf:4.*hugepages")
    refused(bed, "[machnet]\nhugepages = maybe\n", r"refused\.conf:2.*hugepages.*auto")
    refused(bed, head + nic.replace("10.77.0.1/24", "10.77.0.300/24"), r"refused\.conf:5.*address")
    refused(bed, head + nic.replace("10.77.0.1/24", "10.77.0.1"), r"refused\.conf:5.*address")
    refused(bed, head + nic.replace("af_packet", "magic"), r"refused\.conf:6.*mode.*af_xdp")
    refused(bed, head + nic + nic, r"refused\.conf:\d.*dp0")
    refused(bed, head + "[nic dp0]\nmode = af_packet\n", r"address")
    refused(bed, head + "this is no line\n", r"refused\.conf:4")
    refused(bed, head + nic.replace("dp0", "dp7"), r"dp7")
    missing = bed.a.run([build.machnetd, "--config", "/tmp/none.conf"], name="machnetd")
    check(missing.wait(5) > 0 and "none.conf" in missing.output(), missing.output())
    took = bed.a.start_daemon()
    say(f"ready in {took * 1000:.0f} ms")
    refused(bed, head.replace("R.sock", "A.sock"), r"A\.sock")
    check(bed.a.daemon.alive(), "the running service died of the refused one")

    with open("/tmp/good.conf", "w") as file:
        file.write(head + nic)
    good = bed.a.run([build.machnetd, "--check-config", "--config", "/tmp/good.conf"], name="machnetd")
    good.expect_exit(0, 5)
    refused(bed, head + "colour = blue\n", r"colour", arguments=["--check-config"])
    os.unlink("/tmp/good.conf")
    version = bed.a.run([build.machnetd, "--version"], name="machnetd")
    check("1.0.0" in version.expect_exit(0, 5), "no version")
    bed.finish()


@scenario()
def stopped_service(build, mode):
    """SIGSTOP of a service, SIGCONT two seconds later: flows pause and go on, on whichever side it was. After five
    the peer has given up, is told so, and new flows work."""
    bed = Bed(build, mode)
    server = bed.b.server(size=1000)
    client = bed.a.app("ping", remote=bed.b.address, size=1000, seconds=60, window=16, flows=3, stall=30)
    client.expect("connected")
    for stopped, other in ((bed.b, bed.a), (bed.a, bed.b)):
        time.sleep(0.3)
        stopped.daemon.signal(signal.SIGSTOP)
        time.sleep(0.3)
        before = other.counted("tx_packets")
        time.sleep(1.5)
        sent = other.counted("tx_packets") - before
        arrived = other.counted("rx_messages")
        stopped.daemon.signal(signal.SIGCONT)
        took = wait_until(lambda: other.counted("rx_messages") > arrived + 100, 10, "flows do not go on")
        say(f"{stopped.name} stopped: {other.name} sent {sent} packets in 1.5 s; on again after {took * 1000:.0f} ms")
        check(sent <= 300, "a flood for a peer that is silent")
        wait_until(lambda: stopped.counted("absences") >= 1, 5, "the absence was not counted")
    check(sum(host.counted("flows_ended") for host in (bed.a, bed.b)) == 0, "a flow was given up")
    client.signal(signal.SIGTERM)
    result(client)

    client = bed.a.app("ping", remote=bed.b.address, size=1000, seconds=60, window=16, flows=3, stall=30)
    client.expect("connected")
    bed.b.daemon.signal(signal.SIGSTOP)
    start = time.monotonic()
    client.expect("event dead", 20)
    say(f"the peer of a service that stays stopped gives up after {time.monotonic() - start:.1f} s")
    bed.b.daemon.signal(signal.SIGCONT)
    result(bed.a.app("ping", remote=bed.b.address, size=1000, count=1000))
    check(server_result(server)["wrong"] == 0, "wrong messages")
    bed.finish()


@scenario()
def idle(build, mode):
    """An idle service, and an application that waits, use under 1 % of a CPU."""
    bed = Bed(build, mode)
    server = bed.b.server()
    # An open flow keeps its keep-alives going.
    client = bed.a.app("ping", remote=bed.b.address, count=10, seconds=0)
    result(client)
    waiter = bed.a.server("wait")
    time.sleep(2)
    processes = [bed.a.daemon, bed.b.daemon, server, waiter]
    before = [process.cpu_seconds() for process in processes]
    seconds = 3
    time.sleep(seconds)
    for process, start in zip(processes, before):
        share = (process.cpu_seconds() - start) / seconds * 100
        say(f"{process.name}: {share:.2f} % of a CPU")
        check(share <= 1.0 * patience(1), f"{process.name} uses {share:.1f} % of a CPU when idle")
    server_result(server)
    check(waiter.stop() == 0, "the waiting application did not end")
    bed.finish()


@scenario("af_packet")
def busy_listen(build, mode):
    """Nobody answers: connects to a closed port, to an absent host and to a silent one are refused."""
    bed = Bed(build, mode)
    start = time.monotonic()
    output = bed.a.app("ping", remote=bed.b.address, port=4321, count=1).expect_exit(3, 5)
    check("ECONNREFUSED" in output, output)
    say(f"closed port: refused after {(time.monotonic() - start) * 1000:.0f} ms")
    start = time.monotonic()
    output = bed.a.app("ping", remote="10.77.0.99", port=4321, count=1).expect_exit(3, 8)
    check("EHOSTUNREACH" in output or "ETIMEDOUT" in output, output)
    say(f"absent host: {output.split()[-1]} after {(time.monotonic() - start):.1f} s")
    output = bed.a.app("ping", remote="192.0.2.1", port=4321, count=1).expect_exit(3, 8)
    check(re.search("ENETUNREACH|EHOSTUNREACH", output), output)
    bed.finish()
