# SPDX-License-Identifier: MIT
"""Captures of a cable and what Wireshark's dissector makes of them."""
import os
import re
import struct
import time
from xml.etree import ElementTree

from harness import HERE, Process, check, sh

with open(os.path.join(HERE, "../../libmachnet/tools/machnet.lua"), encoding="utf-8") as file:
    DISSECTOR = file.read()  # now: scenarios have folders of their own
LUA_PATH = "/tmp/machnet.lua"

# Of each packet; several values of one field are separated by commas.
FIELDS = """frame.number frame.time_relative ip.src udp.srcport udp.dstport machnet.type machnet.seq
machnet.ack machnet.window machnet.flags machnet.tag machnet.payload_length machnet.message_count machnet.sack_count
machnet.sack.first machnet.sack.last machnet.message.length machnet.message machnet.segment machnet.stream
machnet.options.version_max machnet.options.mss machnet.options.tag machnet.options.window
machnet.analysis.retransmission_of machnet.analysis.acks_frame machnet.analysis.rtt machnet.analysis.in_flight
machnet.analysis.handshake_time machnet.expert.malformed machnet.expert.zero_window machnet.expert.reset
machnet.expert.window_probe machnet.expert.gap machnet.expert.path_probe machnet.expert.part machnet.part_from
machnet.parts_came machnet.probe_came machnet.unnamed machnet.padding machnet.reserved""".split()


class Capture:
    """What passes an interface, in a file, from now on."""

    def __init__(self, namespace, interface, path):
        self.path = path
        self.process = Process(["ip", "netns", "exec", namespace, "dumpcap", "-q", "-p", "-i", interface, "-B", "64",
                                "-w", path], name="dumpcap")
        self.process.expect("^File:")

    def stop(self):
        time.sleep(0.5)  # it takes packets in batches, and forgets the last one when it is stopped
        self.process.stop()
        lost = self.process.expect(r"received/dropped on interface.*: (\d+)/(\d+)")
        check(lost[2] == "0", f"the capture lost packets: {lost[0]}")
        return self.path


def write_capture(path, frames, kept=None):
    """A capture file of frames that nobody sent; with `kept` only so many bytes of each are in it."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for index, frame in enumerate(frames):
            data = frame[:kept[index]] if kept else frame
            file.write(struct.pack("<IIII", 1_700_000_000, index, len(data), len(frame)) + data)
    return path


def tshark(path, *arguments):
    with open(LUA_PATH, "w", encoding="utf-8") as file:
        file.write(DISSECTOR)
    return sh("tshark", "-n", "-X", f"lua_script:{LUA_PATH}", "-r", path, *arguments)


def dissect(path, display="udp", options=()):
    """One dictionary for each packet that the display filter shows; fields that it lacks are empty."""
    arguments = ["-Y", display, "-T", "fields", "-E", "separator=|", "-E", "occurrence=a"]
    for field in FIELDS:
        arguments += ["-e", field]
    rows = [line.split("|") for line in tshark(path, *options, *arguments).splitlines()]
    return [dict(zip((re.sub(r"^machnet\.", "", field) for field in FIELDS), row)) for row in rows]


def dissect_packets(path):
    """One dictionary for each packet: several of one frame (their fields stand together in dissect) are taken apart."""
    shared = {}
    for frame in ElementTree.fromstring(tshark(path, "-T", "pdml", "-Y", "machnet.srcport")).iter("packet"):
        packets = [proto for proto in frame.iter("proto") if proto.get("name") == "machnet"]
        number = next(field.get("show") for field in frame.iter("field") if field.get("name") == "frame.number")
        shared[number] = [[(field.get("name"), field.get("show") or "1") for field in packet.iter("field")]
                          for packet in packets]
    found = []
    for row in dissect(path):
        if row["frame.number"] not in shared:
            found.append(row)
        for fields in shared.get(row["frame.number"], []):
            packet = {name: ",".join(value for field, value in fields if field == f"machnet.{name}") for name in row}
            ports = [value for field, value in fields if field in ("machnet.srcport", "machnet.dstport")]
            packet["udp.srcport"], packet["udp.dstport"] = ports or (row["udp.srcport"], row["udp.dstport"])
            for name in ("frame.number", "frame.time_relative", "ip.src"):
                packet[name] = row[name]
            found.append(packet)
    return found


def forget(path):
    """Neither is what a service may leave behind."""
    os.unlink(path)
    os.unlink(LUA_PATH)


def numbers(text):
    return [int(number, 0) for number in text.split(",") if number]
