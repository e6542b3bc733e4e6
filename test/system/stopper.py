# SPDX-License-Identifier: MIT
"""Stops one thread of a running process, as nothing but a debugger can:  stopper.py PID THREAD_NAME

Prints "stopped" and keeps the thread so until the process ends, then ends itself."""
import ctypes
import os
import re
import sys

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
WALL = 0x40000000  # also threads


def thread_of(pid, name):
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/comm") as file:
            if re.fullmatch(name, file.read().strip()):
                return int(tid)
    sys.exit(f"process {pid} has no thread named {name}")


def main():
    tid = thread_of(int(sys.argv[1]), sys.argv[2])
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if libc.ptrace(request, tid, None, None) != 0:
            sys.exit(f"ptrace: {os.strerror(ctypes.get_errno())}")
    _, status = os.waitpid(tid, WALL)
    if not os.WIFSTOPPED(status):
        sys.exit("the thread ended instead")
    print("stopped", flush=True)
    # Whatever else happens to it is the end: only then the process can be buried.
    while True:
        _, status = os.waitpid(tid, WALL)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            return
        print("still there:", hex(status), flush=True)


if __name__ == "__main__":
    main()
