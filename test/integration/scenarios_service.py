# SPDX-License-Identifier: MIT
"""Scenarios of a service under a service manager: notification, reload, watchdog, a socket that
outlives the service, few privileges."""
import json
import os
import re
import select
import signal
import threading
import time

import control_socket
from harness import HERE, Bed, as_user, check, patience, say, scenarios, sh
from manager import Manager, StoppedThread
from scenarios_traffic import result, server_result

SCENARIOS, scenario = scenarios()
STRANGER = 60001  # a user that nobody else is
UNIT = os.path.join(HERE, "../../systemd/machnet.service")
with open(UNIT) as file:  # before the scenario's own /tmp covers a clone that lies there
    UNIT_TEXT = file.read()


def stop(manager, code=0, within=2.5):
    start = time.monotonic()
    manager.daemon.signal(signal.SIGTERM)
    got = manager.daemon.wait(10)
    took = time.monotonic() - start
    manager.listen(0.05)
    check(got == code, f"exit code {got}, expected {code}:\n{manager.messages()}\n{manager.daemon.tail()}")
    check(took < patience(within), f"it took {took:.1f} s to end")
    return took


def attach_as(path, uid):
    """A channel of that user: its error (0: it has it) and reason. Held until the test ends."""
    held = []

    def attach():
        session = control_socket.greeted(path)
        held.append(session)
        session.send(control_socket.message(2, sequence=2))
        reply = session.recv(control_socket.SIZE)
        return f"{int.from_bytes(reply[12:16], 'little')} {reply[352:].split(bytes(1))[0].decode()}"

    error, _, reason = as_user(uid, attach).partition(" ")
    return int(error), reason


@scenario()
def notify(build, mode):
    """What systemd hears and the journal gets, from the start to the end of a service."""
    bed = Bed(build, mode, daemons=False)
    bed.b.start_daemon()
    manager = Manager(bed.a)
    manager.start()
    control_socket.greeted(bed.a.socket_path).close()  # ready means ready
    states = [pairs for _, pairs in manager.heard]
    check(states[0] == {"STATUS": f"starting dp0 ({mode})"}, f"first it said {states[0]}")
    check([pairs for pairs in states if "READY" in pairs] ==
          [{"READY": "1", "STATUS": f"serving {bed.a.address} on dp0; 0 channels, 0 flows"}], f"heard {states}")
    up = manager.wait_for_message("^nic dp0: ")
    check(up["NIC"] == "dp0" and up["PRIORITY"] == "6" and len(up["MESSAGE_ID"]) == 32, f"journal: {up}")
    check(not manager.daemon.output(), f"something went past the journal:\n{manager.daemon.tail()}")

    server = bed.b.server()
    quiet = len(manager.heard)
    manager.listen(1.5)
    check(len(manager.heard) == quiet, f"an idle service said {manager.heard[quiet:]}")
    client = bed.a.app("ping", remote=bed.b.address, seconds=4, window=16, flows=3)
    manager.wait_for("STATUS", "serving .*; 1 channel, 3 flows", 5)
    client.wait(15)
    manager.wait_for("STATUS", "serving .*; 0 channels, 0 flows", 5)
    times = [when for when, pairs in manager.heard if "STATUS" in pairs and "READY" not in pairs][1:]
    gaps = [b - a for a, b in zip(times, times[1:])]
    check(all(gap > 0.9 for gap in gaps), f"more than a line a second: {gaps}")

    took = stop(manager)
    check(manager.heard[-1][1].get("STOPPING") == "1", f"its last word was {manager.heard[-1]}")
    say(f"{len(times)} lines of status, ended in {took * 1000:.0f} ms")
    server_result(server)
    manager.close()
    bed.finish()


