# SPDX-License-Identifier: MIT
"""Two hosts on one machine for measurements: network namespaces joined by a veth pair, a machnetd in each
when asked for, and processes that end with the lab, however the measurement ends."""

import atexit
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ADDRESS = {"a": "10.77.0.1", "b": "10.77.0.2"}
PREFIX = 24
INTERFACE = "mn0"
READY_SECONDS = 10


class LabError(Exception):
    pass


def run(*command, check=True):
    done = subprocess.run(command, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done


class Lab:
    """loss_ppm > 0: a third namespace between the hosts drops so many of a million packets each way."""

    def __init__(self, build, loss_ppm=0, offloads=True):
        self.build = build
        self.loss_ppm = loss_ppm
        self.offloads = offloads
        self.prefix = f"mnlab{os.getpid()}"
        self.directory = tempfile.mkdtemp(prefix="machnet-bench-")
        self.pin = False
        self.namespaces = []
        self.processes = []
        atexit.register(self.close)

    # ---- Network

    def open(self):
        for host in ("a", "b"):
            self._namespace(host)
        if self.loss_ppm:
            self._namespace("m")
            self._veth("a", INTERFACE, "m", "cable0")
            self._veth("b", INTERFACE, "m", "cable1")
            for name in ("cable0", "cable1"):
                run("ip", "-n", self.ns("m"), "link", "set", "dev", name, "up")
        else:
            self._veth("a", INTERFACE, "b", INTERFACE)
        for host in ("a", "b"):
            run("ip", "-n", self.ns(host), "link", "set", "dev", INTERFACE, "up")
            run("ip", "-n", self.ns(host), "link", "set", "lo", "up")
        if self.loss_ppm:
            self._start_loss()
        return self

    def give_addresses(self, to_kernel):
        """The hosts' addresses belong to their kernels, or to the machnetd there: not to both. The cable is as it
        was at first: a machnetd leaves the MTU that it was told."""
        for host in ("a", "b"):
            run("ip", "-n", self.ns(host), "link", "set", "dev", INTERFACE, "mtu", "1500")
            run("ip", "-n", self.ns(host), "address", "flush", "dev", INTERFACE)
            if to_kernel:
                run("ip", "-n", self.ns(host), "address", "add", f"{ADDRESS[host]}/{PREFIX}", "dev", INTERFACE)

    def ns(self, host):
        return self.prefix + host

    def _namespace(self, host):
        run("ip", "netns", "add", self.ns(host))
        self.namespaces.append(self.ns(host))

    def _veth(self, host, name, peer_host, peer_name):
        run("ip", "-n", self.ns(host), "link", "add", name, "type", "veth", "peer", "name", peer_name,
            "netns", self.ns(peer_host))
        if not self.offloads:
            for h, n in ((host, name), (peer_host, peer_name)):
                run("ip", "netns", "exec", self.ns(h), "ethtool", "-K", n, "tx", "off", "rx", "off",
                    "tso", "off", "gso", "off", "gro", "off", check=False)

    def _start_loss(self):
        directory = os.path.join(self.build, "test", "integration")
        program = os.path.join(directory, "xdp_loss")
        process = self.start("m", [program, os.path.join(directory, "xdp_loss.bpf.o"), "--drop",
                                   str(self.loss_ppm), "cable0", "cable1"], stdout=subprocess.PIPE)
        if "ready" not in process.stdout.readline():
            raise LabError("the loss program does not start: " + self.log_of(process))

    # ---- Processes

    def on(self, host, command):
        """The command line that runs on a host; with `pin` each host has half of the processors."""
        pin = []
        if self.pin and os.cpu_count() > 1:
            half = os.cpu_count() // 2
            pin = ["taskset", "-c", f"0-{half - 1}" if host == "a" else f"{half}-{2 * half - 1}"]
        return ["ip", "netns", "exec", self.ns(host), *pin, *command]

    def start(self, host, command, env=None, stdout=None):
        log = open(os.path.join(self.directory, f"{len(self.processes)}.log"), "w+")
        process = subprocess.Popen(self.on(host, command), stdout=stdout or log, stderr=log,
                                   text=True, env={**os.environ, **(env or {})})
        process.log_path = log.name
        self.processes.append(process)
        return process

    def log_of(self, process):
        with open(process.log_path) as log:
            lines = log.read().strip().splitlines()
        return lines[-1] if lines else "(no message)"

    def stop(self, process):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process in self.processes:
            self.processes.remove(process)

    def own_cpu_seconds(self):
        """What the lab's processes and all clients so far have used."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        running = sum(cpu_seconds(p.pid) for p in self.processes if p.poll() is None)
        return running + ended.ru_utime + ended.ru_stime

    def client(self, command, seconds, env=None):
        """Runs a client on host a; returns its JSON summary, or raises with its last line. `disturbance` in it is
        the share of the machine's processors that went to strangers meanwhile."""
        start, machine, own = time.monotonic(), machine_cpu_seconds(), self.own_cpu_seconds()
        summary = self._client(command, seconds, env)
        strangers = machine_cpu_seconds() - machine - (self.own_cpu_seconds() - own)
        elapsed = time.monotonic() - start
        summary["disturbance"] = round(max(strangers, 0) / elapsed / os.cpu_count(), 3)
        return summary

    def _client(self, command, seconds, env):
        try:
            done = subprocess.run(self.on("a", command), capture_output=True, text=True,
                                  timeout=seconds + 20, env={**os.environ, **(env or {})})
        except subprocess.TimeoutExpired as stuck:
            raise LabError(f"{os.path.basename(command[0])} does not end") from stuck
        summaries = [line for line in done.stdout.splitlines() if '"summary"' in line]
        if done.returncode != 0 or not summaries:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise LabError(lines[-1] if lines else f"exit code {done.returncode}")
        return json.loads(summaries[-1])

    def program(self, *path):
        return os.path.join(self.build, *path)

    # ---- machnetd

    def socket_path(self, host):
        return os.path.join(self.directory, f"{host}.sock")

    def machnet_env(self, host):
        return {"MACHNET_SOCKET": self.socket_path(host)}

    def start_machnetd(self, host, mode, mtu=0, extra=""):
        """mode None: no NIC. Returns the process when it serves."""
        config = f"[machnet]\nsocket = {self.socket_path(host)}\n"
        if mode is not None:
            config += f"[nic {INTERFACE}]\naddress = {ADDRESS[host]}/{PREFIX}\nmode = {mode}\n{extra}"
            if mtu:
                config += f"mtu = {mtu}\n"
        path = os.path.join(self.directory, f"{host}.conf")
        with open(path, "w") as file:
            file.write(config)
        process = self.start(host, [self.program("daemon", "machnetd"), "--config", path])
        deadline = time.monotonic() + READY_SECONDS
        while not self._serves(host):
            if process.poll() is not None or time.monotonic() > deadline:
                raise LabError("machnetd does not start: " + self.log_of(process))
            time.sleep(0.02)
        return process

    def _serves(self, host):
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            probe.connect(self.socket_path(host))
            return True
        except OSError:
            return False
        finally:
            probe.close()

    # ---- End

    def close(self):
        for process in list(self.processes):
            self.stop(process)
        for name in self.namespaces:
            run("ip", "netns", "del", name, check=False)
        self.namespaces = []
        shutil.rmtree(self.directory, ignore_errors=True)
        atexit.unregister(self.close)

    def __enter__(self):
        return self.open()

    def __exit__(self, *_):
        self.close()


def machine_cpu_seconds():
    """What all processes and the kernel have used on all processors; time stolen by the hypervisor counts."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """User and system time of a process and its threads."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
