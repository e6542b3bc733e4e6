# SPDX-License-Identifier: MIT
"""Scenarios with a hostile application: in its channel's memory, and on the control socket."""
import array
import ctypes
import os
import random
import select
import socket
import struct
import time

from control_socket import HELLO, SIZE, dial, greeted, message
from harness import Bed, as_user, check, say, scenarios
from scenarios_traffic import result, server_result

SCENARIOS, scenario = scenarios()

# What each attack must end in: "closed" where no honest program could have done it, "any" where the
# service may also ignore it.
ATTACKS = {
    "random": "any", "random_rings": "any", "random_entries": "closed", "wrong_buffer": "closed",
    "huge_buffer": "closed", "same_buffer": "closed", "wrong_length": "closed", "zero_length": "closed",
    "short_segment": "any", "wrong_type": "closed", "other_flow": "any", "release_unowned": "closed",
    "release_wrong": "closed", "release_slot": "closed", "close_often": "any", "endless_message": "any",
    "doorbells": "any", "truncate": "any",
}


class Bystanders:
    """Honest traffic through both services while somebody attacks one of them; it must not suffer."""

    def __init__(self, bed):
        self.bed = bed
        self.server = bed.b.server(port=900, size=5000)
        self.client = bed.a.app("ping", remote=bed.b.address, port=900, size=5000, mixed=True, window=8,
                                seconds=3600, flows=4, stall=5)
        self.client.expect("connected")
        self.before = [(daemon.descriptors(), daemon.rss_kb()) for daemon in bed.daemons]

    def check_alive(self, after):
        for process in (*self.bed.daemons, self.client, self.server):
            check(process.alive(), f"{process.name} ended after {after}:\n{process.tail()}")

    def finish(self):
        time.sleep(0.5)
        self.check_alive("everything")
        self.client.signal(15)
        got = result(self.client, 20)
        check(got["messages"] > 1000, f"the bystander did only {got}")
        check(server_result(self.server)["wrong"] == 0, "a bystander's message was damaged")
        time.sleep(1.2)
        for daemon, (descriptors, rss) in zip(self.bed.daemons, self.before):
            say(f"{daemon.name}: {descriptors} -> {daemon.descriptors()} descriptors, "
                f"{rss} -> {daemon.rss_kb()} kB")
            check(daemon.descriptors() <= descriptors, f"{daemon.name} leaks descriptors")
            check(daemon.rss_kb() < rss * 1.5 + 65536, f"{daemon.name} leaks memory")
        say(f"the bystander did {got['rate']} requests/s meanwhile")


@scenario()
def hostile_application(build, mode):
    """An application that writes whatever it likes over its channel, next to an honest one."""
    bed = Bed(build, mode)
    target = bed.b.server(port=901)
    bystanders = Bystanders(bed)
    hostile = build.test_program("hostile_app")
    for attack, expected in ATTACKS.items():
        for flow in ([], [bed.b.address, "901"]):
            # A reference to no flow at all is merely stale; to judge its content the flow must exist.
            must_close = expected == "closed" and (flow or attack in ("wrong_buffer", "huge_buffer"))
            process = bed.a.run([hostile, attack, "0.7" if expected == "any" else "3", *flow],
                                name=f"hostile {attack}")
            output = process.expect_exit(0, 10)
            bystanders.check_alive(f"{attack} {flow}")
            check(not must_close or "closed" in output, f"{attack} {flow} was not noticed: {output}")
            say(f"{attack}{' on a flow' if flow else ''}: {output.strip()}")
    check(target.alive(), target.tail())
    result(bed.a.app("ping", remote=bed.b.address, port=901, count=200), 20)
    bystanders.finish()
    target.stop()
    bed.finish()


