# SPDX-License-Identifier: MIT
"""The control socket as bytes: what a client says first. Written from include/ipc/control_protocol.h."""
import socket
import struct

MAGIC = 0x4D4E4354
SIZE = 512
TIMEOUT_SECONDS = 5


def message(kind, sequence=1, body=b"", magic=MAGIC, error=0, reserved=0):
    return struct.pack("<IHHIi", magic, kind, reserved, sequence, error) + body.ljust(SIZE - 16, b"\0")


HELLO = message(1, body=struct.pack("<HHI", 1, 1, 0))


def dial(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(TIMEOUT_SECONDS)
    try:
        s.connect(path)
    except OSError:
        s.close()
        raise
    return s


def greeted(path):
    """A session whose hello was answered; OSError when nobody listens, answers or agrees."""
    s = dial(path)
    s.send(HELLO)
    reply = s.recv(SIZE)
    if len(reply) != SIZE or struct.unpack_from("<i", reply, 12)[0] != 0:
        s.close()
        raise ConnectionError(reply[352:].split(b"\0")[0].decode() or "closed")
    return s
