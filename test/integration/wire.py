# SPDX-License-Identifier: MIT
"""Machnet's packets, and what carries them, as bytes: for raw peers in the integration tests. Written
from the format's description, not from the daemon's code."""
import socket
import struct

OPEN, OPEN_ACK, DATA, ACK, CLOSE, RESET, PROBE, PART = range(1, 9)
FIRST, LAST, ACK_NOW, REFLECTED, MORE = 1, 2, 4, 8, 16
BROADCAST = b"\xff" * 6


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def header(kind, flags=0, window=64, tag=0, sequence=0, ack=0, timestamp=0, echo=0, payload_length=0,
           messages=0, sack=0, version=1, extra=0):
    return struct.pack("!BBHIIIIIHHBBH", version << 4 | kind, flags, window, tag, sequence, ack,
                       timestamp, echo, 0, payload_length, messages, sack, extra)


def options(tag, first_sequence=0, mss=1400, window=64, version_min=1, version_max=1):
    return struct.pack("!BBHIIIHHIQ", version_min, version_max, mss, tag, first_sequence, 0, window, 0,
                       0, 0)


def udp_frame(source_mac, destination_mac, source, destination, source_port, destination_port, payload,
              bad_checksum=False):
    source, destination = socket.inet_aton(source), socket.inet_aton(destination)
    length = 8 + len(payload)
    udp = struct.pack("!HHHH", source_port, destination_port, length, 0) + payload
    total = checksum(source + destination + struct.pack("!BBH", 0, 17, length) + udp) or 0xFFFF
    if bad_checksum:
        total ^= 0x5555
    udp = udp[:6] + struct.pack("!H", total) + udp[8:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, 17, 0) + source + destination
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return (destination_mac + source_mac + b"\x08\x00" + ip + udp).ljust(60, b"\0")


def arp_frame(operation, sender_mac, sender, target_mac, target, destination_mac=BROADCAST):
    return (destination_mac + sender_mac + b"\x08\x06" +
            struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + sender_mac + socket.inet_aton(sender) +
            target_mac + socket.inet_aton(target)).ljust(60, b"\0")


def echo_request(source_mac, destination_mac, source, destination, payload):
    source, destination = socket.inet_aton(source), socket.inet_aton(destination)
    icmp = struct.pack("!BBHHH", 8, 0, 0, 77, 1) + payload
    icmp = icmp[:2] + struct.pack("!H", checksum(icmp)) + icmp[4:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(icmp), 0, 0, 64, 1, 0) + source + destination
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return (destination_mac + source_mac + b"\x08\x00" + ip + icmp).ljust(60, b"\0")


class Packet:
    """A received Machnet packet (not ARP, not ICMP): its fields by name, or None from `parse`."""

    @staticmethod
    def parse(frame):
        if len(frame) < 74 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
            return None
        packet = Packet()
        packet.frame = frame
        packet.source_mac = frame[6:12]
        packet.source, packet.destination = (socket.inet_ntoa(frame[26:30]),
                                             socket.inet_ntoa(frame[30:34]))
        packet.source_port, packet.destination_port, length = struct.unpack_from("!HHH", frame, 34)
        packet.bytes = frame[42:34 + length]
        if len(packet.bytes) < 32:
            return None
        (kind, packet.flags, packet.window, packet.tag, packet.sequence, packet.ack, packet.timestamp,
         packet.echo, _, packet.payload_length, packet.messages, packet.sack, _) = struct.unpack_from(
             "!BBHIIIIIHHBBH", packet.bytes)
        packet.version, packet.kind = kind >> 4, kind & 15
        packet.payload = packet.bytes[32 + 4 * packet.sack:]
        return packet
