# SPDX-License-Identifier: MIT
"""What is in the packages: every file, and nothing else; owners and modes; what they say they need."""
import gzip
import os
import re
import socket
import tempfile

from packages import TOP, expect, project_version, read, run

MULTIARCH = run("gcc", "-print-multiarch").strip()

SERVICE = """/etc/machnet.conf /usr/bin/machnetctl /usr/sbin/machnet-nic /usr/sbin/machnetd
/usr/lib/systemd/system/machnet.service /usr/lib/systemd/system/machnet.socket
/usr/lib/sysusers.d/machnet.conf /usr/lib/tmpfiles.d/machnet.conf
/usr/lib/systemd/catalog/machnet.catalog
/usr/share/bash-completion/completions/machnetd /usr/share/bash-completion/completions/machnetctl
/usr/share/bash-completion/completions/machnet-nic
/usr/share/doc/machnet/README.md /usr/share/doc/machnet/cloud/aws.md
/usr/share/doc/machnet/cloud/azure.md /usr/share/doc/machnet/cloud/gcp.md
/usr/share/doc/machnet/cloud/bare-metal.md"""
RUNTIME = "LIBDIR/libmachnet.so.0 LIBDIR/libmachnet.so.SOVERSION"
DEVEL = """/usr/include/machnet.h LIBDIR/libmachnet.so LIBDIR/pkgconfig/machnet.pc
LIBDIR/cmake/machnet/machnet-config.cmake LIBDIR/cmake/machnet/machnet-config-version.cmake
LIBDIR/cmake/machnet/machnet-targets.cmake LIBDIR/cmake/machnet/machnet-targets-relwithdebinfo.cmake
DOCDIR/examples/Makefile DOCDIR/examples/hello_world.c"""
TOOLS = """/usr/bin/msg_gen /usr/share/bash-completion/completions/msg_gen
LIBDIR/wireshark/plugins/machnet.lua"""

# Without these there is no manual worth the name, whatever else the folder holds.
PAGES = {"machnet.7", "machnetd.8", "machnet.conf.5", "machnet-nic.8", "machnetctl.1", "msg_gen.1",
         "machnet-wireshark.7", "libmachnet.3"}
EXECUTABLE = re.compile(r"/usr/s?bin/")


def manual_pages():
    pages = {name for name in os.listdir(os.path.join(TOP, "man")) if re.search(r"\.[1-8]$", name)}
    expect(PAGES <= pages, f"manual pages that are missing in man/: {sorted(PAGES - pages)}")
    # And a name for each function, be it a page or a link to the page of its group.
    functions = re.findall(r"^ +(machnet_\w+);", read("libmachnet", "libmachnet.map"), re.M)
    expect(len(functions) > 10, "found no functions in libmachnet.map")
    return pages | {name + ".3" for name in functions}


def component_of(page):
    if page.endswith(".3"):
        return "devel"
    return "tools" if page in ("msg_gen.1", "machnet-wireshark.7") else "service"


def expected_files(component, package, libdir):
    text = {"service": SERVICE, "runtime": RUNTIME, "devel": DEVEL, "tools": TOOLS}[component]
    major, minor = project_version().split(".")[:2]
    text = text.replace("LIBDIR", libdir).replace("SOVERSION", f"0.{major}.{minor}")
    paths = set(text.replace("DOCDIR", f"/usr/share/doc/{package}").split())
    for page in manual_pages():
        if component_of(page) == component:
            paths.add(f"/usr/share/man/man{page[-1]}/{page}.gz")
    return paths


def check_files(package, expected):
    found = package.files()
    things = {path for path, file in found.items() if not file.is_folder}
    expect(things == expected, f"{os.path.basename(package.path)}: missing "
           f"{sorted(expected - things)}, not expected {sorted(things - expected)}")
    for path, file in found.items():
        expect(file.owner == "root:root", f"{path} belongs to {file.owner}")
        if not file.target:
            may_run = file.is_folder or EXECUTABLE.match(path) or (
                package.path.endswith(".rpm") and ".so." in path)
            wanted = 0o755 if may_run else 0o644
            expect(file.mode == wanted, f"{path} has the mode {file.mode:o}, not {wanted:o}")