@scenario("af_packet")
def hostile_crowd(build, mode):
    """Ten hostile applications at once, killed in the middle of it, again and again."""
    bed = Bed(build, mode)
    target = bed.b.server(port=901)
    bystanders = Bystanders(bed)
    hostile = build.test_program("hostile_app")
    names = list(ATTACKS)
    for round_number in range(4):
        crowd = [bed.a.run([hostile, names[(round_number * 10 + i) % len(names)], "20", bed.b.address,
                            "901"]) for i in range(10)]
        time.sleep(0.5)
        for process in crowd:
            process.kill()
        bystanders.check_alive(f"round {round_number}")
    bystanders.finish()
    target.stop()
    bed.finish()


def ended(s):
    """True once the service closed this session, whatever it said before."""
    try:
        for _ in range(10000):
            if not s.recv(SIZE):
                return True
    except (ConnectionResetError, BrokenPipeError):
        return True
    except TimeoutError:
        pass
    return False


def poke(s, data):
    try:
        s.send(data)
    except (BrokenPipeError, ConnectionResetError):
        pass


def descriptors_nobody_wants(path):
    readers = []
    for count in (1, 5, 250):
        s = greeted(path)
        fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]
        s.sendmsg([HELLO], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
        for fd in fds:
            os.close(fd)
        check(ended(s), f"{count} unasked descriptors were accepted")
        s.close()
    # The write end of a pipe: closed over there if the reader sees the end of the file.
    reader, writer = os.pipe()
    s = dial(path)
    s.sendmsg([HELLO], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer]))])
    os.close(writer)
    readers.append(reader)
    check(ended(s), "unasked descriptors in the first message were accepted")
    os.set_blocking(reader, False)
    time.sleep(0.1)
    check(os.read(reader, 1) == b"", "the service keeps a descriptor that it was sent")
    os.close(reader)


