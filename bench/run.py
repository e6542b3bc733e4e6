#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Machnet and the kernel's stacks side by side: same machine, same run, same sizes and windows.

Needs root (network namespaces), python3 and a release build; see bench/README.md. Prints tables; --json
writes every single measurement."""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time

from lab import ADDRESS, Lab, LabError, cpu_seconds, machine_cpu_seconds

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CELLS = [(64, 1), (64, 32), (1024, 1), (1024, 32), (8192, 32), (65536, 32)]
LOSS_CELLS = [(64, 1), (64, 32), (1024, 32), (8192, 32)]
UDP_LARGEST = 65507
DISTURBED = 0.05  # of the machine's processors used by strangers: the run says little
REFERENCE = "TCP, polling"


class Kernel:
    def __init__(self, proto, *flags, congestion="cubic"):
        self.polls = "--poll" in flags
        self.command = ["--proto", proto, *flags]
        if proto == "tcp":  # machines differ in what they start with
            self.command += ["--congestion", congestion]
        self.proto = proto

    def open(self, lab):
        self.lab = lab
        lab.give_addresses(to_kernel=True)

    def measure(self, size, window, seconds, warmup):
        if self.proto == "udp" and size > UDP_LARGEST:
            return None
        command = [self.lab.program("bench", "kernel_rr"), *self.command, "--msg_size", str(size), "--json"]
        server = self.lab.start("b", command)
        time.sleep(0.15)
        try:
            return self.lab.client([*command, "--remote_ip", ADDRESS["b"], "--msg_window", str(window),
                                    "--duration", str(seconds), "--warmup", str(warmup)], seconds)
        finally:
            self.lab.stop(server)

    def close(self):
        pass


class Machnet:
    def __init__(self, mode, *flags, mtu=0, zero_copy=False, congestion="fixed"):
        self.mode = mode
        self.congestion = congestion
        self.zero_copy = zero_copy  # memif's client lends its packet buffers to the server
        self.mtu = mtu
        self.flags = list(flags)
        self.polls = "--wait" not in flags
        self.daemons = []

    def mode_of(self, host):
        if not self.mode.startswith("memif"):
            return self.mode
        path = os.path.join(self.lab.directory, "memif.sock")
        role = "server" if host == "a" else "client"
        buffer_size = f",bsize={(self.mtu + 14 + 63) // 64 * 64}" if self.mtu > 1500 else ""
        # A ring of 64: the driver goes round its buffers, so a longer one is a larger part of the cache.
        zero_copy = ",zero-copy=yes" if self.zero_copy and role == "client" else ""
        return f"vdev:net_memif0,role={role},socket={path},socket-abstract=no,rsize=6{buffer_size}{zero_copy}"

    def open(self, lab):
        self.lab = lab
        lab.give_addresses(to_kernel=False)
        self.daemons = [lab.start_machnetd(host, self.mode_of(host), self.mtu, f"congestion = {self.congestion}\n")
                        for host in ("a", "b")]
        time.sleep(0.3)  # memif joins, links come up

    def measure(self, size, window, seconds, warmup):
        command = [self.lab.program("libmachnet", "tools", "msg_gen"), "--json", *self.flags]
        server = self.lab.start("b", [*command, "--local_ip", ADDRESS["b"]], self.lab.machnet_env("b"))
        time.sleep(0.15)
        try:
            return self.lab.client([*command, "--local_ip", ADDRESS["a"], "--remote_ip", ADDRESS["b"],
                                    "--msg_size", str(size), "--msg_window", str(window),
                                    "--duration", str(seconds), "--warmup", str(warmup)],
                                   seconds, self.lab.machnet_env("a"))
        finally:
            self.lab.stop(server)

    def close(self):
        for daemon in self.daemons:
            self.lab.stop(daemon)
        self.daemons = []


def stacks():
    return {
        "machnet af_packet": Machnet("af_packet"),
        "machnet af_packet, swift": Machnet("af_packet", congestion="swift"),
        "machnet af_packet, cubic": Machnet("af_packet", congestion="cubic"),
        "machnet af_packet, mtu 22000": Machnet("af_packet", mtu=22000),
        "machnet af_packet, 32 flows": Machnet("af_packet", "--flows", "32"),
        "machnet af_xdp": Machnet("af_xdp"),
        "machnet memif": Machnet("memif"),
        "machnet memif, 32 flows": Machnet("memif", "--flows", "32"),
        "machnet memif, mtu 9000": Machnet("memif", mtu=9000),
        "machnet memif, mtu 22000, zero-copy": Machnet("memif", mtu=22000, zero_copy=True),
        "machnet af_packet, wait": Machnet("af_packet", "--wait"),
        "machnet memif, wait": Machnet("memif", "--wait"),
        "TCP, polling": Kernel("tcp", "--poll"),
        "TCP BBR, polling": Kernel("tcp", "--poll", congestion="bbr"),
        "TCP, polling, batched": Kernel("tcp", "--poll", "--batch"),
        "TCP, blocking": Kernel("tcp"),
        "UDP, polling": Kernel("udp", "--poll"),
    }


LOSS_STACKS = ("machnet af_packet", "machnet af_packet, swift", "machnet af_packet, cubic", "TCP, polling",
               "TCP BBR, polling", "TCP, blocking", "UDP, polling")


def measure_all(lab, chosen, cells, args, label):
    """results[stack][cell] = list of summaries. A whole round of all stacks, then the next round."""
    results = {name: {cell: [] for cell in cells} for name in chosen}
    for round_number in range(args.repeats):
        for name, stack in chosen.items():
            # Spinning threads are pinned, or the scheduler may leave two of them on one processor for long.
            lab.pin = stack.polls and not args.no_pin
            try:
                stack.open(lab)
                for cell in cells:
                    wait_until_quiet(args.wait_idle)
                    progress(f"{label} round {round_number + 1}/{args.repeats}: {name}, {cell[0]} bytes, "
                             f"window {cell[1]}")
                    try:
                        summary = stack.measure(*cell, args.duration, args.warmup)
                    except LabError as error:
                        progress_end(f"{label}: {name}, {cell[0]} bytes, window {cell[1]}: {error}")
                        continue
                    if summary is not None:
                        results[name][cell].append(summary)
            except LabError as error:
                progress_end(f"{label}: {name}: {error}")
            finally:
                stack.close()
    progress_end("")
    return results


def wait_until_quiet(limit_s):
    """Until strangers leave the processors alone for a moment, or the limit has passed."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        before = machine_cpu_seconds()
        time.sleep(0.3)
        if (machine_cpu_seconds() - before) / 0.3 / os.cpu_count() <= DISTURBED:
            return