def check_debug(package, count):
    names = [path for path, file in package.files().items() if path.endswith(".debug")]
    expect(len(names) == count and all(re.fullmatch(
        r"/usr/lib/debug/\.build-id/[0-9a-f]{2}/[0-9a-f]{38}\.debug", name) for name in names),
        f"{package.name} has {names}, not {count} files named by build ID")


def deb_files(debs, _rpms, _build):
    names = {"service": "machnet", "runtime": "libmachnet0", "devel": "libmachnet-dev",
             "tools": "machnet-tools"}
    debug = {"machnet-dbgsym": 3, "libmachnet0-dbgsym": 1, "machnet-tools-dbgsym": 1}
    expect(set(debs) == set(names.values()) | set(debug), f"the packages are {sorted(debs)}")
    for component, name in names.items():
        expected = expected_files(component, name, f"/usr/lib/{MULTIARCH}")
        expected |= {f"/usr/share/doc/{name}/copyright", f"/usr/share/doc/{name}/changelog.gz"}
        if os.path.exists(os.path.join(TOP, "packaging", "deb", name + ".lintian-overrides")):
            expected.add(f"/usr/share/lintian/overrides/{name}")
        check_files(debs[name], expected)
        expect(debs[name].version == project_version(), f"{name} has version {debs[name].version}")
    for name, count in debug.items():
        check_debug(debs[name], count)
    expect(debs["machnet"].control("conffiles") == "/etc/machnet.conf\n", "conffiles of machnet")
    for path, file in debs["machnet"].files().items():
        if path.endswith(".gz") and not file.target:  # bytes 4 to 7: the time; byte 8: 2 is "as small as it gets"
            expect(file.data[4:9] == b"\0\0\0\0\2", f"{path} is not compressed with gzip -9n")


def rpm_files(_debs, rpms, _build):
    names = {"service": "machnet", "runtime": "libmachnet", "devel": "libmachnet-devel",
             "tools": "machnet-tools"}
    debug = {"machnet-debuginfo": 3, "libmachnet-debuginfo": 1, "machnet-tools-debuginfo": 1}
    expect(set(rpms) == set(names.values()) | set(debug), f"the packages are {sorted(rpms)}")
    for component, name in names.items():
        licence = f"/usr/share/licenses/{name}/LICENSE"
        check_files(rpms[name], expected_files(component, name, "/usr/lib64") | {licence})
        expect(rpms[name].flags("l") == {licence}, f"{name}: the licence is not marked as one")
    for name, count in debug.items():
        check_debug(rpms[name], count)
    expect(rpms["machnet"].flags("c") == {"/etc/machnet.conf"} == rpms["machnet"].flags("n"),
           "machnet: /etc/machnet.conf is not %config(noreplace)")