def garbage_messages(path):
    rng = random.Random(4)
    cases = {
        "nothing but noise": [rng.randbytes(SIZE)],
        "one byte": [b"\x01"],
        "half a message": [HELLO[:SIZE // 2]],
        "half a message after hello": [HELLO, message(2)[:100]],
        "too long": [HELLO + HELLO],
        "wrong magic": [message(1, magic=1)],
        "unknown type": [HELLO, message(999)],
        "attach before hello": [message(2)],
        "no common version": [message(1, body=struct.pack("<HHI", 77, 99, 0))],
        "an empty version range": [message(1, body=struct.pack("<HHI", 5, 2, 0))],
    }
    for what, messages in cases.items():
        s = dial(path)
        for data in messages:
            poke(s, data)
        check(ended(s), f"a session went on after: {what}")
        s.close()
    for what, sequence in {"hello twice": [HELLO, HELLO], "attach twice": [HELLO, message(2), message(2)],
                           "listen before attach": [HELLO, message(3, body=struct.pack("<IHH", 0, 80, 0))],
                           "connect before attach": [HELLO, message(5, body=bytes(12))],
                           "detach before attach": [HELLO, message(6)],
                           "flow stats of nothing": [HELLO, message(2), message(7, body=b"\xff" * 8)],
                           "index past the end": [HELLO, message(8, body=b"\xff" * 4)]}.items():
        s = dial(path)  # refused or closed: both are right, an answer of 0 or silence are not
        errors = []
        for data in sequence:
            poke(s, data)
            try:
                reply = s.recvmsg(SIZE, socket.CMSG_SPACE(80))
                for _, _, data in reply[1]:
                    for fd in array.array("i", data[:len(data) // 4 * 4]):
                        os.close(fd)
                if not reply[0]:
                    errors.append("closed")
                    break
                errors.append(struct.unpack_from("<i", reply[0], 12)[0])
            except ConnectionResetError:
                errors.append("closed")
                break
        check(errors and errors[-1] != 0, f"{what} was answered with {errors}")
        s.close()
    for _ in range(300):  # right header, random rest, random types
        s = greeted(path)
        for _ in range(rng.randrange(1, 6)):
            poke(s, message(rng.randrange(0, 14), body=rng.randbytes(SIZE - 16)))
        s.close()


def floods(path):
    # More sessions than there can be, none of which says anything.
    sockets = []
    for _ in range(900):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.setblocking(False)
        sockets.append(s)
        try:
            s.connect(path)
        except OSError:
            pass
    time.sleep(0.3)
    for s in sockets:
        s.close()
    # Requests without ever reading a reply.
    s = greeted(path)
    s.setblocking(False)
    sent = 0
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        try:
            s.send(message(8, sequence=sent, body=struct.pack("<II", 0, 0)))
            sent += 1
        except BlockingIOError:
            time.sleep(0.001)
        except (BrokenPipeError, ConnectionResetError):
            break
    s.close()
    return sent


@scenario("af_packet")
def garbage_on_the_socket(build, mode):
    """Garbage, half messages, floods and unasked descriptors end that session and nothing else."""
    bed = Bed(build, mode)
    bystanders = Bystanders(bed)
    path = bed.a.socket_path
    garbage_messages(path)
    bystanders.check_alive("garbage")
    descriptors_nobody_wants(path)
    bystanders.check_alive("descriptors")
    sent = floods(path)
    bystanders.check_alive("floods")
    say(f"{sent} requests without reading a reply")
    # Half a thousand programs that attach and vanish.
    for _ in range(500):
        s = greeted(path)
        s.send(message(2))
        s.close()
    bystanders.check_alive("attach and vanish")
    result(bed.a.app("ping", remote=bed.b.address, port=900, count=100), 20)
    bystanders.finish()
    bed.finish()


@scenario("none")
def connections_of_one_user(build, mode):
    """A user that opens connections without end gets its share of them and no more; nor does its name move a cursor."""
    bed = Bed(build, mode, daemons=False)
    bed.a.start_daemon(extra_machnet="socket_mode = 0666\nchannels_per_user = 1\n")  # 64 connections
    held = []

    def crowd():
        ctypes.CDLL(None).prctl(15, b"\x1b[31m\xffevil", 0, 0, 0)  # PR_SET_NAME
        first = greeted(bed.a.socket_path)
        first.send(message(2))
        first.recv(SIZE)
        held.append(first)
        for _ in range(400):
            s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            s.connect(bed.a.socket_path)
            held.append(s)
        time.sleep(0.5)
        ready = select.poll()
        for s in held:
            ready.register(s, 0)
        return str(len(held) - len(ready.poll(0)))  # those that were hung up on

    alive = int(as_user(60001, crowd))
    say(f"{alive} of 401 connections live")
    check(64 <= alive <= 128, f"{alive} connections of one user")
    check(as_user(60002, lambda: greeted(bed.a.socket_path) and "served") == "served", "another user is kept out")
    said = bed.a.run([build.tool("machnetctl")]).expect_exit(0, 5)
    check("?[31m?evil" in said and "\x1b" not in said, f"machnetctl prints what a program is called: {said!r}")
    bed.finish()


@scenario("af_packet")
def many_channels(build, mode):
    """Channels up to what the service allows; past that a refusal that names a reason."""
    bed = Bed(build, mode)
    bystanders = Bystanders(bed)
    sessions, reason = [], None
    for _ in range(1200):
        try:
            s = greeted(bed.a.socket_path)
        except OSError as error:  # the session itself is refused
            reason = str(error)
            break
        s.send(message(2))
        data, control, _, _ = s.recvmsg(SIZE, socket.CMSG_SPACE(4 * 18))
        for _, _, fds in control:
            for fd in array.array("i", fds[:len(fds) // 4 * 4]):
                os.close(fd)
        sessions.append(s)
        if not data or struct.unpack_from("<i", data, 12)[0] != 0:
            reason = data[352:].split(b"\0")[0].decode() if data else "closed"
            break
    say(f"{len(sessions)} channels; then: {reason}")
    check(len(sessions) >= 16, "too few channels")
    check(reason is None or len(reason) > 5, "refused without a reason")
    bystanders.check_alive("many channels")
    for s in sessions:
        s.close()
    time.sleep(1)
    result(bed.a.app("ping", remote=bed.b.address, port=900, count=100), 20)
    bystanders.finish()
    bed.finish()