@scenario("af_packet", "af_xdp", "none")
def link(build, mode):
    """A cable is pulled and plugged in again: the log, the status and machnetctl say so, the service goes on."""
    bed = Bed(build, mode, daemons=False)
    manager = Manager(bed.a)
    manager.start()

    def link_told():
        return bed.a.status()["nics"][0]["link"]

    if mode == "none":
        check(link_told() is None, "a link that nobody has is told")
    else:
        bed.b.start_daemon()
        server = bed.b.server()
        client = bed.a.app("ping", remote=bed.b.address, seconds=8, window=4)
        manager.wait_for("STATUS", "serving .* on dp0; 1 channel, 1 flow", 5)
        check(link_told() == "up", "machnetctl does not see the link")
        sh("ip", "-n", bed.b.namespace, "link", "set", "dev", "dp0", "down")
        took = manager.wait_for("STATUS", r"serving .* on dp0 \(link down\); 1 channel, 1 flow", 4)
        said = manager.wait_for_message("^nic dp0: the link is down$")
        check(said["NIC"] == "dp0" and said["PRIORITY"] == "4" and len(said["MESSAGE_ID"]) == 32, f"journal: {said}")
        check(link_told() == "down", "machnetctl does not see that the link is down")
        sh("ip", "-n", bed.b.namespace, "link", "set", "dev", "dp0", "up")
        manager.wait_for("STATUS", "serving .* on dp0; 1 channel, 1 flow", 4)
        said = manager.wait_for_message("^nic dp0: the link is up again$")
        check(said["NIC"] == "dp0" and said["PRIORITY"] == "6", f"journal: {said}")
        result(client, 20)  # the flow outlived it
        server_result(server)
        say(f"told {took * 1000:.0f} ms after the cable was pulled")
    stop(manager)
    manager.close()
    bed.finish()


@scenario("af_packet")
def reload(build, mode):
    """A changed configuration: what is applied, what needs a restart, what is refused."""
    bed = Bed(build, mode, daemons=False)
    manager = Manager(bed.a)
    daemon = manager.start(extra_machnet="socket_mode = 0666\n")
    base = bed.a.config(extra_machnet="socket_mode = 0666\n")

    def lines(entries):
        return [entry["MESSAGE"] for entry in entries]

    got = lines(manager.reload())
    check(got == ["reload: nothing has changed"], f"without a change: {got}")

    def burnt():  # processor time of half a second, of each second
        time.sleep(0.2)
        before = daemon.cpu_seconds()
        time.sleep(0.5)
        return (daemon.cpu_seconds() - before) / 0.5

    idle = burnt()
    entries = manager.reload(base.replace("[nic dp0]", "channels_per_user = 2\nlog_level = error\n"
                                          "memory = 300M\n[nic dp0]\nidle = spin\nmtu = 1400\n"))
    got = lines(entries)
    check(got == ["reload: [machnet] memory: auto -> 300M: needs a restart",
                  "reload: [machnet] log_level: info -> error",
                  "reload: [machnet] channels_per_user: 2048 -> 2",
                  "reload: [nic dp0] mtu: auto -> 1400: needs a restart",
                  "reload: [nic dp0] idle: adaptive -> spin"], f"the log: {got}")
    check([entry["PRIORITY"] for entry in entries] == ["4", "6", "6", "4", "6"], f"priorities: {entries}")
    spinning = burnt()
    say(f"the engine takes {idle:.2f} of a processor, after the reload {spinning:.2f}")
    check(idle < 0.2 and spinning > 0.3, "idle = spin was not applied")
    answers = [attach_as(bed.a.socket_path, STRANGER) for _ in range(3)]
    check([error for error, _ in answers] == [0, 0, 122] and "channels_per_user" in answers[2][1],
          f"three channels of one user: {answers}")

    seen = len(manager.journal)
    entries = manager.reload(base.replace("[nic dp0]", "channels_per_user = 9\nlog_level = loud\n[nic dp0]"))
    check(re.fullmatch(rf"{re.escape(daemon.config_path)}:\d+: key 'log_level' in \[machnet\]: 'loud': .*",
                       entries[0]["MESSAGE"]) and "refused" in entries[1]["MESSAGE"], f"the log: {lines(entries)}")
    check(manager.status() == f"serving {bed.a.address} on dp0; 2 channels, 0 flows; "
          f"the last reload failed: {entries[0]['MESSAGE']}", f"the status: {manager.status()}")
    error, _ = attach_as(bed.a.socket_path, STRANGER)
    check(error == 122, "a broken file changed something")
    check(len(manager.journal) == seen + 2, "log_level = error was lost by a broken file")

    check("reload failed" in manager.status(), "the next session made the status forget")
    got = lines(manager.reload(base + "\n[nic other]\naddress = 10.1.0.1/24\nmode = af_packet\n"))
    check(got[-1] == "reload: [nic other]: absent -> present: needs a restart" and
          "reload: [machnet] channels_per_user: 2 -> 2048" in got and len(got) == 4, f"the log: {got}")
    check("reload failed" not in manager.status(), f"after a good one: {manager.status()}")
    error, reason = attach_as(bed.a.socket_path, STRANGER)
    check(error == 0, f"the quota stayed: {reason}")
    check(burnt() < 0.2, "idle = adaptive was not applied")
    stop(manager)
    manager.close()
    bed.finish()


