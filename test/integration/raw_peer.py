# SPDX-License-Identifier: MIT
"""A host that speaks Machnet's packets by hand, from a raw socket in a namespace: it can keep every rule
and break any. Answers ARP for its own address while it waits for packets."""
import ctypes
import os
import random
import re
import select
import socket
import time

import wire
from harness import check, patience, sh

LIBC = ctypes.CDLL(None, use_errno=True)
ETH_P_ALL = 3


def raw_socket(namespace, interface):
    """A packet socket made in another network namespace."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    other = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        check(LIBC.setns(other, 0) == 0, "setns")
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        s.bind((interface, 0))
        s.setblocking(False)
        return s
    finally:
        check(LIBC.setns(own, 0) == 0, "setns back")
        os.close(own)
        os.close(other)


def mac_of(host):
    text = sh("ip", "-n", host.namespace, "link", "show", "dev", host.interface)
    return bytes.fromhex(re.search(r"link/ether ([0-9a-f:]+)", text)[1].replace(":", ""))


class RawPeer:
    def __init__(self, host, target, address="10.77.0.66", seed=1):
        """On `host`'s interface, as one more host with an address of its own, against `target`."""
        self.socket = raw_socket(host.namespace, host.interface)
        self.rng = random.Random(seed)
        self.address = address
        self.mac = b"\x02\x66" + socket.inet_aton(address)
        self.target = target.address
        self.target_mac = mac_of(target)

    def send(self, frame):
        try:
            self.socket.send(frame)
        except (BlockingIOError, OSError):
            pass

    def send_udp(self, payload, source_port, port, source=None, **options):
        self.send(wire.udp_frame(self.mac, self.target_mac, source or self.address, self.target,
                                 source_port, port, payload, **options))

    def frames(self, seconds):
        """Frames as they come, for so long; answers ARP on the way."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return
            if not select.select([self.socket], [], [], left)[0]:
                return
            try:
                frame = self.socket.recv(65536)
            except OSError:
                continue
            if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\x01" and \
                    frame[38:42] == socket.inet_aton(self.address):
                self.send(wire.arp_frame(2, self.mac, self.address, frame[22:28],
                                         socket.inet_ntoa(frame[28:32]), frame[6:12]))
                continue
            yield frame

    def asks_who_has(self):
        """The target's answer to ARP; None: there was none."""
        self.send(wire.arp_frame(1, self.mac, self.address, bytes(6), self.target))
        return next((frame for frame in self.frames(patience(2))
                     if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2"), None)

    def pings(self, payload):
        """The target's answer to an echo request; None: there was none."""
        self.send(wire.echo_request(self.mac, self.target_mac, self.address, self.target, payload))
        return next((frame for frame in self.frames(patience(2))
                     if frame[12:14] == b"\x08\x00" and frame[23] == 1 and frame[34] == 0), None)

    def packets(self, seconds, port=None):
        """Machnet packets for this peer (and, with `port`, for that port of it)."""
        for frame in self.frames(seconds):
            packet = wire.Packet.parse(frame)
            if packet and packet.destination == self.address and \
                    (port is None or packet.destination_port == port):
                yield packet

    def sniff(self, seconds, kinds=(wire.DATA,), limit=50):
        """Machnet packets between others."""
        seen = []
        for frame in self.frames(seconds):
            packet = wire.Packet.parse(frame)
            if packet and packet.kind in kinds:
                seen.append(packet)
                if len(seen) == limit:
                    break
        return seen

    def open(self, port, timeout=2, **options):
        return RawFlow(self, port, timeout, **options)


class RawFlow:
    """A flow of a raw peer: handshake done in the constructor, everything else by hand."""

    def __init__(self, peer, port, timeout, window=64, **options):
        self.peer = peer
        self.port = port
        self.own_port = peer.rng.randrange(20000, 60000)
        self.tag = peer.rng.randrange(1, 1 << 32)  # what the target must send
        self.sequence = peer.rng.randrange(1 << 32)
        self.window = window
        self.peer_tag = None
        first = wire.options(self.tag, self.sequence, window=window, **options)
        for _ in range(5):
            self._send(wire.OPEN, payload=first, tag=0)
            for packet in peer.packets(patience(timeout) / 5, self.own_port):
                if packet.kind == wire.OPEN_ACK and packet.tag == self.tag:
                    self.peer_tag = int.from_bytes(packet.payload[4:8], "big")
                    self.expected = int.from_bytes(packet.payload[8:12], "big")
                    self.send(wire.ACK)
                    return
        check(False, "the handshake of a raw peer was not answered")

    def _send(self, kind, payload=b"", tag=None, sack_bytes=b"", **fields):
        fields.setdefault("window", self.window)
        fields.setdefault("payload_length", len(payload))
        self.peer.send_udp(wire.header(kind, tag=self.peer_tag if tag is None else tag,
                                       sack=fields.pop("sack", len(sack_bytes) // 4), **fields) +
                           sack_bytes + payload, self.own_port, self.port)

    def send(self, kind, **fields):
        fields.setdefault("sequence", self.sequence)
        fields.setdefault("ack", self.expected)
        self._send(kind, **fields)

    def data(self, payload, flags=wire.FIRST | wire.LAST, **fields):
        """The next data packet in order."""
        self.send(wire.DATA, payload=payload, flags=flags, **fields)
        self.sequence = (self.sequence + 1) & 0xFFFFFFFF

    def stream(self, payload, count, flags, first_flags, seconds=30):
        """Sends data in order, as fast as it is acknowledged. Returns how many were, and why it ended:
        "all", "reset" or "silence"."""
        first, acked, next_one, window = self.sequence, 0, 0, 32
        end = time.monotonic() + patience(seconds)
        while acked < count and time.monotonic() < end:
            while next_one < min(acked + window, count):
                self.send(wire.DATA, payload=payload, flags=(flags if next_one else first_flags) |
                          wire.ACK_NOW * (next_one + 1 == acked + window),
                          sequence=(first + next_one) & 0xFFFFFFFF)
                next_one += 1
            heard = False
            for packet in self.peer.packets(patience(0.2), self.own_port):
                heard = True
                if packet.kind == wire.RESET:
                    return acked, "reset"
                done = (packet.ack - first) & 0xFFFFFFFF
                if acked < done <= next_one:
                    acked, window = done, max(1, min(packet.window, 32))
                    break
            if not heard:
                next_one = acked  # lost: again
        self.sequence = (first + acked) & 0xFFFFFFFF
        return acked, "all" if acked == count else "silence"

    def wait_for(self, condition, seconds=2):
        for packet in self.peer.packets(patience(seconds), self.own_port):
            if condition(packet):
                return packet
        return None
