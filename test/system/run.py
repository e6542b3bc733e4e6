# SPDX-License-Identifier: MIT
"""Runs one system scenario:  run.py --packages DIR --cache DIR SCENARIO [--mode af_packet|af_xdp]

    run.py --pairs             names the scenarios and the modes they run in, one pair a line
    run.py ... tree            only builds the tree, if it is not there
    run.py ... SCENARIO        needs root; 0 passed, 1 failed, 77 cannot run here (and says why)

DIR of --packages holds the .deb files under test; --cache is where the tree that containers boot is kept.
The scenario runs in namespaces of its own: nothing of it survives, even if this process is killed."""
import argparse
import os
import shutil
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.join(os.path.dirname(HERE), "integration"))

import bed as beds  # noqa: E402  (the harness is in the folder added above)
import harness  # noqa: E402
import image  # noqa: E402
import isolation  # noqa: E402
import packages  # noqa: E402
import scenarios_faults  # noqa: E402
import scenarios_life  # noqa: E402
import scenarios_machines  # noqa: E402
import scenarios_rights  # noqa: E402
import scenarios_service  # noqa: E402
import tree  # noqa: E402

SCENARIOS = {}
for module in (scenarios_life, scenarios_service, scenarios_faults, scenarios_rights):
    SCENARIOS.update(module.SCENARIOS)
MACHINES = scenarios_machines.SCENARIOS  # those that need virtual machines
SCENARIOS.update(MACHINES)
SKIPPED = 77


def run_inside(args):
    function = SCENARIOS[args.scenario]
    harness.SANITIZED_FACTOR = 3.0 if args.scenario in MACHINES else 1.0  # nothing in them is fast
    start = time.monotonic()
    setup = None
    try:
        isolation.prepare()
        setup = beds.Setup(args.packages, args.next or args.packages + "-next", args.tree)
        setup.cache, setup.kernel = args.cache, args.kernel
        function(setup, args.mode)
    except harness.Failure as failure:
        print(f"FAILED: {failure}")
    except Exception:  # a bug in the scenario
        traceback.print_exc()
    else:
        print(f"passed in {time.monotonic() - start:.1f} s")
        return 0
    for bed in setup.beds if setup else ():
        print(bed.describe())
    return 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", action="store_true")
    parser.add_argument("--mode", default="af_packet")
    parser.add_argument("--packages", type=os.path.abspath)
    parser.add_argument("--next", type=os.path.abspath,
                        help="the same of a higher version (default: --packages with -next)")
    parser.add_argument("--cache", type=os.path.abspath)
    parser.add_argument("--tree", help=argparse.SUPPRESS)  # these two from outside to inside
    parser.add_argument("--kernel", help=argparse.SUPPRESS)
    parser.add_argument("scenario", nargs="?")
    args = parser.parse_args()
    if args.pairs:
        harness.print_pairs(SCENARIOS)
        return 0
    if args.scenario not in (*SCENARIOS, "tree") or not args.packages or not args.cache:
        harness.print_scenarios(SCENARIOS)
        return 64
    if isolation.inside():
        return run_inside(args)
    if args.scenario in SCENARIOS:
        print(f"{args.scenario} ({args.mode}): {SCENARIOS[args.scenario].__doc__.splitlines()[0]}", flush=True)
    try:
        isolation.probe()
        if args.scenario in MACHINES:
            isolation.require(shutil.which("qemu-system-x86_64"), "qemu-system-x86_64 is not installed")
            sys.argv += ["--kernel", image.fetch_kernel(args.cache)]
        # Here, since inside there is no network to get it from.
        path = tree.get(args.cache, packages.needs(packages.find(args.packages)))
    except isolation.Unable as unable:
        print(f"skipped: {unable}")
        return SKIPPED
    except (FileNotFoundError, RuntimeError) as error:
        print(f"FAILED: {error}")
        return 1
    if args.scenario == "tree":
        print(f"the tree is {path}")
        return 0
    sys.argv += ["--tree", path]
    return isolation.go_inside()


if __name__ == "__main__":
    sys.exit(main())
