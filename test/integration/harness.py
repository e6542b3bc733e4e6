# SPDX-License-Identifier: MIT
"""Hosts, cables, services and applications for the integration tests.

A scenario runs in namespaces of its own for mounts, processes and networks (see run.py), so when it
ends, however it ends, the kernel removes every process, interface and XDP program; what a scenario
checks as "left behind" is looked for before that.
"""
import errno
import json
import os
import re
import signal
import subprocess
import time
import traceback

import control_socket

HERE = os.path.dirname(os.path.abspath(__file__))
SANITIZED_FACTOR = 1.0  # run.py raises it for sanitized builds: deadlines are longer there


class Failure(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Failure(text)


def say(text):
    print(f"   {text}", flush=True)


def patience(seconds):
    """A deadline that must hold on a busy machine and under sanitizers."""
    return seconds * SANITIZED_FACTOR


def sh(*args, must=True):
    done = subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if must and done.returncode != 0:
        raise Failure(f"{' '.join(args)}: {done.stderr.strip()}")
    return done.stdout


def as_user(uid, work):
    """What `work` says, in a child of that user, which holds what it has until the test ends."""
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.write(write_end, work().encode())
            time.sleep(300)
        except Exception:
            traceback.print_exc()
        finally:  # whatever happened: only the parent goes on
            os._exit(1)
    os.close(write_end)
    with os.fdopen(read_end) as answer:
        text = os.read(answer.fileno(), 4096).decode()
    check(text, f"what user {uid} did went wrong")
    return text


def scenarios():
    """A table of scenarios, and what puts one in: @scenario() for both drivers, or for the modes that it names."""
    table = {}

    def scenario(*modes):
        def register(function):
            function.modes = modes or ("af_packet", "af_xdp")
            table[function.__name__] = function
            return function
        return register
    return table, scenario


def print_pairs(table):
    """For a program: one scenario and one mode a line."""
    for name, function in sorted(table.items()):
        for mode in function.modes:
            print(name, mode)


def print_scenarios(table):
    for name, function in sorted(table.items()):
        print(f"{name:24} {' '.join(function.modes):24} {(function.__doc__ or '').splitlines()[0]}")


class Build:
    """Where the programs of one build tree are."""

    def __init__(self, directory):
        self.directory = os.path.abspath(directory)
        self.machnetd = self._file("daemon/machnetd")
        self.library_dir = os.path.join(self.directory, "libmachnet")
        self.tests = os.path.join(self.directory, "test/integration")

    def _file(self, path):
        full = os.path.join(self.directory, path)
        check(os.path.exists(full), f"{full} is not built")
        return full

    def tool(self, name):
        return self._file(f"libmachnet/tools/{name}")

    def test_program(self, name):
        return self._file(f"test/integration/{name}")

    def support(self, name):
        return self._file(f"test/integration/{name}")


class Process:
    """A started program; its output goes to a file, so that it never blocks on a full pipe."""

    count = 0
    directory = "/tmp"

    def __init__(self, args, env=None, name=None, inherited=()):
        Process.count += 1
        self.name = name or os.path.basename(args[0])
        self.path = f"{Process.directory}/out-{Process.count}"
        with open(self.path, "wb") as out:
            self.popen = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out,
                                          stderr=subprocess.STDOUT, env=env, pass_fds=inherited)
        self.started = time.monotonic()

    @property
    def pid(self):
        return self.popen.pid

    def output(self):
        with open(self.path, errors="replace") as file:
            return file.read()

    def alive(self):
        return self.popen.poll() is None

    def wait(self, timeout):
        try:
            return self.popen.wait(patience(timeout))
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {timeout} s:\n{self.tail()}") from None

    def expect(self, pattern, timeout=10):
        """Waits until the output matches; returns the match."""
        end = time.monotonic() + patience(timeout)
        while True:
            alive = self.alive()
            match = re.search(pattern, self.output(), re.MULTILINE)
            if match:
                return match
            check(alive, f"{self.name} ended ({self.popen.returncode}) without '{pattern}':\n"
                         f"{self.tail()}")
            check(time.monotonic() < end, f"{self.name}: no '{pattern}' in {timeout} s:\n{self.tail()}")
            time.sleep(0.005)

    def expect_exit(self, code, timeout=30):
        got = self.wait(timeout)
        check(got == code, f"{self.name}: exit code {got}, expected {code}:\n{self.tail()}")
        return self.output()

    def signal(self, number):
        self.popen.send_signal(number)

    def kill(self):
        self.popen.kill()
        self.popen.wait()

    def stop(self, timeout=5):
        self.popen.terminate()
        return self.wait(timeout)

    def tail(self):
        return "\n".join("      | " + line for line in self.output().splitlines()[-25:])

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_kb(self):
        with open(f"/proc/{self.pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


class Daemon(Process):
    def __init__(self, host, config, socket_path, name="machnetd", env=None, inherited=()):
        Process.count += 1
        self.config_path = f"/tmp/machnet-{Process.count}.conf"
        self.socket_path = socket_path
        with open(self.config_path, "w") as file:
            file.write(config)
        super().__init__(host.wrap([host.bed.build.machnetd, "--config", self.config_path]),
                         name=f"{name}@{host.name}", env=env, inherited=inherited)

    def wait_ready(self, timeout=15):
        end = time.monotonic() + patience(timeout)
        while True:
            check(self.alive(), f"{self.name} ended ({self.popen.returncode}):\n{self.tail()}")
            try:  # ready is who answers: the socket exists before the NIC is up
                control_socket.greeted(self.socket_path).close()
                return time.monotonic() - self.started
            except TimeoutError:
                pass
            except OSError as error:
                check(error.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN),
                      f"{self.name}: {error}")
            check(time.monotonic() < end, f"{self.name} is not ready after {timeout} s:\n{self.tail()}")
            time.sleep(0.01)

    def stop_cleanly(self):
        check(self.alive(), f"{self.name} died ({self.popen.returncode}):\n{self.tail()}")
        start = time.monotonic()
        code = self.stop(10)
        took = time.monotonic() - start
        check(code == 0, f"{self.name}: exit code {code} after SIGTERM:\n{self.tail()}")
        # The promise is 1 s; the rest is for a machine that does other things, too.
        check(took < patience(2.5), f"{self.name} took {took:.2f} s to end")
        check(not os.path.exists(self.socket_path), f"{self.socket_path} was left behind")
        return took