def dependencies(debs, rpms, _build):
    """DPDK's drivers above all: loaded at run time, so that no tool knows that they are needed."""
    depends = debs["machnet"].depends
    wanted = {"systemd", "driverctl", "kmod", "libc6", "librte-meta-net", "librte-meta-bus",
              "librte-meta-mempool"}
    expect(wanted <= set(depends), f"machnet does not depend on {sorted(wanted - set(depends))}")
    libraries = set(re.findall(r'"((?:bus|mempool|net)_[a-z0-9_]*[a-z0-9])"',
                               read("daemon", "nic", "nic_mode.cc")))
    expect(len(libraries) > 10, "found no drivers in daemon/nic/nic_mode.cc")
    abi = next(name for name in depends if name.startswith("librte-eal")).removeprefix("librte-eal")
    lines = run("dpkg-query", "-S", f"librte_*.so.{abi}")
    owners = {match[2]: match[1] for match in
              re.finditer(rf"^([^:]+)[^ ]*: .*/librte_([a-z0-9_]+)\.so\.{abi}$", lines, re.M)}
    for library in libraries:
        owner = owners.get(library)
        if owner:  # else there is no such driver for this processor
            expect(owner in depends, f"nic_mode.cc loads {library}; machnet lacks {owner}")
    expect(set(debs["libmachnet0"].depends) == {"libc6"}, "libmachnet0 needs more than libc6")
    version = project_version()
    expect(debs["libmachnet-dev"].depends == {"libmachnet0": f"libmachnet0 (= {version})"},
           "libmachnet-dev must need the library of its own version")
    expect("libmachnet0" in debs["machnet-tools"].depends, "machnet-tools without libmachnet0")
    wanted = {"dpdk", "driverctl", "kmod", "systemd", "shadow-utils"}
    expect(wanted <= rpms["machnet"].requires, "requirements of the rpm machnet")
    expect("libmachnet.so.0()(64bit)" in rpms["libmachnet"].provides, "soname of the rpm")
    expect("libmachnet.so.0()(64bit)" in rpms["machnet-tools"].requires, "rpm machnet-tools")
    expect(f"libmachnet(x86-64) = {version}-1" in rpms["libmachnet-devel"].requires
           or not MULTIARCH.startswith("x86_64"), "rpm libmachnet-devel")


def symbols(debs, _rpms, _build):
    """Programs that use libmachnet get a dependency on the version that they need."""
    deb = debs["libmachnet0"]
    listed = set(re.findall(r"^ (\S+)@MACHNET_[0-9.]+ ", deb.control("symbols"), re.M))
    with tempfile.TemporaryDirectory() as folder:
        deb.extract(folder)
        lines = run("nm", "-D", "--defined-only",
                    f"{folder}/usr/lib/{MULTIARCH}/libmachnet.so.0").splitlines()
    exported = {line.split()[-1].split("@")[0] for line in lines}
    expect(listed == exported, f"packaging/deb/libmachnet0.symbols: missing {exported - listed}, "
           f"not in the library {listed - exported}")
    expect(deb.control("shlibs") == f"libmachnet 0 libmachnet0 (>= {project_version()})\n", "shlibs")
    expect(deb.control("triggers") == "activate-noawait ldconfig\n", "triggers of libmachnet0")


def manuals(debs, _rpms, _build):
    """Each program has a page; each link leads to one (that each function has one, deb_files sees)."""
    for deb in debs.values():
        files = deb.files()
        for path, file in files.items():
            name = os.path.basename(path)
            if EXECUTABLE.match(path):
                expect(any(re.search(rf"/man[18]/{name}\.[18]\.gz$", page) for page in files),
                       f"{deb.name}: no manual page for {name}")
            if "/share/man/" in path and not file.is_folder:
                page = os.path.join(os.path.dirname(path), file.target or name)
                expect(page in files and len(files[page].content()) > 500,
                       f"{deb.name}: {path} leads to no page")


def no_traces(debs, rpms, build):
    """No folder and no name of the machine that built them, not even in the debug symbols."""
    names = [TOP, os.path.realpath(build)]
    if len(socket.gethostname()) > 5:
        names.append(socket.gethostname())
    traces = [re.compile(rb"(?<![\w./-])" + re.escape(name.encode()) + rb"(?![\w-])")
              for name in names]
    for package in list(debs.values()) + list(rpms.values()):
        with tempfile.TemporaryDirectory() as folder:
            package.extract(folder)
            for where, _, files in os.walk(folder):
                for name in files:
                    path = os.path.join(where, name)
                    if os.path.islink(path):
                        continue
                    with open(path, "rb") as file:
                        data = file.read()
                    if path.endswith(".gz"):
                        data = gzip.decompress(data)
                    for trace in traces:
                        match = trace.search(data)
                        expect(not match, f"{package.name}: {path.removeprefix(folder)} contains "
                               f"{match and data[match.start():match.end() + 60]!r}")


CASES = [deb_files, rpm_files, dependencies, symbols, manuals, no_traces]
