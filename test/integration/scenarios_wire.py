# SPDX-License-Identifier: MIT
"""Scenarios with a hostile host on the same cable: garbage, truncation, forgery, replay."""
import random
import struct
import time

import wire
from harness import Bed, check, patience, say, scenarios
from raw_peer import RawPeer, mac_of
from scenarios_attack import Bystanders
from scenarios_traffic import result

SCENARIOS, scenario = scenarios()


@scenario()
def host_functions(build, mode):
    """Answers ARP and ping, and a hand-written peer can talk to a real application."""
    bed = Bed(build, mode, third=True)
    target = bed.a.server(port=901, size=65536)
    peer = RawPeer(bed.c, bed.a)
    answer = peer.asks_who_has()
    check(answer, "no answer to ARP")
    check(answer[22:28] == mac_of(bed.a), "ARP answered with a wrong address")
    for size in (0, 56, 1400):
        payload = bytes(i & 255 for i in range(size))
        reply = peer.pings(payload)
        check(reply, f"no answer to a ping of {size} bytes")
        check(reply[42:42 + size] == payload, "the ping came back changed")
        length = struct.unpack_from("!H", reply, 16)[0]
        check(wire.checksum(reply[34:14 + length]) == 0, "the ping's answer has a wrong checksum")

    flow = peer.open(901)
    flow.data(b"hello there")
    echo = flow.wait_for(lambda p: p.kind == wire.DATA)
    check(echo and echo.payload == b"hello there", "no echo for the raw peer")
    check(echo.tag == flow.tag and echo.sequence == flow.expected, "the echo's header is wrong")
    flow.expected = (flow.expected + 1) & 0xFFFFFFFF
    flow.send(wire.ACK)
    flow.send(wire.PROBE, flags=wire.ACK_NOW)
    check(flow.wait_for(lambda p: p.kind == wire.ACK), "a probe was not answered")
    # A packet for a flow that never was: a reset that repeats its tag, and none for a reset.
    flow.send(wire.DATA, payload=b"x", flags=3)
    peer.send_udp(wire.header(wire.DATA, flags=3, tag=0x1234567, payload_length=1) + b"x", 4444, 901)
    reset = next((p for p in peer.packets(patience(2), 4444)), None)
    check(reset and reset.kind == wire.RESET and reset.flags & wire.REFLECTED and reset.tag == 0x1234567,
          "no reflected reset for an unknown flow")
    peer.send_udp(wire.header(wire.RESET, tag=0x1234567), 4445, 901)
    check(next((p for p in peer.packets(0.3, 4445)), None) is None, "a reset was answered")
    target.stop()
    bed.finish()


def noise(peer, rng, count):
    """Frames that no host would send, from no structure at all to one lie in a right packet."""
    for i in range(count):
        kind = i % 8
        if kind == 0:
            peer.send(rng.randbytes(rng.randrange(14, 1514)))
        elif kind == 1:
            peer.send(peer.target_mac + peer.mac + b"\x08\x00" + rng.randbytes(rng.randrange(0, 100)))
        elif kind == 2:  # right up to UDP
            peer.send_udp(rng.randbytes(rng.randrange(0, 1400)), rng.randrange(65536), 900)
        elif kind == 3:  # a right header with random fields
            body = wire.header(rng.randrange(16), rng.randrange(256), rng.randrange(65536),
                               rng.getrandbits(32), rng.getrandbits(32), rng.getrandbits(32),
                               payload_length=rng.randrange(2000), messages=rng.randrange(256),
                               sack=rng.randrange(256), version=rng.choice((1, 1, 1, 0, 2, 15)))
            peer.send_udp(body + rng.randbytes(rng.randrange(0, 200)), rng.randrange(65536), 900)
        elif kind == 4:  # lying IP and UDP lengths
            frame = bytearray(wire.udp_frame(peer.mac, peer.target_mac, peer.address, peer.target, 5, 900,
                                             rng.randbytes(60)))
            struct.pack_into("!H", frame, rng.choice((16, 38)), rng.choice((0, 7, 8, 19, 20, 27, 28, 1500,
                                                                            65535)))
            struct.pack_into("!H", frame, 24, 0)
            struct.pack_into("!H", frame, 24, wire.checksum(bytes(frame[14:34])))
            peer.send(bytes(frame))
        elif kind == 5:  # cut off anywhere
            frame = wire.udp_frame(peer.mac, peer.target_mac, peer.address, peer.target, 5, 900,
                                   wire.header(wire.OPEN, payload_length=32) + wire.options(9))
            peer.send(frame[:rng.randrange(14, len(frame))])
        elif kind == 6:
            peer.send(wire.arp_frame(rng.randrange(4), rng.randbytes(6), f"10.77.0.{rng.randrange(3, 255)}",
                                     rng.randbytes(6), peer.target, peer.target_mac))
        else:
            peer.send(wire.echo_request(peer.mac, peer.target_mac, peer.address, peer.target,
                                        rng.randbytes(rng.randrange(0, 1400)))[:rng.randrange(34, 120)])
        if i % 200 == 0:
            time.sleep(0.005)


