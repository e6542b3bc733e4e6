# SPDX-License-Identifier: MIT
"""Where the system tests run: namespaces for mounts, processes and networks of their own, and a cgroup.

The kernel removes everything a test made (containers, mounts, interfaces) when the first process of
the new namespaces ends, however it ends. Only cgroups outlive it: the process outside removes them, and
the next run removes those of a run that was killed. What cannot run here raises Unable with the reason."""
import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys

INSIDE = "MACHNET_SYSTEM_TEST_INSIDE"
NAME = "machnet-test-"
WORK = "/mnt"  # of the new mount namespace: a tmpfs that holds all that a test writes
PR_SET_PDEATHSIG = 1


class Unable(Exception):
    """This machine cannot run such a test: it is skipped, and the text says why."""


def cgroup_roots():
    """Where cgroups are made: under version 2 alone one place, in the mixed set-up two."""
    if os.path.exists("/sys/fs/cgroup/cgroup.procs"):
        return ["/sys/fs/cgroup"]
    return [path for path in ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")
            if os.path.exists(f"{path}/cgroup.procs")]


def make_cgroup(name):
    """The directories of a new cgroup; processes are moved in by enter_cgroup()."""
    for root in cgroup_roots():
        os.makedirs(f"{root}/{name}")


def enter_cgroup(name):
    for root in cgroup_roots():
        with open(f"{root}/{name}/cgroup.procs", "w") as file:
            file.write("0")


def remove_cgroups(name):
    for root in cgroup_roots():
        for directory, _, _ in os.walk(f"{root}/{name}", topdown=False):
            try:
                os.rmdir(directory)
            except OSError:  # still in use, or gone
                pass


def remove_stale_cgroups():
    for root in cgroup_roots():
        for name in os.listdir(root):
            if name.startswith(NAME) and not os.path.exists(f"/proc/{name[len(NAME):]}"):
                remove_cgroups(name)


def require(condition, reason):
    if not condition:
        raise Unable(reason)


def probe():
    """Raises Unable unless what the containers need is there and allowed."""
    require(os.geteuid() == 0, "containers need root")
    for program in ("systemd-nspawn", "unshare", "nsenter", "mmdebstrap", "apt-get", "ip"):
        require(shutil.which(program), f"{program} is not installed")
    require(cgroup_roots(), "no cgroup hierarchy for systemd in /sys/fs/cgroup")
    script = ("mount -t tmpfs none /mnt && mkdir /mnt/a /mnt/b /mnt/c /mnt/d && mount -t overlay none "
              "-o lowerdir=/mnt/a,upperdir=/mnt/b,workdir=/mnt/c /mnt/d && ip link add left type veth peer name right")
    tried = subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "sh", "-c", script],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True)
    require(tried.returncode == 0,
            f"no privilege for namespaces, mounts or interfaces: {tried.stderr.strip()}")
    name = f"{NAME}{os.getpid()}-probe"
    try:
        make_cgroup(name)
    except OSError as error:
        raise Unable(f"no privilege for cgroups: {error}") from None
    finally:
        remove_cgroups(name)


def can_lock_memory():
    """Whether LimitMEMLOCK=infinity can come true in what this process starts."""
    return resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] == resource.RLIM_INFINITY


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def inside():
    return INSIDE in os.environ


def go_inside():
    """Runs this program again, inside, and returns its exit code."""
    remove_stale_cgroups()
    cgroup = f"{NAME}{os.getpid()}"
    make_cgroup(cgroup)
    child = subprocess.Popen(
        ["unshare", "--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child=KILL", "--mount-proc",
         sys.executable, "-B"] + sys.argv,
        env=dict(os.environ, **{INSIDE: cgroup}), preexec_fn=_die_with_parent)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: child.kill())
    try:
        return child.wait()
    finally:
        for _ in range(50):
            remove_cgroups(cgroup)
            if not any(os.path.exists(f"{root}/{cgroup}") for root in cgroup_roots()):
                break
            signal.sigtimedwait([], 0.1)


def cgroup():
    """The cgroup of this run, as a path below each of cgroup_roots()."""
    return os.environ[INSIDE]


def prepare():
    """First thing inside: directories that nobody else sees."""
    subprocess.check_call(["mount", "--make-rprivate", "/"])
    subprocess.check_call(["mount", "-t", "tmpfs", "-o", "mode=755", "none", WORK])
    subprocess.check_call(["mount", "-t", "tmpfs", "-o", "mode=755", "none", "/run"])
    os.makedirs(f"{WORK}/out")
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):  # a root of few privileges: see can_lock_memory()
        pass
    # The interfaces of this network instead of the machine's, and read-only: that tells nspawn that no
    # udev will ever announce them.
    os.makedirs(f"{WORK}/cgroup")
    subprocess.check_call(["mount", "--rbind", "/sys/fs/cgroup", f"{WORK}/cgroup"])
    subprocess.check_call(["mount", "-t", "sysfs", "-o", "ro", "none", "/sys"])
    subprocess.check_call(["mount", "--rbind", f"{WORK}/cgroup", "/sys/fs/cgroup"])
