# SPDX-License-Identifier: MIT
"""What a virtual machine boots: the distribution's kernel, a small initrd, and a disk made of the tree that
containers use. Nothing here needs a loop device or a mount of the disk. Kept in build/system, as the tree is."""
import glob
import hashlib
import os
import re
import shutil
import subprocess

import isolation

KERNEL = "linux-image-amd64"  # not the cloud kernel, which has no driver for e1000e
# In the initrd: what the root disk needs. On the disk: the NICs' drivers, and what takes their place.
ROOT_MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
DISK_MODULES = ROOT_MODULES + ("virtio_net", "e1000e", "vfio_pci", "vfio_iommu_type1", "autofs4", "configfs")
DISK_MIB = 1536  # sparse
HERE = os.path.dirname(os.path.abspath(__file__))

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev
for module in $(/bin/busybox cat /modules); do /bin/busybox insmod "$module"; done
until [ -b /dev/vda ]; do /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 /dev/vda /root
/bin/busybox umount /proc /sys
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /lib/systemd/systemd
"""

AGENT_UNIT = """[Unit]
Description=Does what the test asks for on the second serial line
After=multi-user.target

[Service]
ExecStart=/bin/bash /usr/local/sbin/test-agent
StandardOutput=null

[Install]
WantedBy=multi-user.target
"""
# A line holds a command, an answer its exit code and its output, both in base64.
AGENT = """exec 3<>/dev/ttyS1
stty -F /dev/ttyS1 raw -echo
echo ready >&3
while read -r line <&3; do
  output=$(bash -c "$(base64 -d <<<"$line")" 2>&1 </dev/null 3>&- | base64 -w 0; exit "${PIPESTATUS[0]}")
  printf '%d %s\\n' $? "$output" >&3
done
"""


def fetch_kernel(cache):
    """Unpacks the distribution's current kernel below the cache; the directory."""
    depends = subprocess.run(["apt-cache", "depends", "--important", KERNEL], capture_output=True, text=True,
                             check=True).stdout
    package = re.search(r"Depends: (linux-image-\S+)", depends)[1]
    path = os.path.join(cache, f"kernel-{package}")
    if os.path.isdir(path):
        return path
    for old in glob.glob(os.path.join(cache, "kernel-*")):
        shutil.rmtree(old)
    part = f"{path}.part"
    os.makedirs(part)
    print(f"   fetching {package}", flush=True)
    subprocess.run(["apt-get", "-q", "download", package], cwd=part, check=True, capture_output=True)
    (deb,) = glob.glob(os.path.join(part, "*.deb"))
    subprocess.check_call(["dpkg-deb", "--extract", deb, part])
    os.remove(deb)
    subprocess.check_call(["depmod", "-b", part, release(part)])
    os.rename(part, path)
    return path


def release(kernel):
    (name,) = os.listdir(os.path.join(kernel, "lib/modules"))
    return name


def module_files(kernel, wanted):
    """The files of modules and of what they depend on, relative to the kernel's folder, in loading order."""
    files = []
    for module in wanted:
        shown = subprocess.run(["modprobe", "--dirname", kernel, "--set-version", release(kernel), "--show-depends",
                                "--ignore-install", module], capture_output=True, text=True)
        for line in shown.stdout.splitlines():
            if line.startswith("insmod "):
                file = os.path.relpath(line.split()[1], kernel)
                if file not in files:
                    files.append(file)
    return files


def _make_initrd(kernel, path):
    root = f"{isolation.WORK}/initrd"
    os.makedirs(f"{root}/bin")
    shutil.copy("/bin/busybox", f"{root}/bin/busybox")
    files = module_files(kernel, ROOT_MODULES)
    for file in files:
        shutil.copy(os.path.join(kernel, file), root)
    with open(f"{root}/modules", "w") as out:
        out.write("\n".join("/" + os.path.basename(file) for file in files))
    with open(f"{root}/init", "w") as out:
        out.write(INIT)
    os.chmod(f"{root}/init", 0o755)
    with open(path, "wb") as out:
        subprocess.run("find . | /bin/busybox cpio -o -H newc", shell=True, cwd=root, stdout=out,
                       stderr=subprocess.DEVNULL, check=True)


def _make_disk(kernel, tree, path):
    home = f"{isolation.WORK}/disk"
    root = f"{home}/root"
    for directory in (root, f"{home}/upper", f"{home}/work"):
        os.makedirs(directory)
    subprocess.check_call(["mount", "-t", "overlay", "none", "-o",
                           f"lowerdir={tree},upperdir={home}/upper,workdir={home}/work", root])
    for file in module_files(kernel, DISK_MODULES):
        target = os.path.join(root, file)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(os.path.join(kernel, file), target)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copy(os.path.join(kernel, "lib/modules", release(kernel), name),
                    os.path.join(root, "lib/modules", release(kernel)))
    subprocess.check_call(["depmod", "-b", root, release(kernel)])
    texts = {"etc/systemd/system/test-agent.service": AGENT_UNIT, "usr/local/sbin/test-agent": AGENT,
             "etc/fstab": "", "etc/hostname": "guest\n"}
    for name, text in texts.items():
        with open(os.path.join(root, name), "w") as out:
            out.write(text)
    units = os.path.join(root, "etc/systemd/system")
    os.makedirs(f"{units}/multi-user.target.wants", exist_ok=True)
    os.symlink("/etc/systemd/system/test-agent.service", f"{units}/multi-user.target.wants/test-agent.service")
    # Consoles that nobody logs in at, and work for later that would run now.
    for unit in ("serial-getty@ttyS0.service", "serial-getty@ttyS1.service", "getty@tty1.service",
                 "systemd-timesyncd.service", "e2scrub_reap.service", "fstrim.timer", "logrotate.timer",
                 "dpkg-db-backup.timer", "systemd-tmpfiles-clean.timer"):
        if not os.path.lexists(f"{units}/{unit}"):
            os.symlink("/dev/null", f"{units}/{unit}")
    subprocess.check_call(["mke2fs", "-q", "-t", "ext4", "-O", "^metadata_csum", "-m", "0", "-d", root, path,
                           f"{DISK_MIB}M"], stdout=subprocess.DEVNULL)
    subprocess.check_call(["umount", root])


def get(cache, kernel, tree):
    """(kernel image, initrd, disk); the last two are made, inside, if they are not there."""
    with open(os.path.abspath(__file__), "rb") as file:
        steps = file.read()
    names = f"{os.path.basename(kernel)} {os.path.basename(tree)}"
    key = hashlib.sha256(names.encode() + steps).hexdigest()[:16]
    path = os.path.join(cache, f"image-{key}")
    if not os.path.isdir(path):
        for old in glob.glob(os.path.join(cache, "image-*")):
            shutil.rmtree(old)
        os.makedirs(f"{path}.part")
        _make_initrd(kernel, f"{path}.part/initrd")
        _make_disk(kernel, tree, f"{path}.part/disk")
        os.rename(f"{path}.part", path)
    (vmlinuz,) = glob.glob(os.path.join(kernel, "boot/vmlinuz-*"))
    return vmlinuz, f"{path}/initrd", f"{path}/disk"
