# SPDX-License-Identifier: MIT
"""Runs one integration scenario:  run.py BUILD_DIR SCENARIO [--mode af_packet|af_xdp|none]

    run.py --list              names the scenarios and the modes they run in
    run.py --pairs             the same for a program: one scenario and one mode a line
    run.py BUILD_DIR SCENARIO  needs root; 0 passed, 1 failed, 77 cannot run here

The scenario runs in new mount, process and network namespaces with an empty /run, /tmp and
/dev/shm: nothing it does reaches the machine, and nothing survives it, even if this process is killed.
"""
import argparse
import os
import subprocess
import sys
import time
import traceback

import harness
import scenarios_attack
import scenarios_capture
import scenarios_engines
import scenarios_failure
import scenarios_service
import scenarios_traffic
import scenarios_wire

SCENARIOS = {}
for module in (scenarios_traffic, scenarios_failure, scenarios_attack, scenarios_wire, scenarios_capture,
               scenarios_engines, scenarios_service):
    SCENARIOS.update(module.SCENARIOS)

INSIDE = "MACHNET_TEST_INSIDE"


def go_inside():
    """Starts this program again in its own namespaces; the kernel kills everything in them when it ends."""
    if os.geteuid() != 0:
        print("skipped: network namespaces need root")
        return 77
    os.environ[INSIDE] = "1"
    return subprocess.call(["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child=KILL",
                            "--mount-proc", sys.executable, "-B"] + sys.argv)


def make_private_directories(build_dir):
    # The build tree may live under one of the directories that are about to be hidden: hold it open.
    build = os.open(build_dir, os.O_PATH)
    subprocess.check_call(["mount", "-t", "tmpfs", "none", "/mnt"])
    os.makedirs("/mnt/build")
    subprocess.check_call(["mount", "--bind", f"/proc/self/fd/{build}", "/mnt/build"],
                          pass_fds=[build])
    os.close(build)
    for directory in ("/run", "/tmp", "/dev/shm"):
        subprocess.check_call(["mount", "-t", "tmpfs", "none", directory])
    os.makedirs("/run/machnet")
    os.makedirs("/run/netns")
    return "/mnt/build"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--pairs", action="store_true")
    parser.add_argument("--mode", default="af_packet")
    parser.add_argument("build_dir", nargs="?")
    parser.add_argument("scenario", nargs="?")
    args = parser.parse_args()
    if args.pairs:
        harness.print_pairs(SCENARIOS)
        return 0
    if args.list or not args.scenario:
        harness.print_scenarios(SCENARIOS)
        return 0 if args.list else 64
    if args.scenario not in SCENARIOS:
        print(f"no scenario {args.scenario}")
        return 64
    if INSIDE not in os.environ:
        return go_inside()

    function = SCENARIOS[args.scenario]
    print(f"{args.scenario} ({args.mode}): {(function.__doc__ or '').splitlines()[0]}", flush=True)
    with open(os.path.join(args.build_dir, "CMakeCache.txt")) as cache:
        if "MN_SANITIZE:STRING=address" in cache.read():
            harness.SANITIZED_FACTOR = 4.0
    start = time.monotonic()
    try:
        build = harness.Build(make_private_directories(os.path.abspath(args.build_dir)))
        function(build, args.mode)
    except harness.Failure as failure:
        print(f"FAILED: {failure}")
        show_daemons()
        return 1
    except Exception:  # a bug in the scenario
        traceback.print_exc()
        show_daemons()
        return 1
    print(f"passed in {time.monotonic() - start:.1f} s")
    return 0


def show_daemons():
    """What each process said, and what those that still run are doing."""
    listing = subprocess.run(["ps", "-eLo", "pid,comm,stat,wchan:24,pcpu"], capture_output=True, text=True)
    print(listing.stdout)
    for name in sorted(os.listdir("/tmp")):
        if name.startswith("out-"):
            with open(f"/tmp/{name}", errors="replace") as file:
                text = file.read()
            if text.strip():
                print(f"--- output of process {name[4:]}:\n{text[-1500:]}")


if __name__ == "__main__":
    sys.exit(main())