@scenario()
def wire_garbage(build, mode):
    """Garbage of every shape on the cable, next to honest traffic, to both hosts."""
    bed = Bed(build, mode, third=True)
    bystanders = Bystanders(bed)
    for target in (bed.a, bed.b):
        peer = RawPeer(bed.c, target)
        noise(peer, random.Random(5), 30000)
        bystanders.check_alive(f"noise at {target.name}")
    bystanders.finish()
    bed.finish()


@scenario("af_packet")
def wire_live_flow(build, mode):
    """Packets of a live flow, replayed, truncated and with lies in them, tag and all."""
    bed = Bed(build, mode)
    bystanders = Bystanders(bed)
    peer = RawPeer(bed.b, bed.a)  # sends as if it were B
    listener = RawPeer(bed.a, bed.b)  # hears what A hears
    rng = random.Random(6)
    sniffed = listener.sniff(patience(3), limit=3000)
    seen = [p for p in sniffed if p.destination == bed.a.address]
    check(len(seen) > 50, f"saw {len(sniffed)} packets of the live flows, {len(seen)} of them to A")
    mac = mac_of(bed.b)

    def forge(packet, body):
        peer.send(wire.udp_frame(mac, peer.target_mac, packet.source, packet.destination,
                                 packet.source_port, packet.destination_port, body))

    for packet in seen:  # replayed, some much later
        peer.send(packet.frame)
    bystanders.check_alive("replay")
    for packet in seen[-300:]:  # truncated: the header promises more than there is
        forge(packet, packet.bytes[:rng.randrange(0, len(packet.bytes))])
    bystanders.check_alive("truncated data")
    for packet in seen[-300:]:  # acknowledges what was never sent
        for ahead in (0x10000, 0x7FFFFFFF, 0x80000000, rng.getrandbits(32) | 0x100000):
            forge(packet, wire.header(wire.ACK, 0, 64, packet.tag, packet.sequence,
                                      (packet.ack + ahead) & 0xFFFFFFFF))
        for ranges in ([(60000, 5000)], [(5, 1), (5, 1)], [(9, 3), (4, 2)], [(0, 1)], [(1, 0)],
                       [(2000 + 2 * i, 1) for i in range(16)], [(3, 2)] * 17):
            sack = b"".join(struct.pack("!HH", *r) for r in ranges)
            forge(packet, wire.header(wire.ACK, 0, 64, packet.tag, packet.sequence, packet.ack,
                                      sack=len(ranges)) + sack)
        for tag in (0, packet.tag ^ 1, rng.getrandbits(32)):  # forged tags
            forge(packet, wire.header(wire.RESET, 0, 64, tag, packet.sequence, packet.ack))
            forge(packet, wire.header(wire.RESET, wire.REFLECTED, 64, tag))
            forge(packet, wire.header(wire.CLOSE, 0, 64, tag, packet.sequence, packet.ack))
            forge(packet, wire.header(wire.DATA, 3, 64, tag, packet.sequence + 1, packet.ack,
                                      payload_length=4) + b"evil")
        # Far outside the window, with the right tag.
        forge(packet, wire.header(wire.DATA, 3, 64, packet.tag, (packet.sequence + 0x200000) & 0xFFFFFFFF,
                                  packet.ack, payload_length=4) + b"evil")
        # Somebody else opens the same flow.
        forge(packet, wire.header(wire.OPEN, payload_length=32) + wire.options(rng.randrange(1, 1 << 32)))
    time.sleep(0.5)
    bystanders.check_alive("lies on a live flow")
    for packet in seen:
        peer.send(packet.frame)
    bystanders.finish()
    # And once more when the flows have ended.
    for packet in seen:
        peer.send(packet.frame)
    time.sleep(0.2)
    bed.finish()


