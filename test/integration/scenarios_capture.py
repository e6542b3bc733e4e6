# SPDX-License-Identifier: MIT
"""Scenarios whose cable is watched: what Wireshark's dissector says is what happened."""
import json
import os
import random
import re
import signal
import struct
import time

import wire
from capture import Capture, dissect, dissect_packets, forget, numbers, tshark, write_capture
from harness import Bed, Process, check, patience, say, scenarios
from scenarios_traffic import result, server_result

SCENARIOS, scenario = scenarios()
MESSAGES = 3000


def only(packets, **wanted):
    return [p for p in packets if all(p[key] == str(value) for key, value in wanted.items())]


def messages_in(packets):
    """Whole messages among data packets, each counted once, however often it was sent."""
    seen = {}
    for packet in packets:
        count = numbers(packet["message_count"])[0]
        if count == 0:
            count = 1 if numbers(packet["flags"])[0] & wire.LAST else 0
        seen[packet["stream"], packet["ip.src"], packet["seq"]] = count
    return sum(seen.values())


def check_hello(packets):
    """One flow from handshake to close: the words of both sides."""
    kinds = [numbers(p["type"])[0] for p in packets]
    check(kinds[0] == wire.OPEN and wire.OPEN_ACK in kinds, f"hello begins with {kinds[:3]}")
    check(wire.CLOSE in kinds, "hello has no close")
    for packet in only(packets, type=wire.OPEN) + only(packets, type=wire.OPEN_ACK):
        check(packet["options.version_max"] == "1" and int(packet["options.mss"]) == 1440,
              f"handshake options: {packet}")
        check(numbers(packet["options.tag"])[0] != 0 and int(packet["options.window"]) > 1, f"{packet}")
    reply = only(packets, type=wire.OPEN_ACK)[0]
    check(0 < float(reply["analysis.handshake_time"]) < 5, f"handshake time {reply}")
    tags = {p["ip.src"]: p["options.tag"] for p in packets if p["options.tag"]}
    for packet in packets:
        others = [tag for source, tag in tags.items() if source != packet["ip.src"]]
        check(numbers(packet["type"])[0] == wire.OPEN or packet["tag"] in others, f"a tag of nobody's: {packet}")
    data = only(packets, type=wire.DATA)
    words = b"".join(bytes.fromhex(p["message"]) for p in data)
    check(b"hello world" in words and b"hello to you" in words, f"the messages are {words}")
    check({p["seq"] for p in data} == {"0"} and only(packets, type=wire.CLOSE)[0]["seq"] == "1",
          "sequence numbers do not begin at 0")