def progress(text):
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K" + text)
    else:
        sys.stderr.write(text + "\n")
    sys.stderr.flush()


def progress_end(text):
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
    if text:
        sys.stderr.write(text + "\n")


def median(summaries):
    """The run whose rate is the median, of the undisturbed runs if there are any: rate and percentiles of one
    and the same run."""
    if not summaries:
        return None
    summaries = [s for s in summaries if s["disturbance"] <= DISTURBED] or summaries
    return sorted(summaries, key=lambda s: s["rate"])[(len(summaries) - 1) // 2]


def count(rate):
    return f"{rate / 1e6:.2f} M" if rate >= 1e6 else f"{rate / 1e3:.1f} k" if rate >= 1e3 else f"{rate:.0f}"


def microseconds(value):
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def cell_text(summary):
    if summary is None:
        return "-"
    rtt = summary["rtt_us"]
    text = "{}; {}".format(count(summary["rate"]),
                           "/".join(microseconds(rtt[p]) for p in ("p50", "p99", "p99.9")))
    if summary["lost"]:
        text += f" ({summary['lost']} lost)"
    return text + (" !" if summary["disturbance"] > DISTURBED else "")


def print_table(title, header, rows):
    print(f"\n### {title}\n")
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in (header, ["-" * w for w in widths], *rows):
        print("| " + " | ".join(text.ljust(w) for text, w in zip(row, widths)) + " |")


def print_results(title, results, cells):
    header = ["requests/s; p50/p99/p99.9 us"] + [f"{size} B, {window}" for size, window in cells]
    best = {name: {cell: median(runs) for cell, runs in by_cell.items()} for name, by_cell in results.items()}
    print_table(title, header, [[name] + [cell_text(best[name][cell]) for cell in cells] for name in best])
    reference = best.get(REFERENCE)
    if reference is None:
        return
    rows = []
    for name, by_cell in best.items():
        if not name.startswith("machnet"):
            continue
        row = [name]
        for cell in cells:
            ours, theirs = by_cell[cell], reference[cell]
            if ours is None or theirs is None or theirs["rate"] == 0:
                row.append("-")
                continue
            disturbed = max(ours["disturbance"], theirs["disturbance"]) > DISTURBED
            row.append(("! " if disturbed else "") + "x {:.2f}; {}".format(ours["rate"] / theirs["rate"], "/".join(
                f"{ours['rtt_us'][p] / max(theirs['rtt_us'][p], 0.001):.2f}" for p in ("p50", "p99", "p99.9"))))
        rows.append(row)
    if any("!" in text for row in rows for text in row):
        print("\n! = other programs took more than 5 % of the processors meanwhile: no result, measure again.")
    print_table(f"{title}: ratio to {REFERENCE} (rate: more is better; percentiles: less)",
                ["ratio"] + header[1:], rows)


def measure_control(build, channels):
    """Attach and connect latency, many channels, idle service."""
    print("\n### Attach, connect, idle\n")
    with Lab(build) as lab:
        daemon = lab.start_machnetd("a", None)
        time.sleep(1)
        for number in (100, channels):
            done = subprocess.run([lab.program("bench", "attach_bench"), "--channels", str(number)],
                                  capture_output=True, text=True, timeout=120,
                                  env={**os.environ, **lab.machnet_env("a")})
            print(f"{number} channels of one process, over the service's loopback:")
            print("    " + (done.stdout + done.stderr).strip().replace("\n", "\n    "))
        time.sleep(1)
        report_idle("without a NIC", daemon)
        lab.stop(daemon)
        for host in ("a", "b"):
            daemon = lab.start_machnetd(host, "af_packet")
        server = lab.start("b", [lab.program("libmachnet", "tools", "msg_gen"), "--wait", "--local_ip",
                                 ADDRESS["b"]], lab.machnet_env("b"))
        time.sleep(1)
        report_idle("with af_packet and a waiting server", daemon)
        done = subprocess.run(["ip", "netns", "exec", lab.ns("a"), lab.program("bench", "attach_bench"),
                               "--channels", "100", "--local_ip", ADDRESS["a"], "--remote_ip", ADDRESS["b"]],
                              capture_output=True, text=True, timeout=120,
                              env={**os.environ, **lab.machnet_env("a")})
        print("100 channels, each connecting to the other host (veth):")
        print("    " + (done.stdout + done.stderr).strip().replace("\n", "\n    "))
        lab.stop(server)


def report_idle(what, daemon, seconds=3):
    before = cpu_seconds(daemon.pid)
    time.sleep(seconds)
    used = cpu_seconds(daemon.pid) - before
    print(f"idle service {what}: {used / seconds * 100:.2f} % of a CPU")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", help="build directory (default: build/release, made if need be)")
    parser.add_argument("--quick", action="store_true", help="one round of 1 s each")
    parser.add_argument("--repeats", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--duration", type=float, default=2.0, help="seconds of each measurement (default 2)")
    parser.add_argument("--warmup", type=float, default=0.3)
    parser.add_argument("--stacks", default="", help="only stacks whose name contains one of these, by ;")
    parser.add_argument("--cells", default="", help="only these, as 64:1,1024:32")
    parser.add_argument("--wait-idle", type=float, default=0,
                        help="wait up to so many seconds before each measurement for a quiet machine")
    parser.add_argument("--no-pin", action="store_true", help="let the scheduler place polling stacks")
    parser.add_argument("--busy", type=int, default=0, help="so many programs beside that never sleep")
    parser.add_argument("--only", choices=("lossless", "loss", "control"), help="only this part")
    parser.add_argument("--json", help="write all measurements to this file")
    args = parser.parse_args()
    if args.quick:
        args.repeats, args.duration = 1, 1.0
    return args


@contextlib.contextmanager
def busy_programs(count):
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def build_release():
    progress_end("building (build/release) ...")
    for command in (["cmake", "--preset", "release"], ["cmake", "--build", "--preset", "release"]):
        if subprocess.run(command, cwd=TOP, stdout=subprocess.DEVNULL).returncode != 0:
            sys.exit(f"run.py: {' '.join(command)} failed")
    return os.path.join(TOP, "build", "release")


def main():
    args = parse_arguments()
    if os.geteuid() != 0:
        sys.exit("run.py: needs root, for network namespaces")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    build = os.path.abspath(args.build) if args.build else build_release()
    wanted = [part.strip() for part in args.stacks.split(";") if part.strip()]
    chosen = {name: stack for name, stack in stacks().items()
              if not wanted or any(part in name for part in wanted)}
    cells = [tuple(map(int, cell.split(":"))) for cell in args.cells.split(",")] if args.cells else CELLS
    every = {}
    print(f"{os.cpu_count()} processors, {args.repeats} round(s) of {args.duration:g} s; "
          f"load before the start {os.getloadavg()[0]:.1f}")
    if args.only in (None, "lossless"):
        with Lab(build) as lab, busy_programs(args.busy):
            every["lossless"] = measure_all(lab, chosen, cells, args, "lossless")
        print_results("Lossless", every["lossless"], cells)
    if args.only in (None, "loss"):
        loss_cells = cells if args.cells else LOSS_CELLS
        lossy = {name: chosen[name] for name in LOSS_STACKS if name in chosen}
        # The same cable of three namespaces without and with loss; offloads off, or one lost "packet" is 64 KB.
        for ppm, title in ((0, "Cable for the loss runs, nothing lost"), (10000, "1 % loss each way")):
            with Lab(build, loss_ppm=max(ppm, 1), offloads=False) as lab:
                every[title] = measure_all(lab, lossy, loss_cells, args, title)
            print_results(title, every[title], loss_cells)
    if args.only in (None, "control"):
        measure_control(build, 1000)
    if args.json:
        with open(args.json, "w") as file:
            json.dump([{"part": part, "stack": name, **summary} for part, by_stack in every.items()
                       for name, by_cell in by_stack.items() for runs in by_cell.values()
                       for summary in runs], file, indent=1)


if __name__ == "__main__":
    try:
        main()
    except (LabError, KeyboardInterrupt) as stop:
        sys.exit(f"run.py: {stop or 'interrupted'}")