class Host:
    def __init__(self, bed, name, address):
        self.bed = bed
        self.name = name
        self.namespace = f"host{name}"
        self.interface = "dp0"
        self.address = address
        self.socket_path = f"/run/machnet/{name}.sock"
        self.daemon = None

    def wrap(self, args):
        return ["ip", "netns", "exec", self.namespace] + args

    def config(self, mode=None, extra_machnet="", extra_nic=""):
        text = f"[machnet]\nsocket = {self.socket_path}\nhugepages = no\n{extra_machnet}"
        mode = mode or self.bed.mode
        if mode != "none":
            text += (f"\n[nic {self.interface}]\naddress = {self.address}/24\nmode = {mode}\n"
                     f"{extra_nic}")
        return text

    def start_daemon(self, **options):
        self.daemon = Daemon(self, self.config(**options), self.socket_path)
        took = self.daemon.wait_ready()
        self.bed.daemons.append(self.daemon)
        return took

    def run(self, args, name=None):
        env = dict(os.environ, MACHNET_SOCKET=self.socket_path,
                   LD_LIBRARY_PATH=self.bed.build.library_dir)
        return Process(self.wrap(args), env=env, name=name)

    def app(self, what, **options):
        args = [self.bed.build.test_program("it_app"), what]
        for key, value in options.items():
            if value is True:
                args.append(f"--{key.replace('_', '-')}")
            elif value is not None and value is not False:
                args += [f"--{key.replace('_', '-')}", str(value)]
        return self.run(args, name=f"{what}@{self.name}")

    def server(self, what="echo", **options):
        process = self.app(what, **options)
        process.expect("^ready$", 10)
        return process

    def status(self):
        """What machnetctl says of the service: NICs, channels, counters."""
        return json.loads(self.run([self.bed.build.tool("machnetctl"), "--json"]).expect_exit(0, 5))

    def counters(self, *names):
        """For each name its values, one for each engine."""
        engines = self.status()["counters"]
        return [[engine[name] for engine in engines] for name in names]

    def counted(self, name):
        """By all engines together."""
        return sum(self.counters(name)[0])


LOOKED_AT = ("/run", "/dev/shm", "/tmp")


def files_now():
    found = set()
    for top in LOOKED_AT:
        for directory, _, names in os.walk(top):
            if directory.startswith("/run/netns"):
                continue
            found.update(os.path.join(directory, name) for name in names)
    return {path for path in found if not re.match(r"/tmp/(out-|machnet-\d+\.conf)", path)}