def check_losses(packets, dropped):
    again = [p for p in packets if p["analysis.retransmission_of"]]
    sacks = [p for p in packets if numbers(p["sack_count"])[0] > 0]
    check(again and sacks, f"{dropped} packets dropped: {len(again)} retransmissions, {len(sacks)} with SACK")
    by_frame = {(p["frame.number"], p["stream"]): p for p in packets}
    for packet in again:
        first = by_frame[packet["analysis.retransmission_of"], packet["stream"]]
        check(all(first[key] == packet[key] for key in ("seq", "ip.src", "stream", "message", "segment")),
              f"{packet} does not repeat {first}")
    for packet in sacks:
        firsts, lasts = numbers(packet["sack.first"]), numbers(packet["sack.last"])
        check(len(firsts) == int(packet["sack_count"]) == len(lasts), f"SACK ranges of {packet}")
        at = int(packet["ack"])
        for first, last in zip(firsts, lasts):
            check(at < first <= last < at + 70000, f"SACK {first} to {last} after {at}")
            at = last + 1
    acked = [p for p in packets if p["analysis.acks_frame"]]
    for packet in acked:
        check(int(by_frame[packet["analysis.acks_frame"], packet["stream"]]["seq"]) == int(packet["ack"]) - 1,
              f"{packet}")
    trips = [float(p["analysis.rtt"]) for p in packets if p["analysis.rtt"]]
    check(len(trips) > len(packets) // 3 and 0 <= min(trips) and max(trips) < 5, f"{len(trips)} round trips")
    return len(again), len(sacks), sorted(trips)[len(trips) // 2]


@scenario("af_packet")
def dissected_capture(build, mode):
    """hello, bundles over a lossy cable, a closed window and a reset, as Wireshark's dissector shows them."""
    # The capture is made at the switch, and the losses are behind it: everything that is sent is in it. (Not at
    # a host: what a driver sends past the kernel's queues, captures there do not see.)
    bed = Bed(build, mode, third=True)
    lossy = [Process(host.wrap([build.support("xdp_loss"), build.support("xdp_loss.bpf.o"), "--drop", "30000",
                                host.interface]), name="xdp_loss") for host in (bed.a, bed.b)]
    for process in lossy:
        process.expect("^ready$")
    capture = Capture("middle", "m0", "/tmp/flows.pcapng")
    hello = os.path.join(build.library_dir, "hello_world")
    server = bed.b.run([hello, "--listen", bed.b.address, "--port", "5001"])
    server.expect("^listening", 10)
    bed.a.run([hello, "--connect", bed.b.address, "--port", "5001"]).expect_exit(0, 20)

    echo = bed.b.server(port=5002)
    result(bed.a.app("ping", remote=bed.b.address, port=5002, size=40, window=32, count=MESSAGES))
    large = bed.b.server(port=5003, size=20000)
    result(bed.a.app("ping", remote=bed.b.address, port=5003, size=20000, window=4, count=100))

    sink = bed.b.server("sink", port=5004, size=2000)
    blast = bed.a.app("blast", remote=bed.b.address, port=5004, size=2000, seconds=60, stall=60)
    blast.expect("connected")
    sink.signal(signal.SIGSTOP)  # its window closes
    time.sleep(1.5)
    sink.kill()
    blast.expect("event reset", 10)
    blast.kill()
    path = capture.stop()
    server.signal(signal.SIGINT)
    server.wait(5)
    check(server_result(echo)["messages"] == MESSAGES, "the echo server missed some")
    check(server_result(large)["messages"] == 100, "the server of large messages missed some")
    dropped = 0
    for process in lossy:
        process.stop()
        dropped += int(process.expect(r"dropped (\d+)")[1])

    packets = dissect_packets(path)
    say(f"{len(packets)} packets captured, {dropped} dropped on the way")
    strangers = [p for p in packets if not p["type"]]
    check(not strangers, f"not recognised: {strangers[:3]}")
    check(not [p for p in packets if p["expert.malformed"]], "packets called malformed")
    check(not tshark(path, "-Y", "_ws.malformed || _ws.lua.error || _ws.expert.severity == error"), "Malformed")

    flow = {port: [p for p in packets if str(port) in (p["udp.srcport"], p["udp.dstport"])]
            for port in (5001, 5002, 5003, 5004)}
    check([len({p["stream"] for p in one}) for one in flow.values()] == [1] * 4, "flows are mixed up")
    check_hello(flow[5001])
    for port, count, size in ((5002, MESSAGES, 40), (5003, 100, 20000)):
        for host in (bed.a, bed.b):
            data = [p for p in only(flow[port], type=wire.DATA) if p["ip.src"] == host.address]
            check(messages_in(data) == count, f"port {port}: {messages_in(data)} messages from {host.name}")
            check({length for p in data for length in numbers(p["message.length"])} <= {size}, "lengths")
    check(any(numbers(p["message_count"])[0] > 1 for p in flow[5002]), "no bundles")
    check(any(p["segment"] for p in flow[5003]), "no segments")
    again, sacks, trip = check_losses(flow[5002] + flow[5003], dropped)
    say(f"{again} retransmissions, {sacks} packets with SACK, round trip {trip * 1e6:.0f} us")
    closed = [p for p in flow[5004] if p["window"] == "0" and numbers(p["type"])[0] in (wire.ACK, wire.DATA)]
    check(closed and all(p["expert.zero_window"] for p in closed), "no zero window")
    check(any(p["expert.window_probe"] for p in flow[5004]), "no probe of the closed window")
    check(any(p["expert.reset"] for p in only(flow[5004], type=wire.RESET)), "no reset")
    forget(path)
    bed.finish()


def after(records, start, **wanted):
    """The index of the first record from `start` on with these values; None: there is none."""
    for index in range(start, len(records)):
        if all(records[index][key] == value for key, value in wanted.items()):
            return index
    return None


@scenario()
def traced_losses(build, mode):
    """machnetctl trace of a flow over a lossy cable: what was lost, sent again, and acknowledged at last."""
    bed = Bed(build, mode, drop=30_000)
    tool, path = build.tool("machnetctl"), "/tmp/flows.trace"
    server = bed.b.server(port=5002, size=20000)
    tracing = bed.a.run([tool, "trace", "--remote", f"{bed.b.address}:5002", "--output", path])
    deadline = time.monotonic() + patience(5)
    while not os.path.exists(path):
        check(time.monotonic() < deadline, f"no trace:\n{tracing.tail()}")
        time.sleep(0.01)
    second = bed.a.run([tool, "trace", "--all", "--output", "/tmp/second"])
    check("somebody else traces" in second.expect_exit(1, 5), f"a second one:\n{second.tail()}")
    result(bed.a.app("ping", remote=bed.b.address, port=5002, size=20000, window=4, count=300))
    other = bed.b.server(port=5003)
    result(bed.a.app("ping", remote=bed.b.address, port=5003, size=40, window=4, count=100))
    tracing.signal(signal.SIGINT)
    count = tracing.expect(r"^(\d+) records, 0 lost$")
    tracing.expect_exit(0, 5)
    shown = bed.a.run([tool, "trace", "--print", path])
    check(f"-{bed.b.address}:5002 resent" in shown.expect_exit(0, 10), f"as text:\n{shown.tail()}")
    shown = bed.a.run([tool, "trace", "--print", path, "--json"])
    records = [json.loads(line) for line in shown.expect_exit(0, 10).splitlines()]
    check(len(records) == int(count[1]), f"{len(records)} records shown of {count[1]}")
    check({r["name"].split("-")[1] for r in records} == {f"{bed.b.address}:5002"}, "flows that nobody asked for")
    check(all(a["time_ns"] <= b["time_ns"] for a, b in zip(records, records[1:])), "time goes back")
    check(abs(records[-1]["wall_ns"] / 1e9 - time.time()) < patience(60), "the wall clock is wrong")
    check(sum(r["kind"] == "queued" and r["detail"] == 1 for r in records) == 300,
          "not every message was queued")
    check(sum(r["kind"] == "state" and r["detail"] == "dead" for r in records) == 1, "the flow's end is missing")
    losses = [i for i, r in enumerate(records) if r["kind"] == "lost"]
    repeated = 0
    for index in losses:
        seq = records[index]["seq"]
        acked = next((i for i, r in enumerate(records[index:], index)
                      if r["kind"] == "received" and 0 < (r["ack"] - seq) % 2**32 < 2**31), None)
        check(acked is not None, f"lost and not acknowledged at last: {records[index]}")
        again = after(records, index, kind="resent", seq=seq)
        if again is None or again > acked:
            continue  # it was only late, and the ack came before its turn
        check(after(records, again, kind="sent", seq=seq, detail="data") is not None, f"{records[again]}")
        repeated += 1
    check(repeated > 5, f"{repeated} of {len(losses)} lost packets sent again, at 3 % loss")
    check(after(records, 0, kind="rtt") and after(records, 0, kind="armed"), "no round trips, no timers")
    say(f"{len(records)} records, {len(losses)} losses, {repeated} sent again")
    for process in (server, other):
        server_result(process)
    os.unlink(path)
    bed.finish()


@scenario("none")
def dissected_strangers(build, _mode):
    """The dissector leaves packets of others alone, and takes any bytes without an error."""
    rng = random.Random(9)
    mac = bytes(6)

    def frame(payload, port=700):
        return wire.udp_frame(mac, mac, "10.77.0.1", "10.77.0.2", 40000, port, payload)

    right = frame(wire.header(wire.DATA, 3, payload_length=5) + b"hello")
    strangers = [frame(bytes([0x10 | rng.randrange(16)]) + rng.randbytes(rng.randrange(31, 200)), port=701)
                 for _ in range(20_000)]
    # A right header but for one thing each.
    near = [wire.header(wire.DATA, 3, payload_length=4), wire.header(9, 3, payload_length=5),
            wire.header(wire.DATA, 0x13, payload_length=5), wire.header(wire.DATA, 3, payload_length=5, version=2),
            wire.header(wire.ACK, 0, payload_length=5), wire.header(wire.DATA, 3, payload_length=5, messages=1),
            wire.header(wire.RESET, payload_length=1, sack=1), wire.header(wire.OPEN, payload_length=5)]
    strangers += [frame(header + b"hello", port=702) for header in near]
    path = write_capture("/tmp/strangers.pcap", [right] + strangers)
    seen = dissect(path, "machnet")
    check([p["udp.dstport"] for p in seen] == ["700"], f"{len(seen)} packets claimed, one is Machnet's: {seen[1:3]}")

    # On a flow that is known they are shown as what the service drops; as they are when told to decode them so.
    known = write_capture("/tmp/known.pcap", [right] + [frame(header + b"hello") for header in near])
    seen = dissect(known, "machnet")
    check(len(seen) == 7 and sum(p["expert.malformed"] != "" for p in seen) == 6, f"damaged packets: {seen}")
    bundle = b"\0\x08\0\x08\0\0\0\0" + b"x" * 16
    whole = wire.header(wire.DATA, 3, payload_length=24, messages=2) + bundle
    part = wire.header(wire.PART, 3 | wire.MORE, payload_length=24, messages=2, extra=7) + bundle
    padded = wire.header(wire.PROBE, payload_length=24) + bytes(24)
    opening = wire.header(wire.OPEN, payload_length=32) + wire.options(7)
    sacked = wire.header(wire.ACK, sack=2) + b"\0\1\0\1\0\3\0\1"
    noise = []
    for _ in range(5000):
        packet = bytearray(rng.choice((whole, part, padded, opening, sacked)))
        for _ in range(rng.randrange(4)):
            packet[rng.randrange(len(packet))] = rng.choice((0, 1, 255, rng.randrange(256)))
        noise.append(frame(bytes(packet[:rng.choice((len(packet), rng.randrange(len(packet) + 1)))])))
    decode = ["-d", "udp.port==700,machnet"]
    damaged = write_capture("/tmp/damaged.pcap", noise)
    cut_off = write_capture("/tmp/cut.pcap", noise, [rng.randrange(42, len(one) + 1) for one in noise])
    for path in (damaged, cut_off):
        check(not tshark(path, *decode, "-V", "-Y", "_ws.lua.error"), "an error in the dissector")
        check(len(dissect(path, "machnet", decode)) > 1000, "little was decoded")


@scenario("none")
def dissected_parts(build, _mode):
    """A path that takes less than was agreed on: padded probes, parts and their answers in the dissector."""
    text = bytes(range(250))
    bundle = b"\0\x08\0\x02\0\0\0\0" + text[200:210]
    whole = wire.FIRST | wire.LAST
    # Sender, type, flags, payload, other fields of the header; what is shown, and in a word.
    cases = [
        (0, wire.DATA, whole, text, {}, {"reserved": "0x0000", "message": text.hex()}, "Len=250"),
        (0, wire.PROBE, wire.ACK_NOW, bytes(240), {"sequence": 101},
         {"reserved": "0x0000", "padding": bytes(240).hex(), "expert.path_probe": "note"}, "Len=240"),
        (1, wire.ACK, 0, b"", {"extra": 240, "ack": 101}, {"probe_came": "240"}, "Probe=240"),
        (0, wire.PART, wire.FIRST | wire.MORE, text[:200], {},
         {"part_from": "0", "segment": text[:200].hex(), "expert.part": "note", "analysis.retransmission_of": "1"},
         "From=0"),
        (1, wire.ACK, wire.MORE, b"", {"extra": 200, "ack": 100}, {"parts_came": "200"}, "Came=200"),
        (0, wire.PART, wire.LAST | wire.ACK_NOW, text[200:], {"extra": 200},
         {"part_from": "200", "segment": text[200:].hex(), "expert.part": "note", "analysis.retransmission_of": "1"},
         "From=200"),
        (0, wire.PART, whole | wire.MORE, bundle, {"extra": 7, "sequence": 101, "messages": 2},
         {"part_from": "7", "message": f"{text[200:208].hex()},{text[208:210].hex()}", "expert.part": "note"},
         "From=7 Messages=2"),
        (0, wire.DATA, whole, b"x", {"extra": 3, "sequence": 102}, {"unnamed": "3", "message": b"x".hex()},
         "Unnamed=3"),
        (0, wire.PROBE, 0, b"", {"extra": 4, "sequence": 103}, {"unnamed": "4"}, "Unnamed=4"),
        (1, wire.RESET, 0, b"", {"extra": 9}, {"reserved": "0x0009"}, "Reset")]

    def frame(case, port=700):
        sender, kind, flags, payload, others = case[:5]
        ends = ("10.77.0.1", 40000), ("10.77.0.2", port)
        (source, source_port), (target, target_port) = ends[sender], ends[1 - sender]
        header = wire.header(kind, flags, payload_length=len(payload), **{"sequence": 100, **others})
        return wire.udp_frame(bytes(6), bytes(6), source, target, source_port, target_port, header + payload)

    path = write_capture("/tmp/parts.pcap", [frame(case) for case in cases])
    lines = tshark(path).splitlines()
    for packet, case, line in zip(dissect(path), cases, lines, strict=True):
        shown = {name: "note" if "expert" in name and packet[name] else packet[name] for name in packet}
        names = {name for one in cases for name in one[5]}
        check({name: shown[name] for name in names if shown[name]} == case[5], f"instead of {case[5]}: {packet}")
        check(re.search(rf" {case[6]}\b", line) and not packet["expert.malformed"], f"{case[6]} is not in: {line}")
    # Of flows that are not known only the last might be somebody else's.
    path = write_capture("/tmp/alone.pcap", [frame(case, 50000 + index) for index, case in enumerate(cases)])
    claimed = [int(packet["frame.number"]) for packet in dissect(path, "machnet")]
    check(claimed == list(range(1, len(cases))), f"claimed of {len(cases)}: {claimed}")


@scenario("none")
def dissected_coalesced(build, _mode):
    """Packets of three flows in one datagram: each is shown; a datagram that is cut wrongly is shown as dropped."""
    def packet(kind, flags=0, payload=b"", **fields):
        return wire.header(kind, flags, payload_length=len(payload), **{"sequence": 100, **fields}) + payload

    def frame(payload):
        return wire.udp_frame(bytes(6), bytes(6), "10.77.0.1", "10.77.0.2", 40000, 700, payload)

    def joined(*others):
        return b"".join(struct.pack(">HH", port, 700) + other for port, other in others)

    whole = wire.FIRST | wire.LAST
    first = packet(wire.DATA, whole, b"first")
    good = first + joined((40001, packet(wire.ACK)), (40002, packet(wire.DATA, whole, b"third")))
    broken = {"bytes after": good + bytes(32 // 2), "lengths": good + bytes(2), "add up": good[:-1],
              "alone": first + joined((40001, packet(wire.PROBE, 0, bytes(9)))),
              "none of ours": first + joined((40001, bytes(32)))}
    path = write_capture("/tmp/coalesced.pcap", [frame(payload) for payload in [good, good, *broken.values()]])
    lines = tshark(path).splitlines()
    shown = dissect(path)
    check(len(lines) == len(shown) == 2 + len(broken), f"{len(lines)} lines, {len(shown)} frames")
    for text in ("40000 → 700 Data", "| 40001 → 700 Ack", "| 40002 → 700 Data"):
        check(text in lines[0] and text in lines[1], f"{text} is not in: {lines[:2]}")
    check(shown[0]["stream"] == shown[1]["stream"] == "0,1,2", f"flows {shown[0]['stream']}, {shown[1]['stream']}")
    check(shown[0]["message"] == f"{b'first'.hex()},{b'third'.hex()}", f"messages {shown[0]['message']}")
    check(shown[1]["analysis.retransmission_of"] == "1,1", f"sent again: {shown[1]['analysis.retransmission_of']}")
    check(lines[0].count("Retransmission") == 0 and lines[1].count("[Retransmission]") == 2, str(lines[:2]))
    for line, what in zip(lines[2:], broken, strict=True):
        check("dropped by the receiver" in line, f"{what}: taken for right: {line}")
    path = write_capture("/tmp/alone.pcap", [frame(payload) for payload in broken.values()])
    check(not dissect(path, "machnet"), "broken datagrams of no known flow were claimed")