@scenario()
def watchdog(build, mode):
    """The watchdog is fed while every engine advances, and only then; a stuck one does not keep the end away."""
    bed = Bed(build, mode, daemons=False)
    manager = Manager(bed.a, watchdog_seconds=2)
    daemon = manager.start()

    def feedings(seconds):
        seen = len(manager.heard)
        manager.listen(seconds)
        return sum(pairs.get("WATCHDOG") == "1" for _, pairs in manager.heard[seen:])

    fed = feedings(4)
    say(f"fed {fed} times in 4 s while idle")
    check(3 <= fed <= 5, f"an idle service was fed {fed} times in 4 s, its engine sleeps up to 1 s")
    client = bed.a.app("ping", remote=bed.a.address, seconds=2, window=4)  # nobody listens: refused
    client.wait(10)

    stuck = StoppedThread(daemon.pid, "mn-dp0")
    feedings(patience(3.2))
    fed = feedings(2)
    check(fed == 0, f"fed {fed} times in 2 s although an engine stands still")
    said = manager.wait_for_message("stands still", 1)
    check(said["NIC"] == "dp0" and said["PRIORITY"] == "3", f"journal: {said}")
    control_socket.greeted(bed.a.socket_path).close()  # the control plane itself is well
    stuck.let_go()
    took = manager.wait_for("WATCHDOG", "1", 1)
    say(f"fed again {took * 1000:.0f} ms after the engine went on")
    check(feedings(2.5) >= 2, "not fed any more")

    stuck = StoppedThread(daemon.pid, "mn-dp0")
    start = time.monotonic()
    daemon.signal(signal.SIGTERM)
    stuck.bury(patience(6))
    took = time.monotonic() - start
    check(daemon.wait(5) == 1, f"exit code {daemon.popen.returncode}")
    check("ending without it" in daemon.output(), f"it ended without a word:\n{daemon.tail()}")
    say(f"ended {took:.1f} s after SIGTERM with a stuck engine")
    if os.path.exists(bed.a.socket_path):  # as after kill -9: the next start removes it
        os.unlink(bed.a.socket_path)
    manager.close()
    bed.finish()