class Bed:
    """Two hosts and a cable; with `drop` or `corrupt` (parts per million) a third one with two
    cables that loses or damages what it passes on, so that it works with every NIC mode; with `narrow` it takes no
    longer IP packets than that. With `third` a switch
    instead of the cable, and a host C without a service on it."""

    def __init__(self, build, mode, drop=0, corrupt=0, daemons=True, third=False, queues=1, narrow=0):
        self.build = build
        self.mode = mode
        self.daemons = []
        self.loss = None
        self.files_before = files_now()
        self.a = Host(self, "A", "10.77.0.1")
        self.b = Host(self, "B", "10.77.0.2")
        self.c = Host(self, "C", "10.77.0.3")
        self.hosts = (self.a, self.b, self.c) if third else (self.a, self.b)
        for host in self.hosts:
            sh("ip", "netns", "add", host.namespace)
            sh("ip", "-n", host.namespace, "link", "set", "dev", "lo", "up")
        if third:
            self._join_by_switch()
        elif drop or corrupt or narrow:
            self._join_through_middle(drop, corrupt, narrow)
        else:
            spread = ["numtxqueues", str(queues), "numrxqueues", str(queues)] if queues > 1 else []
            sh("ip", "link", "add", "dp0", "netns", self.a.namespace, *spread, "type", "veth",
               "peer", "name", "dp0", "netns", self.b.namespace, *spread)
        for host in self.hosts:
            self._up(host.namespace, "dp0")
        if daemons:
            for host in (self.a, self.b):
                took = host.start_daemon()
                say(f"machnetd on {host.name} ({self.mode}) ready in {took * 1000:.0f} ms")

    @staticmethod
    def _up(namespace, interface):
        # The kernel's own IPv6 chatter is not part of any test, and offloads would hand real peers
        # packets that no cable carries.
        sh("ip", "netns", "exec", namespace, "sysctl", "-q", "-w",
           f"net.ipv6.conf.{interface}.disable_ipv6=1", must=False)
        sh("ip", "netns", "exec", namespace, "ethtool", "-K", interface, "tx", "off", "rx", "off",
           "tso", "off", "gso", "off", "gro", "off", must=False)
        sh("ip", "-n", namespace, "link", "set", "dev", interface, "up")

    def _join_by_switch(self):
        sh("ip", "netns", "add", "middle")
        sh("ip", "-n", "middle", "link", "add", "sw0", "type", "bridge")
        for index, host in enumerate(self.hosts):
            sh("ip", "link", "add", "dp0", "netns", host.namespace, "type", "veth",
               "peer", "name", f"m{index}", "netns", "middle")
            sh("ip", "-n", "middle", "link", "set", "dev", f"m{index}", "master", "sw0")
            self._up("middle", f"m{index}")
        self._up("middle", "sw0")

    def _join_through_middle(self, drop, corrupt, narrow):
        sh("ip", "netns", "add", "middle")
        for index, host in enumerate((self.a, self.b)):
            sh("ip", "link", "add", "dp0", "netns", host.namespace, "type", "veth",
               "peer", "name", f"m{index}", "netns", "middle")
            self._up("middle", f"m{index}")
        self.loss = Process(["ip", "netns", "exec", "middle", self.build.support("xdp_loss"),
                             self.build.support("xdp_loss.bpf.o"), "--drop", str(drop),
                             "--corrupt", str(corrupt), "--mtu", str(narrow), "m0", "m1"], name="xdp_loss")
        self.loss.expect("^ready$")

    def losses(self):
        """Ends the faulty cable; returns packets passed, dropped, corrupted."""
        self.loss.stop()
        match = self.loss.expect(r"passed (\d+) dropped (\d+) corrupted (\d+)")
        return tuple(int(group) for group in match.groups())

    def finish(self):
        """The services still live, end in time, and leave nothing."""
        for daemon in self.daemons:
            took = daemon.stop_cleanly()
            report = re.search(r"runtime error|Sanitizer", daemon.output())
            check(report is None, f"{daemon.name}:\n{daemon.tail()}")
            say(f"{daemon.name} ended in {took * 1000:.0f} ms")
        left = files_now() - self.files_before
        check(not left, f"left behind: {sorted(left)}")
        for host in (self.a, self.b):
            links = sh("ip", "-n", host.namespace, "-details", "link", "show", must=False)
            check("xdp" not in links, f"an XDP program was left on {host.name}:\n{links}")


def sigterm(process):
    process.signal(signal.SIGTERM)
