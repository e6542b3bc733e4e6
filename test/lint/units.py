# SPDX-License-Identifier: MIT
"""The units as systemd reads them: no complaint of `systemd-analyze verify`, an exposure of at most 2.5,
no capability that the bounding set lacks; and the catalog explains exactly the MESSAGE_IDs that there
are; and etc/machnet.conf shows every key. Skipped where there is no systemd-analyze."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

import lint

EXPOSURE_MAX = 25  # tenths
UNITS = ("machnet.service", "machnet.socket")
PROGRAMS = re.compile(r"/usr/s?bin/(machnetd|machnet-nic)\b")


def analyze(*args):
    done = subprocess.run(["systemd-analyze", "--no-pager", *args], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).strip()


def unit_findings(folder):
    found = []
    with tempfile.TemporaryDirectory() as directory:
        for name in UNITS:
            text = lint.read(os.path.join(folder, name))
            # Ours are not installed where this runs; everything else has to be there.
            with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                file.write(PROGRAMS.sub("/bin/true", text))
        paths = [os.path.join(directory, name) for name in UNITS]
        code, said = analyze("verify", "--man=no", *paths)
        if code != 0 or said:
            found += [f"systemd-analyze verify: {line}" for line in (said or f"exit code {code}").splitlines()]
        code, said = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", paths[0])
        if code != 0 or "Overall exposure level" not in said:
            found.append("systemd-analyze security: " + (said.splitlines() or [f"exit code {code}"])[-1])
    service = lint.read(os.path.join(folder, "machnet.service"))
    sets = [set(re.findall(r"CAP_\w+", line)) for key in ("AmbientCapabilities", "CapabilityBoundingSet")
            for line in re.findall(rf"^{key}=(.*)$", service, flags=re.M)]
    if len(sets) != 2 or sets[0] != sets[1]:
        found.append("machnet.service: AmbientCapabilities= and CapabilityBoundingSet= differ")
    return found


def catalog_findings(header, catalog):
    ids = set(re.findall(r'constexpr char k\w+\[\] = "(\w+)";', lint.read(header)))
    explained = re.findall(r"^-- (\w+)$", lint.read(catalog), flags=re.M)
    found = [f"{name} has no explanation in machnet.catalog" for name in sorted(ids - set(explained))]
    found += [f"machnet.catalog explains {name}, which nothing sends" for name in sorted(set(explained) - ids)]
    found += [f"machnet.catalog explains {name} twice" for name in sorted(set(explained))
              if explained.count(name) > 1]
    found += [f"{name} is no MESSAGE_ID" for name in sorted(ids) if not re.fullmatch("[0-9a-f]{32}", name)]
    for entry in re.split(r"^-- ", lint.read(catalog), flags=re.M)[1:]:
        head, _, body = entry.partition("\n\n")
        if "Subject: " not in head or "Defined-By: " not in head or not body.strip():
            found.append(f"machnet.catalog: {head.split()[0]} lacks its subject or its text")
    return found or ([] if ids else ["there are no MESSAGE_IDs"])


def example_findings(keys, example):
    known = re.findall(r'^    \{"(\w+)",\s+"', lint.read(keys), flags=re.M)
    shown = re.findall(r"^#(\w+) = ", lint.read(example), flags=re.M)
    found = [f"etc/machnet.conf does not show {name} once" for name in known if shown.count(name) != 1]
    found += [f"etc/machnet.conf shows {name}, which is no key" for name in shown if name not in known]
    return found if known else ["there are no keys"]


def findings(_):
    folder = os.path.join(lint.TOP, "systemd")
    return unit_findings(folder) + catalog_findings(os.path.join(lint.TOP, "daemon/base/log_ids.h"),
                                                    os.path.join(folder, "machnet.catalog")) \
        + example_findings(os.path.join(lint.TOP, "daemon/config/keys.cc"),
                           os.path.join(lint.TOP, "etc/machnet.conf"))


def self_test(directory):
    real = os.path.join(lint.TOP, "systemd")
    right = {name: lint.read(os.path.join(real, name)) for name in UNITS}
    service = right["machnet.service"]
    samples = {
        "unknown key": service.replace("UMask=", "UMask2="),
        "no program": service.replace("ExecStart=/usr/sbin/machnetd", "ExecStart=/usr/sbin/nothing"),
        "exposed": service.replace("ProtectSystem=strict", "").replace("NoNewPrivileges=yes", "")
                   .replace("MemoryDenyWriteExecute=yes", ""),
        "capability": service.replace("CapabilityBoundingSet=", "CapabilityBoundingSet=CAP_SYS_PTRACE "),
    }
    for name, text in samples.items():
        folder = os.path.join(directory, name)
        lint.write_tree(folder, {**right, "machnet.service": text})
        assert text != service and unit_findings(folder), f"not found out: {name}"
    one, two = "0" * 32, "1" * 32
    entry = "-- %s\nSubject: s\nDefined-By: d\n\ntext\n\n"
    for name, ids, catalog in (("unexplained", (one, two), entry % one),
                               ("unsent", (one,), entry % one + entry % two),
                               ("twice", (one,), entry % one + entry % one),
                               ("no text", (one,), f"-- {one}\nSubject: s\n\n")):
        header = "".join(f'constexpr char k{i}[] = "{value}";\n' for i, value in enumerate(ids))
        lint.write_tree(directory, {f"{name}.h": header, f"{name}.catalog": catalog})
        assert catalog_findings(os.path.join(directory, f"{name}.h"),
                                os.path.join(directory, f"{name}.catalog")), f"not found out: {name}"
    table = '    {"one", "a number", set_one},\n    {"two",\n     "a word", set_two},\n'
    for name, example in (("missing", "#one = 1\n"), ("unknown", "#one = 1\n#two = 2\n#three = 3\n"),
                          ("repeated", "#one = 1\n#one = 1\n#two = 2\n")):
        lint.write_tree(directory, {"keys.cc": table, "machnet.conf": example})
        assert example_findings(os.path.join(directory, "keys.cc"),
                                os.path.join(directory, "machnet.conf")), f"not found out: {name}"


if __name__ == "__main__":
    if shutil.which("systemd-analyze") is None:
        print("skipped: there is no systemd-analyze (package systemd)")
        sys.exit(77)
    lint.main(findings, self_test)