@scenario("af_packet")
def socket_activation(build, mode):
    """A socket of the service manager's: it decides who may come in, and a restart refuses nobody."""
    bed = Bed(build, mode, daemons=False)
    bed.b.start_daemon()
    manager = Manager(bed.a, listen=True, mode=0o666)
    options = {"extra_machnet": "socket_mode = 0600\nsocket_group = daemon\n"}
    daemon = manager.start(**options)
    manager.wait_for_message(r"'socket_mode = 0600' is not used: machnet.socket decides \(SocketMode=0666\)")
    manager.wait_for_message("'socket_group' is not used")
    error, reason = attach_as(bed.a.socket_path, STRANGER)
    check(error == 0, f"the socket's mode lets everybody in, machnetd says: {reason}")

    for number in (signal.SIGKILL, signal.SIGTERM):
        server = bed.a.server()
        daemon.signal(number)
        daemon.wait(5)
        check(server.wait(5) == 3, f"the application did not notice:\n{server.tail()}")
        check(os.path.exists(bed.a.socket_path), "the socket is not the service's to remove")
        answers = []
        clients = [threading.Thread(target=lambda: answers.append(control_socket.greeted(bed.a.socket_path)))
                   for _ in range(8)]
        for client in clients:
            client.start()
        time.sleep(0.3)  # nobody is there to answer
        check(not answers, "somebody answers")
        daemon = manager.start(**options)
        for client in clients:
            client.join(5)
        say(f"{len(answers)} of {len(clients)} that came while nobody was there were served")
        check(len(answers) == len(clients), "some were refused")
        for session in answers:
            session.close()
    server = bed.b.server()
    result(bed.a.app("ping", remote=bed.b.address, count=500), 20)
    server_result(server)
    stop(manager)
    manager.close()
    bed.finish()


@scenario("none")
def restart_under_machnetctl(build, mode):
    """A service ends while machnetctl asks it: it asks the one that follows, once."""
    bed = Bed(build, mode, daemons=False)
    manager = Manager(bed.a, listen=True)

    def hang_up(after_hello):
        check(select.select([manager.listening], [], [], patience(5))[0], "machnetctl does not come")
        session, _ = manager.listening.accept()
        session.setblocking(True)
        hello = session.recv(control_socket.SIZE)
        if after_hello:
            session.send(hello)  # the version that was asked for
            session.recv(control_socket.SIZE)
        session.close()

    for after_hello in (False, True):
        ctl = bed.a.run([build.tool("machnetctl"), "--json"])
        hang_up(after_hello)
        manager.start()
        status = json.loads(ctl.expect_exit(0, 5))
        check([nic["name"] for nic in status["nics"]] == ["local"], f"after_hello {after_hello}: {status}")
        stop(manager)
    ctl = bed.a.run([build.tool("machnetctl")])
    hang_up(True)
    hang_up(True)
    said = ctl.expect_exit(1, 5)
    check("shutdown" in said, f"a service that ends again and again: {said}")
    manager.close()
    bed.finish()


@scenario("af_packet", "af_xdp", "none")
def unprivileged(build, mode):
    """A user that is not root, with the unit's capabilities: it serves, and keeps only what its mode needs."""
    bed = Bed(build, mode, daemons=False)
    bed.b.start_daemon()
    granted = re.search(r"^AmbientCapabilities=(.*)$", UNIT_TEXT, re.MULTILINE).group(1)
    capabilities = [name.lower().removeprefix("cap_") for name in granted.split()]
    manager = Manager(bed.a, uid=STRANGER, capabilities=capabilities, listen=True)
    daemon = manager.start()
    with open(f"/proc/{daemon.pid}/status") as file:
        status = dict(re.findall(r"^(\w+):\s+(.*)$", file.read(), re.MULTILINE))
    held = {number for number in range(64) if int(status["CapPrm"], 16) >> number & 1}
    # NET_ADMIN 12, NET_RAW 13, IPC_LOCK 14, BPF 39
    wanted = {"none": set(), "af_packet": {12, 13}, "af_xdp": {12, 13, 14, 39}}[mode]
    check(status["Uid"].split() == [str(STRANGER)] * 4, f"it runs as {status['Uid']}")
    check(held == wanted, f"it holds the capabilities {sorted(held)}, expected {sorted(wanted)}")
    for name in ("CapInh", "CapAmb"):
        check(mode != "none" or int(status[name], 16) == 0, f"{name} is {status[name]}")
    if mode != "none":
        server = bed.b.server()
        result(bed.a.app("ping", remote=bed.b.address, count=1000, window=8), 20)
        server_result(server)
    took = stop(manager)
    say(f"held {sorted(held)} as user {STRANGER}; ended in {took * 1000:.0f} ms")
    manager.close()
    bed.finish()
