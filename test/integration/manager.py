# SPDX-License-Identifier: MIT
"""A service manager as machnetd sees it: a socket for notifications, one for the journal, a listening
socket that outlives the service, a watchdog's deadline, a user with few capabilities. Written from the
pages sd_notify(3), sd_listen_fds(3) and https://systemd.io/JOURNAL_NATIVE_PROTOCOL."""
import ctypes
import os
import re
import select
import signal
import socket
import time

from harness import Daemon, check, patience

# As systemd sets them, by the process itself: its own number, and what its standard error is.
START = ('export LISTEN_PID=$$ WATCHDOG_PID=$$ JOURNAL_STREAM=$(stat -L -c %d:%i /proc/$$/fd/2);'
         '[ -z "$LISTEN_FD" ] || { eval "exec 3<&$LISTEN_FD"; export LISTEN_FDS=1; };'
         'exec "$@"')


class Manager:
    """Starts one service, and hears what it says."""

    def __init__(self, host, watchdog_seconds=None, uid=None, capabilities=(), listen=False, mode=0o660):
        self.host = host
        self.watchdog_seconds = watchdog_seconds
        self.uid = uid
        self.capabilities = capabilities
        self.heard = []    # (when, {key: value}) of each notification
        self.journal = []  # {field: value} of each entry
        self.notify = self._datagrams(f"/tmp/notify-{host.name}")
        os.makedirs("/run/systemd/journal", exist_ok=True)
        self.journal_socket = self._datagrams("/run/systemd/journal/socket")
        self.listening = None
        if listen:
            self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.listening.bind(host.socket_path)
            os.chmod(host.socket_path, mode)
            self.listening.listen(64)
        self.daemon = None

    @staticmethod
    def _datagrams(path):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.bind(path)
        os.chmod(path, 0o666)
        s.setblocking(False)
        return s

    def start(self, **options):
        """What systemctl start does, up to READY=1; returns the daemon."""
        env = dict(os.environ, NOTIFY_SOCKET=self.notify.getsockname(), LISTEN_FD="")
        if self.watchdog_seconds:
            env["WATCHDOG_USEC"] = str(int(self.watchdog_seconds * 1e6))
        if self.listening:
            env["LISTEN_FD"] = str(self.listening.fileno())
            os.set_inheritable(self.listening.fileno(), True)
        prefix = ["sh", "-c", START, "sh"]
        if self.uid:
            names = ",".join("+" + name for name in self.capabilities) or "-all"
            sets = "-all" + ("," + names if self.capabilities else "")
            prefix += ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "--no-new-privs",
                       f"--inh-caps={sets}", f"--ambient-caps={sets}", f"--bounding-set={sets}"]
        self.daemon = Daemon(_Wrapped(self.host, prefix), self.host.config(**options), self.host.socket_path,
                             env=env, inherited=[self.listening.fileno()] if self.listening else [])
        self.wait_for("READY", "1", 15)
        return self.daemon

    def listen(self, seconds):
        """Takes what comes in so many seconds, and everything that waits at their end."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            ready, _, _ = select.select([self.notify, self.journal_socket], [], [], max(left, 0))
            for s in ready:
                text = s.recv(65536).decode()
                pairs = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
                if s is self.notify:
                    self.heard.append((time.monotonic(), pairs))
                else:
                    self.journal.append(pairs)
            if left <= 0 and not ready:
                return

    def wait_for(self, key, value, timeout):
        """Until a notification from now on says so; returns how long it took."""
        start, seen = time.monotonic(), len(self.heard)
        while True:
            for when, pairs in self.heard[seen:]:
                if re.fullmatch(value, pairs.get(key, "")):
                    return when - start
            check(self.daemon.alive(), f"{self.daemon.name} ended ({self.daemon.popen.returncode}): {self.messages()}")
            check(time.monotonic() - start < patience(timeout),
                  f"no {key}={value} in {timeout} s; heard {[pairs for _, pairs in self.heard]}\n{self.messages()}")
            self.listen(0.02)

    def wait_for_message(self, pattern, timeout=5):
        """Until the journal has such a message; returns its fields."""
        start = time.monotonic()
        while True:
            for entry in self.journal:
                if re.search(pattern, entry.get("MESSAGE", "")):
                    return entry
            check(time.monotonic() - start < patience(timeout), f"no '{pattern}' in {timeout} s:\n{self.messages()}")
            self.listen(0.02)

    def status(self):
        """The line that systemctl status shows now."""
        return [pairs["STATUS"] for _, pairs in self.heard if "STATUS" in pairs][-1]

    def messages(self):
        return "\n".join("      | " + entry.get("MESSAGE", "?") for entry in self.journal[-25:])

    def rewrite(self, text):
        with open(self.daemon.config_path, "w") as file:
            file.write(text)

    def reload(self, text=None):
        """What systemctl reload does: returns the entries that the journal got meanwhile."""
        if text is not None:
            self.rewrite(text)
        seen = len(self.journal)
        self.daemon.signal(signal.SIGHUP)
        self.wait_for("RELOADING", "1", 5)
        # The two may have come together.
        if not any(pairs.get("READY") == "1" for _, pairs in self.heard[-1:]):
            self.wait_for("READY", "1", 5)
        self.listen(0.05)
        return self.journal[seen:]

    def close(self):
        for s, path in ((self.notify, self.notify.getsockname()),
                        (self.journal_socket, "/run/systemd/journal/socket"),
                        (self.listening, self.host.socket_path if self.listening else None)):
            if s:
                s.close()
                os.unlink(path)


class _Wrapped:
    """A host whose programs are started through others."""

    def __init__(self, host, prefix):
        self.bed, self.name, self._host, self._prefix = host.bed, host.name, host, prefix

    def wrap(self, args):
        return self._host.wrap(self._prefix + args)


class StoppedThread:
    """One thread of a process stands still while this lives, the others go on: what a debugger does."""

    SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000

    def __init__(self, pid, name):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self.tid = None
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/comm") as file:
                if file.read().strip() == name:
                    self.tid = int(tid)
        check(self.tid is not None, f"process {pid} has no thread {name}")
        self._trace(self.SEIZE)
        self._trace(self.INTERRUPT)
        os.waitpid(self.tid, self.WALL)

    def _trace(self, request):
        check(self.libc.ptrace(request, self.tid, None, None) == 0,
              f"ptrace {request:#x}: {os.strerror(ctypes.get_errno())}")

    def let_go(self):
        self._trace(self.DETACH)

    def bury(self, timeout):
        """When the process ends it waits for whoever watches its threads."""
        end = time.monotonic() + timeout
        while os.waitpid(self.tid, self.WALL | os.WNOHANG) == (0, 0):
            check(time.monotonic() < end, f"the stopped thread lives on after {timeout} s")
            time.sleep(0.02)