def own_flow_attacks(peer, rng, port, bed):
    """What a peer with a right handshake can do to the host and the application that let it in."""
    half = b"z" * 1000

    # Segments of a message that never ends, sent by the rules, past the longest message there is.
    flow = peer.open(port)
    sent, end = flow.stream(half, 9500, flags=0, first_flags=wire.FIRST)
    say(f"an endless message: {end} after {sent} segments of 1,000 bytes")
    check(sent < 9400, "a message longer than there can be was taken")

    for _ in range(30):  # many of them, abandoned
        flow = peer.open(port)
        for i in range(40):
            flow.data(half, flags=wire.FIRST if i == 0 else 0)

    flow = peer.open(port)
    flow.data(half, flags=0)  # goes on where nothing began
    flow = peer.open(port)
    flow.data(half, flags=wire.FIRST)
    flow.data(half, flags=wire.FIRST)  # begins twice
    for table in (struct.pack("!HHHH", 1, 65535, 1, 1), struct.pack("!HHHH", 0, 0, 0, 0),
                  struct.pack("!HHHH", 8, 8, 8, 9)):
        flow = peer.open(port)
        for messages in (1, 2, 4, 255):
            flow.data(table + bytes(40), messages=messages)
    flow = peer.open(port)
    for i in range(2000):  # everywhere but in order
        flow.send(wire.DATA, payload=half, flags=3,
                  sequence=(flow.sequence + rng.choice((1, 2, 3, 60, 1000, 40000, 1 << 31))) & 0xFFFFFFFF)
    flow = peer.open(port)  # close, then data
    flow.send(wire.CLOSE)
    flow.sequence += 1
    for _ in range(50):
        flow.data(b"after the end")
    flow = peer.open(port)  # acknowledge what nobody sent, and take back what was acknowledged
    for i in range(200):
        flow.send(wire.ACK, ack=rng.getrandbits(32), window=rng.randrange(65536))
    flow = peer.open(port, window=0)  # ask, and never make room for the answer
    flow.data(b"echo this")
    flow = peer.open(port, mss=65535)  # promise room for giants
    flow.data(b"small")
    for packet in peer.packets(0.5, flow.own_port):
        check(len(packet.frame) <= 1514, "a packet larger than the MTU")
    flow = peer.open(port)  # data in every packet, nothing ever acknowledged
    start = flow.expected
    for _ in range(100):
        flow.data(b"never acknowledged", ack=start)


@scenario()
def wire_bad_peer(build, mode):
    """A host with a right handshake that breaks every rule after it."""
    bed = Bed(build, mode, third=True)
    target = bed.a.server("sink", port=901, size=65536)
    echoing = bed.a.server("echo", port=902, size=65536)
    bystanders = Bystanders(bed)
    rng = random.Random(7)
    for port in (901, 902):
        own_flow_attacks(RawPeer(bed.c, bed.a, address=f"10.77.0.{port - 840}", seed=port), rng, port, bed)
        bystanders.check_alive(f"attacks on port {port}")
    for process in (target, echoing):
        check(process.alive(), f"{process.name} ended:\n{process.tail()}")
    # The applications that were attacked still serve others (the echo server once its dead peers are gone).
    result(bed.b.app("ping", remote=bed.a.address, port=902, count=200, stall=30), 60)
    bystanders.finish()
    for process in (target, echoing):
        process.kill()
    bed.finish()


@scenario()
def wire_forged_handshakes(build, mode):
    """Handshakes from addresses that never asked: bounded, invisible to the application."""
    bed = Bed(build, mode, third=True)
    target = bed.a.server(port=901)
    bystanders = Bystanders(bed)
    peer = RawPeer(bed.c, bed.a)
    rng = random.Random(8)
    for i in range(40000):
        body = wire.header(wire.OPEN, payload_length=32) + wire.options(rng.randrange(1, 1 << 32))
        peer.send_udp(body, rng.randrange(1024, 65536), 901,
                      source=f"10.77.{rng.choice((0, 0, 0, 1))}.{rng.randrange(3, 255)}")
        if i % 100 == 0:
            time.sleep(0.002)
    bystanders.check_alive("forged handshakes")
    check("event accepted" not in target.output(), "the application heard of a forged handshake")
    start = time.monotonic()
    while True:  # who returns the cookie gets in at once
        client = bed.b.app("ping", remote=bed.a.address, port=901, count=500)
        if client.wait(10) == 0:
            break
        check(time.monotonic() - start < patience(3), f"no honest connect after it:\n{client.tail()}")
    say(f"an honest connect succeeded after {time.monotonic() - start:.1f} s")
    target.stop()
    bystanders.finish()
    bed.finish()
